"""Links 4 and 5: members voted for exactly this release, and before that for exactly this run."""

from __future__ import annotations

from governance_hooks.canonical import loads, sha256
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence
from governance_hooks.statement import CLOCK_SKEW_S, shift
from model_card.conformity import check_run
from model_card.evidence import DISTRUST, Evidence

__all__ = ["release_vote", "run_vote"]


def _issued(found: Evidence, position: int) -> str:
    assert found.proof is not None  # there is no register without it
    return str(loads(found.proof.entries[position])["body"]["issued"])


def release_vote(found: Evidence) -> str:
    """(4) Members voted for exactly this release.json, and the log holds its release under that vote."""
    register, subject = found.register, found.digest
    published = register.releases.get(subject)  # a later vote on the same release does not hide the one it went out under
    proposal = register.proposal(published) if published else find_proposal(register, "release", subject)
    counted = check_vote(proposal)
    if published is None or subject not in found.run.releases:
        raise StepFailed(
            Sentence("the vote approves it, but the log holds no release of it for this run"),
            todo=Sentence("ask the cooperative for the proof made after the release"),
        )
    found.published = found.run.releases[subject]
    release = found.release
    if release.created > shift(_issued(found, found.published), CLOCK_SKEW_S):
        raise StepFailed(f"release.json is dated {release.created}, after the log says it went out", todo=DISTRUST)
    superseded = tuple(release.supersedes or ())
    for other in superseded:
        went_out = max((run.releases.get(other, -1) for run in register.runs.values()), default=-1)
        if not 0 <= went_out < found.published:
            raise StepFailed(f"it says it supersedes {other[:19]}, which the log does not know as an earlier release", todo="ask the cooperative")
    if proposal.supersedes != superseded:
        raise StepFailed("members voted on another list of superseded releases than release.json has", todo="ask the cooperative")
    return Sentence("{said}; supersedes {count} earlier", said=counted, count=len(superseded)) if superseded else counted


def run_vote(found: Evidence) -> str:
    """(5) Members voted for exactly this plan before the run."""
    release, subject = found.release, sha256(found.get("plan.json"))
    proposal = found.register.proposal(release.run_proposal)
    if not (proposal.kind == "run" and proposal.subject == subject == release.plan):
        raise StepFailed("the run proposal is about another plan than plan.json", todo=DISTRUST)
    counted = check_vote(proposal)
    run = found.run
    if not (run.proposal == proposal.id and run.plan == subject):
        raise StepFailed("the log says the run was made under another proposal or plan", todo=DISTRUST)
    if proposal.closed is None or any(start < proposal.closed for start in run.starts):
        raise StepFailed("the run was started before its vote was closed", todo=DISTRUST)
    ended = _issued(found, run.starts[-1] if run.ended is None else run.ended)
    check_run(found.plain.plan, found.plain.run, run, uses=proposal.uses, ended=ended)
    found.run_was_voted = True
    return Sentence("{said}; {count} start(s), all after the vote", said=counted, count=len(run.starts))
