"""Refusing a file: up to twenty reasons, each with its place, and nothing imported."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["MAX_ERRORS", "Refusals", "Refused"]

MAX_ERRORS: Final = 20


class Refused(Exception):
    """A line, row or record that yields no draft."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Refusals:
    """What is wrong with a file, as far as it was read.

    Args:
        path: the file.
        unit: what its numbered parts are: line, row or record.
    """

    def __init__(self, path: Path, unit: str) -> None:
        self._path, self._unit = path, unit
        self._found: list[str] = []

    @property
    def full(self) -> bool:
        """Whether as many were found as are shown; reading on would tell nobody anything."""
        return len(self._found) >= MAX_ERRORS

    def add(self, number: int, problem: Problem) -> None:
        """Note a problem of the line, row or record of this number."""
        place = f"{self._path}:{number}" if self._unit == "line" else f"{self._path}, {self._unit} {number}"
        self._found.append(f"{place}: {problem}")

    def add_file(self, problem: Problem) -> None:
        """Note a problem of the whole file."""
        self._found.append(f"{self._path}: {problem}")

    def require_none(self) -> None:
        """Raise BadInput if there is any, listing them."""
        if self._found:
            shown = self._found[:MAX_ERRORS]
            more = "; reading stopped there" if self.full else ""
            raise BadInput(
                f"{len(shown)} error{'s' if len(shown) > 1 else ''} in {self._path}{more}; nothing was imported\n  " + "\n  ".join(shown),
                next=f"correct these {self._unit}s and run the same command again",
            )

    def __bool__(self) -> bool:
        return bool(self._found)
