"""What an evaluation has finished so far, so that a killed one goes on after the last finished task.

The folder lies beside the results and belongs to whoever evaluates: one that others own or can write to is refused, for results in it would
be taken as measured.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput

__all__ = ["Partial"]


class Partial:
    """Finished parts of an evaluation by name; parts of another run, plan or other weights are thrown away."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        if folder.is_symlink() or (folder.exists() and not self._is_ours()):
            raise BadInput(f"{folder} could have been written by others", allowed="a folder of yours with mode 0700", next=f"rm -r {folder}")
        if folder.exists() and self.read("key") != key.encode():
            shutil.rmtree(folder)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self.keep("key", key.encode())

    def _is_ours(self) -> bool:
        found = self.folder.stat()
        return found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700

    def read(self, name: str) -> bytes | None:
        """Return a finished part, or None."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def keep(self, name: str, data: bytes) -> None:
        """Keep a finished part, whole or not at all."""
        write_bytes(self.folder / name, data, mode=0o600)

    def remove(self) -> None:
        """Delete the folder: the evaluation is done."""
        shutil.rmtree(self.folder)
