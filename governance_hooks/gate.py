"""The gate: nine numbered checks before, and while, a run uses members' records and the cooperative's compute.

A pure function over files and a proof. It recounts the ballots and replays the log; it never trusts a stored
"approved". What cannot be checked is UNKNOWN and blocks like a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance_hooks.batches import Batches, check_batches
from governance_hooks.canonical import sha256
from governance_hooks.code import installed_code
from governance_hooks.errors import CoopError
from governance_hooks.ledger import LedgerRow
from governance_hooks.links import (
    MAX_AGE_S,
    check_age,
    check_base,
    check_build,
    check_consents,
    check_counted,
    check_stages,
    check_usable,
    check_vote,
    find_proposal,
)
from governance_hooks.memory import Memory
from governance_hooks.plan import Plan, read_plan
from governance_hooks.proof import Proof, read_proof
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.state import Proposal
from governance_hooks.witness.policy import Witnessed

__all__ = ["Request", "run_gate"]


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to run, with everything the gate needs to judge it."""

    plan: bytes
    """The plan file, byte for byte."""
    proof: bytes
    """The approval proof file."""
    base: Path
    build: Path
    now: str
    """RFC 3339 UTC."""
    pin: str | None = None
    """Digest of the founding statement you expect."""
    run: str | None = None
    """Id of a run whose start the log must hold; None before the start is logged."""
    proposal: str | None = None
    """Digest of the run proposal whose approval shall be used; None takes that of `run`, else as `find_proposal` does."""
    devices: int = 1
    minutes: int | None = None
    """Wall time asked for; the plan's limit, if None."""
    max_age_s: int = MAX_AGE_S
    memory: Memory | None = None
    """What this machine remembers of the cooperative: the proof must not be older, nor of a fork. Not looked at, if None."""


class _Gate:
    """Carries what one step finds to the steps after it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.plan: Plan | None = None
        self.proof: Proof | None = None
        self.witnessed: Witnessed | None = None
        self.register: Register | None = None
        self.proposal: Proposal | None = None
        self.rows: list[LedgerRow] | None = None
        self.batches: Batches = {}

    def _plan(self) -> Plan:
        if self.plan is None:
            raise StepUnknown("needs a readable plan")
        return self.plan

    def _register(self) -> Register:
        if self.register is None:
            raise StepUnknown("needs a log that holds")
        return self.register

    def _proposal(self) -> Proposal:
        if self.proposal is None:
            raise StepUnknown("needs a proposal about this plan")
        return self.proposal

    # (1) The plan is canonical, and its digest is the subject of a run proposal.
    def plan_is_voted_subject(self) -> str:
        broken: CoopError | None = None
        try:
            self.plan = read_plan(self.request.plan)
        except CoopError as error:
            broken = error
        digest = sha256(self.request.plan)
        self._replay()
        if self.register is not None:
            self.proposal = self._approval(self.register, digest)
        if broken is not None:
            raise StepFailed(f"plan cannot be read: {broken.what}", todo="coop plan")
        if self.register is None:
            raise StepUnknown("the proof's log does not hold (see step 2)")
        return f"plan {digest[:19]} is the subject of proposal {self._proposal().id[:19]}"

    def _approval(self, register: Register, plan: str) -> Proposal:
        """Return the proposal whose approval is used: the one the request names, that of a run of this plan that has started, or the best there is."""
        run = register.runs.get(self.request.run or "")
        started_under = run.proposal if run is not None and run.plan == plan else None
        return find_proposal(register, "run", plan, at=self.request.now, chosen=self.request.proposal or started_under)

    def _replay(self) -> None:
        try:
            self.proof = read_proof(self.request.proof)
            replay = self.proof.replay(self.request.pin)
        except CoopError:
            return  # steps 2 and 3 say why
        self.register, self.witnessed = replay.register, replay.witnessed

    # (2) The proof belongs to this cooperative, and every entry of its log is signed and allowed.
    def log_holds(self) -> str:
        proof = self.proof or read_proof(self.request.proof)
        if self.register is None:
            proof.replay(self.request.pin)
        register = self._register()
        if self.plan is not None and self.plan.coop != register.coop:
            raise StepFailed("the plan is of another cooperative", todo="coop plan in this cooperative")
        pinned = "pinned" if self.request.pin else "NOT pinned, compare the fingerprint"
        return f"{register.name} {register.coop[:19]} ({pinned}), {register.size} entries replayed"

    # (3) The checkpoint is signed, cosigned by as many witnesses as the bylaws require, recent, and no step back.
    def checkpoint_is_recent(self) -> str:
        proof, memory = self.proof or read_proof(self.request.proof), self.request.memory
        if self.witnessed is None:
            proof.verify_log(self.request.pin)
            raise StepUnknown("needs a log that holds")
        age = check_age(self.witnessed, self.request.now, self.request.max_age_s)
        seen = "" if memory is None else "; " + memory.extend(proof, self._register().log_key, memory.load())
        return f"signed by the log's key, {max(age, 0)} s old; {self.witnessed.words}{seen}"

    # (4) The ballots, recounted under the proposal's own rules, approve it.
    def ballots_approve(self) -> str:
        return check_vote(self._proposal())

    # (5) The approval is in its time window, not halted, not used up.
    def approval_is_usable(self) -> str:
        proposal, run = self._proposal(), self.request.run
        usable = check_usable(proposal, sha256(self.request.plan), self.request.now)
        if run is None:
            if proposal.used >= proposal.uses:
                raise StepFailed(
                    f"approval is used up: {proposal.used} of {proposal.uses} starts", todo="coop propose run again; its run needs a name of its own"
                )
            return usable
        started = self._register().runs.get(run)
        if started is None or started.proposal != proposal.id:
            raise StepFailed(f"the log holds no start of run {run} under this approval", todo="coop train, which logs the start first")
        if started.status == "completed":
            raise StepFailed(f"run {run} is completed already", todo="coop propose run, for another one")
        if started.ended is not None and started.ended > started.starts[-1]:
            raise StepFailed(f"run {run} has ended since its last start", todo="coop train, which logs the next start first")
        return usable

    # (6) Base weights, dataset build and code are byte for byte the voted ones.
    def inputs_match(self) -> str:
        plan = self._plan()
        base = check_base(self.request.base, plan.base)
        build, self.rows, self.batches = check_build(self.request.build, plan.build, plan.use, plan.coop)
        if plan.build.manifest not in self._register().builds:
            raise StepFailed("the log does not know this build", todo="coop build, which logs it")
        check_stages(self.request.build, self._register().builds[plan.build.manifest])
        code = installed_code()
        if code.digest != plan.code.digest:
            raise StepFailed("the installed code is not the voted code", todo="install the voted version, or plan and vote anew")
        odd = sorted(name for name in plan.code.packages.keys() | code.packages.keys() if plan.code.packages.get(name) != code.packages.get(name))
        if odd:
            versions = ", ".join(f"{name} {code.packages.get(name)} (voted {plan.code.packages.get(name)})" for name in odd)
            raise StepFailed(f"libraries differ from the voted ones: {versions}", todo="install the voted versions, or plan and vote anew")
        return f"{base}; {build}; code {code.digest[:19]}"

    # (7) Every record has consent in force, for this use, now.
    def consents_stand(self) -> str:
        if self.rows is None:
            raise StepUnknown("needs the voted build")
        register, use, now = self._register(), self._plan().use, self.request.now
        run = next((run for run in register.runs.values() if self.proposal and run.proposal == self.proposal.id), None)
        if run is not None and self.request.run is not None:
            check_counted(register, self.rows, use, run, at=now)
        return f"{check_consents(register, self.rows, use, at=now, run=run.id if run else None)}; {check_batches(register, self.rows, self.batches)}"

    # (8) The plan has no field the gate does not know.
    def fields_are_known(self) -> str:
        if self.plan is None:
            read_plan(self.request.plan)
        return f"{len(self._plan().training.model_dump())} training fields, all known"

    # (9) The request keeps within the voted limits.
    def limits_are_kept(self) -> str:
        limits, request = self._plan().limits, self.request
        minutes = limits.max_minutes if request.minutes is None else request.minutes
        if request.devices > limits.max_devices:
            raise StepFailed(f"{request.devices} devices asked, {limits.max_devices} voted", todo="ask for fewer, or vote on more")
        if minutes > limits.max_minutes:
            raise StepFailed(f"{minutes} minutes asked, {limits.max_minutes} voted", todo="ask for less, or vote on more")
        if self._proposal().uses != limits.max_starts:
            raise StepFailed(f"the vote allows {self._proposal().uses} starts, the plan {limits.max_starts}", todo="coop propose run again")
        return f"{request.devices} of {limits.max_devices} devices, {minutes} of {limits.max_minutes} minutes, {limits.max_starts} starts"


def run_gate(request: Request) -> Report:
    """Judge a run and return the nine-line table; `report.require()` raises Blocked unless every line passed."""
    gate, checklist = _Gate(request), Checklist("Gate for a training run")
    checklist.run("plan matches a proposal", gate.plan_is_voted_subject)
    checklist.run("proof is of this log", gate.log_holds)
    checklist.run("checkpoint signed and recent", gate.checkpoint_is_recent)
    checklist.run("ballots recounted", gate.ballots_approve)
    checklist.run("approval usable", gate.approval_is_usable)
    checklist.run("base, build and code match", gate.inputs_match)
    checklist.run("consent in force", gate.consents_stand)
    checklist.run("no unknown field", gate.fields_are_known)
    checklist.run("within limits", gate.limits_are_kept)
    return checklist.report()
