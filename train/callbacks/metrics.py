"""Writes one line of metrics.jsonl per optimizer step, and the same numbers to a logger if there is one."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch

from train.clock import WallClock
from train.data_wait import DataWait
from train.memory_peak import memory_peak
from train.mfu import ModelFlops, peak_flops
from train.module import TrainingModule
from train.step_log import StepLog

__all__ = ["Metrics"]


class Metrics(pl.Callback):
    """Measures each step: loss, also by language, learning rate, gradient norm, real tokens and their rate (padding never counts), time, memory, MFU where honest.

    `last` is the newest line.
    """

    def __init__(self, log: StepLog, clock: WallClock, wait: DataWait) -> None:
        self.step_log, self.clock, self.wait = log, clock, wait
        self.last: dict[str, Any] = {}
        self._started = 0.0
        self._flops: ModelFlops | None = None
        self._peak: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the model's arithmetic, if a share of the device's peak means something."""
        assert isinstance(pl_module, TrainingModule)
        device, training = pl_module.device, pl_module.training_plan
        self._peak = peak_flops(torch.cuda.get_device_name(device), training) if device.type == "cuda" else None
        self._flops = ModelFlops.of(pl_module.model, training) if self._peak is not None else None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the step's clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the step's line."""
        assert isinstance(pl_module, TrainingModule)
        assert pl_module.last is not None
        last, seconds = pl_module.last, time.perf_counter() - self._started
        line: dict[str, Any] = {
            "step": last.step,
            "epoch": last.epoch,
            "loss": last.loss,
            "learning_rate": last.learning_rate,
            "grad_norm": last.grad_norm,
            "tokens": last.tokens,
            "supervised": last.supervised,
            "computed": last.computed,
            "tokens_per_s": round(last.tokens / seconds, 1),
            "supervised_per_s": round(last.supervised / seconds, 1),
            "step_s": round(seconds, 4),
            "data_s": round(self.wait.take(), 4),
            "memory_peak_bytes": memory_peak(pl_module.device),
            "wall_s": round(self.clock.seconds(), 3),
            **last.measures,
        }
        numbers = dict(line)
        if last.languages:
            # Not to a logger, whose files may be published: a language can have so few members that its loss is one person's.
            line["languages"] = {language: {"nll": nll, "supervised": tokens} for language, (nll, tokens) in last.languages.items()}
        if self._flops is not None and self._peak is not None:
            flops = self._flops.step(tokens=last.computed, supervised=last.supervised, context=last.tokens / max(len(batch.records), 1))
            line["mfu"] = numbers["mfu"] = round(flops / (seconds * self._peak * trainer.world_size), 4)
        self.step_log.append(line)
        self.last = line
        for logger in trainer.loggers:
            logger.log_metrics({key: float(value) for key, value in numbers.items() if key != "step"}, step=last.step)
