"""Writes which records each optimizer step trained on (trace.jsonl), so that influence of a record ends up as a fact, not a guess."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from train.step_log import StepLog

__all__ = ["Trace"]


class Trace(pl.Callback):
    """Appends {"step", "records"} after the step is in the weights."""

    def __init__(self, log: StepLog) -> None:
        self.step_log = log

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the step's line."""
        self.step_log.append({"step": batch.step, "records": batch.records})
