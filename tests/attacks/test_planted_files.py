"""Files planted by somebody who can write to the runs' folder and has no key: the operator's command must not sign them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commonweights.end_of_run import evaluate_run, log_end
from commonweights.running import run_plan
from commonweights.workspace import Workspace
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import file_entry
from governance_hooks.report import Blocked
from governance_hooks.statement import shift
from tests.attacks.forge import broken
from tests.attacks.story import RUN
from tests.village import Approved


@pytest.fixture
def started(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> Approved:
    """A run whose start is logged and that never trained; the commands go by the village's clock."""
    monkeypatch.setattr("commonweights.running.now", lambda: approved.village.clock)
    approved.start()
    (approved.village.root / "runs" / RUN / "adapter").mkdir(parents=True)
    (approved.village.root / "runs" / RUN / "plan.json").write_bytes(approved.plan_bytes)
    return approved


def plant(approved: Approved, **changes: Any) -> None:
    """Write a run.json that says the run is completed."""
    coop = approved.village.coop
    known = coop.register.runs[RUN]
    record = {"run": RUN, "plan": known.plan, "proposal": known.proposal, "coop": coop.pin, "status": "completed", "reason": None, "outputs": []}
    (approved.village.root / "runs" / RUN / "run.json").write_bytes(dumps(record | changes))


def go_on(approved: Approved) -> None:
    """Run `coop train` again, as after a crash."""
    run_plan(Workspace(approved.village.coop), approved.plan_bytes, RUN, base=approved.base, evaluate=False)


def test_a_planted_end_is_not_signed_past_a_halt(started: Approved) -> None:
    village = started.village
    plant(started)
    village.say("coop.halt/v1", {"proposal": started.proposal, "until": shift(village.clock, 7 * 86_400)}, village.members[3])
    with pytest.raises(Blocked) as blocked:
        go_on(started)
    broken(blocked.value.report, "approval usable", "this approval is halted by the oversight body")
    assert village.coop.register.runs[RUN].status is None


def test_a_planted_end_is_not_signed_past_a_withdrawal(started: Approved) -> None:
    village = started.village
    plant(started)
    for member in village.members[:3]:
        village.say("coop.withdrawal/v1", {"consent": None}, member)
    with pytest.raises(Blocked) as blocked:
        go_on(started)
    broken(blocked.value.report, "consent in force", "9 texts lack a consent in force of 3 member(s)")
    assert village.coop.register.runs[RUN].status is None


@pytest.mark.parametrize("field", ["run", "plan", "proposal", "coop"])
def test_a_record_of_another_run_is_not_signed(started: Approved, field: str) -> None:
    plant(started, **{field: digest("another")})
    with pytest.raises(BadInput, match=f"run.json of run-1 names another {field} than the log"):
        go_on(started)
    with pytest.raises(BadInput, match=f"run.json of run-1 names another {field} than the log"):
        log_end(Workspace(started.village.coop), RUN)  # `coop eval` goes this way
    assert started.village.coop.register.runs[RUN].status is None


def test_a_record_that_names_nothing_is_not_signed(started: Approved) -> None:
    (started.village.root / "runs" / RUN / "run.json").write_bytes(dumps({"status": "completed", "outputs": []}))
    with pytest.raises(BadInput, match="names another run than the log"):
        go_on(started)


def test_weights_that_are_not_those_of_the_record_are_not_signed(started: Approved) -> None:
    run = started.village.root / "runs" / RUN
    weights = run / "adapter/adapter_model.safetensors"
    weights.write_bytes(b"trained")
    plant(started, outputs=[file_entry(run, weights)])
    weights.write_bytes(b"planted")
    with pytest.raises(BadInput, match=r"adapter/adapter_model\.safetensors of run run-1 is not the file run\.json names"):
        go_on(started)
    assert started.village.coop.register.runs[RUN].status is None


@pytest.fixture
def completed(started: Approved) -> Approved:
    """A completed run on whose evaluation a report was planted before it was measured."""
    village, run = started.village, started.village.root / "runs" / RUN
    village.say("coop.run-end/v1", {"run": RUN, "status": "completed", "record": digest("x"), "outputs": digest([])}, "operator")
    (run / "eval").mkdir()
    (run / "eval/report.json").write_bytes(dumps({"passed": True, "planted": "never measured"}))
    (run / "eval/results.jsonl").write_bytes(b"{}\n")
    return started


def measuring(outcome: Callable[[Path], None]) -> SimpleNamespace:
    """Stand in for the module that measures, without torch."""
    return SimpleNamespace(evaluate=lambda run, **_: outcome(run))


def test_a_planted_report_is_measured_over_and_never_signed(completed: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    village = completed.village
    honest = dumps({"passed": False, "measured": "here"})

    def measure(run: Path) -> None:
        (run / "eval/report.json").write_bytes(honest)
        (run / "eval/results.jsonl").write_bytes(b'{"item":"r"}\n')

    monkeypatch.setitem(sys.modules, "eval.report", measuring(measure))
    report = evaluate_run(Workspace(village.coop), RUN, base=completed.base, build=completed.build)
    logged = village.coop.register.runs[RUN]
    assert (report["passed"], logged.evaluation_passed, logged.report) == (False, False, sha256(honest))


def test_a_planted_report_is_not_signed_where_nothing_can_be_measured(completed: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Path) -> None:
        raise BadInput("there are no base weights here")

    monkeypatch.setitem(sys.modules, "eval.report", measuring(fail))
    with pytest.raises(BadInput, match="no base weights"):
        evaluate_run(Workspace(completed.village.coop), RUN, base=completed.base, build=completed.build)
    assert completed.village.coop.register.runs[RUN].report is None


def test_a_planted_plan_decides_nothing(completed: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_run: Path) -> None:
        raise AssertionError("measured under a plan nobody voted on")

    monkeypatch.setitem(sys.modules, "eval.report", measuring(never))
    path = completed.village.root / "runs" / RUN / "plan.json"
    for planted in (completed.plan_bytes.replace(b'"max_starts":', b'"max_starts":1'), None):
        path.unlink()
        if planted is not None:
            path.write_bytes(planted)
        with pytest.raises(BadInput, match="missing or not the plan of the run"):
            evaluate_run(Workspace(completed.village.coop), RUN, base=completed.base, build=completed.build)
        path.touch()
    assert completed.village.coop.register.runs[RUN].report is None
