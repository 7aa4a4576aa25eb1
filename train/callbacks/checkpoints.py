"""Takes a checkpoint every N steps, after the last, and whenever the run is asked to stop or to save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from governance_hooks.hooks.lightning import GovernanceCallback
from train.callbacks.interruption import Interruption
from train.callbacks.trace import Trace
from train.checkpoint import load_tensors
from train.checkpoint_writer import CheckpointWriter
from train.module import TrainingModule
from train.step_log import StepLog

__all__ = ["Checkpoints", "Restore"]


class Restore(pl.Callback):
    """Loads the tensors of a checkpoint once the strategy has laid out the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load this process's shard."""
        assert isinstance(pl_module, TrainingModule)
        load_tensors(self.folder, pl_module)


class Checkpoints(pl.Callback):
    """Must stand last among the callbacks: the logs it relies on are written, and whoever wants to stop has said so."""

    def __init__(
        self, writer: CheckpointWriter, logs: list[StepLog], governance: GovernanceCallback, interruption: Interruption, trace: Trace | None, *, every: int
    ) -> None:
        self.writer, self.logs, self.governance, self.interruption, self.trace, self.every = writer, logs, governance, interruption, trace, every

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take a checkpoint if one is due, and look at the log again before the run goes on from it."""
        assert isinstance(pl_module, TrainingModule)
        self.writer.poll()
        done = pl_module.completed_steps
        if done % self.every == 0 or done == pl_module.total_steps or trainer.should_stop or self.interruption.save:
            if self.trace is not None:  # in the first process
                self.trace.commit(done)
            for log in self.logs:
                log.sync()
            self.writer.start(pl_module)
            self.governance.look(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait until the last one is published."""
        self.writer.finish()
