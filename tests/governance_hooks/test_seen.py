"""Replay protection: whatever was appended is known for ever, in few bytes, and nothing else is."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from governance_hooks import seen as module
from governance_hooks.seen import Seen

DIGESTS = st.binary(min_size=16, max_size=16).map(lambda data: "sha256:" + data.hex() + "0" * 32)


@given(st.lists(DIGESTS, unique=True), DIGESTS)
def test_it_holds_what_was_added_and_nothing_else(added: list[str], other: str) -> None:
    seen = Seen()
    for number, digest in enumerate(added):
        assert digest not in seen
        seen.add(digest)
        assert all(one in seen for one in added[: number + 1])
    assert (other in seen) == (other in added)


def test_bytes_across_two_neighbours_are_not_a_member(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "_MASK", 0)  # all in one bucket
    seen = Seen()
    first, second = bytes(range(16)), bytes(range(16, 32))
    for kept in (first, second):
        seen.add("sha256:" + kept.hex() + "0" * 32)
    for cut in range(1, 16):
        assert "sha256:" + (first[cut:] + second[:cut]).hex() + "0" * 32 not in seen
    seen.add("sha256:" + (first[8:] + second[:8]).hex() + "0" * 32)
    assert "sha256:" + (first[8:] + second[:8]).hex() + "0" * 32 in seen


def test_a_hundred_thousand_statements_take_few_bytes_each() -> None:
    seen = Seen()
    digests = ["sha256:" + hashlib.sha256(b"%d" % i).hexdigest() for i in range(100_000)]
    for digest in digests:
        seen.add(digest)
    assert all(digest in seen for digest in digests)
    assert sum(map(len, seen._buckets)) == 16 * len(digests)
