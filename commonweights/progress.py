"""Progress of long work: bars with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Progress", "progress"]

EVERY_S = 5.0
"""Seconds between two plain lines."""


class Progress(Protocol):
    """Called as (label, done, total)."""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """Report that `done` of `total` are done; total 0 means unknown."""
        ...


class _Lines:
    """Plain lines on standard error, at most one every few seconds and one at the end of each label."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.last = time.monotonic()

    def __call__(self, label: str, done: int, total: int, /) -> None:
        moment = time.monotonic()
        began = self.started.setdefault(label, moment)
        if moment - self.last < EVERY_S and done != total:
            return
        if done == total and moment - began < 1:
            return
        self.last = moment
        spent = moment - began
        left = f", {spent * (total - done) / done:.0f} s left" if 0 < done < total else ""
        print(f"  {label}: {done}" + (f" of {total}" if total else "") + f", {spent:.0f} s{left}", file=sys.stderr, flush=True)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress callable; quiet shows nothing (with --json)."""
    if quiet:
        yield lambda label, done, total, /: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("  {task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(label: str, done: int, total: int, /) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total or None)
            bars.update(tasks[label], completed=done, total=total or None)

        yield show
