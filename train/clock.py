"""Wall time of a run over all its segments, as the plan's limit counts it."""

from __future__ import annotations

import time

__all__ = ["WallClock"]


class WallClock:
    """Counts seconds from the start of this segment, on top of those earlier segments used."""

    def __init__(self, earlier_s: float = 0.0) -> None:
        self.earlier_s = earlier_s
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the wall time of all segments so far."""
        return self.earlier_s + time.monotonic() - self._start
