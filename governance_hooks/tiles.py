"""Static tiles: a log as the files of C2SP tlog-tiles, which any web host can serve and any such client can read.

    checkpoint                            the newest exported checkpoint
    tile/<level>/x001/x234/067[.p/<W>]    256 (or W) hashes, concatenated
    tile/entries/x001/x234/067[.p/<W>]    256 (or W) entries, each after its length (uint16, big-endian)

They are written by governance_hooks.export and read here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.checkpoint import Checkpoint, read_body, verify_checkpoint
from governance_hooks.errors import BadInput, Refused
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.statement import parse
from governance_hooks.tail import WIDTH

__all__ = ["ENTRIES", "TileCheck", "Tiles", "bundle", "read_export", "tile_path", "unbundle"]

ENTRIES = "entries"
"""What stands in the place of the level in the path of an entry bundle."""


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
