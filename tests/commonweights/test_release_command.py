"""`coop release assemble` gives each release its place, and says which earlier one it takes the place of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commonweights.commands.release import assemble_release
from commonweights.workspace import Workspace
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from model_card.release import read_release
from model_card.verify import verify
from tests.model_card.conftest import RUN, _finished, finished, signed
from tests.model_card.test_waivers import failed, waive

__all__ = ["_finished", "failed", "finished", "signed"]


@pytest.fixture
def space(signed: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The cooperative as commands see it, on the village's clock."""
    monkeypatch.setattr("commonweights.commands.release.now", lambda: signed.village.clock)
    return Workspace(signed.village.coop)


def another_run(signed: Any, name: str) -> None:
    """Log a second run of the same plan with the same outcome."""
    village, folder = signed.village, signed.run_dir.parent / name
    shutil.copytree(signed.run_dir, folder)
    plan = sha256((folder / "plan.json").read_bytes())
    village.wait(60)
    proposal = village.approve("run", plan, uses=3)
    village.say("coop.run-start/v1", {"run": name, "plan": plan, "proposal": proposal, "start": 1}, "operator")
    record = json.loads((folder / "run.json").read_bytes()) | {"run": name, "proposal": proposal, "started": village.clock, "ended": village.clock}
    (folder / "run.json").write_bytes(dumps(record))
    ended = {"run": name, "status": "completed", "record": digest(record), "outputs": digest(record["outputs"])}
    village.say("coop.run-end/v1", ended, "operator")
    report = json.loads((folder / "eval/report.json").read_bytes()) | {"run": name}
    (folder / "eval/report.json").write_bytes(dumps(report))
    village.say("coop.evaluation/v1", {"run": name, "report": digest(report), "results": report["results"], "passed": True}, "operator")


def publish(signed: Any, folder: Path) -> str:
    release = read_release(folder)
    changes = {"supersedes": list(release.document.supersedes)} if release.document.supersedes and "supersedes" in proposal_fields() else {}
    village = signed.village
    proposal = village.propose("release", release.digest, **changes).id
    for member in village.members:
        village.ballot(member, proposal)
    village.close(proposal)
    village.say("coop.release/v1", {"run": release.document.run, "release": release.digest, "proposal": proposal}, "operator")
    (folder / "proof.jsonl.gz").write_bytes(village.coop.proof().dumps())
    return str(release.digest)


def proposal_fields() -> set[str]:
    from governance_hooks.payloads.types import PAYLOADS

    return set(PAYLOADS["coop.proposal/v1"].model_fields)


def test_a_later_release_under_the_same_name_supersedes_the_one_before(signed: Any, space: Workspace) -> None:
    first = assemble_release(space, RUN, "village-lm", derived=False)
    assert read_release(first).document.supersedes is None
    assert assemble_release(space, RUN, "village-lm", derived=False) == first  # nothing is done twice
    one = publish(signed, first)
    another_run(signed, "run-2")
    second = assemble_release(space, "run-2", "village-lm", derived=False)
    assert (first.name, second.name) == ("village-lm", "village-lm-run-2")
    document = read_release(second).document
    assert (document.name, document.supersedes) == ("village-lm", [one])
    two = publish(signed, second)
    report = verify(second, pin=signed.coop)
    assert report.exit_code == 0, report.text()
    assert "supersedes 1 earlier" in report.steps[3].checked
    another_run(signed, "run-3")
    third = assemble_release(space, "run-3", "village-lm", derived=False)
    assert read_release(third).document.supersedes == [two]  # the first is superseded already
    other = assemble_release(space, "run-3", "another-name", derived=False)
    assert read_release(other).document.supersedes is None


def test_what_never_went_out_is_superseded_by_nothing(signed: Any, space: Workspace) -> None:
    assemble_release(space, RUN, "village-lm", derived=False)
    another_run(signed, "run-2")
    second = assemble_release(space, "run-2", "village-lm", derived=False)
    assert read_release(second).document.supersedes is None
    with pytest.raises(BadInput, match="only a release that went out can be superseded"):
        assemble_release(space, "run-2", "other", derived=False, supersedes=[sha256(b"nothing")])
    assert not space.release("other").exists()


def test_a_release_needs_the_run_the_log_knows(signed: Any, space: Workspace) -> None:
    record = json.loads((signed.run_dir / "run.json").read_bytes())
    (signed.run_dir / "run.json").write_bytes(dumps(record | {"wall_s": record["wall_s"] + 1}))
    with pytest.raises(BadInput, match="the log knows another record of it"):
        assemble_release(space, RUN, "village-lm", derived=False)
    (signed.run_dir / "run.json").write_bytes(dumps(record))
    shutil.rmtree(signed.build_dir)
    with pytest.raises(BadInput, match="the dataset of run run-1 is not here"):
        assemble_release(space, RUN, "village-lm", derived=False)


def test_what_a_killed_assembly_left_is_gone_at_the_next_start_and_a_living_one_is_left_alone(signed: Any, space: Workspace) -> None:
    """The process that is killed is a real one, in the middle of the bundle; the lock it held tells that it is gone."""
    releases = space.root / "releases"
    program = f"""
import os
from pathlib import Path
from commonweights.commands.release import _alone
from governance_hooks.atomic import atomic_directory
with _alone(Path({str(releases)!r})), atomic_directory(Path({str(releases / "village-lm")!r})) as folder:
    (folder / "model.safetensors").write_bytes(bytes(1000))
    print("half", flush=True)
    input()
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    with pytest.raises(CoopError, match=rf"process {writer.pid} is assembling a release already"):
        assemble_release(space, RUN, "village-lm", derived=False)
    assert [path.stat().st_size for path in releases.glob(".tmp-*/model.safetensors")] == [1000]
    writer.kill()
    writer.communicate()
    assert list(releases.glob(".tmp-*"))
    out = assemble_release(space, RUN, "village-lm", derived=False)
    assert sorted(path.name for path in releases.iterdir()) == [".lock", out.name]


def test_a_run_that_did_not_pass_is_refused_before_any_weights_are_made(failed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deriving them takes minutes; whether the run may be released is known from its records."""
    begun: list[str] = []

    def derive(*_: object, **__: object) -> None:
        begun.append("weights")
        raise InterruptedError

    monkeypatch.setattr("commonweights.commands.release.now", lambda: failed.village.clock)
    monkeypatch.setattr("commonweights.commands.release.find_base", lambda *_: None)
    monkeypatch.setattr("commonweights.commands.release.derived_weights", derive)
    space = Workspace(failed.village.coop)
    with pytest.raises(BadInput, match=r"(?s)did not pass the policy members voted.*nor"):
        assemble_release(space, RUN, "village-lm")
    assert not begun
    waive(failed)
    with pytest.raises(InterruptedError):
        assemble_release(space, RUN, "village-lm")
    assert begun == ["weights"]
