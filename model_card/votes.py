"""The vote on a run and the consents behind its data, counted from the log in the form the card shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from governance_hooks.register import Register

__all__ = ["votes_of"]


def votes_of(register: Register, *, run: str, consents: Iterable[str], files: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Return what a card says about decisions: the run's vote, and how many of the data's consents were withdrawn by the run's end.

    It depends only on the log up to the end of the run, and on whether members waived its evaluation before its release, so any
    longer proof of a release gives the same document.

    Args:
        register: the replayed log.
        run: run id.
        consents: digests of the consents the build's ledger names.
        files: files of the release by path, for statements that lie there.

    Raises:
        Refused: the log knows no such run or proposal.
    """
    found = register.run(run)
    proposal = register.proposal(found.proposal)
    tally = proposal.tally
    named = set(consents)
    end = found.ended if found.ended is not None else register.size
    grants = [grant for member in register.grants.values() for grant in member if grant.id in named]
    votes = sorted(proposal.votes.values(), key=lambda vote: vote.ballot)
    return {
        "run": {
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
            "dissent": sorted(vote.reason for vote in votes if vote.choice == "against" and vote.reason is not None),
            "starts": len(found.starts),
            "waiver": found.waived_before_release(),
        },
        "consents": {
            "named": len(named),
            "in_log": len(grants),
            "withdrawn_by_run_end": sum(grant.withdrawn is not None and grant.withdrawn <= end for grant in grants),
        },
    }
