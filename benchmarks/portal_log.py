"""A log of a given length for the portal's benchmark, ballots that are really signed, and whether each that was acknowledged is in the log afterwards."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from votes import Scribe

from governance_hooks.bylaws import PasskeyOrigin
from governance_hooks.canonical import dumps, sha256
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Paths
from governance_hooks.log import Log
from governance_hooks.sshsig import PrivateKey, load_private_key
from governance_hooks.statement import body, now, sign, timestamp
from portal.store.private import PrivateStore
from tests.authenticator import ORIGIN, RP_ID, Passkey
from tests.village import CONSENT

MEMBERS, PASSKEYS, PROPOSALS = 500, 200, 3
"""Members with a key in a file; members with a passkey; open votes that the ballots of one measurement are spread over."""
BALLOTS = 9000
"""Ballots signed for one measurement; a member's next one in the same vote comes 600 or 1500 later, so that they arrive in order."""
OPEN_S = 7 * 86_400
MEASURED = ("16", "200", "kill", "passkey")
"""Measurements that hand in ballots, each for votes of its own."""


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


def base(entries: int, cache: Path) -> tuple[Path, float | None]:
    """Return a folder whose log has so many entries, made at the first time; and the seconds that took, or None."""
    folder = cache / f"log-{entries}"
    if (folder / "bench.json").is_file():
        return folder, None
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    scribe = Bench(folder)
    scribe.fill(entries)
    assert scribe.done() == entries, scribe.size
    return folder, time.perf_counter() - began


def opened(root: Path, work: Path, *, passkeys: bool = False) -> tuple[dict[str, Path], str, str]:
    """Open votes on a log, sign ballots for them; return the ballots by measurement, a vote to look at, and a signed-in member's cookie."""
    scribe = Bench.of(root)
    people = sorted(scribe.keys)
    holders = scribe.admit_passkeys() if passkeys else []
    votes = {name: [scribe.propose(f"{name} {number}".encode(), OPEN_S, by) for number in range(PROPOSALS)] for by, name in enumerate(MEASURED)}
    looked_at = scribe.propose(b"looked at", OPEN_S, len(MEASURED))
    for member in people:
        scribe.ballot(member, looked_at, 1)
    scribe.done()
    files = {name: scribe.forms(work / f"ballots-{name}", people, votes[name]) for name in ("16", "200")}
    if passkeys:
        files["kill"] = scribe.forms(work / "ballots-kill", people, votes["kill"])
        files["passkey"] = scribe.forms(work / "ballots-passkey", holders, votes["passkey"])
    (root / "private").mkdir(exist_ok=True)
    with PrivateStore(root / "private" / "portal.sqlite") as private:
        session, account, _ = private.sessions.sign_in(private.sessions.make_link("bench@example.org", "en", "/"), None)
        private.accounts.bind(account.account, people[-1])
    return files, looked_at, f"Cookie: coop-session={session}"


def acknowledged(acks: Path) -> list[str]:
    """The statements of the answers that said yes."""
    lines = [line.split() for line in acks.read_text().splitlines()]
    return [where.rpartition("/")[2] for status, where in lines if status == "303"]


def counted(root: Path, acks: Path, before: int) -> dict[str, Any]:
    """Look for every acknowledged ballot in the whole log."""
    said = acknowledged(acks)
    wanted, found = set(said), Counter[str]()
    with Log.open(Paths(root).log, read_only=True) as log:
        size = log.size
        for data in log.entries():
            name = sha256(data[len(b'{"body":') : data.rindex(b',"signatures":[')])
            if name in wanted:
                found[name] += 1
    result = {"acknowledged": len(said), "entries_appended": size - before, "lost": sum(found[one] == 0 for one in wanted)}
    result |= {"double": sum(count > 1 for count in found.values()), "acknowledged_twice": len(said) - len(wanted)}
    assert not result["lost"], result
    assert not result["double"], result
    assert not result["acknowledged_twice"], result
    return result


def size_of(root: Path) -> int:
    with Log.open(Paths(root).log, read_only=True) as log:
        return log.size
