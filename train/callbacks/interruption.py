"""Turns signals and the plan's time limit into a stop at the next step boundary, and a file into a checkpoint, at the same one in all processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytorch_lightning as pl

from train.clock import WallClock
from train.world import World

__all__ = ["INTERRUPTED", "PREEMPTED", "SAVE", "Interruption"]

SAVE: Final = "save"
"""Name of the file in the run's folder that asks for a checkpoint at the next step: whoever makes it need not know a process or a job."""

PREEMPTED: Final = "preempted"
"""The reason of a run that a scheduler wants off the machine: SIGTERM, or SIGUSR1 as `sbatch --signal=USR1@120` sends it. Start it again."""

INTERRUPTED: Final = "interrupted"
"""The reason of a run that somebody stopped with Ctrl-C."""

_SIGNALS: Final = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: PREEMPTED, signal.SIGUSR1: PREEMPTED}
_TIME: Final = 1
_REASONS: Final = ("", "time", INTERRUPTED, PREEMPTED)
"""What processes agree on is the highest of these numbers."""


class Interruption(pl.Callback):
    """Raises a flag in the signal handler and nothing more: a handler that saves can deadlock or tear a file.

    `reason` says why the run was asked to stop, or is None. A second Ctrl-C raises KeyboardInterrupt at once. `save` is true at a step after which somebody
    wants a checkpoint: the file `switch` was there, and is gone now.
    """

    def __init__(self, clock: WallClock, max_minutes: int, world: World | None = None, *, switch: Path | None = None) -> None:
        self.clock, self.max_minutes, self.world, self.switch = clock, max_minutes, world or World(), switch
        self.reason: str | None = None
        self.save = False
        self._flag = 0

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        if self._flag == _REASONS.index(INTERRUPTED) and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._flag = max(self._flag, _REASONS.index(_SIGNALS[signal.Signals(number)]))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Own the signals inside the block; only a process's main thread can.

        Behind it a SIGUSR1 that nobody else handles is ignored: a scheduler's reminder that comes when the last step is done would kill a run that is complete,
        and have it started again.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._raise_flag) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                late = number == signal.SIGUSR1 and handler == signal.SIG_DFL
                signal.signal(number, signal.SIG_IGN if late else handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back: Lightning has put its own handlers in front, which broadcast from inside the handler."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._raise_flag)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ask the trainer to stop if a signal reached any process, or the first one's clock says that the voted time is used up; see whether to save."""
        first = self.world.rank == 0
        late = first and self.clock.seconds() >= self.max_minutes * 60
        told, wanted = self.world.most([max(self._flag, _TIME if late else 0), int(first and self._switched())])
        self.save = bool(wanted)
        if told:
            self.reason = f"the voted time ({self.max_minutes} minutes) is used" if told == _TIME else _REASONS[told]
            trainer.should_stop = True

    def _switched(self) -> bool:
        """Tell whether the file is there, and take it away: one file, one checkpoint."""
        if self.switch is None or not self.switch.is_file():
            return False
        self.switch.unlink(missing_ok=True)
        return True
