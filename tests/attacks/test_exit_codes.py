"""Scripts go by exit codes: a command that says no must not leave with 0."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import dumps
from governance_hooks.errors import CoopError
from governance_hooks.ledger import LedgerRow
from tests.attacks.story import RUN, Story, results_of
from tests.commonweights.conftest import Coop
from tests.village import Approved, found


class Evaluated(Story):
    """A run whose evaluation is logged; no release yet."""

    gain = -4.0

    def measure(self, rows: list[LedgerRow]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        return results_of(rows, gain=self.gain), []

    def before_release(self, village: object) -> None:
        raise StopIteration


def evaluated(folder: Path, gain: float) -> Path:
    story = Evaluated(folder)
    story.gain = gain
    with pytest.raises(StopIteration):
        story.play()
    return story.root


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_why_leaves_with_1_for_a_plan_nobody_voted_on(coop: Coop, approved: Approved, as_json: tuple[str, ...]) -> None:
    root = approved.village.root
    plan = json.loads(approved.plan_bytes)
    plan["training"]["seed"] = 1
    (root / "plans").mkdir()
    (root / "plans/first-run.json").write_bytes(dumps(plan))
    done = coop("-C", root, "why", "first-run", *as_json)
    assert done.code == 1
    assert "members never voted on exactly this" in done.out
    assert "first-run" in done.out
    assert coop("-C", root, "train", "first-run", "--check", *as_json).code == 1


def test_why_leaves_with_0_for_a_plan_that_may_run(coop: Coop, approved: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    root = approved.village.root
    (root / "plans").mkdir()
    (root / "plans/first-run.json").write_bytes(approved.plan_bytes)
    monkeypatch.setattr("commonweights.running.now", lambda: approved.village.clock)
    monkeypatch.setattr("commonweights.running.find_base", lambda plan, given: approved.base)
    done = coop("-C", root, "why", "first-run")
    assert done.code == 0, done.out
    assert "first-run is not blocked: all 9 checks pass." in done.out


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_eval_leaves_with_1_for_weights_that_did_not_pass(coop: Coop, tmp_path: Path, as_json: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    root = evaluated(tmp_path, gain=40.0)
    monkeypatch.setitem(sys.modules, "eval.report", SimpleNamespace(evaluate=None))  # it is measured already; no torch needed
    done = coop("-C", root, "eval", RUN, "--base", tmp_path, *as_json)
    assert done.code == 1
    assert ("did NOT pass the voted policy" in done.out) if not as_json else (done.json["passed"] is False)


def test_eval_leaves_with_0_for_weights_that_passed(coop: Coop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = evaluated(tmp_path, gain=-4.0)
    monkeypatch.setitem(sys.modules, "eval.report", SimpleNamespace(evaluate=None))
    done = coop("-C", root, "eval", RUN, "--base", tmp_path)
    assert done.code == 0, done.err
    assert "passed the voted policy" in done.out


def test_an_audit_of_a_folder_with_a_percent_sign_reads_that_folder(tmp_path: Path) -> None:
    found(tmp_path / "xA")
    shutil.copytree(tmp_path / "xA", tmp_path / "x%41")  # xA, to whoever reads it as an address
    assert audit(tmp_path / "x%41").exit_code == 0
    (tmp_path / "x%41" / "log.sqlite").write_bytes(b"tampered with")
    try:
        code = audit(tmp_path / "x%41").exit_code
    except CoopError as error:
        code = error.exit_code
    assert code != 0
