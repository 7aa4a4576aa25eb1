"""Where a statement stands in the log, by its digest, in 21 bytes each: a dictionary of texts takes eight times as much."""

from __future__ import annotations

import re

__all__ = ["Positions"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEPT, _PLACE = 16, 5
_WIDTH = _KEPT + _PLACE
_MASK = (1 << 16) - 1


class Positions:
    """Digests and log positions. The first 16 bytes of a digest stand for it, as in `governance_hooks.seen`: the log holds no two that begin alike."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [b""] * (_MASK + 1)

    def add(self, digest: str, position: int) -> None:
        """Remember where a statement stands."""
        kept = _kept(digest)
        self._buckets[hash(kept) & _MASK] += kept + position.to_bytes(_PLACE, "big")

    def get(self, digest: str) -> int | None:
        """Return where a statement stands; None for whatever is not in the log."""
        if not _DIGEST.fullmatch(digest):
            return None
        kept = _kept(digest)
        bucket = self._buckets[hash(kept) & _MASK]
        at = bucket.find(kept)
        while at >= 0 and at % _WIDTH:  # found across two of them
            at = bucket.find(kept, at + 1)
        return None if at < 0 else int.from_bytes(bucket[at + _KEPT : at + _WIDTH], "big")

    def __getitem__(self, digest: str) -> int:
        """Return where a statement that is in the log stands."""
        found = self.get(digest)
        if found is None:
            raise KeyError(digest)
        return found


def _kept(digest: str) -> bytes:
    return bytes.fromhex(digest[len("sha256:") : len("sha256:") + 2 * _KEPT])
