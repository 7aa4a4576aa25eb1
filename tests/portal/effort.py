"""How much work something is, whatever machine does it: the lines of Python that are run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Effort", "counted"]


class Effort:
    """Lines run so far; beyond `most` it is too much."""

    def __init__(self, most: int) -> None:
        self.lines, self.most = 0, most

    def _look(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        self.lines += event == "line"
        if self.lines > self.most:
            sys.settrace(None)
            raise AssertionError(f"more than {self.most} lines were run")
        return self._look


@contextmanager
def counted(effort: Effort) -> Iterator[None]:
    """Count what this thread runs."""
    before = sys.gettrace()
    sys.settrace(effort._look)
    try:
        yield
    finally:
        sys.settrace(before)
