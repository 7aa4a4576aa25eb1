"""The card beside its run: what is put there from the log, and what a folder of somebody else's cannot make us write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from commonweights.card_statements import write_statements
from commonweights.run_card import emit_card, prepare_card
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from tests.model_card.conftest import RUN, Finished, sign_evaluation
from tests.model_card.test_statements import TEXT, say


def space_of(done: Finished) -> Workspace:
    space = Workspace(done.village.coop)
    space.texts.mkdir(exist_ok=True)
    (space.texts / sha256(TEXT.encode())[7:]).write_text(TEXT, encoding="utf-8")
    return space


def test_statements_are_put_beside_the_run_and_taken_away_when_taken_back(finished: Finished) -> None:
    space = space_of(finished)
    first, second = say(finished), say(finished, 1)
    gone = say(finished, 2, text=sha256(b"a text that is nowhere"))
    assert prepare_card(space, RUN) == [gone]
    folder = finished.run_dir / "statements"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(one[7:] for one in (first, second))
    say(finished, 1, text=None)
    prepare_card(space, RUN)
    assert [path.stem for path in folder.iterdir()] == [first[7:]]


def test_the_same_records_give_the_same_card_folder_again(finished: Finished) -> None:
    sign_evaluation(finished)
    say(finished)
    space = space_of(finished)
    assert read_plan((finished.run_dir / "plan.json").read_bytes()).build.manifest == sha256((finished.build_dir / "manifest.json").read_bytes())
    folder = emit_card(space, RUN)
    once = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "stale.md").write_text("left from before", encoding="utf-8")
    again = emit_card(space, RUN)
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == once
    assert TEXT.encode() in once[Path("README.md")]


def test_a_report_that_nobody_signed_is_not_shown(finished: Finished) -> None:
    assert (finished.run_dir / "eval/report.json").is_file()  # it is there, and the log knows of none
    card = json.loads((emit_card(space_of(finished), RUN) / "card.json").read_bytes())
    assert card["evaluation"]["passed"] == {"not_collected": "the run was not evaluated"}


@pytest.mark.parametrize("name", ["statements", "previous", "card"])
def test_nothing_is_written_through_a_link(finished: Finished, tmp_path: Path, name: str) -> None:
    sign_evaluation(finished)
    say(finished)
    aim = tmp_path / "aim"
    aim.mkdir()
    (aim / "theirs.json").write_text("{}", encoding="utf-8")
    (finished.run_dir / name).symlink_to(aim)
    with pytest.raises(BadInput, match="is a link"):
        emit_card(space_of(finished), RUN)
    assert [path.name for path in aim.iterdir()] == ["theirs.json"]


def test_write_statements_alone_does_not_follow_a_link_either(finished: Finished, tmp_path: Path) -> None:
    (finished.run_dir / "statements").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="is a link"):
        write_statements(space_of(finished), RUN)


def test_the_release_before_is_put_beside_the_next_run(finished: Finished, tmp_path: Path) -> None:
    sign_evaluation(finished)
    village = finished.village
    release = finished.assemble(tmp_path / "out")
    finished.publish(release)
    space = space_of(finished)
    shutil.copytree(release.folder, space.release("village-lm"))
    prepare_card(space, RUN)
    assert not (finished.run_dir / "previous").exists()  # a run's own release is not the one before it
    plan = sha256(b"plan two")
    proposal = village.approve("run", plan)
    village.say("coop.run-start/v1", {"run": "run-2", "plan": plan, "proposal": proposal, "start": 1}, "operator")
    prepare_card(space, "run-2")
    folder = space.run("run-2") / "previous"
    assert sha256((folder / "release.json").read_bytes()) == release.digest
    assert (folder / "card.json").read_bytes() == (release.folder / "card.json").read_bytes()


def test_a_release_that_never_went_out_is_not_the_one_before(finished: Finished, tmp_path: Path) -> None:
    from model_card.votes import votes_of

    sign_evaluation(finished)
    release = finished.assemble(tmp_path / "out")  # nobody voted on it
    files: dict[str, Any] = {f"previous/{name}": (release.folder / name).read_bytes() for name in ("release.json", "card.json")}
    with pytest.raises(BadInput, match="knows no such release"):
        votes_of(finished.village.coop.register, run=RUN, consents=[], files=files)
    finished.publish(release)
    known = votes_of(finished.village.coop.register, run=RUN, consents=[], files=files)
    assert known["previous"]["release"] == release.digest
