"""The outbox of a site: what it has signed for the cooperative's log, one file an entry, in order.

The controller and `coop slurm sync` write it, under a lock; the cooperative's writer and the gates read it. Nobody changes an entry.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.sshsig import Signer
from governance_hooks.statement import MAX_ENTRY, SITE, Statement, body, entry, now, parse, sign

__all__ = ["Entry", "Outbox", "read_entries", "read_small"]

_NAME = re.compile(r"(?P<number>[0-9]{12})-(?P<type>[a-z-]{1,32})\.entry")
MOST = 10_000
"""More entries than this are not read at once: nobody collects them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an outbox."""

    path: Path
    data: bytes


def read_small(path: Path, limit: int, *, owner: int | None = None) -> bytes:
    """Return a file that somebody else may have put there: no link, no pipe, not longer than `limit` bytes, and of `owner` if that is given.

    Raises:
        BadInput: it is not such a file, or cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path} is no regular file")
        if owner is not None and found.st_uid != owner:
            raise BadInput(f"{path} is another user's file", value=found.st_uid, allowed=str(owner))
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(data) > limit:
        raise BadInput(f"{path} is too long", allowed=f"{limit} bytes")
    return data


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries of an outbox in their order; a name that is not one of ours is passed over.

    Raises:
        BadInput: the folder or a file in it cannot be read, or there are more than MOST entries.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise BadInput(f"cannot read the outbox {folder}: {error.strerror}", next="is the site's folder mounted here?") from error
    if len(names) > MOST:
        raise BadInput(f"the outbox {folder} holds too much", value=len(names), allowed=f"{MOST} entries", next="coop collect")
    for name in names:
        yield Entry(folder / name, read_small(folder / name, MAX_ENTRY))


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outbox with the site's key: who may add to it."""

    folder: Path
    site: str
    coop: str
    key: Signer
    clock: Callable[[], str] = now

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the outbox, waiting for who holds it: between two entries nobody else's gets in.

        Raises:
            CoopError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("ab")
        except OSError as error:
            raise CoopError(f"cannot write the outbox {self.folder}: {error.strerror}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def statements(self) -> list[Statement]:
        """Return what lies there, its signatures checked; raise Refused or BadInput for what is no entry."""
        return [parse(one.data, source=str(one.path)) for one in read_entries(self.folder)]

    def state(self, kind: str, payload: BaseModel, *, issued: str | None = None) -> Entry:
        """Sign a statement of the site and put it last; the caller holds the outbox.

        A site's statements are dated in their order, so one made when the clock had gone back bears the date of the one before.
        """
        last = list(read_entries(self.folder))[-1:]
        before = [parse(one.data, source=str(one.path)).issued for one in last]
        made = body(kind, payload, coop=self.coop, author=SITE + self.site, issued=max([issued or self.clock(), *before]))
        number = int(last[0].path.name[:12]) + 1 if last else 1
        path = self.folder / f"{number:012d}-{kind.removeprefix('coop.').partition('/')[0]}.entry"
        data = entry(made, [sign(made, self.key)])
        write_bytes(path, data)
        return Entry(path, data)
