"""The gate: nine numbered checks before, and while, a run uses members' records and the cooperative's compute.

A pure function over files and a proof. It recounts the ballots and replays the log; it never trusts a stored
"approved". What cannot be checked is UNKNOWN and blocks like a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from governance_hooks.batches import Batches, check_batches
from governance_hooks.canonical import sha256
from governance_hooks.code import installed_code
from governance_hooks.errors import CoopError, Refused
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
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import SITE, parse
from governance_hooks.witness.policy import Witnessed

__all__ = ["Request", "apply_pending", "run_gate"]


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
    site: str | None = None
    """The site where it is to run; None on a machine of the cooperative."""
    pending: tuple[bytes, ...] = ()
    """Entries the site has signed and the log may not hold yet, in their order: the gate judges the log as it will be with them."""
    after: bool = False
    """True for what follows the training, evaluation and card: it uses no start and no minutes of the vote, and needs a start in the log."""
    inputs: bool = True
    """False on a cluster's controller: base weights, data files and code are hashed by the training process, where they are used."""


def apply_pending(register: Register, entries: Sequence[bytes], pending: Sequence[bytes]) -> None:
    """Fold what a site has signed into a replayed log, but for what is in the log already; raise Refused for what the log will not take.

    Args:
        register: the log as replayed; changed.
        entries: that log's entries.
        pending: signed entries, in their order.
    """
    known = set(entries) if pending else set()
    for number, data in enumerate(pending, 1):
        if data in known:
            continue
        statement = parse(data, source=f"pending entry {number}")
        if not statement.author.startswith(SITE):
            raise Refused("only what a site states may be on its way to the log", value=statement.author, allowed=f"{SITE}NAME")
        register.admit(statement)


class _Gate:
    """Carries what one step finds to the steps after it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.plan: Plan | None = None
        self.proof: Proof | None = None
        self.witnessed: Witnessed | None = None
        self.refused: CoopError | None = None
        self.register: Register | None = None
        self.proposal: Proposal | None = None
        self.rows: list[LedgerRow] | None = None
        self.batches: Batches = {}

    def _plan(self) -> Plan:
        if self.plan is None:
            raise StepUnknown(Sentence("needs a readable plan"))
        return self.plan

    def _register(self) -> Register:
        if self.register is None:
            raise StepUnknown(Sentence("needs a log that holds"))
        return self.register

    def _proposal(self) -> Proposal:
        if self.proposal is None:
            raise StepUnknown(Sentence("needs a proposal about this plan"))
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
            raise StepFailed(Sentence("plan cannot be read: {why}", why=Sentence(broken.what)), todo="coop plan")
        if self.register is None:
            raise StepUnknown(Sentence("the proof's log does not hold (see step 2)"))
        return Sentence("plan {plan} is the subject of proposal {proposal}", plan=digest[:19], proposal=self._proposal().id[:19])

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
        try:
            apply_pending(replay.register, self.proof.entries, self.request.pending)
        except CoopError as error:
            self.refused = error
            return
        self.register, self.witnessed = replay.register, replay.witnessed

    # (2) The proof belongs to this cooperative, and every entry of its log is signed and allowed.
    def log_holds(self) -> str:
        proof = self.proof or read_proof(self.request.proof)
        if self.refused is not None:
            why = Sentence("the log will not take what this site has signed: {why}", why=str(self.refused))
            raise StepFailed(why, todo=Sentence("coop collect, which says what became of it"))
        if self.register is None:
            proof.replay(self.request.pin)
        register = self._register()
        if self.plan is not None and self.plan.coop != register.coop:
            raise StepFailed(Sentence("the plan is of another cooperative"), todo=Sentence("coop plan in this cooperative"))
        pinned = Sentence("pinned") if self.request.pin else Sentence("NOT pinned, compare the fingerprint")
        waiting = register.size - len(proof.entries)
        said = Sentence(
            "{name} {coop} ({pinned}), {count} entries replayed", name=register.name, coop=register.coop[:19], pinned=pinned, count=len(proof.entries)
        )
        return Sentence("{said}, {count} of this site after them", said=said, count=waiting) if waiting > 0 else said

    # (3) The checkpoint is signed, cosigned by as many witnesses as the bylaws require, recent, and no step back.
    def checkpoint_is_recent(self) -> str:
        proof, memory = self.proof or read_proof(self.request.proof), self.request.memory
        if self.witnessed is None:
            proof.verify_log(self.request.pin)
            raise StepUnknown(Sentence("needs a log that holds"))
        age = check_age(self.witnessed, self.request.now, self.request.max_age_s)
        said = Sentence("signed by the log's key, {age} s old; {witnesses}", age=max(age, 0), witnesses=self.witnessed.words)
        return said if memory is None else Sentence("{first}; {second}", first=said, second=memory.extend(proof, self._register().log_key, memory.load()))

    # (4) The ballots, recounted under the proposal's own rules, approve it.
    def ballots_approve(self) -> str:
        return check_vote(self._proposal())

    # (5) The approval is in its time window, not halted, not used up.
    def approval_is_usable(self) -> str:
        proposal, run = self._proposal(), self.request.run
        if self.request.after:
            return self._may_follow(proposal)
        usable = check_usable(proposal, sha256(self.request.plan), self.request.now)
        if run is None:
            if proposal.used >= proposal.uses:
                why = Sentence("approval is used up: {used} of {uses} starts", used=proposal.used, uses=proposal.uses)
                raise StepFailed(why, todo=Sentence("coop propose run again; its run needs a name of its own"))
            return usable
        started = self._register().runs.get(run)
        if started is None or started.proposal != proposal.id:
            raise StepFailed(
                Sentence("the log holds no start of run {run} under this approval", run=run), todo=Sentence("coop train, which logs the start first")
            )
        if started.status == "completed":
            raise StepFailed(Sentence("run {run} is completed already", run=run), todo=Sentence("coop propose run, for another one"))
        if started.ended is not None and started.ended > started.starts[-1]:
            raise StepFailed(Sentence("run {run} has ended since its last start", run=run), todo=Sentence("coop train, which logs the next start first"))
        return usable

    def _may_follow(self, proposal: Proposal) -> str:
        """Check that a run has started under the approval and is not halted: what is trained is evaluated even when the approval has expired since."""
        started = self._register().runs.get(self.request.run or "")
        if started is None or started.proposal != proposal.id:
            raise StepFailed(Sentence("the log holds no start of run {run} under this approval", run=self.request.run), todo="coop train")
        halt = proposal.halted(self.request.now)
        if halt is not None:
            raise StepFailed(Sentence("this approval is halted by {who}", who=halt.by), todo=Sentence("after {when}, when the halt lapses", when=halt.until))
        return Sentence("run {run} has started {count} time(s) under it, not halted", run=started.id, count=len(started.starts))

    # (6) Base weights, dataset build and code are byte for byte the voted ones.
    def inputs_match(self) -> str:
        plan, whole = self._plan(), self.request.inputs
        base = check_base(self.request.base, plan.base) if whole else ""
        build, self.rows, self.batches = check_build(self.request.build, plan.build, plan.use, plan.coop, files=whole)
        if plan.build.manifest not in self._register().builds:
            raise StepFailed(Sentence("the log does not know this dataset"), todo=Sentence("coop build, which logs it"))
        check_stages(self.request.build, self._register().builds[plan.build.manifest])
        if not whole:
            return Sentence("{build}; base weights, data files and code are checked by the process that uses them", build=build)
        code = installed_code()
        if code.digest != plan.code.digest:
            raise StepFailed(Sentence("the installed code is not the voted code"), todo=Sentence("install the voted version, or plan and vote anew"))
        odd = sorted(name for name in plan.code.packages.keys() | code.packages.keys() if plan.code.packages.get(name) != code.packages.get(name))
        if odd:
            versions = ", ".join(f"{name} {code.packages.get(name)} (voted {plan.code.packages.get(name)})" for name in odd)
            why = Sentence("libraries differ from the voted ones: {versions}", versions=versions)
            raise StepFailed(why, todo=Sentence("install the voted versions, or plan and vote anew"))
        return Sentence("{base}; {build}; code {code}", base=base, build=build, code=code.digest[:19])

    # (7) Every record has consent in force, for this use, now.
    def consents_stand(self) -> str:
        if self.rows is None:
            raise StepUnknown(Sentence("needs the voted dataset"))
        register, use, now = self._register(), self._plan().use, self.request.now
        run = next((run for run in register.runs.values() if self.proposal and run.proposal == self.proposal.id), None)
        if run is not None and self.request.run is not None:
            check_counted(register, self.rows, use, run, at=now)
        consents = check_consents(register, self.rows, use, at=now, run=run.id if run else None)
        return Sentence("{first}; {second}", first=consents, second=check_batches(register, self.rows, self.batches))

    # (8) The plan has no field the gate does not know.
    def fields_are_known(self) -> str:
        if self.plan is None:
            read_plan(self.request.plan)
        return Sentence("{count} training fields, all known", count=len(self._plan().training.model_dump()))

    # (9) The request keeps within the voted limits.
    def limits_are_kept(self) -> str:
        limits, request = self._plan().limits, self.request
        self._site_is_voted(limits.sites)
        if request.devices > limits.max_devices:
            why = Sentence("{count} devices asked, {most} voted", count=request.devices, most=limits.max_devices)
            raise StepFailed(why, todo=Sentence("ask for fewer, or vote on more"))
        if request.after:
            return Sentence("{count} of {most} devices", count=request.devices, most=limits.max_devices)
        wall_s, device_s = self._used()
        left = limits.max_minutes - wall_s // 60
        most = limits.minutes_on(request.devices, wall_s=wall_s, device_s=device_s)
        minutes = most if request.minutes is None else request.minutes
        if left <= 0 or minutes > left:
            asked, used = {"count": max(minutes, 1), "most": limits.max_minutes}, wall_s // 60
            why = Sentence("{count} minutes asked, {most} voted, {used} of them used", **asked, used=used)
            raise StepFailed(why if used else Sentence("{count} minutes asked, {most} voted", **asked), todo=Sentence("ask for less, or vote on more"))
        if most <= 0 or minutes > most:
            asked = {"count": max(minutes, 1) * request.devices, "most": limits.max_device_minutes or 0}
            why = Sentence("{count} device-minutes asked, {most} voted, {used} of them used", **asked, used=device_s // 60)
            raise StepFailed(why, todo=Sentence("ask for less, or vote on more"))
        if self._proposal().uses != limits.max_starts:
            why = Sentence(
                "the vote allows {count} start, the plan {other}",
                "the vote allows {count} starts, the plan {other}",
                count=self._proposal().uses,
                other=limits.max_starts,
            )
            raise StepFailed(why, todo=Sentence("coop propose run again"))
        return Sentence(
            "{devices} of {most_devices} devices, {minutes} of {most_minutes} minutes, {starts} starts",
            devices=request.devices,
            most_devices=limits.max_devices,
            minutes=minutes,
            most_minutes=limits.max_minutes,
            starts=limits.max_starts,
        )

    def _used(self) -> tuple[int, int]:
        """Return the seconds of wall time and of devices that the run of this approval has used at sites."""
        run = next((one for one in self._register().runs.values() if one.proposal == self._proposal().id), None)
        return run.used_seconds() if run is not None else (0, 0)

    def _site_is_voted(self, voted: list[str] | None) -> None:
        """Refuse a place that is no site of the cooperative, or none of those voted on."""
        site, sites = self.request.site, self._register().sites
        if voted is not None and site not in voted:
            named = ", ".join(voted)
            why = (
                Sentence("this runs at {site}; members voted for {voted}", site=site, voted=named)
                if site
                else Sentence("this runs on a machine of the cooperative; members voted for {voted}", voted=named)
            )
            raise StepFailed(why, todo=Sentence("submit it there"))
        if site is not None and (site not in sites or sites[site].key is None):
            raise StepFailed(Sentence("{site} is no site of this cooperative", site=site), todo="coop site add")


def run_gate(request: Request) -> Report:
    """Judge a run and return the nine-line table; `report.require()` raises Blocked unless every line passed."""
    gate, checklist = _Gate(request), Checklist("Gate for a training run")
    checklist.run(Sentence("plan matches a proposal"), gate.plan_is_voted_subject)
    checklist.run(Sentence("proof is of this log"), gate.log_holds)
    checklist.run(Sentence("checkpoint signed and recent"), gate.checkpoint_is_recent)
    checklist.run(Sentence("ballots recounted"), gate.ballots_approve)
    checklist.run(Sentence("approval usable"), gate.approval_is_usable)
    checklist.run(Sentence("base, dataset and code match"), gate.inputs_match)
    checklist.run(Sentence("consent in force"), gate.consents_stand)
    checklist.run(Sentence("no unknown field"), gate.fields_are_known)
    checklist.run(Sentence("within limits"), gate.limits_are_kept)
    return checklist.report()
