"""What a site says of a release to whoever holds a bundle: current, superseded, withdrawn, stale, or not to be checked."""

import shutil

import pytest

from governance_hooks.motions import Recall
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.statement import now, shift
from tests.model_card.place import DAY, ONE, Place, publish


def test_freshness_is_read_from_the_site_and_trusted_by_the_log(place: Place) -> None:
    place.sign()
    made = place.make()
    found = place.fresh()
    assert (found.status, found.stale, found.expires, found.log_size) == ("current", False, made.until, place.register.size)
    assert place.fresh(site=place.out / "metadata") == found
    assert "current, by the site's signed metadata" in found.line


def test_a_superseded_release_says_so_to_whoever_holds_an_old_bundle(place: Place) -> None:
    place.sign()
    old = place.village.coop.proof().fold()
    publish(place.village, place.bundles["village-lm-2"], place.release)
    place.make()
    found = place.fresh(register=old)
    assert (found.status, found.by) == ("superseded", place.digest("village-lm-2"))
    assert place.fresh("village-lm-2").status == "current"
    page = (place.out / f"{ONE}.html").read_text()
    assert 'Use <a href="village-lm-2.html">' in page
    assert "Superseded" in page


def test_a_withdrawn_release_says_so_and_why(place: Place) -> None:
    place.sign()
    old = place.village.coop.proof().fold()
    place.village.decide(Recall(release=place.release, reason="privacy", ratifies=None))
    place.make()
    found = place.fresh(register=old)
    assert (found.status, found.reason) == ("withdrawn", "privacy")
    assert "because of privacy" in (place.out / f"{ONE}.html").read_text()


def test_a_site_older_than_the_log_in_the_bundle_does_not_call_a_withdrawn_release_current(place: Place) -> None:
    place.sign()
    place.make()
    place.village.decide(Recall(release=place.release, reason="defect", ratifies=None))
    assert place.fresh().status == "withdrawn"


def test_a_site_whose_time_is_over_is_stale(place: Place) -> None:
    early = shift(now(), -8 * DAY)
    place.sign(at=early)
    place.make(at=early, valid_s=7 * DAY)
    found = place.fresh()
    assert (found.stale, found.status) == (True, "current")
    assert "out of date" in found.line


def test_a_site_that_was_rolled_back_is_found_out_by_who_remembers(place: Place) -> None:
    place.sign()
    place.make()
    before = shutil.copytree(place.out, place.root / "before")
    place.village.decide(Recall(release=place.release, reason="safety", ratifies=None))
    place.make()
    remember = place.root / "remembered"
    assert place.fresh(remember=remember).status == "withdrawn"
    with pytest.raises(StepFailed, match="rolled back"):
        place.fresh(site=before, remember=remember)
    assert place.fresh(site=before).status == "withdrawn"  # by the log, which is longer


def test_what_the_site_does_not_know_could_not_be_checked(place: Place) -> None:
    place.sign()
    place.make()
    with pytest.raises(StepUnknown, match="does not know this release"):
        place.fresh("village-lm-2")
    with pytest.raises(StepUnknown, match="holds no metadata"):
        place.fresh(site=place.root)
    (place.out / "metadata/1.targets.json").unlink()
    with pytest.raises(StepUnknown, match="not whole"):
        place.fresh()
