"""Hashes large files at the disk's speed: large blocks, several files at a time, and once: also while they are copied."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from governance_hooks.errors import BadInput

__all__ = ["copy_hashed", "hash_files", "opened"]

BLOCK = 1 << 20
"""Bytes; larger blocks do not fit the caches, smaller ones cost more calls."""
Told = Callable[[int], None]
"""Called with the bytes done since the last call."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Yield descriptor and size of a regular file; raise BadInput for a link, a pipe or a device, OSError for what cannot be read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path} is not a regular file", allowed="regular files")
        yield fd, found.st_size
    finally:
        os.close(fd)


def _pass(fd: int, size: int, write: Callable[[memoryview], object] | None, told: Told | None) -> str:
    """Read `size` bytes once, hash them, hand them to `write`; raise BadInput if there are fewer or more."""
    digest, buffer, done = hashlib.sha256(), bytearray(BLOCK), 0
    view = memoryview(buffer)
    while count := os.readv(fd, [view]):
        part = view[:count]
        digest.update(part)
        if write is not None:
            write(part)
        done += count
        if told is not None:
            told(count)
        if done > size:
            break
    if done != size:
        raise BadInput("a file changed while it was read", value=done, allowed=f"{size} bytes", next="let nobody write to it, then try again")
    return "sha256:" + digest.hexdigest()


def hash_files(paths: Mapping[str, Path], *, threads: int | None = None, told: Told | None = None) -> dict[str, tuple[int, str] | OSError | BadInput]:
    """Return size and digest of each file by its name, or why it could not be read; memory is one block a thread.

    hashlib lets other threads run while it works, so several files are hashed on several cores.
    """

    def one(path: Path) -> tuple[int, str] | OSError | BadInput:
        try:
            with opened(path) as (fd, size):
                return size, _pass(fd, size, None, told)
        except (OSError, BadInput) as error:
            return error

    workers = min(len(paths), threads or len(os.sched_getaffinity(0)) or 1)
    if workers <= 1:
        return {name: one(path) for name, path in paths.items()}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(paths, pool.map(one, paths.values()), strict=True))


def copy_hashed(source: Path, target: Path, *, told: Told | None = None) -> tuple[int, str]:
    """Copy a regular file to a new one and return size and digest of what was written; it is read once.

    Bytes are copied, never linked: who changes the source later changes nothing here.

    Raises:
        BadInput: the source is a link or no regular file, or changed meanwhile.
        OSError: it cannot be read, or the copy cannot be written.
    """
    with opened(source) as (fd, size), target.open("xb", buffering=0) as out:

        def write(part: memoryview) -> None:
            while part:
                part = part[out.write(part) :]

        return size, _pass(fd, size, write, told)
