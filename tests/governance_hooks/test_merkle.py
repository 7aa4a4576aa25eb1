import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks import merkle

LEAVES = [merkle.leaf_hash(bytes([i % 256, i // 256])) for i in range(70)]


def naive(leaves: list[bytes]) -> bytes:
    """The recursive definition of RFC 6962 section 2.1, as an independent oracle."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def subtree(start: int, stop: int) -> bytes:
    return naive(LEAVES[start:stop])


@pytest.mark.parametrize("size", range(70))
def test_root_follows_the_recursive_definition(size: int) -> None:
    assert merkle.root(LEAVES[:size]) == naive(LEAVES[:size])


@given(st.integers(1, 70), st.data())
def test_inclusion_proves_its_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, path = naive(LEAVES[:size]), merkle.inclusion_proof(index, size, subtree)
    assert merkle.verify_inclusion(LEAVES[index], index, size, path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else 0
    if size > 1:
        assert not merkle.verify_inclusion(LEAVES[other], index, size, path, root)
        assert not merkle.verify_inclusion(LEAVES[index], other, size, path, root)
        assert not merkle.verify_inclusion(LEAVES[index], index, size, path[:-1], root)
    assert not merkle.verify_inclusion(LEAVES[index], index, size, [*path, LEAVES[0]], root)
    assert not merkle.verify_inclusion(LEAVES[index], size, size, path, root)


@given(st.integers(1, 70), st.data())
def test_consistency_proves_a_prefix_and_nothing_else(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    roots = naive(LEAVES[:old]), naive(LEAVES[:new])
    path = merkle.consistency_proof(old, new, subtree)
    assert merkle.verify_consistency(old, new, path, *roots)
    fork = [*LEAVES[: old - 1], merkle.leaf_hash(b"fork")]
    assert not merkle.verify_consistency(old, new, path, naive(fork), roots[1])
    if old < new:
        assert not merkle.verify_consistency(old, new, path, roots[0], roots[0])
        assert not merkle.verify_consistency(old, new, path[:-1], *roots)
    assert not merkle.verify_consistency(0, new, path, *roots)


def test_impossible_proofs_are_refused() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_proof(3, 3, subtree)
    with pytest.raises(ValueError, match="no consistency"):
        merkle.consistency_proof(4, 3, subtree)
