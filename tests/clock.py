"""A clock that stands still: what a test does while it stands takes no time, however slow or busy the machine is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

__all__ = ["standing"]


@contextmanager
def standing() -> Iterator[Callable[[float], None]]:
    """Stop the clock by which this process dates statements; yield what moves it on, by seconds. Afterwards it has the time of the day again."""
    moment = datetime.now(UTC)

    class Still(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return moment

    def wait(seconds: float) -> None:
        nonlocal moment
        moment += timedelta(seconds=seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("governance_hooks.statement.datetime", Still)
        yield wait
