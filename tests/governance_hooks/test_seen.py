"""The memory of statements: no replay goes unseen, and it is small."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.canonical import sha256
from governance_hooks.seen import Seen


@given(st.lists(st.integers(0, 50)), st.integers(0, 50))
def test_it_holds_what_was_added_and_nothing_else(added: list[int], asked: int) -> None:
    seen, plain = Seen(), set()
    for number in added:
        digest = sha256(b"%d" % number)
        assert (digest in seen) == (digest in plain)
        if digest not in seen:
            seen.add(digest)
        plain.add(digest)
    assert (sha256(b"%d" % asked) in seen) == (sha256(b"%d" % asked) in plain)


def test_a_digest_across_two_of_a_bucket_is_not_found() -> None:
    seen = Seen()
    seen._buckets = [bytes(range(32))] * len(seen._buckets)
    assert "sha256:" + bytes(range(16)).hex() + "00" * 16 in seen
    assert "sha256:" + bytes(range(16, 32)).hex() + "00" * 16 in seen
    assert "sha256:" + bytes(range(8, 24)).hex() + "00" * 16 not in seen


def test_it_takes_little_more_than_the_sixteen_bytes_it_keeps() -> None:
    digests = [sha256(b"%d" % number) for number in range(200_000)]
    tracemalloc.start()
    seen = Seen()
    for digest in digests:
        seen.add(digest)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(digests) < 40  # a set of the same texts: over 150
