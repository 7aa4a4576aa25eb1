"""Writes which records each optimizer step trained on (trace.jsonl), so that influence of a record ends up as a fact, not a guess."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from train.record import records_root, trained_records
from train.step_log import StepLog

__all__ = ["Trace"]


class Trace(pl.Callback):
    """Appends {"step", "records"} after the step is in the weights, and for each checkpoint the Merkle root over all records so far.

    Args:
        log: trace.jsonl.
        roots: checkpoints.jsonl.
    """

    def __init__(self, log: StepLog, roots: StepLog) -> None:
        self.step_log, self.roots = log, roots
        self.trained = set(trained_records(log))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the step's line."""
        self.step_log.append({"step": batch.step, "records": batch.records})
        self.trained.update(batch.records)

    def commit(self, step: int) -> None:
        """Write the line of the checkpoint about to be published: {"step", "records": how many, "trained_root"}."""
        self.roots.append({"step": step, "records": len(self.trained), "trained_root": records_root(self.trained)})
