"""Static tiles: a log as the files of C2SP tlog-tiles, which any web host can serve and any such client can read.

    checkpoint                            the newest exported checkpoint
    tile/<level>/x001/x234/067[.p/<W>]    256 (or W) hashes, concatenated
    tile/entries/x001/x234/067[.p/<W>]    256 (or W) entries, each after its length (uint16, big-endian)

Full tiles never change and are written once. The checkpoint is replaced last, in one step, so whoever reads it finds
every tile it needs; a partial tile is removed only when its full tile is there, which holds the same hashes first.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.atomic import PREFIX, remove_leftovers, write_bytes
from governance_hooks.checkpoint import Checkpoint, read_body, verify_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.statement import parse
from governance_hooks.tail import WIDTH, levels

__all__ = ["Export", "TileCheck", "Tiles", "bundle", "export", "read_export", "tile_path", "unbundle"]

ENTRIES = "entries"


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


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Return the path of a tile below the prefix; `level` is 0 and up, or "entries"; a width under 256 is a partial tile."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.insert(0, f"x{number % 1000:03d}")
    return f"tile/{level}/" + "/".join(parts) + ("" if width == WIDTH else f".p/{width}")


def bundle(entries: list[bytes]) -> bytes:
    """Return the entry bundle of at most 256 entries."""
    return b"".join([struct.pack(">H", len(entry)) + entry for entry in entries])


def unbundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle; raise Refused if it is cut off."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2])
        entry = data[at + 2 : at + 2 + length]
        if at + 2 > len(data) or len(entry) != length:
            raise Refused("an entry bundle is cut off", value=len(data))
        entries.append(entry)
        at += 2 + length
    return entries


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


class TileCheck:
    """Compares every tile of a tree, given by `tile(level, number, width)`, with the entries below it, as the tree grows."""

    def __init__(self, tile: Callable[[int, int, int], bytes]) -> None:
        self._tile, self._size, self._open = tile, 0, [bytearray()]

    def push(self, made: list[bytes]) -> None:
        """Take what `Frontier.push` returned for the next entry.

        Raises:
            Refused: naming the first tile that differs.
        """
        self._size += 1
        self._open[0] += made[0]
        if len(made) <= 8:
            return
        for level in range(1, (len(made) + 7) // 8):
            self._compare(level - 1, (self._size >> 8 * level) - 1)
            if level == len(self._open):
                self._open.append(bytearray())
            self._open[level] += made[8 * level]

    def finish(self) -> None:
        """Compare the last, partial tiles; see `push`."""
        for level, rest in enumerate(self._open):
            if rest:
                self._compare(level, self._size >> 8 * (level + 1))

    def _compare(self, level: int, number: int) -> None:
        width = len(self._open[level]) // 32
        if self._tile(level, number, width) != self._open[level]:
            raise Refused(f"the tile {tile_path(level, number, width)} does not match the entries below it")
        self._open[level].clear()


class Tiles:
    """An exported log as it stood at its checkpoint; nothing read from it is believed before `verify`."""

    def __init__(self, folder: Path, note: str) -> None:
        self.folder, self.note = folder, note
        self.size = read_body(note).size

    def tile(self, level: int, number: int, width: int) -> bytes:
        """Return `width` hashes of a tile; if its partial file is gone by now, from the full one."""
        data, there = self._read(level, number, width)
        if len(data) != 32 * there:
            raise Refused(f"the tile {tile_path(level, number, there)} is not {there} hashes long", value=len(data), allowed=str(32 * there))
        return data[: 32 * width]

    def bundle(self, number: int, width: int) -> list[bytes]:
        """Return `width` entries of a bundle; if its partial file is gone by now, from the full one."""
        data, there = self._read(ENTRIES, number, width)
        entries = unbundle(data)
        if len(entries) != there:
            raise Refused(f"the bundle {tile_path(ENTRIES, number, there)} does not hold {there} entries", value=len(entries), allowed=str(there))
        return entries[:width]

    def _read(self, level: int | str, number: int, width: int) -> tuple[bytes, int]:
        for there in (width, WIDTH):
            path = self.folder / tile_path(level, number, there)
            try:
                return path.read_bytes(), there
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BadInput(f"cannot read {path}: {error.strerror}") from error
        raise Refused(f"the tile {path} is missing", next="fetch the export again")

    def entries(self) -> Iterator[bytes]:
        """Yield the entries under the checkpoint in order, one bundle in memory at a time."""
        for number in range((self.size + WIDTH - 1) // WIDTH):
            yield from self.bundle(number, min(WIDTH, self.size - number * WIDTH))

    def verify_tiles(self) -> bytes:
        """Check every tile against the entries below it; return the root over all entries.

        Raises:
            Refused: a tile or bundle is missing, cut off or not over the entries.
        """
        frontier, check = merkle.Frontier(), TileCheck(self.tile)
        for entry in self.entries():
            check.push(frontier.push(merkle.leaf_hash(entry)))
        check.finish()
        return frontier.root()

    def verify(self, pin: str | None) -> Checkpoint:
        """Check the cooperative's identity, the checkpoint's signatures, and every tile and entry; return the checkpoint.

        Args:
            pin: digest of the founding statement you expect; None takes the one in the export (say so to the user).

        Raises:
            Refused: what does not hold, with the name of the file.
        """
        founding = parse(next(self.entries(), b""), source="entry 0")
        if pin is not None and founding.id != pin:
            raise Refused("the export is of another cooperative", value=founding.id, allowed=pin)
        register = Register()
        register.admit(founding)
        checkpoint = verify_checkpoint(self.note, register.log_key)
        if self.verify_tiles() != checkpoint.root:
            raise Refused("the entries do not hash to the checkpoint's root: one was changed, left out or put in")
        return checkpoint

    def proof(self) -> Proof:
        """Return the same log as one portable proof."""
        return Proof(self.note, tuple(self.entries()))


def read_export(folder: Path) -> Tiles:
    """Open an exported log at its present checkpoint; raise BadInput if there is none."""
    try:
        return Tiles(folder, (folder / "checkpoint").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{folder} holds no exported log", next=f"coop log export {folder}") from error
