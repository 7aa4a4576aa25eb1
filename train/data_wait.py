"""Measures how long the training loop waits for its next batch."""

from __future__ import annotations

import time

from pytorch_lightning.profilers import PassThroughProfiler

__all__ = ["DataWait"]


class DataWait(PassThroughProfiler):
    """Sums the time Lightning spends fetching batches; `take` returns it and begins anew. Everything else passes through unmeasured."""

    def __init__(self) -> None:
        super().__init__()
        self._began = self._waited_s = 0.0

    def start(self, action_name: str) -> None:
        """Notice the begin of a fetch."""
        if action_name.endswith(".train_dataloader_next"):
            self._began = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Notice its end."""
        if action_name.endswith(".train_dataloader_next"):
            self._waited_s += time.perf_counter() - self._began

    def take(self) -> float:
        """Return the seconds waited since the last call."""
        waited, self._waited_s = self._waited_s, 0.0
        return waited
