"""What an operator who cheats can do: write any entry into a log of their own, and sign it with the log's real key."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from governance_hooks import merkle
from governance_hooks.audit import audit
from governance_hooks.canonical import dumps, sha256
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import CoopError
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Stop
from governance_hooks.log import Log
from governance_hooks.proof import Proof, read_proof
from governance_hooks.report import Report, Status
from governance_hooks.sshsig import load_private_key
from tests.village import CONSENT, Approved, Village

__all__ = [
    "OwnGuard",
    "blocked",
    "broken",
    "forged_proof",
    "fork",
    "history",
    "only_broken",
    "proof_of",
    "request_for",
    "rewritten",
    "truncate",
    "vote_on",
]


class OwnGuard:
    """The guard of an operator who wants none: it lets everything through."""

    unreleasable: str | None = None

    def start(self) -> None: ...

    def stop(self, *, force: bool = False) -> Stop | None: ...

    def end(self, record: dict[str, Any]) -> None: ...


def request_for(approved: Approved, **changes: Any) -> Request:
    """Return the gate request of an honest start of an approved run, but for the changes."""
    coop = approved.village.coop
    honest = {
        "plan": approved.plan_bytes,
        "proof": coop.proof().dumps(),
        "base": approved.base,
        "build": approved.build,
        "now": approved.village.clock,
        "pin": coop.pin,
    }
    return Request(**(honest | changes))


def vote_on(approved: Approved, document: dict[str, Any]) -> None:
    """Have members approve a plan document as it stands, whatever the plan's schema says to it."""
    approved.plan_bytes = dumps(document)
    approved.proposal = approved.village.approve("run", sha256(approved.plan_bytes), uses=document["limits"]["max_starts"])


def history(village: Village) -> list[bytes]:
    """Return the entries of the log so far."""
    return list(village.coop.proof().entries)


def _seconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp())


def proof_of(coop: Cooperative, entries: Sequence[bytes], *, at: str) -> bytes:
    """Return a proof of any entries, asked of no rule, under a checkpoint of `at` by the log's real key."""
    root = merkle.root([merkle.leaf_hash(entry) for entry in entries])
    note = sign_checkpoint(NoteKey.load(coop.paths.log_key), len(entries), root, _seconds(at))
    return Proof(note, tuple(entries)).dumps()


def forged_proof(coop: Cooperative, *entries: bytes, at: str) -> bytes:
    """Return a proof of the log with more entries put at its end past the writer's checks."""
    return proof_of(coop, [*coop.proof().entries, *entries], at=at)


def rewritten(village: Village, entries: Sequence[bytes], folder: Path) -> Path:
    """Write a cooperative's folder whose database holds these entries, tiles and checkpoint included; no rule is asked."""
    shutil.copytree(village.root / "keys", folder / "keys")
    shutil.copy(Paths(village.root).identity, Paths(folder).identity)
    key = NoteKey.load(Paths(folder).log_key)
    with Log.open(Paths(folder).log) as log:
        log.append(list(entries), expected_size=0, note=lambda size, root: sign_checkpoint(key, size, root, _seconds(village.clock)))
    return folder


def blocked(village: Village, entry: bytes, words: str, tmp_path: Path | None = None) -> None:
    """Assert that the writer refuses an entry in these words, and that past the writer every reader of the log does.

    With a folder, the entry is also written into a database of its own, and the audit of that is read.
    """
    size = village.coop.register.size
    with pytest.raises(CoopError, match=re.escape(words)):
        village.coop.append(entry)
    assert village.coop.register.size == village.coop.log.size == size
    with pytest.raises(CoopError, match=f"entry {size} of the log is not allowed: .*{re.escape(words)}"):
        read_proof(forged_proof(village.coop, entry, at=village.clock)).replay(village.coop.pin)
    if tmp_path is not None:
        report = audit(rewritten(village, [*history(village), entry], tmp_path / "past-the-writer"))
        broken(report, "entries signed and allowed", f"entry {size}: ", words)


def broken(report: Report, name: str, *words: str) -> None:
    """Assert that the step `name` failed, and that its line of the table a user sees has these words."""
    assert report.exit_code == 1, report.text()
    step = next(step for step in report.steps if step.name == name)
    assert step.status is Status.FAIL, report.text()
    line = next(line for line in report.text().splitlines() if line.startswith(f"{step.number:>3}  FAIL     {name}"))
    for word in words:
        assert word in line, line


def only_broken(report: Report, name: str, *words: str) -> None:
    """Assert that of all steps this one failed, with these words: nothing else would have caught the lie."""
    broken(report, name, *words)
    assert [step.name for step in report.steps if step.status is Status.FAIL] == [name], report.text()


def truncate(home: Path, size: int) -> None:
    """Cut the database back to its first entries, as if the others had never been."""
    with sqlite3.connect(home / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER entry_DELETE")
        raw.execute("DELETE FROM entry WHERE position >= ?", (size,))


def fork(home: Path, key: Path, entries: int) -> None:
    """What an operator can do: write another history, signed as the first was."""
    with Cooperative.open(home) as other:
        signer = load_private_key(key)
        for _ in range(entries):
            other.state("coop.consent/v1", CONSENT, key=signer, author=other.register.known_keys[signer.public.raw])
