"""A guard for tests of the trainer alone."""

from __future__ import annotations

from typing import Any

from governance_hooks.hooks.guard import Stop


class Passing:
    """A guard that lets everything through; the real one needs a cooperative and has its own tests."""

    unreleasable: str | None = None

    def __init__(self) -> None:
        self.ended: list[dict[str, Any]] = []

    def start(self) -> None: ...

    def stop(self, *, force: bool = False) -> Stop | None: ...

    def end(self, record: dict[str, Any]) -> None:
        self.ended.append(record)
