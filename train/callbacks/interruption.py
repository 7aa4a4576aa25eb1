"""Turns SIGTERM, SIGINT and the plan's time limit into a stop at the next step boundary."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from train.clock import WallClock

__all__ = ["Interruption"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption(pl.Callback):
    """Raises a flag in the signal handler and nothing more: a handler that saves can deadlock or tear a file.

    `reason` says why the run was asked to stop, or is None. A second Ctrl-C raises KeyboardInterrupt at once.
    """

    def __init__(self, clock: WallClock, max_minutes: int) -> None:
        self.clock, self.max_minutes = clock, max_minutes
        self.reason: str | None = None

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        if self.reason == "interrupted" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = "interrupted"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Own the two signals inside the block; only a process's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._raise_flag) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back: Lightning has put its own handlers in front, which broadcast from inside the handler."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._raise_flag)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ask the trainer to stop if a signal came or the voted time is used up."""
        if self.reason is None and self.clock.seconds() >= self.max_minutes * 60:
            self.reason = f"limits.max_minutes ({self.max_minutes}) reached"
        if self.reason is not None:
            trainer.should_stop = True
