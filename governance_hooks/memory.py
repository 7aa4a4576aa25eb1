"""What this machine remembers of a cooperative's log: the last checkpoint it verified, so that the log can only grow.

Whoever serves a log can sign a shorter or another one; only somebody who remembers the old one sees it. The newest
verified checkpoint of each cooperative is kept in $XDG_STATE_HOME/commonweights (else ~/.local/state/commonweights).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.atomic import write_bytes
from governance_hooks.checkpoint import Checkpoint, NoteVerifier, read_body, verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.proof import Proof
from governance_hooks.sentence import Sentence
from governance_hooks.witness.evidence import Evidence, prefix_proof

__all__ = ["Memory", "roots_at", "state_folder"]


def state_folder() -> Path:
    """Return the folder of what programs of ours remember on this machine (XDG Base Directory)."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "commonweights"


def roots_at(entries: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """Return the Merkle root over the first n entries for each size n there is, in one pass."""
    wanted, frontier = set(sizes), merkle.Frontier()
    found = {0: frontier.root()} if 0 in wanted else {}
    for entry in entries:
        frontier.push(merkle.leaf_hash(entry))
        if frontier.size in wanted:
            found[frontier.size] = frontier.root()
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """The last verified checkpoint of one cooperative.

    Read it with `load` before the log is read, so that another command that goes on meanwhile is no rollback; then
    `check` what was read, and `remember` it.
    """

    coop: str
    """Digest of the founding statement."""
    folder: Path = field(default_factory=state_folder)

    @property
    def path(self) -> Path:
        """The file it is kept in."""
        return self.folder / f"{self.coop.removeprefix('sha256:')}.checkpoint"

    def load(self) -> str | None:
        """Return the remembered note, or None if this cooperative is new here."""
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                f"cannot read the remembered checkpoint {self.path}: {error}", next="mend or remove this file, if you know what happened to it"
            ) from error

    def known(self, note: str, verifier: NoteVerifier) -> Checkpoint:
        """Return the remembered checkpoint; raise Refused if the file was damaged or is of another log key."""
        try:
            return verify_checkpoint(note, verifier)
        except Refused as error:
            raise Refused(
                f"the remembered checkpoint {self.path} does not hold: {error.what}", next="remove this file, if you know what happened to it"
            ) from error

    def check(
        self,
        known: str | None,
        note: str,
        verifier: NoteVerifier,
        root_at: Callable[[int], bytes | None],
        *,
        older: bool = False,
        entries: Callable[[], Iterable[bytes]] | None = None,
    ) -> str:
        """Check that a verified log extends the remembered one; return what was found, in words.

        Args:
            known: what `load` returned before the log was read.
            note: the log's checkpoint.
            verifier: the log's key, from its founding statement.
            root_at: gives the root over the first n entries of the log at hand, computed from the entries.
            older: a shorter log is no fault (the proof in a release is as old as the release); it cannot be compared.
            entries: gives the entries once more; of a fork, the evidence is then complete.

        Raises:
            Refused: the log was rolled back, or is a fork; both checkpoints are kept as evidence.
        """
        new = verify_checkpoint(note, verifier)
        if known is None:
            return Sentence("first seen here, at {count} entries: remembered from now on", count=new.size)
        old = self.known(known, verifier)
        if new.size < old.size:
            if older:
                return Sentence("{count} entries, from before the {old} remembered here: not compared", count=new.size, old=old.size)
            what = f"the log was rolled back: it has {new.size} entries, and had {old.size} when this machine last looked"
        elif root_at(old.size) != old.root or root_at(new.size) != new.root:
            what = f"the log is a fork: its first {old.size} entries are not those this machine saw before"
        else:
            return Sentence("extends the {count} entries remembered here by {new}", count=old.size, new=new.size - old.size)
        fork = entries is not None and root_at(new.size) == new.root and 0 < old.size < new.size
        consistency = prefix_proof(entries(), old.size, new.size) if fork and entries is not None else ()
        kept = Evidence(verifier, known, note, consistency).keep(self.folder / "evidence")
        raise Refused(
            what,
            value=f"root {new.root.hex()[:16]} over {new.size}",
            allowed=f"a log that extends root {old.root.hex()[:16]} over {old.size}",
            next=f"keep {kept or self.folder / 'evidence'}, show it to the members and the operator, and see: coop witness evidence",
        )

    def check_proof(self, proof: Proof, verifier: NoteVerifier, known: str | None, *, older: bool = False) -> str:
        """Check that a proof extends the remembered log, then remember its checkpoint; see `check`."""
        sizes = [read_body(note).size for note in (known, proof.checkpoint) if note is not None]
        found = self.check(known, proof.checkpoint, verifier, roots_at(proof.entries, sizes).get, older=older, entries=lambda: proof.entries)
        self.remember(proof.checkpoint)
        return found

    def extend(self, proof: Proof, verifier: NoteVerifier, known: str | None) -> str:
        """Check that a proof is as new as what is remembered and extends it, then remember its checkpoint; see `check`.

        Raises:
            Refused: as `check`; or the proof is merely older than what this machine has seen, and hides what came since.
        """
        new = verify_checkpoint(proof.checkpoint, verifier)
        old = None if known is None else self.known(known, verifier)
        if old is not None and new.size < old.size and new.time <= old.time:
            raise Refused("this machine has seen a longer log than this proof", value=new.size, allowed=f"{old.size} entries or more", next="coop proof")
        return self.check_proof(proof, verifier, known)

    def remember(self, note: str) -> None:
        """Keep a checked checkpoint, unless a longer one is remembered by now."""
        now = self.load()
        if now is None or read_body(now).size < read_body(note).size:
            write_bytes(self.path, note.encode())
