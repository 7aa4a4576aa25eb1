"""Writes one line of metrics.jsonl per optimizer step, and the same numbers to a logger if there is one."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from train.clock import WallClock
from train.module import TrainingModule
from train.step_log import StepLog

__all__ = ["Metrics"]


class Metrics(pl.Callback):
    """Measures each step: loss, learning rate, gradient norm, real tokens and their rate (padding never counts)."""

    def __init__(self, log: StepLog, clock: WallClock) -> None:
        self.step_log, self.clock, self._started = log, clock, 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the step's clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the step's line."""
        assert isinstance(pl_module, TrainingModule)
        assert pl_module.last is not None
        last, seconds = pl_module.last, time.perf_counter() - self._started
        line = {
            "step": last.step,
            "epoch": last.epoch,
            "loss": last.loss,
            "learning_rate": last.learning_rate,
            "grad_norm": last.grad_norm,
            "tokens": last.tokens,
            "supervised": last.supervised,
            "tokens_per_s": round(last.tokens / seconds, 1),
            "wall_s": round(self.clock.seconds(), 3),
            **last.measures,
        }
        self.step_log.append(line)
        for logger in trainer.loggers:
            logger.log_metrics({key: float(value) for key, value in line.items() if key != "step"}, step=last.step)
