"""A file that one process at a time holds; the system lets go of it when that process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance_hooks.errors import CoopError

__all__ = ["process_lock"]


@contextmanager
def process_lock(path: Path, doing: str) -> Iterator[None]:
    """Hold a file for this process and write its PID into it; the file stays, since removing it would let two others hold two files.

    It holds between processes of one machine, and between machines only where the file system has POSIX locks.

    Args:
        path: the file; its folder is made.
        doing: what the holder does, for the message ("training run first").

    Raises:
        CoopError: another process holds it, and which; or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise CoopError(f"cannot write {path}: {error.strerror}", next="free space, or mend the folder's permissions") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            pid = file.read(20).decode(errors="replace").strip()
            holder = f"process {pid}" if pid.isdecimal() else "another process"
            stop = f"kill -INT {pid}" if pid.isdecimal() else "Ctrl-C there"
            raise CoopError(
                f"{holder} is {doing} already", value=str(path), next=f"wait for it, or stop it ({stop}), then run the same command again"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield
