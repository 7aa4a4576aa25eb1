"""Counting consultations: against pref_voting's answers, against the definition worked out by brute force, and against Schulze's own example.

`pref_voting.jsonl` holds 400 random profiles (every second one of truncated ballots) with the winners pref_voting 1.18.2 gives:
`beat_path` over the winning votes, and `approval`. The package itself is no test dependency: it would replace numpy and protobuf.
"""

import json
from collections.abc import Sequence
from itertools import pairwise as steps
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.preferences import approvals, pairwise, winners

VECTORS = [json.loads(line) for line in (Path(__file__).parent / "pref_voting.jsonl").read_text().splitlines()]


def ballots(text: str) -> list[list[int]]:
    """`201 -` is a ballot that ranks 2, 0, 1 and an empty one."""
    return [[int(option) for option in ballot.strip("-")] for ballot in text.split()]


def prefers(votes: Sequence[Sequence[int]], one: int, other: int) -> int:
    """Count who ranks `one` before `other`; who ranks neither prefers neither."""
    return sum(one in vote and (other not in vote or vote.index(one) < vote.index(other)) for vote in votes)


def path_strength(votes: Sequence[Sequence[int]], options: int, one: int, other: int) -> int:
    """Try every path from `one` to `other`: the strongest is that whose weakest link is strongest."""
    between = [option for option in range(options) if option not in (one, other)]
    best = 0
    for length in range(len(between) + 1):
        for middle in permutations(between, length):
            path = (one, *middle, other)
            links = [(prefers(votes, a, b), prefers(votes, b, a)) for a, b in steps(path)]
            best = max(best, min((won if won > lost else 0) for won, lost in links))
    return best


def schulze(votes: Sequence[Sequence[int]], options: int) -> list[int]:
    if not votes:
        return []
    strength = {(a, b): path_strength(votes, options, a, b) for a in range(options) for b in range(options) if a != b}
    return [a for a in range(options) if all(strength[a, b] >= strength[b, a] for b in range(options) if a != b)]


@st.composite
def profiles(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    options = draw(st.integers(2, 5))
    ballot = st.permutations(range(options)).flatmap(lambda order: st.integers(0, options).map(lambda length: list(order[:length])))
    return options, draw(st.lists(ballot, max_size=9))


def test_the_winners_are_those_of_pref_voting() -> None:
    assert len(VECTORS) == 400
    for row in VECTORS:
        assert winners(ballots(row["ranked"]), row["options"], "ranked") == row["schulze"], row
        assert winners(ballots(row["approved"]), row["options"], "approval") == row["approval"], row


@given(profiles())
def test_ranked_winners_are_those_of_the_definition(profile: tuple[int, list[list[int]]]) -> None:
    options, votes = profile
    assert winners(votes, options, "ranked") == schulze(votes, options)


@given(profiles())
def test_a_condorcet_winner_wins_alone_and_order_of_ballots_never_matters(profile: tuple[int, list[list[int]]]) -> None:
    options, votes = profile
    won = winners(votes, options, "ranked")
    assert won == winners(votes[::-1], options, "ranked")
    assert bool(won) == bool(votes)
    for one in range(options):
        if all(prefers(votes, one, other) > prefers(votes, other, one) for other in range(options) if other != one):
            assert won == [one]


@given(profiles())
def test_approval_names_those_named_most(profile: tuple[int, list[list[int]]]) -> None:
    options, votes = profile
    counts = approvals(votes, options)
    assert counts == [sum(option in vote for vote in votes) for option in range(options)]
    assert winners(votes, options, "approval") == ([option for option in range(options) if counts[option] == max(counts)] if votes else [])


def test_schulzes_example_of_45_voters() -> None:
    """Schulze 2011, section 3.1 as usually quoted: E wins over a cycle."""
    groups = {"ACBED": 5, "ADECB": 5, "BEDAC": 8, "CABED": 3, "CAEBD": 7, "CBADE": 2, "DCEBA": 7, "EBADC": 8}
    votes = [["ABCDE".index(letter) for letter in order] for order, count in groups.items() for _ in range(count)]
    assert pairwise(votes, 5)[0] == [0, 20, 26, 30, 22]
    assert winners(votes, 5, "ranked") == [4]


@pytest.mark.parametrize("method", ["ranked", "approval"])
def test_nobody_and_empty_ballots(method: str) -> None:
    assert winners([], 3, method) == []  # type: ignore[arg-type]
    assert winners([[]], 3, method) == [0, 1, 2]  # type: ignore[arg-type]
    assert winners([[], [1]], 3, method) == [1]  # type: ignore[arg-type]
