"""Progress of long work: bars with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

    from commonweights.bars import Bars

__all__ = ["Progress", "progress"]

EVERY_S = 5.0
"""Seconds between two plain lines."""


class Progress(Protocol):
    """Called as (label, done, total); whoever has more to tell says it to `status` before."""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """Report that `done` of `total` are done; total 0 means unknown."""
        ...

    def status(self, text: str, /) -> None:
        """Say how the work goes; it is shown with the next report."""
        ...


class _Silence:
    """Shows nothing."""

    def __call__(self, label: str, done: int, total: int, /) -> None: ...

    def status(self, text: str, /) -> None: ...


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


class _Lines:
    """Plain lines on standard error, at most one every few seconds and one at the end of each label."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[float, int]] = {}
        self.last = time.monotonic()
        self.text = ""

    def status(self, text: str, /) -> None:
        self.text = text

    def __call__(self, label: str, done: int, total: int, /) -> None:
        moment = time.monotonic()
        began, first = self.started.setdefault(label, (moment, done))  # a resumed run does not begin at 0
        if done == total:
            self.started.pop(label)  # the next piece of work may have the same name, and takes its own time
        text, self.text = self.text, ""
        if moment - self.last < EVERY_S and done != total:
            return
        if done == total and moment - began < 1:
            return
        self.last = moment
        spent = moment - began
        left = f", {_time(spent * (total - done) / (done - first))} left" if first < done < total else ""
        told = f"; {text}" if text else ""
        print(f"  {label}: {done}" + (f" of {total}" if total else "") + f", {_time(spent)}{left}{told}", file=sys.stderr, flush=True)


class _Bars:
    """One bar per piece of work, on standard error, gone when it is done: nothing is drawn while a verb prints."""

    def __init__(self) -> None:
        self.bars: Bars | None = None
        self.tasks: dict[str, TaskID] = {}
        self.text = ""

    def status(self, text: str, /) -> None:
        self.text = text

    def __call__(self, label: str, done: int, total: int, /) -> None:
        if label not in self.tasks:
            if done == total:
                return  # too short to be worth drawing
            if self.bars is None:
                from commonweights.bars import bars

                self.bars = bars()
                self.bars.start()
            self.tasks[label] = self.bars.add_task(label, total=total or None, completed=done, status="")
        assert self.bars is not None
        self.bars.update(self.tasks[label], completed=done, total=total or None, status=self.text)
        self.text = ""
        if done == total:
            self.bars.remove_task(self.tasks.pop(label))
            if not self.tasks:
                self.close()

    def close(self) -> None:
        """Wipe what is drawn."""
        if self.bars is not None:
            self.bars.stop()
        self.bars = None
        self.tasks.clear()


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress callable; quiet shows nothing (with --json)."""
    if quiet:
        yield _Silence()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()
