"""Opening a file somebody else made: a regular file, unpacked no further than a limit, and read no further than a line's limit at a time."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from governance_hooks.errors import BadInput

__all__ = ["MAX_UNPACKED", "Source", "opened", "regular"]

MAX_UNPACKED: Final = 1 << 30
"""Most bytes one file may hold, after unpacking."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Source:
    """An open file: its bytes as they are after unpacking, and how far the file itself was read."""

    def __init__(self, path: Path, raw: BinaryIO, stream: IO[bytes], size: int) -> None:
        self.path, self.size = path, size
        self._raw, self._stream, self._read = raw, stream, 0

    def done(self) -> int:
        """Return how many bytes of the file itself were read."""
        return min(self._raw.tell(), self.size)

    def readline(self, limit: int) -> bytes:
        """Return the next line, or its next `limit` bytes; raise BadInput if the file is damaged or unpacks to too much."""
        return self._counted(lambda: self._stream.readline(limit))

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes; raise BadInput if the file is damaged or unpacks to too much."""
        return self._counted(lambda: self._stream.read(limit))

    def lines(self, limit: int) -> Iterator[bytes | None]:
        """Yield the lines without their ends; None for one of more than `limit` bytes, which is skipped piece by piece."""
        while raw := self.readline(limit + 1):
            if raw.endswith(b"\n"):
                yield raw[:-1]
            elif len(raw) <= limit:
                yield raw
            else:
                while raw and not raw.endswith(b"\n"):
                    raw = self.readline(limit)
                yield None

    def _counted(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except (EOFError, zlib.error, OSError) as error:
            raise BadInput(f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}", allowed="a whole file") from error
        self._read += len(data)
        if self._read > MAX_UNPACKED:
            raise BadInput(f"{self.path} holds more than {MAX_UNPACKED >> 20} MiB", allowed=f"at most {MAX_UNPACKED >> 20} MiB unpacked", next="split it")
        return data


@contextmanager
def regular(path: Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file and nothing else: not a folder, pipe, socket or device, nor, unless `follow`, a link.

    Raises:
        BadInput: it is something else, or cannot be opened.
    """
    try:
        # Without O_NONBLOCK opening a pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", allowed="a file") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadInput(f"{path} cannot be read: it is no regular file", allowed="a file, not a folder, pipe or device")
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def opened(path: Path, *, follow: bool = True) -> Iterator[Source]:
    """Open a file for reading, unpacked if it is gzip or Zstandard, which its first bytes tell and not its name.

    Raises:
        BadInput: it is no regular file, or cannot be opened.
    """
    with regular(path, follow=follow) as raw:
        start = raw.read(4)
        raw.seek(0)
        stream: IO[bytes] = raw
        if start.startswith(_GZIP):
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        elif start == _ZSTD:
            import pyarrow as pa

            stream = cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw), "zstd")))
        yield Source(path, raw, stream, os.fstat(raw.fileno()).st_size)
