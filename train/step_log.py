"""An append-only file of canonical JSON lines, each with a `step`, that a resumed run cuts back to its checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import CoopError

__all__ = ["StepLog"]


class StepLog:
    """One such file: lines are whole or, after a kill, torn at the very end only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def append(self, line: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system, so that kill -9 cannot lose it."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        self._file.write(dumps(line) + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Force the lines to disk; called before a checkpoint that relies on them is published."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def lines(self) -> list[dict[str, Any]]:
        """Return all whole lines; a torn last one is left out. Raises CoopError if any other line is damaged."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        whole = data[: data.rfind(b"\n") + 1].splitlines()
        found = [loads(line, floats=True, source=f"{self.path}:{number}") for number, line in enumerate(whole, start=1)]
        if not all(isinstance(line, dict) and isinstance(line.get("step"), int) for line in found):
            raise CoopError(f"{self.path} holds a line without a step")
        return found

    def cut(self, step: int) -> int:
        """Remove the lines after `step` (and a torn one); return how many whole lines went."""
        self.close()
        if not self.path.is_file():
            return 0
        found = self.lines()
        kept = [line for line in found if line["step"] <= step]
        write_bytes(self.path, b"".join(dumps(line) + b"\n" for line in kept))
        return len(found) - len(kept)
