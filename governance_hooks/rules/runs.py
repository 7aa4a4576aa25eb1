"""Rules of builds, runs, evaluations and releases: each use of an approval is logged, and none goes beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.releases import Released
from governance_hooks.payloads.runs import BuildMade, Evaluation, RunEnd, RunStart
from governance_hooks.payloads.stake import Payout
from governance_hooks.rules import consents, recalls, sites
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run
from governance_hooks.statement import SITE

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["build", "end", "evaluate", "pay", "release", "require_counted", "require_usable", "start"]


def require_usable(proposal: Proposal, kind: str, subject: str, at: str, *, begun: bool = False) -> None:
    """Refuse unless the proposal is an approval of exactly this subject that may be used at the instant `at`; `begun` as in `Proposal.halted`."""
    if proposal.kind != kind:
        raise Refused(Sentence("this proposal is about a {kind}, not a {wanted}", kind=proposal.kind, wanted=kind), value=proposal.id)
    if proposal.tally is None or proposal.closed_at is None:
        after = Sentence("after {when}", when=proposal.closes)
        raise Refused(Sentence("this vote is not closed yet"), value=proposal.id, allowed=after, next=Sentence("coop tally, then coop close"))
    if not proposal.tally.approved:
        raise Refused(Sentence("members did not approve this: {why}", why=proposal.tally.why), value=proposal.id)
    if proposal.subject != subject:
        then = Sentence("propose what you have now, or restore what was voted")
        raise Refused(Sentence("members voted on another subject"), value=subject, allowed=proposal.subject, next=then)
    if proposal.contested():
        undone = Sentence("{count} members objected in time: the approval is undone", count=len(proposal.objections))
        raise Refused(undone, value=proposal.id, next=Sentence("coop propose again"))
    opens, expires = proposal.due(), proposal.expires()
    if at < opens:
        raise Refused(Sentence("members can still object to this approval"), value=at, allowed=Sentence("from {when}", when=opens))
    if at >= expires:
        raise Refused(Sentence("this approval has expired"), value=at, allowed=Sentence("before {when}", when=expires), next=Sentence("coop propose again"))
    halt = proposal.halted(at, begun=begun)
    if halt is not None:
        lapses = Sentence("after {when}, when the halt lapses", when=halt.until)
        raise Refused(Sentence("this approval is halted by {who}", who=halt.by), value=at, allowed=lapses)


def require_counted(register: Register, at: str) -> None:
    """Refuse to use an approval while a vote that could stop its use, or its user, has ended and is not closed: the operator closes votes."""
    for one in register.proposals.values():
        if one.kind in ("halt", "operator") and one.closed is None and one.closes <= at:
            raise Refused(f"a vote on a motion of kind {one.kind} has ended and is not closed", value=one.id, next=f"coop close {one.id[:19]}")


def pay(register: Register, statement: Statement) -> None:
    """Record that the operator paid what members approved, once."""
    register.require_operator(statement)
    payload = cast(Payout, statement.payload)
    proposal = register.proposal(payload.proposal)
    require_usable(proposal, "payout", payload.payout, statement.issued)
    require_counted(register, statement.issued)
    if proposal.used >= proposal.uses or payload.payout in register.payouts:
        raise Refused("this payout is made already", value=payload.payout, allowed="one payment of what one digest names, however often members approve it")
    _share_out(register, payload.incomes, payload.payout)
    proposal.used += 1
    register.payouts[payload.payout] = proposal.id


def _share_out(register: Register, incomes: Sequence[str], payout: str) -> None:
    """Mark incomes as shared out by a payout; refuse one the log does not know, or that was shared out before."""
    if list(incomes) != sorted(set(incomes)):
        raise Refused("the incomes of a payout are listed once each, sorted", value=list(incomes))
    for one in incomes:
        known = register.incomes.get(one)
        if known is None:
            raise Refused("no such income in this log", value=one, next="coop payout income")
        if known.paid is not None:
            raise Refused("this income is shared out already", value=one, allowed=f"once, by payout {known.paid}")
    for one in incomes:
        register.incomes[one].paid = payout


def build(register: Register, statement: Statement) -> None:
    """Record a dataset build."""
    register.require_operator(statement)
    payload = cast(BuildMade, statement.payload)
    if payload.manifest in register.builds:
        raise Refused("this dataset is in the log already", value=payload.manifest)
    for name, parameters in register.bylaws.stages.items():
        if name not in payload.stages:
            raise Refused(f"the dataset leaves out the stage {name}, which the bylaws ask for", value=sorted(payload.stages), next="coop build make")
        for parameter, value in parameters.items():
            if payload.stages[name].get(parameter) != value:
                said = payload.stages[name].get(parameter)
                raise Refused(f"the dataset's {name}.{parameter} is not what the bylaws ask for", value=said, allowed=str(value), next="coop build make")
    register.builds[payload.manifest] = payload.stages


def start(register: Register, statement: Statement) -> None:
    """Record a start of an approved run, by the operator or a site; one approval serves one run, for as many starts as it allows."""
    site = sites.require_site(register, statement) if statement.author.startswith(SITE) else None
    if site is None:
        register.require_operator(statement)
    payload = cast(RunStart, statement.payload)
    proposal = register.proposal(payload.proposal)
    require_usable(proposal, "run", payload.plan, statement.issued, begun=site is not None)
    require_counted(register, statement.issued)
    other = next((run.id for run in register.runs.values() if run.proposal == proposal.id and run.id != payload.run), None)
    if other is not None:
        raise Refused("this approval is used by another run", value=payload.run, allowed=other, next="coop propose a run of its own")
    if proposal.used >= proposal.uses:
        raise Refused("this approval is used up", value=f"start {proposal.used + 1}", allowed=f"{proposal.uses} starts", next=Sentence("coop propose again"))
    run = register.runs.get(payload.run)
    if run is not None and (run.proposal != proposal.id or run.status == "completed"):
        raise Refused("this run is completed or belongs to another approval", value=run.id)
    if payload.start != (len(run.starts) if run else 0) + 1:
        raise Refused("starts of a run are counted one by one", value=payload.start)
    consents.use_up(register, payload.run, payload.counted, statement.issued)
    if run is None:
        run = register.runs[payload.run] = Run(payload.run, payload.plan, proposal.id)
    run.starts.append(register.size)
    run.started.append(statement.issued)
    run.counted.append(payload.counted)
    run.sites.append(site.name if site is not None else None)
    if site is not None:
        sites.noted(register, site, statement.issued)
    proposal.used += 1


def end(register: Register, statement: Statement) -> None:
    """Record how a run ended."""
    register.require_operator(statement)
    payload = cast(RunEnd, statement.payload)
    run = register.run(payload.run)
    if run.status == "completed":
        raise Refused("this run is completed already", value=run.id)
    if run.ended is not None and run.ended > run.starts[-1]:
        raise Refused("this run has not started again since its last end", value=run.id, next="coop train, which logs the start")
    halt = register.proposal(run.proposal).halted(statement.issued)
    if payload.status == "completed" and halt is not None:
        raise Refused(f"this run is halted by {halt.by} and cannot be completed", value=run.id, allowed=f"after {halt.until}, when the halt lapses")
    run.endings.append((register.size, payload.status))
    run.ended, run.status, run.record, run.outputs = register.size, payload.status, payload.record, payload.outputs


def evaluate(register: Register, statement: Statement) -> None:
    """Record the evaluation of a completed run; the first one stands."""
    register.require_operator(statement)
    payload = cast(Evaluation, statement.payload)
    run = register.run(payload.run)
    if run.status != "completed":
        raise Refused("only a completed run is evaluated", value=run.status, allowed="completed")
    if run.report is not None:
        raise Refused("this run is evaluated already: another try would be picking the better result", value=run.report)
    run.report, run.results, run.evaluation_passed, run.waivable = payload.report, payload.results, payload.passed, payload.waivable
    if payload.leak is not None:
        run.leak, run.leak_differential, run.leak_passed = payload.leak.record, payload.leak.differential, payload.leak.passed


def release(register: Register, statement: Statement) -> None:
    """Record a release that members approved by its digest, of a run whose evaluation passed."""
    register.require_operator(statement)
    payload = cast(Released, statement.payload)
    proposal = register.proposal(payload.proposal)
    require_usable(proposal, "release", payload.release, statement.issued)
    require_counted(register, statement.issued)
    if proposal.used >= proposal.uses:
        raise Refused("this approval is used up", value=payload.release, allowed=f"{proposal.uses} release")
    if payload.release in register.releases:  # a later log position would move what the first release is judged by
        raise Refused("this release is out already", value=payload.release, allowed=f"once, under {register.releases[payload.release]}")
    run = register.run(payload.run)
    if not run.evaluation_passed and not run.waivable:
        raise Refused("the run's evaluation did not pass, and the policy members voted lets nobody waive that", value=run.id, next="plan, vote and train anew")
    if not run.passed and run.waiver is None:
        what = "leak test did not pass" if run.evaluation_passed else "evaluation is missing or did not pass"
        raise Refused(f"the run's {what} the policy members voted", value=run.id, next="coop propose waiver RUN")
    halt = register.proposal(run.proposal).halted(statement.issued)
    if halt is not None:
        raise Refused(f"the run's approval is halted by {halt.by}", value=run.id, allowed=f"after {halt.until}, when the halt lapses")
    run.releases[payload.release] = register.size
    proposal.used += 1
    register.releases[payload.release] = proposal.id
    recalls.went_out(register, payload.release, proposal, statement)
