"""A start of a run is used only by the process that trains it, and only once the gate has passed."""

from pathlib import Path
from typing import Any

import click
import pytest

from commonweights.cli import Session
from commonweights.commands.train import _end
from commonweights.running import gate_plan, run_plan
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.process_lock import process_lock
from governance_hooks.report import Blocked, Report
from governance_hooks.statement import shift
from tests.village import Approved

RUN = "run-1"


class Seen(Exception):
    """Ends a start at the moment the gate's table is shown."""


@pytest.fixture
def ready(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> Approved:
    """An approved plan; the commands go by the village's clock."""
    monkeypatch.setattr("commonweights.running.now", lambda: approved.village.clock)
    return approved


def start(approved: Approved, run: str = RUN, chosen: str | None = None) -> str:
    """Go as far as the gate's table, and return the proposal it names."""
    tables: list[Report] = []

    def passed(report: Report) -> None:
        tables.append(report)
        raise Seen

    with pytest.raises(Seen):
        run_plan(Workspace(approved.village.coop), approved.plan_bytes, run, base=approved.base, chosen=chosen, passed=passed)
    return tables[0].steps[0].checked.rpartition(" ")[2]


def test_a_second_process_at_the_same_run_is_refused_before_it_uses_a_start(ready: Approved) -> None:
    coop = ready.village.coop
    size = coop.log.size
    with process_lock(ready.village.root / "runs" / f".{RUN}.lock", "training"), pytest.raises(CoopError, match=r"process \d+ is training run run-1 already"):
        run_plan(Workspace(coop), ready.plan_bytes, RUN, base=ready.base)
    assert (coop.log.size, coop.register.runs) == (size, {})


def test_the_table_is_shown_before_a_start_is_used(ready: Approved) -> None:
    assert start(ready) == ready.proposal[:19]
    assert ready.village.coop.register.runs == {}


def test_a_run_goes_on_under_its_own_approval_and_another_run_takes_one_nobody_has_taken(ready: Approved) -> None:
    village, first = ready.village, ready.proposal
    village.wait(600)
    second = village.approve("run", sha256(ready.plan_bytes), uses=2)
    assert start(ready) == first[:19]
    assert start(ready, chosen=second) == second[:19]
    ready.start()  # under the first
    assert start(ready) == first[:19]
    assert start(ready, "run-2") == second[:19]


def test_a_halted_approval_is_not_passed_over_by_a_start(ready: Approved) -> None:
    village = ready.village
    village.approve("run", sha256(ready.plan_bytes), uses=2)
    village.say("coop.halt/v1", {"proposal": ready.proposal, "until": shift(village.clock, 600)}, village.members[4])
    with pytest.raises(Blocked, match="halted by the oversight body"):
        run_plan(Workspace(village.coop), ready.plan_bytes, RUN, base=ready.base)
    assert village.coop.register.runs == {}


def test_a_name_that_leads_out_of_the_folder_is_no_run(ready: Approved) -> None:
    with pytest.raises(BadInput, match="no name of a run"):
        run_plan(Workspace(ready.village.coop), ready.plan_bytes, "../first", base=ready.base)


def test_base_weights_that_are_not_in_the_cache_are_asked_for_by_name(ready: Approved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMMONWEIGHTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("train.base_weights.cached_base", lambda: (_ for _ in ()).throw(CoopError("no package")))
    step = gate_plan(Workspace(ready.village.coop), ready.plan_bytes, base=None).steps[5]
    assert step.why == f"base weights are not at {tmp_path}/cache/example--base"
    assert step.todo == "coop base, or coop train PLAN --base FOLDER"


@pytest.mark.parametrize(
    ("reason", "code", "told"),
    [
        ("interrupted", 1, "next: the same command goes on from step 7"),
        ("preempted", 75, "next: the same command goes on from step 7"),
        ("withdrawn: m-one withdrew", 1, "next: coop why run-1"),
    ],
)
def test_a_run_that_was_stopped_says_what_comes_next(capsys: pytest.CaptureFixture[str], reason: str, code: int, told: str) -> None:
    record: dict[str, Any] = {"status": "halted", "reason": reason, "steps": 7, "loss": {"first": 2.0, "last": 1.5}}
    with pytest.raises(click.exceptions.Exit) as left:
        _end(Session(None, False), RUN, record)
    assert left.value.exit_code == code
    assert capsys.readouterr().out.splitlines()[-1] == told
