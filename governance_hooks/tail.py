"""The tail of a tree: all that the next append needs of it, whatever its size."""

from __future__ import annotations

from governance_hooks import merkle

__all__ = ["WIDTH", "Tail", "levels"]

WIDTH = 256
"""Hashes of a full tile (C2SP tlog-tiles)."""


def levels(size: int) -> int:
    """Return how many levels of tiles a tree of `size` entries has."""
    return max(1, (size.bit_length() + 7) // 8)


class Tail:
    """What the next append needs of the tree: its frontier, and the last, partial tile of every level."""

    __slots__ = ("frontier", "tiles")

    def __init__(self) -> None:
        self.frontier = merkle.Frontier()
        self.tiles: list[bytearray] = [bytearray()]

    @classmethod
    def of(cls, size: int, partial: list[bytes]) -> Tail:
        """Return the tail of a tree from the partial tiles of its levels."""
        tail = cls()
        tail.tiles = [bytearray(tile[: 32 * ((size >> 8 * level) % WIDTH)]) for level, tile in enumerate(partial)]
        tail.frontier.size = size
        for level in reversed(range(len(tail.tiles))):
            hashes = [bytes(tail.tiles[level][i : i + 32]) for i in range(0, len(tail.tiles[level]), 32)]
            for bit in reversed(range(8)):
                if len(hashes) >> bit & 1:
                    start = len(hashes) >> bit + 1 << bit + 1
                    tail.frontier.nodes.append((8 * level + bit, merkle.root(hashes[start : start + (1 << bit)])))
        return tail

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.frontier.size

    def root(self) -> bytes:
        """Return the Merkle root."""
        return self.frontier.root()

    def extend(self, batch: list[bytes]) -> list[tuple[int, int, bytes]]:
        """Add entries; return the rows of the tiles to store: full ones, and partial ones above level 0 that grew."""
        rows: dict[tuple[int, int], bytes] = {}
        push, tiles, grown = self.frontier.push, self.tiles, 0
        for data in batch:
            made = push(merkle.leaf_hash(data))
            tiles[0] += made[0]
            if len(made) <= 8:
                continue
            highest = (len(made) - 1) // 8
            grown = max(grown, highest)
            for level in range(1, highest + 1):
                rows[level - 1, (self.size >> 8 * level) - 1] = bytes(tiles[level - 1])
                tiles[level - 1].clear()
                if level == len(tiles):
                    tiles.append(bytearray())
                tiles[level] += made[8 * level]
        for level in range(1, grown + 1):
            if tiles[level]:
                rows[level, self.size >> 8 * (level + 1)] = bytes(tiles[level])
        return [(level, number, hashes) for (level, number), hashes in rows.items()]
