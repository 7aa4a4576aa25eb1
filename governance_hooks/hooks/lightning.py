"""The guard as a PyTorch Lightning callback."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from governance_hooks.hooks.guard import Guard, Stop

__all__ = ["GovernanceCallback"]


class GovernanceCallback(pl.Callback):
    """Blocks `fit` unless the gate passes; stops it at a step boundary when the guard says so.

    `stopped` says why training ended early. With several ranks every rank looks at the same log and Lightning
    agrees on `should_stop` at the step boundary. Raises governance_hooks.report.Blocked from `on_fit_start`.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.stopped: Stop | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the whole gate before the first step."""
        self.guard.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the log at an optimizer-step boundary."""
        if self.stopped is None and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._obey(trainer, self.guard.stop())

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at the log at every checkpoint of Lightning's own."""
        self.look(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look once more at the end; whoever writes the run record hands it to `guard.end`."""
        self.look(trainer)

    def look(self, trainer: pl.Trainer) -> None:
        """Look at the log now, whatever the clock says; for loops that write checkpoints of their own."""
        if self.stopped is None:
            self._obey(trainer, self.guard.stop(force=True))

    def _obey(self, trainer: pl.Trainer, stop: Stop | None) -> None:
        if stop is not None:
            self.stopped, trainer.should_stop = stop, True
