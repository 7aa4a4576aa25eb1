"""Who owns what in a build: proofs a member checks alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, Refused
from governance_hooks.ownership import OwnershipTree, read_ownership

names = st.sets(st.integers(0, 40).map(lambda i: f"m-{i:016x}"), min_size=1, max_size=3).map(sorted)
ledgers = st.lists(names, min_size=1, max_size=30)


def tree_of(authors: list[list[str]]) -> OwnershipTree:
    return OwnershipTree.of_lines(authors, [b'{"row":%d}' % i for i in range(len(authors))])


@given(ledgers)
@settings(deadline=None)
def test_everybodys_rows_are_proved_and_nobody_elses(authors: list[list[str]]) -> None:
    tree = tree_of(authors)
    for i in range(-1, 42):
        member = f"m-{max(i, 0):016x}" if i >= 0 else "m-"
        proof = read_ownership(dumps(tree.prove(member).model_dump())) if i >= 0 else tree.prove("a")
        wanted = sum(member in row for row in authors) if i >= 0 else 0
        assert (proof.check(), proof.root) == (wanted, tree.root)


@given(ledgers, st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_a_changed_proof_is_refused_or_says_the_same(authors: list[list[str]], place: int) -> None:
    tree = tree_of(authors)
    proof = tree.prove(authors[0][0])
    data = bytearray(dumps(proof.model_dump()))
    data[place % len(data)] ^= 1
    try:
        changed = read_ownership(bytes(data))
        counted = changed.check()
    except (BadInput, Refused, ValueError):
        return
    assert changed.root != tree.root or counted == sum(changed.member in row for row in authors)


def test_the_holdings_of_others_do_not_change_when_somebody_leaves() -> None:
    before, after = [["a"], ["b"], ["a", "c"], ["c"]], [["b"], ["c"]]
    lines = [b"0", b"1", b"2", b"3"]
    one, two = OwnershipTree.of_lines(before, lines), OwnershipTree.of_lines(after, [b"1", b"3"])
    assert [h for h in one.holdings if h.member == "b"] == [h for h in two.holdings if h.member == "b"]
    assert two.prove("a").check() == 0


def lie(proof: Any, **changes: Any) -> Any:
    return read_ownership(dumps(json.loads(dumps(proof.model_dump())) | changes))


def test_absence_between_members_who_are_no_neighbours_is_refused() -> None:
    tree = tree_of([["a"], ["b"], ["c"], ["d"]])
    ends = [place.model_dump() for member in ("a", "d") for place in tree.prove(member).places]
    with pytest.raises(Refused, match="not those between which the member would stand"):
        lie(tree.prove("b"), places=ends).check()
    with pytest.raises(Refused, match="not those between which the member would stand"):
        lie(tree.prove("b"), places=ends[:1]).check()
    with pytest.raises(Refused, match="not those between which the member would stand"):
        lie(tree.prove("b"), member="zz", places=[tree.prove("b").places[0].model_dump()]).check()


def test_numbers_and_places_that_do_not_hash_to_the_root_are_refused() -> None:
    tree = tree_of([["a"], ["b"], ["c"]])
    proof = tree.prove("b")
    for changes in ({"members": 2}, {"rows": 9}, {"tree": base64.b64encode(bytes(32)).decode()}):
        with pytest.raises(Refused, match="not those the root commits to"):
            lie(proof, **changes).check()
    place = proof.places[0].model_dump()
    with pytest.raises(Refused, match="does not hash to the root"):
        lie(proof, places=[place | {"holding": place["holding"] | {"rows": 7}}]).check()
    with pytest.raises(BadInput, match="proof: members"):
        lie(proof, members="3")
