"""The vote on a run, the runs before it, the statements about it and the consents behind its data, counted from the log in the form the card shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.register import Register
from governance_hooks.state.consents import Grant
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run
from governance_hooks.vocabulary import covers
from model_card.statements import statements_of

__all__ = ["PREVIOUS", "votes_of"]

_COMMERCIAL: Final = ("dpv:CommercialPurpose", "dpv:CommercialResearch")
PREVIOUS: Final = "previous/release.json"
"""Where a release holds the list of files of the one before it."""


def _counted(proposal: Proposal) -> dict[str, Any]:
    tally = proposal.tally
    return {
        "proposal": proposal.id,
        "subject": proposal.subject,
        "opened": proposal.issued,
        "closes": proposal.closes,
        "closed": proposal.closed_at,
        "outcome": tally.outcome if tally else None,
        "for": tally.votes_for if tally else None,
        "against": tally.votes_against if tally else None,
        "abstain": tally.votes_abstain if tally else None,
        "roll": len(proposal.roll),
        "roll_root": proposal.roll_root,
        "turnout_percent": 100 * tally.cast // len(proposal.roll) if tally and proposal.roll else None,
        "quorum_percent": proposal.rules.quorum_percent,
        "approval_percent": proposal.rules.approval_percent,
        "minimum_for": proposal.rules.minimum_for,
        "challenge_s": proposal.rules.challenge_s,
        "objections": len(proposal.objections),
    }


def _before(run: Run, end: int) -> dict[str, Any]:
    """Return what was known of another run at a log position: later starts and ends change nothing."""
    starts = [index for index, start in enumerate(run.starts) if start < end]
    ends = [status for position, status in run.endings if position < end]
    segments = [run.segments[index + 1] for index in starts if index + 1 in run.segments]
    return {
        "plan": run.plan,
        "starts": len(starts),
        "ends": {status: ends.count(status) for status in ("completed", "halted", "failed") if status in ends},
        "device_seconds_at_sites": sum(one.seconds * one.devices for one in segments),
    }


def _commercial(grants: Sequence[Grant]) -> str | None:
    """Return whether all, some or none of these consents allow a commercial purpose; no number, which could tell of few people."""
    allow = [any(covers(purpose, wanted) for purpose in grant.consent.purposes for wanted in _COMMERCIAL) for grant in grants]
    return None if not allow else "all" if all(allow) else "some" if any(allow) else "none"


def votes_of(register: Register, *, run: str, consents: Iterable[str], files: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Return what a card says about decisions: the run's vote, other runs, members' own words, and how many of the data's consents ended by the run's end.

    It depends only on the log up to the end of the run, on whether members waived its evaluation before its release, and on what the
    log says of the statements whose files are given; so any longer proof of a release gives the same document.

    Args:
        register: the replayed log.
        run: run id.
        consents: digests of the consents the build's ledger names.
        files: files of the run or release by path; those below `statements/` are looked up in the log.

    Raises:
        Refused: the log knows no such run or proposal.
        BadInput: a statement's file does not hold what its author signed.
    """
    found = register.run(run)
    proposal = register.proposal(found.proposal)
    named = set(consents)
    end = found.ended if found.ended is not None else found.starts[-1] + 1
    grants = [grant for member in register.grants.values() for grant in member if grant.id in named]
    votes = sorted(proposal.votes.values(), key=lambda vote: vote.ballot)
    waiver = found.waived_before_release()
    document: dict[str, Any] = {
        "run": _counted(proposal)
        | {
            "dissent": sorted(vote.reason for vote in votes if vote.choice == "against" and vote.reason is not None),
            "starts": len([start for start in found.starts if start < end]),
            "waiver": waiver,
        },
        "consents": {
            "named": len(named),
            "in_log": len(grants),
            "withdrawn_by_run_end": sum(grant.withdrawn is not None and grant.withdrawn <= end for grant in grants),
            "commercial": _commercial(grants) if len(grants) == len(named) else None,
        },
        "runs": {other.id: _before(other, end) for other in register.runs.values() if other.id != run and other.starts and other.starts[0] < end},
        "statements": statements_of(register, run, files or {}),
    }
    if waiver is not None:
        document["waiver"] = _counted(register.proposal(waiver))
    if files and PREVIOUS in files:
        before = sha256(files[PREVIOUS])
        if before not in register.releases:
            raise BadInput("the log knows no such release before this one", value=before, allowed="a release that went out", next=f"leave {PREVIOUS} out")
        document["previous"] = {"release": before, "proposal": register.releases[before]}
    return document
