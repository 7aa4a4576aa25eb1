"""Merkle trees of RFC 6962 / RFC 9162: roots, inclusion proofs and consistency proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

__all__ = ["Frontier", "consistency_proof", "inclusion_proof", "leaf_hash", "node_hash", "root", "verify_consistency", "verify_inclusion"]

Subtree = Callable[[int, int], bytes]
"""Returns the Merkle tree hash of the leaves [start, stop)."""


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of leaf hashes; of no leaves, SHA-256 of nothing (RFC 6962 section 2.1)."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:  # an odd last node is promoted unchanged: the same tree as the recursive definition
        level = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)] + level[len(level) & ~1 :]
    return level[0]


class Frontier:
    """The perfect subtrees of a growing tree (a compact range): the root of every prefix in one pass, in memory of its height."""

    __slots__ = ("nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.nodes: list[tuple[int, bytes]] = []
        """(height, hash), tallest first."""

    def push(self, leaf: bytes) -> list[bytes]:
        """Add a leaf hash; return the hashes of the perfect subtrees it completes, of height 0, 1, 2, ..."""
        nodes, size, made = self.nodes, self.size, [leaf]
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + nodes.pop()[1] + leaf).digest()
            made.append(leaf)
            size >>= 1
        nodes.append((len(made) - 1, leaf))
        self.size += 1
        return made

    def root(self) -> bytes:
        """Return the Merkle root over all leaves so far."""
        if not self.nodes:
            return root([])
        node = self.nodes[-1][1]
        for _, left in self.nodes[-2::-1]:
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the audit path of leaf `index` in a tree of `size` leaves, lowest node first (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    start, stop, path = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(subtree(middle, stop))
            stop = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that the first `old` of `new` leaves are an earlier tree (RFC 9162 section 2.1.4.1)."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new} leaves")

    def proof(start: int, stop: int, whole: bool) -> list[bytes]:
        if old == stop:
            return [] if whole else [subtree(start, stop)]
        middle = start + _split(stop - start)
        if old <= middle:
            return [*proof(start, middle, whole), subtree(middle, stop)]
        return [*proof(middle, stop, False), subtree(start, middle)]

    return proof(0, new, True)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Tell whether `path` proves `leaf` at `index` under root `expected` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, node = index, size - 1, leaf
    for step in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = node_hash(step, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == expected


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Tell whether `path` proves that the tree `old_root` is a prefix of `new_root` (RFC 9162 section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root
