"""Computes a run's shares under the run's own approval: gate, coalitions one by one, values table, shares.json.

The coalitions are part of what members approved: `plan.attribution` names guilds, utility, seeds and minutes. They use no start of the
run and release no weights; a halt or a withdrawal stops them, and the same command goes on with the table it finds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonweights.progress import Progress
from commonweights.run_inputs import find_base, find_build
from commonweights.running import gate_plan
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.ledger import LedgerRow, read_ledger
from governance_hooks.links import check_consents
from governance_hooks.plan import Plan, read_plan
from governance_hooks.process_lock import process_lock
from governance_hooks.report import StepFailed
from governance_hooks.stake.game import next_coalition
from governance_hooks.stake.guilds import Assignment, assignment_bytes
from governance_hooks.stake.shares import check_shares, make_shares
from governance_hooks.stake.values import Head, Trained, Values, read_values

__all__ = ["compute_shares", "read_shares", "shares_files"]

LOOK_S = 10.0
"""Seconds between two looks at the log while coalitions are trained."""


def shares_files(space: Workspace, run: str) -> dict[str, bytes]:
    """Return the files of a run's shares by bundle path; those that are there."""
    folder = space.run(run) / "stake"
    names = ("shares.json", "values.jsonl", "guilds.jsonl")
    return {f"stake/{name}": (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def read_shares(space: Workspace, run: str) -> dict[str, Any]:
    """Return shares.json of a run after recomputing every number of it."""
    files = shares_files(space, run)
    if "stake/shares.json" not in files:
        raise BadInput(f"run {run} has no shares yet", next=f"coop shares {run}")
    plan = (space.run(run) / "plan.json").read_bytes()
    if sha256(plan) != space.coop.register.run(run).plan:
        raise BadInput(f"plan.json of run {run} is not the one that was voted", value=sha256(plan), allowed=space.coop.register.run(run).plan)
    try:
        check_shares(plan, files, run=run)
    except StepFailed as error:
        raise BadInput(
            f"the shares of run {run} do not hold: {error}", next="restore runs/RUN/stake, or remove shares.json and run coop shares again"
        ) from error
    made: dict[str, Any] = loads(files["stake/shares.json"], source="shares.json")
    return made


@dataclass(slots=True)
class _Permission:
    """Says between steps whether the coalitions may go on."""

    space: Workspace
    plan: Plan
    run: str
    rows: list[LedgerRow]
    allowed_s: float
    began: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.began > self.allowed_s:
            raise CoopError(
                f"the coalitions of run {self.run} have used their voted time",
                value=f"{self.plan.attribution.max_minutes if self.plan.attribution else 0} minutes",
                allowed="attribution.max_minutes of the plan",
                next="plan and vote anew with more minutes, fewer guilds or fewer seeds",
            )
        if now - self.looked >= LOOK_S:
            self.look()

    def look(self) -> None:
        """Look at the log: a halt of the approval, or a consent that is gone, ends it."""
        self.looked = time.monotonic()
        coop = self.space.coop
        coop.refresh()
        register, at = coop.register, coop.clock()
        halt = register.proposal(register.run(self.run).proposal).halted(at)
        if halt is not None:
            raise CoopError(f"the approval of run {self.run} is halted by {halt.by}", allowed=f"after {halt.until}", next="coop shares goes on where it was")
        try:
            check_consents(register, self.rows, self.plan.use, at=at, run=self.run)
        except StepFailed as error:
            raise CoopError(f"the coalitions of run {self.run} stop: {error}", next="build, plan and vote anew without them") from error


def _table(path: Path, head: Head) -> Values:
    """Return the table as far as it is there, its torn last line cut off; raise BadInput for one of another plan or of other answers."""
    if not path.is_file():
        return Values(head, [])
    found = read_values(path.read_bytes(), source=str(path), torn=True)
    if (found.head.plan, found.head.assignment, found.head.answers) != (head.plan, head.assignment, head.answers):
        raise BadInput(f"{path} is the table of another plan", value=found.head.plan, allowed=head.plan, next="remove it, if nobody needs it")
    return found


def _append(path: Path, line: Trained) -> None:
    with path.open("ab") as file:
        file.write(dumps(line.model_dump()) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _frozen(plan: Plan, build: Path) -> Assignment:
    """Make the assignment again from the build; refuse it unless it is the one members voted on."""
    from data_pipeline.guilds import assign
    from data_pipeline.manifest import read_build

    assert plan.attribution is not None
    made = assign(read_build(build), guilds=plan.attribution.guilds, minimum_members=plan.attribution.minimum_members)
    found = sha256(assignment_bytes(made))
    if found != plan.attribution.assignment:
        raise BadInput("the guilds of this dataset are not those that were voted", value=found, allowed=plan.attribution.assignment, next="plan and vote anew")
    return made


def compute_shares(space: Workspace, run: str, *, base: Path | None = None, threads: int | None = None, show: Progress | None = None) -> dict[str, Any]:
    """Train what is missing of a completed run's coalitions, write runs/RUN/stake and return shares.json; a finished one is read and checked.

    Raises:
        Blocked: the gate does not pass: the approval is halted, a consent is gone, base, build or code are others than voted.
        BadInput, CoopError: the run is not completed, its plan shares nothing, the voted minutes are used up.
    """
    known = space.coop.register.run(run)
    data = (space.run(run) / "plan.json").read_bytes()
    plan = read_plan(data)
    if sha256(data) != known.plan:
        raise BadInput(f"plan.json of run {run} is not the one that was voted", value=sha256(data), allowed=known.plan)
    if plan.attribution is None:
        raise BadInput("members voted on no attribution for this run", value=run, next="name a section attribution in the config, then plan and vote anew")
    folder = space.run(run) / "stake"
    if (folder / "shares.json").is_file():
        return read_shares(space, run)
    if known.status != "completed":
        raise BadInput(f"run {run} is not completed", value=known.status, next="coop train PLAN")
    with process_lock(space.root / "runs" / f".{run}.shares.lock", f"shares of run {run}"):
        gate_plan(space, data, base=base, run=run, after=True).require()
        _train_missing(space, run, data, plan, base=find_base(plan, base), build=find_build(space, plan), threads=threads, show=show)
        made = make_shares(data, run, (folder / "values.jsonl").read_bytes(), (folder / "guilds.jsonl").read_bytes())
        write_bytes(folder / "shares.json", made)
    return read_shares(space, run)


def _train_missing(
    space: Workspace, run: str, data: bytes, plan: Plan, *, base: Path, build: Path, threads: int | None, show: Callable[[str, int, int], None] | None
) -> None:
    import torch

    from data_pipeline.manifest import read_build
    from train.coalitions import Coalitions
    from train.console import quiet_libraries

    assert plan.attribution is not None
    folder = space.run(run) / "stake"
    if threads is not None:
        torch.set_num_threads(threads)
    with quiet_libraries():
        assignment = _frozen(plan, build)
        write_bytes(folder / "guilds.jsonl", assignment_bytes(assignment))
        trainer = Coalitions(plan, assignment, base=base, build=read_build(build), seed=space.canary_seed(plan.name), progress=show)
        head = Head(
            plan=sha256(data),
            assignment=plan.attribution.assignment,
            answers=trainer.held.answers,
            device=torch.cuda.get_device_name() if trainer.device.type == "cuda" else "cpu",
            threads=torch.get_num_threads(),
        )
        path = folder / "values.jsonl"
        values = _table(path, head)
        write_bytes(path, values.dumps())
        rows, _ = read_ledger(build / "ledger.jsonl")
        may_go_on = _Permission(space, plan, run, rows, plan.attribution.max_minutes * 60 - values.milliseconds / 1000)
        most = len(plan.attribution.seeds) * ((1 << len(plan.attribution.players)) - 1) + 1 if plan.attribution.exact else 0
        while (wanted := next_coalition(plan.attribution, values)) is not None:
            may_go_on()
            line = trainer.train(*wanted, go_on=may_go_on)
            _append(path, line)
            values.add(line)
            if show is not None:
                show("coalitions", len(values.trained), most)
