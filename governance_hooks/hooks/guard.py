"""The guard of one run: gate at the start, and a watch on the log while the run is on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from governance_hooks.errors import BadInput
from governance_hooks.gate import Request, apply_pending, run_gate
from governance_hooks.ledger import LedgerRow, read_ledger
from governance_hooks.links import check_age, check_consents, check_counted
from governance_hooks.plan import Plan, read_plan
from governance_hooks.proof import read_proof
from governance_hooks.report import Report, StepFailed
from governance_hooks.statement import now

__all__ = ["Guard", "Kind", "Stop"]

Kind = Literal["halted", "withdrawn", "unchecked"]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run must stop at the next step boundary."""

    kind: Kind
    reason: str


@dataclass(slots=True)
class Guard:
    """Blocks a run that may not start, and stops one that may not go on.

    Args:
        request: what is to run; its proof is the one the run starts with.
        fresh: returns the newest proof bytes (the local log, or a file the operator refreshes on a cluster); None in a process of a run whose first one
            looks at the log for all of them.
        every_s: seconds between two looks at the log while training; a look costs a replay of the log.
        clock: returns the time, RFC 3339 UTC.
        on_end: called with the run record when training ends, however it ended: logs it, evaluates, emits the card.
    """

    request: Request
    fresh: Callable[[], bytes] | None
    every_s: float = 10.0
    clock: Callable[[], str] = now
    on_end: Callable[[dict[str, Any]], None] | None = None
    unreleasable: str | None = None
    """Set when a consent was withdrawn and the plan says finish-unreleased."""
    _plan: Plan | None = field(default=None, init=False)
    _rows: list[LedgerRow] = field(default_factory=list, init=False)
    _known: bytes = field(default=b"", init=False)
    _looked: float = field(default=0.0, init=False)

    def start(self) -> Report:
        """Run the whole gate; raise Blocked unless it passes, and BadInput for a request that names no logged run."""
        if self.request.run is None:
            raise BadInput("a guard watches one run", allowed="Request(run=...), whose start is logged")
        report = run_gate(replace(self.request, now=self.clock())).require()
        plan = read_plan(self.request.plan)
        self._rows, root = read_ledger(self.request.build / "ledger.jsonl")
        if root != plan.build.root:  # swapped since the gate read it: withdrawals of other people would be watched
            raise BadInput("the ledger does not hash to the voted Merkle root", value=root, allowed=plan.build.root, next="restore the voted dataset")
        self._plan = plan
        self._known, self._looked = self.request.proof, time.monotonic()
        return report

    def stop(self, *, force: bool = False) -> Stop | None:
        """Return why the run must stop, or None; looks at the log at most every `every_s` seconds unless forced.

        Fails closed: a log that cannot be read, was rolled back or does not hold stops the run too.
        """
        if self._plan is None:
            return Stop("unchecked", "the guard was never started")
        if self.fresh is None:
            return None
        if not force and time.monotonic() - self._looked < self.every_s:
            return None
        self._looked = time.monotonic()
        try:
            memory = self.request.memory
            known = memory.load() if memory else None  # before the log is read: another command may go on meanwhile
            return self._judge(self.fresh(), known)
        except Exception as error:  # whatever breaks the look, the run must not go on unwatched, nor lose its checkpoint
            return Stop("unchecked", f"the log could not be checked: {error}")

    def end(self, record: dict[str, Any]) -> None:
        """Hand the record of an ended run to `on_end`."""
        if self.on_end is not None:
            self.on_end(record)

    def _judge(self, data: bytes, known: str | None) -> Stop | None:
        assert self._plan is not None
        proof, before = read_proof(data), read_proof(self._known)
        replay = proof.replay(self.request.pin)
        register = replay.register
        if self.request.memory:  # first: it keeps the evidence of a log that was rewritten
            self.request.memory.extend(proof, register.log_key, known)
        if proof.entries[: len(before.entries)] != before.entries:
            return Stop("unchecked", "the log was rolled back or rewritten since this run last looked")
        check_age(replay.witnessed, self.clock(), self.request.max_age_s)
        apply_pending(register, proof.entries, self.request.pending)
        self._known = data
        assert self.request.run is not None
        run = register.run(self.request.run)
        halt = register.proposal(run.proposal).halted(self.clock())
        if halt is not None:
            return Stop("halted", f"{halt.by} halted this approval until {halt.until}")
        try:
            check_consents(register, self._rows, self._plan.use, at=self.clock(), run=run.id)
            check_counted(register, self._rows, self._plan.use, run, at=self.clock())
        except StepFailed as failed:
            if self._plan.policies.on_withdrawal == "stop":
                return Stop("withdrawn", failed.why)
            self.unreleasable = failed.why
        return None
