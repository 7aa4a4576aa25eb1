"""Counting a consultation: approval, ranked ballots by Schulze's method, or opinions on statements, in whole numbers only.

The fold recounts every consultation, so this must give everybody the same answer for ever, whatever version of a voting library
they have. The tests compare it with pref_voting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

__all__ = ["ANSWERS", "approvals", "opinions", "pairwise", "winners"]

ANSWERS = ("agree", "disagree", "pass")
"""What one can say to a statement."""

Method = Literal["approval", "ranked"]


def approvals(ballots: Iterable[Sequence[int]], options: int) -> list[int]:
    """Return how many ballots name each option (on ranked ballots: rank it at all)."""
    counts = [0] * options
    for ballot in ballots:
        for option in ballot:
            counts[option] += 1
    return counts


def opinions(ballots: Iterable[Sequence[str]], statements: int) -> list[tuple[int, int, int]]:
    """Return for each statement how many agree, disagree and pass; a ballot says one of these words to each, in their order."""
    counts = [dict.fromkeys(ANSWERS, 0) for _ in range(statements)]
    for ballot in ballots:
        for count, answer in zip(counts, ballot, strict=True):
            count[answer] += 1
    return [(count["agree"], count["disagree"], count["pass"]) for count in counts]


def pairwise(ballots: Iterable[Sequence[int]], options: int) -> list[list[int]]:
    """Return the matrix of how many ballots prefer option i to option j; an option left out is behind all that are ranked."""
    prefers = [[0] * options for _ in range(options)]
    for ballot in ballots:
        behind = set(range(options))
        for option in ballot:
            behind.discard(option)
            for other in behind:
                prefers[option][other] += 1
    return prefers


def _strongest_paths(prefers: list[list[int]]) -> list[list[int]]:
    """Return the strength of the strongest path between each two options (Schulze 2011, section 2.3: winning votes, Floyd-Warshall)."""
    everything = range(len(prefers))
    paths = [[prefers[i][j] if prefers[i][j] > prefers[j][i] else 0 for j in everything] for i in everything]
    for k in everything:
        for i in everything:
            if i != k:
                for j in everything:
                    if j not in (i, k):
                        paths[i][j] = max(paths[i][j], min(paths[i][k], paths[k][j]))
    return paths


def winners(ballots: Sequence[Sequence[int]], options: int, method: Method) -> list[int]:
    """Return the options no other is preferred to, sorted; none if there is no ballot.

    Args:
        ballots: one per member: approved options, or options in order, best first.
        options: number of options; ballots name them from 0.
        method: approval counts names; ranked is Schulze's method (Social Choice and Welfare 36, 2011).
    """
    if not ballots:
        return []
    if method == "approval":
        counts = approvals(ballots, options)
        return [option for option, votes in enumerate(counts) if votes == max(counts)]
    paths = _strongest_paths(pairwise(ballots, options))
    return [i for i in range(options) if all(paths[i][j] >= paths[j][i] for j in range(options) if j != i)]
