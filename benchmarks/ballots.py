"""Logs of large votes for benchmarks, written in large batches; the rules are asked when they are audited."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.canonical import dumps, sha256
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.cooperative import Cooperative, Paths, _unix
from governance_hooks.log import Log
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import entry, shift, sign
from governance_hooks.tally import roll_root
from tests.village import RULES, found

BATCH = 10_000


class Builder:
    """Writes the log of a cooperative of five founders."""

    def __init__(self, root: Path) -> None:

        self.root = root
        self.keys, self.operator = found(root)
        self.founders = sorted(self.keys)
        with Cooperative.open(root) as coop:
            self.pin, self.clock = coop.pin, coop.register.operator_clock
        self._key, self._log, self._pending = NoteKey.load(Paths(root).log_key), Log.open(Paths(root).log), list[bytes]()
        self.size = self._log.size

    def say(self, kind: str, payload: dict[str, Any], author: str, *signers: Any) -> str:
        """Add a signed statement and return its id."""

        made = {"type": kind, "coop": self.pin, "author": author, "issued": self.clock, "nonce": secrets.token_hex(16), "payload": payload}
        self._pending.append(entry(made, [sign(made, key) for key in signers or (self.keys[author],)]))
        self.size += 1
        if len(self._pending) == BATCH:
            self.flush()
        return sha256(dumps(made))

    def flush(self) -> None:

        if self._pending:
            self._log.append(self._pending, expected_size=self.size - len(self._pending), note=self._note)
            self._pending = []

    def _note(self, size: int, root: bytes) -> str:
        return sign_checkpoint(self._key, size, root, _unix(self.clock))

    def close(self) -> None:
        self.flush()
        self._log.close()

    def admit(self, members: int) -> None:
        """Admit members by two registrars each until there are so many."""

        while len(self.keys) < members:
            key, member = PrivateKey(Ed25519PrivateKey.generate()), "m-" + secrets.token_hex(8)
            self.say("coop.admission/v1", {"member": member, "key": key.public.line}, member, key, *(self.keys[one] for one in self.founders[:2]))
            self.keys[member] = key

    def propose(self, lasts: int = 60) -> str:

        payload = {
            "kind": "run",
            "subject": sha256(secrets.token_bytes(8)),
            "rules": RULES.model_dump(),
            "roll": {"root": roll_root(self.keys), "members": len(self.keys)},
            "closes": shift(self.clock, lasts),
            "uses": 1,
        }
        return self.say("coop.proposal/v1", payload, self.founders[0])

    def vote(self) -> None:
        """Open a proposal, let everybody vote for it, and close it."""

        proposal = self.propose()
        for member in sorted(self.keys):
            self.say("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, member)
        self.clock = shift(self.clock, 60)
        counted = {"votes_for": len(self.keys), "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
        self.say("coop.close/v1", {"proposal": proposal} | counted, "operator", self.operator)

    def revote(self, entries: int) -> None:
        """Let the five founders change their minds until the log has so many entries."""
        proposal, number = self.propose(86_400), 0
        while self.size < entries:
            choice = ("for", "against", "abstain")[number % 3]
            payload = {"proposal": proposal, "choice": choice, "sequence": number // 5 + 1, "reason": None}
            self.say("coop.ballot/v1", payload, self.founders[number % 5])
            number += 1


def village(root: Path, members: int, votes: int) -> Path:
    builder = Builder(root)
    builder.admit(members)
    for _ in range(votes):
        builder.vote()
    builder.close()
    return root
