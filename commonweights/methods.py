"""What other voting methods would say about a ranked consultation, through the library votelib; for information only."""

from __future__ import annotations

from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult
from governance_hooks.preferences import pairwise
from governance_hooks.state.proposals import Proposal

__all__ = ["other_methods"]


def other_methods(proposal: Proposal) -> dict[str, list[int]]:
    """Return the winners by each of several methods, by option number from 0.

    Raises:
        BadInput: it is no ranked consultation with answers, or votelib is not installed.
    """
    ballots = [vote.options for vote in proposal.votes.values() if vote.options]
    if not isinstance(proposal.motion, Consult) or proposal.motion.method != "ranked" or not ballots:
        raise BadInput("other methods count ranked answers", value=proposal.kind, allowed="a ranked consultation with answers")
    try:
        from votelib.evaluate.condorcet import Copeland, MinimaxCondorcet, Schulze
        from votelib.evaluate.core import Tie
    except ImportError as error:
        raise BadInput("votelib is not installed", next="pip install 'commonweights[voting]'") from error
    prefers = pairwise(ballots, len(proposal.motion.options))
    votes = {(i, j): count for i, row in enumerate(prefers) for j, count in enumerate(row) if i != j}
    found = {"Schulze": Schulze(), "Minimax": MinimaxCondorcet(), "Copeland": Copeland(second_order=False)}
    first = {name: method.evaluate(votes, n_seats=1)[0] for name, method in found.items()}
    return {name: sorted(winner) if isinstance(winner, Tie) else [winner] for name, winner in first.items()}
