"""Ranked consultations beside other voting methods, and our count beside votelib's (the oracle)."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from votelib.convert import RankedToCondorcetVotes
from votelib.evaluate.condorcet import Schulze
from votelib.evaluate.core import Tie

from commonweights.methods import other_methods
from governance_hooks.canonical import sha256
from governance_hooks.motions import Consult
from governance_hooks.preferences import pairwise, winners
from tests.village import Village

ballots = st.lists(st.permutations(range(5)).map(tuple), min_size=1, max_size=12)


@given(ballots)
@settings(deadline=None)
def test_our_pairwise_matrix_and_schulze_winners_are_votelibs(ranked: list[tuple[int, ...]]) -> None:
    votes: dict[tuple[int, ...], int] = {}
    for ballot in ranked:
        votes[ballot] = votes.get(ballot, 0) + 1
    theirs = RankedToCondorcetVotes().convert(votes)
    assert {(i, j): n for i, row in enumerate(pairwise(ranked, 5)) for j, n in enumerate(row) if n} == {pair: n for pair, n in theirs.items() if n}
    everything = {(i, j): theirs.get((i, j), 0) for i in range(5) for j in range(5) if i != j}
    found = Schulze().evaluate(everything, n_seats=1)
    assume(found)  # votelib names nobody at all in some ties
    [first] = found
    ours = winners(ranked, 5, "ranked")
    assert set(ours) >= (set(first) if isinstance(first, Tie) else {first})
    if len(ours) == 1:
        assert [first] == ours


def test_other_methods_agree_where_one_option_beats_all(village: Village) -> None:
    options = [sha256(word) for word in (b"north", b"east", b"south")]
    proposal = village.move(Consult(question=sha256(b"where to?"), options=options, method="ranked")).id
    for member, answer in zip(village.members, ([0, 1, 2], [1, 2, 0], [1, 0], [2, 1], [1]), strict=True):
        village.say("coop.preference/v1", {"proposal": proposal, "options": answer, "sequence": 1, "reason": None}, member)
    assert other_methods(village.coop.register.proposal(proposal)) == {"Schulze": [1], "Minimax": [1], "Copeland": [1]}
