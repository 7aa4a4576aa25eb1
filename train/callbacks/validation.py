"""Measures the held-out loss by language on the same fixed rows, before the first step, every N steps, and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from data_pipeline.croissant import FEW
from data_pipeline.tokens.sample import Sample
from train.module import TrainingModule
from train.reference import HeldoutPairs
from train.step_log import StepLog

__all__ = ["Validation"]


class Validation(pl.Callback):
    """Appends {"step", "validation": {language: nats per token}} to metrics.jsonl, with objective dpo also {"preferences": {language: ...}}.

    Args:
        members: language -> its contributors in the build. A logger, whose files may be published, gets no language of fewer than FEW.
    """

    def __init__(
        self, rows: dict[str, list[Sample]], log: StepLog | None, *, every: int, pad: int, members: Mapping[str, int], pairs: HeldoutPairs | None = None
    ) -> None:
        self.rows, self.step_log, self.every, self.pad, self.pairs = rows, log, every, pad, pairs
        self.told = {language for language in rows if members.get(language, 0) >= FEW}

    def _measure(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if not self.rows:
            return
        values = {language: module.validate_samples(samples, self.pad) for language, samples in self.rows.items()}
        line: dict[str, Any] = {"step": module.completed_steps, "validation": values}
        if self.pairs is not None:
            line["preferences"] = self.pairs.measure(module.model, module.training_plan, pad=self.pad, world=module.world)
        if self.step_log is None:  # not the first process
            return
        self.step_log.append(line)
        for logger in trainer.loggers:
            if self.told:
                logger.log_metrics({f"validation/{language}": values[language] for language in sorted(self.told)}, step=module.completed_steps)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the untrained model; a resumed run has that line already."""
        assert isinstance(pl_module, TrainingModule)
        if pl_module.completed_steps == 0:
            self._measure(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure every N steps and after the last."""
        assert isinstance(pl_module, TrainingModule)
        if pl_module.completed_steps % self.every == 0 or pl_module.completed_steps == pl_module.total_steps:
            self._measure(trainer, pl_module)
