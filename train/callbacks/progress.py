"""Tells the front door how far the training is and how it goes; the front door draws the bar or prints lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from train.callbacks.metrics import Metrics
from train.module import TrainingModule

__all__ = ["ProgressReport"]


class ProgressReport(pl.Callback):
    """Calls `progress("training", steps done, steps in all)` at the start and after each step, and before it `status` with the step's numbers in words.

    Must stand behind `metrics`, whose newest line it tells; only the first process has them.
    """

    def __init__(self, progress: Callable[[str, int, int], None], status: Callable[[str], None] | None, metrics: Metrics | None) -> None:
        self.progress, self.status, self.metrics = progress, status, metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report where the run starts, or resumes."""
        assert isinstance(pl_module, TrainingModule)
        self.progress("training", pl_module.completed_steps, pl_module.total_steps)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step just done."""
        assert isinstance(pl_module, TrainingModule)
        if self.status is not None and self.metrics is not None:
            last = self.metrics.last
            told = f"loss {last['loss']:.3f}, {last['tokens_per_s']:,.0f} tokens/s, {last['supervised_per_s']:,.0f} learned/s"
            self.status(told + (f", MFU {last['mfu']:.0%}" if "mfu" in last else ""))
        self.progress("training", pl_module.completed_steps, pl_module.total_steps)
