"""Saves a checkpoint every N steps, after the last, and whenever the run is asked to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from governance_hooks.hooks.lightning import GovernanceCallback
from train import checkpoint
from train.callbacks.trace import Trace
from train.module import TrainingModule
from train.step_log import StepLog

__all__ = ["Checkpoints"]


class Checkpoints(pl.Callback):
    """Must stand last among the callbacks: the logs it relies on are written, and whoever wants to stop has said so."""

    def __init__(self, root: Path, logs: list[StepLog], governance: GovernanceCallback, trace: Trace, *, plan: str, every: int, keep: int) -> None:
        self.root, self.logs, self.governance, self.trace = root, logs, governance, trace
        self.plan, self.every, self.keep = plan, every, keep

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Publish a checkpoint if one is due, and look at the log again before the run goes on from it."""
        assert isinstance(pl_module, TrainingModule)
        done = pl_module.completed_steps
        if done % self.every == 0 or done == pl_module.total_steps or trainer.should_stop:
            self.trace.commit(done)
            for log in self.logs:
                log.sync()
            checkpoint.save(self.root, pl_module, plan=self.plan, keep=self.keep)
            self.governance.look(trainer)
