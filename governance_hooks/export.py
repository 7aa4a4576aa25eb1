"""The export of a log as static files: what is missing is written, nothing that was published changes.

Full tiles never change and are written once. The checkpoint is replaced last, in one step, so whoever reads it finds
every tile it needs; a partial tile is removed only when its full tile is there, which holds the same hashes first.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance_hooks.atomic import PREFIX, remove_leftovers, write_bytes
from governance_hooks.checkpoint import Checkpoint, read_body
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.log import Log
from governance_hooks.tail import WIDTH, levels
from governance_hooks.tiles import ENTRIES, bundle, tile_path

__all__ = ["Export", "export"]


@dataclass(frozen=True, slots=True)
class Export:
    """What one export wrote: files by kind, and the sizes of the log before and after."""

    before: int
    size: int
    full: int
    partial: int
    removed: int

    @property
    def changed(self) -> bool:
        """Whether anything was written or removed."""
        return self.before != self.size or bool(self.full or self.partial or self.removed)


def _shape(size: int) -> Iterator[tuple[int | str, int, int]]:
    """Yield (level, number, width) of every tile of a tree of `size` entries: bundles and tiles, left to right."""
    for level in range(levels(size)):
        for name in (ENTRIES, 0) if level == 0 else (level,):
            count = size >> 8 * level
            for number in range(count // WIDTH):
                yield name, number, WIDTH
            if count % WIDTH:
                yield name, count // WIDTH, count % WIDTH


def export(log: Log, folder: Path, *, note: str | None = None, progress: Callable[[str, int, int], None] | None = None) -> Export:
    """Bring the tiles in `folder` up to the log's newest checkpoint, or to `note`, one of its own with cosignatures; write only what is missing.

    A killed export leaves the folder as good as it was: run it again.

    Raises:
        CoopError: the folder holds the tiles of another log, of a newer or forked one, or cannot be written.
    """
    note = log.checkpoint() if note is None else note
    target = read_body(note)
    with _lock(folder):
        before = _published(folder, log, target)
        for leftover in {path.parent for path in folder.rglob(PREFIX + "*")}:
            remove_leftovers(leftover)
        shape = list(_shape(target.size))
        full = partial = 0
        for done, (level, number, width) in enumerate(shape):
            path = folder / tile_path(level, number, width)
            # Up to the published checkpoint a tile only has to be there; above it, a killed export may have left one: compare.
            old = isinstance(level, str) or level == 0
            known = old and (number * WIDTH + width) <= before
            if not (path.is_file() and known) and _place(path, _content(log, level, number, width)):
                full, partial = full + (width == WIDTH), partial + (width < WIDTH)
            if progress:
                progress("write tiles", done + 1, len(shape))
        if full or partial:
            os.sync()  # once for all tiles: the checkpoint must not outlive a power cut that they do not
        path = folder / "checkpoint"
        if not path.is_file() or path.read_text(encoding="utf-8") != note:
            write_bytes(path, note.encode())
        return Export(before, target.size, full, partial, _remove_outgrown(folder, shape))


def _content(log: Log, level: int | str, number: int, width: int) -> bytes:
    if isinstance(level, str):
        return bundle(list(log.entries(number * WIDTH, number * WIDTH + width)))
    return log.tile(level, number, width)


def _place(path: Path, data: bytes) -> bool:
    """Write a tile unless it is there; return whether it was written. Raise CoopError if another one is there."""
    if path.is_file():
        if path.read_bytes() != data:
            raise CoopError(f"the tile {path} differs from the log, and tiles never change", next="coop audit; then export into an empty folder")
        return False
    write_bytes(path, data, sync=False)
    return True


def _published(folder: Path, log: Log, target: Checkpoint) -> int:
    """Return the size of the tree the folder holds, 0 if none; raise CoopError unless the log extends it."""
    path = folder / "checkpoint"
    if not path.is_file():
        if any(child.name not in (".lock", "tile") and not child.name.startswith(PREFIX) for child in folder.iterdir()):
            raise BadInput(f"{folder} holds other files", next="export into an empty folder, or one that an export made")
        return 0
    old = read_body(path.read_text(encoding="utf-8"))
    if old.origin != target.origin:
        raise CoopError(f"{folder} holds the tiles of another log", value=old.origin, allowed=target.origin, next="export into another folder")
    if old.size > target.size or log.root(old.size) != old.root:
        what = "is ahead of this log: the log was rolled back" if old.size > target.size else "is no prefix of this log: it was rewritten"
        raise CoopError(
            f"the checkpoint in {folder} {what}", value=old.size, allowed=f"at most {target.size}", next="keep both as evidence and ask the operator"
        )
    return old.size


def _remove_outgrown(folder: Path, shape: list[tuple[int | str, int, int]]) -> int:
    removed = 0
    for level, number, width in shape:
        partials = folder / (tile_path(level, number) + ".p")
        if width == WIDTH and partials.is_dir():
            removed += sum(1 for _ in partials.iterdir())
            shutil.rmtree(partials)
    return removed


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder against another export; the system lets go of it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CoopError(f"cannot write {folder}: {error.strerror}", next="choose another folder") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
