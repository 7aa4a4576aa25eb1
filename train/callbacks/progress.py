"""Tells the front door how far the training is; the front door draws the bar or prints lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from train.module import TrainingModule

__all__ = ["ProgressReport"]


class ProgressReport(pl.Callback):
    """Calls `progress("training", steps done, steps in all)` at the start and after each step."""

    def __init__(self, progress: Callable[[str, int, int], None]) -> None:
        self.progress = progress

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report where the run starts, or resumes."""
        assert isinstance(pl_module, TrainingModule)
        self.progress("training", pl_module.completed_steps, pl_module.total_steps)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step just done."""
        assert isinstance(pl_module, TrainingModule)
        self.progress("training", pl_module.completed_steps, pl_module.total_steps)
