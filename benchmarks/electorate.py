"""A village of many members for the portal's benchmarks: a long log, open votes, and ballots as browsers send them, all really signed."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

from votes import Scribe

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.bylaws import PasskeyOrigin
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Paths
from governance_hooks.log import Log
from governance_hooks.sshsig import PrivateKey, load_private_key
from governance_hooks.statement import body, now, sign, timestamp
from tests.authenticator import ORIGIN, RP_ID, Passkey
from tests.village import CONSENT

MEMBERS, PASSKEYS = 500, 200
"""Members with a key in a file; members with a passkey."""
BALLOTS = 9000
"""Ballots signed for one measurement; a member's next one in the same vote comes 600 or 1500 later, so that they arrive in order."""


class Bench(Scribe):
    """A village of members whose keys are kept beside the log, so that a long log is made once."""

    def __init__(self, root: Path, *, log: Any = None) -> None:
        origin = PasskeyOrigin(origin=ORIGIN, rp_id=RP_ID, valid_from="2020-01-01T00:00:00Z").model_dump()
        past = timestamp(datetime.now(UTC) - timedelta(days=60))
        with mock.patch("governance_hooks.statement.now", return_value=past), mock.patch("governance_hooks.cooperative.now", return_value=past):
            super().__init__(root, log=log, passkey_origins=[origin])

    @classmethod
    def of(cls, root: Path) -> Bench:
        """Go on with a log that was made before."""
        made = cls.__new__(cls)
        made.root, made.founders = root, json.loads((root / "bench.json").read_text())["founders"]
        made.operator = load_private_key(Paths(root).operator_key)
        kept = json.loads((root / "bench.json").read_text())["keys"]
        made.keys = {member: PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))) for member, seed in kept.items()}
        made.coop, made.clock = Paths(root).pin(), now()
        made.log, made.key = Log.open(Paths(root).log), NoteKey.load(Paths(root).log_key)
        made.size, made.pending = made.log.size, []
        return made

    def fill(self, entries: int) -> None:
        """Make the log so long: members, votes that everybody took part in and that are closed, and consents for the rest."""
        self.admit(MEMBERS)
        while self.size + len(self.pending) + MEMBERS + 2 <= entries:
            self.decide(b"plan %d" % (self.size + len(self.pending)))
        members = sorted(self.keys)
        for number in range(entries - self.size - len(self.pending)):
            self.put("coop.consent/v1", CONSENT, members[number % MEMBERS], self.keys[members[number % MEMBERS]])
        kept = {member: key._key.private_bytes_raw().hex() for member, key in self.keys.items()}
        (self.root / "bench.json").write_text(json.dumps({"founders": self.founders, "keys": kept}))

    def admit_passkeys(self) -> list[str]:
        first, second = self.founders[:2]
        for number in range(PASSKEYS):
            key, member = Passkey(), f"m-{number:08x}{0xFFFFFFFF:08x}"
            self.put("coop.admission/v1", {"member": member, "key": key.public.line}, first, key, self.keys[first], self.keys[second])  # type: ignore[arg-type]
            self.keys[member] = key  # type: ignore[assignment]
        return [member for member, key in self.keys.items() if isinstance(key, Passkey)]

    def forms(self, path: Path, members: list[str], proposals: list[str], count: int = BALLOTS) -> Path:
        """Write signed ballots as a browser sends them, one a line."""
        lines: list[str] = []
        while len(lines) < count:
            sequence = len(lines) // (len(members) * len(proposals)) + 1
            for proposal in proposals:
                for member in members:
                    payload = {"proposal": proposal, "choice": ("for", "against", "abstain")[len(lines) % 3], "sequence": sequence, "reason": None}
                    made = body("coop.ballot/v1", payload, coop=self.coop, author=member, issued=self.clock)
                    lines.append(urlencode({"statement": dumps(made).decode(), "signatures": sign(made, self.keys[member])}))
        path.write_text("\n".join(lines[:count]) + "\n")
        return path
