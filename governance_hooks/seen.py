"""Which statements a log holds already, in about 20 bytes each: a replayed one is refused whatever its type."""

from __future__ import annotations

__all__ = ["Seen"]

_KEPT = slice(len("sha256:"), len("sha256:") + 32)
_MASK = (1 << 16) - 1


class Seen:
    """A set of statement ids that keeps the first 16 bytes of each SHA-256.

    Nobody can make a statement whose digest begins like somebody else's (2^128 tries); whoever makes two of their own
    begin alike (2^64 tries) gets the second one refused, by everybody. A `set` of texts takes seven times the memory.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [b""] * (_MASK + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and self._buckets == other._buckets

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __contains__(self, digest: str) -> bool:
        kept = bytes.fromhex(digest[_KEPT])
        bucket = self._buckets[hash(kept) & _MASK]
        at = bucket.find(kept)
        while at & 15 and at > 0:  # found across two of them
            at = bucket.find(kept, at + 1)
        return at >= 0

    def add(self, digest: str) -> None:
        """Remember a `sha256:...` id that is not here yet."""
        kept = bytes.fromhex(digest[_KEPT])
        self._buckets[hash(kept) & _MASK] += kept  # Python's hash is keyed anew in each process: nobody can aim at one bucket
