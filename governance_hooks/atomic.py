"""Writes that are whole or absent: temporary name beside the target, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance_hooks.errors import CoopError

__all__ = ["PREFIX", "atomic_directory", "remove_leftovers", "write_bytes"]

PREFIX = ".tmp-"


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _failed(path: Path, error: OSError) -> CoopError:
    return CoopError(
        f"cannot write {path}: {error.strerror or error}", next="free space or choose another folder, then run the same command again; nothing was half-written"
    )


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` by `data` in one step; on any error the old file is untouched (CoopError names the path).

    Without `sync` the step survives a killed process but not a power cut: for many files, synced together by the caller.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if sync:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
        if sync:
            _fsync(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    Leftovers of a killed writer (`.tmp-*` beside the target) never look like a result;
    `remove_leftovers` clears them. Raises CoopError if `path` exists and `replace` is false.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path.parent))
    except OSError as error:
        raise _failed(path, error) from error
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _fsync(file)
        temporary.chmod(0o755)
        _fsync(temporary)
        if path.exists():
            if not replace:
                raise CoopError(f"{path} exists already", next="choose another name, or remove the folder first")
            doomed = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path.parent))
            path.replace(doomed / path.name)
            temporary.replace(path)
            shutil.rmtree(doomed)
        else:
            temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete what killed writers left in `folder`; return the removed paths."""
    leftovers = sorted(folder.glob(PREFIX + "*")) if folder.is_dir() else []
    for leftover in leftovers:
        # A link is removed, never what it points to.
        shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink(missing_ok=True)
    return leftovers
