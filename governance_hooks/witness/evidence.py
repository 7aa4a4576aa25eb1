"""Evidence that a log was rolled back or forked: two notes of its own key, kept beside each other, and what they prove.

A folder of evidence holds `remembered.checkpoint` (what the keeper had seen), `seen.checkpoint` (what it was shown then), `log.vkey`
and, where the keeper could make one, `consistency`: the root the larger tree has over as many entries as the smaller, and the
Merkle path that shows it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import Checkpoint, NoteVerifier, read_signed
from governance_hooks.errors import BadInput
from governance_hooks.note import MAX_NOTE
from governance_hooks.ssh.wire import decode_base64

__all__ = ["MAX_KEPT", "Evidence", "Verdict", "prefix_proof"]

MAX_KEPT = 256
"""Folders of evidence kept of one log: whoever has its key could fill a disk with contradictions."""
_MAX_PATH = 63


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evidence shows: `fork` and `rollback` are proven by the log's own signatures, `none` proves nothing."""

    kind: str
    words: str

    @property
    def proven(self) -> bool:
        """Whether the log's key signed two things that cannot both be true."""
        return self.kind != "none"


def prefix_proof(entries: Iterable[bytes], old: int, new: int) -> tuple[bytes, ...]:
    """Return the root over the first `old` of `new` entries, and after it the path that shows it under the root over all of them."""
    leaves = [merkle.leaf_hash(entry) for _, entry in zip(range(new), entries, strict=False)]
    path = merkle.consistency_proof(old, new, lambda start, stop: merkle.root(leaves[start:stop]))
    return (merkle.root(leaves[:old]), *path)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two signed notes of one log, and what connects them."""

    log: NoteVerifier
    remembered: str
    seen: str
    consistency: tuple[bytes, ...] = ()
    """Root of the larger tree over the smaller's size, then the Merkle path; empty if the keeper had no entries to make it from."""

    def keep(self, folder: Path) -> Path | None:
        """Write it under `folder` and return where; the same two notes always into the same place. None if there is too much already."""
        place = folder / f"{sha256(self.log.text.encode())[7:15]}-{sha256((self.remembered + self.seen).encode())[7:23]}"
        if not place.is_dir() and folder.is_dir() and sum(1 for _ in folder.glob(place.name[:9] + "*")) >= MAX_KEPT:
            return None
        write_bytes(place / "log.vkey", f"{self.log.text}\n".encode())
        if self.consistency:
            write_bytes(place / "consistency", "".join(base64.b64encode(step).decode() + "\n" for step in self.consistency).encode())
        write_bytes(place / "remembered.checkpoint", self.remembered.encode())
        write_bytes(place / "seen.checkpoint", self.seen.encode())
        return place

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Read a folder of evidence; raise BadInput or Refused if it holds none."""
        steps = _read(folder / "consistency").split("\n")[:-1] if (folder / "consistency").is_file() else []
        if len(steps) > 1 + _MAX_PATH:
            raise BadInput(f"{folder / 'consistency'} is longer than any proof", value=len(steps), allowed=str(1 + _MAX_PATH))
        verifier = NoteVerifier.parse(_read(folder / "log.vkey").strip())
        return cls(verifier, _read(folder / "remembered.checkpoint"), _read(folder / "seen.checkpoint"), tuple(map(decode_base64, steps)))

    def judge(self) -> Verdict:
        """Check both notes and say in plain words what they prove.

        Raises:
            Refused: a note is not signed by the log's key, so it is evidence of nothing.
        """
        had, shown = read_signed(self.remembered, self.log)[0], read_signed(self.seen, self.log)[0]
        small, large = sorted((had, shown), key=lambda checkpoint: checkpoint.size)
        name = self.log.name
        both = f"the key of {name} signed {_say(had)} and {_say(shown)}"
        if small.size == large.size:
            if small.root != large.root:
                return Verdict("fork", f"FORK: {both}. Two different logs of the same length: different people were, or could be, shown different logs.")
            return Verdict("none", f"NOTHING: {both}: the same log.")
        shows = bool(self.consistency) and small.size > 0 and _shows(self.consistency, small.size, large)
        if shows and self.consistency[0] != small.root:
            return Verdict(
                "fork",
                f"FORK: {both}. The larger log's first {small.size} entries have another root, as the Merkle path shows: entries were changed or left out.",
            )
        if 0 < large.time < small.time:
            return Verdict(
                "rollback",
                f"ROLLED BACK: {both}. By its own clock {name} had {large.size} entries first, and {small.size} later: {large.size - small.size} were taken back.",
            )
        if shows:
            return Verdict("none", f"NOTHING: {both}. The larger extends the smaller: this log only grew.")
        return Verdict(
            "none",
            f"NOT PROVEN: {both}. An honest log can have signed both. Ask {name} for the consistency proof from {small.size} to {large.size}: "
            "if it cannot give one, its log was forked.",
        )


def _shows(consistency: Sequence[bytes], size: int, large: Checkpoint) -> bool:
    return merkle.verify_consistency(size, large.size, consistency[1:], consistency[0], large.root)


def _say(checkpoint: Checkpoint) -> str:
    when = f" at {datetime.fromtimestamp(checkpoint.time, UTC):%Y-%m-%dT%H:%M:%SZ}" if checkpoint.time else ""
    return f"{checkpoint.size} entries with root {checkpoint.root.hex()[:16]}{when}"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_NOTE + 1)
        if len(data) > MAX_NOTE:
            raise BadInput(f"{path} is too long for evidence", allowed=f"{MAX_NOTE} bytes")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the evidence {path}: {error}", next="coop witness evidence FOLDER, with log.vkey and two .checkpoint files") from error
