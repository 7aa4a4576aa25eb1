"""A second vote on a release that is out neither hides it nor sends it out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import Refused
from model_card.release import Release, add_proof
from model_card.verify import verify
from tests.model_card.conftest import RUN, sign_evaluation


@pytest.fixture
def published(finished: Any, tmp_path: Path) -> tuple[Any, Release]:
    """A finished run, and its release."""
    sign_evaluation(finished)
    release = finished.assemble(tmp_path / "bundle")
    finished.publish(release)
    return finished, release


def test_a_release_that_is_approved_again_still_verifies(published: tuple[Any, Release]) -> None:
    finished, release = published
    finished.village.approve("release", release.digest)
    add_proof(release.folder, finished.village.coop.proof().dumps())
    report = verify(release.folder, pin=finished.coop)
    assert report.exit_code == 0, report.text()


def test_a_release_goes_out_once_however_often_it_is_approved(published: tuple[Any, Release]) -> None:
    finished, release = published
    again = finished.village.approve("release", release.digest)
    released = dict(finished.village.coop.register.runs[RUN].releases)
    with pytest.raises(Refused, match="this release is out already"):
        finished.village.say("coop.release/v1", {"run": RUN, "release": release.digest, "proposal": again}, "operator")
    assert finished.village.coop.register.runs[RUN].releases == released


def test_a_second_release_of_a_run_leaves_the_first_as_good_as_it_was(published: tuple[Any, Release], tmp_path: Path) -> None:
    """Also if a member withdrew between the two: each is judged by the log up to its own place."""
    finished, first = published
    before = verify(first.folder, pin=finished.coop)
    finished.village.wait(60)
    second = finished.assemble(tmp_path / "second", name="second-edition")
    finished.publish(second)
    for release in (first, second):
        add_proof(release.folder, finished.village.coop.proof().dumps())
        report = verify(release.folder, pin=finished.coop)
        assert report.exit_code == 0, report.text()
    assert [step.status for step in before.steps] == [step.status for step in verify(first.folder, pin=finished.coop).steps]
    assert list(finished.village.coop.register.runs[RUN].releases) == [first.digest, second.digest]


def test_a_withdrawal_between_two_releases_of_a_run_breaks_the_second_only(published: tuple[Any, Release], tmp_path: Path) -> None:
    finished, first = published
    finished.village.say("coop.withdrawal/v1", {"consent": None}, finished.members[0])
    second = finished.assemble(tmp_path / "second", name="second-edition")
    finished.publish(second)
    for release, broken in ((first, []), (second, ["consent in force"])):
        add_proof(release.folder, finished.village.coop.proof().dumps())
        assert [step.name for step in verify(release.folder, pin=finished.coop).blocking] == broken
