"""The guard as a PyTorch Lightning callback."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from governance_hooks.errors import BadInput
from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.hooks.watch import PEER_TIMEOUT_S, Watch, find_peers

__all__ = ["GovernanceCallback"]


class GovernanceCallback(pl.Callback):
    """Blocks `fit` unless the gate passes; stops it at a step boundary, in all processes at the same one, when the guard says so.

    `stopped` says why training ended early. Raises governance_hooks.report.Blocked from `on_fit_start`.

    Args:
        hands_on: hand how training ended to `guard.end` here, for loops that write no run record of their own.
    """

    def __init__(self, guard: Guard, *, timeout_s: int = PEER_TIMEOUT_S, hands_on: bool = False) -> None:
        self.guard, self.timeout_s, self.hands_on = guard, timeout_s, hands_on
        self.stopped: Stop | None = None
        self._watch: Watch | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the whole gate before the first step; raise BadInput for a trainer that would not obey a stop."""
        if trainer.min_steps or trainer.min_epochs:
            raise BadInput(
                "Lightning obeys no stop before its minimum",
                value=f"min_steps={trainer.min_steps}, min_epochs={trainer.min_epochs}",
                allowed="neither is set",
                next="leave both out of pl.Trainer(...)",
            )
        self._watch = Watch(self.guard, find_peers(trainer.world_size, timeout_s=self.timeout_s))
        self._watch.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the log, and agree, at an optimizer-step boundary."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._obey(trainer, self._started().step())

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at the log at every checkpoint of Lightning's own."""
        self.look(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look once more at the end; whoever writes the run record hands it to `guard.end`, and with `hands_on` this does."""
        self._obey(trainer, self._started().finish())
        self._end(trainer, "completed" if self.stopped is None else "halted", None if self.stopped is None else self.stopped.reason)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """With `hands_on`: hand on that training broke, and by what kind of error."""
        stopped = isinstance(exception, KeyboardInterrupt)
        self._end(trainer, "halted" if stopped else "failed", "interrupted" if stopped else type(exception).__name__)

    def look(self, trainer: pl.Trainer) -> None:
        """Look at the log now, whatever the clock says; for loops that write checkpoints of their own."""
        self._obey(trainer, self._started().look())

    def _end(self, trainer: pl.Trainer, status: str, reason: str | None) -> None:
        if self.hands_on and trainer.is_global_zero:
            self.guard.end({"status": status, "reason": reason, "steps": trainer.global_step, "unreleasable": self.guard.unreleasable})

    def _started(self) -> Watch:
        if self._watch is None:
            raise BadInput("the governance callback was not there when training started", next="give it to pl.Trainer(callbacks=[...])")
        return self._watch

    def _obey(self, trainer: pl.Trainer, stop: Stop | None) -> None:
        if stop is not None:
            self.stopped, trainer.should_stop = stop, True
