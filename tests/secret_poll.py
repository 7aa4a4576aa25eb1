"""A small, real secret poll for tests: a village of ten, three trustees, a credential authority, files that go between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from governance_hooks.canonical import sha256
from governance_hooks.secret.archive import Archive, member, read_archive
from governance_hooks.secret.ceremony import advance, check_part, make_credentials, new_uuid, poll_payload, trustee_turn
from governance_hooks.secret.election import Box, decrypt, make_ballot
from governance_hooks.secret.settings import PollFolder, Settings
from governance_hooks.secret.tool import Tool
from governance_hooks.statement import Statement, body, shift
from tests.village import Village

RECORDED = Path(__file__).parent / "data" / "secret"
ANSWERS = ["yes", "no", "abstain"]


def settings(village: Village, **changes: Any) -> Settings:
    """Members 1 to 3 are trustees, any two of whom decrypt; member 4 makes the credentials."""
    m = village.members
    value: dict[str, Any] = {
        "coop": village.coop.register.coop,
        "subject": sha256(b"a question of people"),
        "question": "Shall the co-op do it?",
        "answers": ANSWERS,
        "roll": village.coop.register.active(),
        "credential_authority": m[3],
        "trustees": m[:3],
        "threshold": 2,
        "minimum_ballots": 5,
        "closes": shift(village.clock, 3600),
    }
    return Settings.model_validate(value | changes)


def open_poll(village: Village, payload: dict[str, Any], *signers: Any) -> Statement:
    """Log a poll signed by the operator, trustees and credential authority of `payload`."""
    members = [payload["credential_authority"], *(one["member"] for one in payload["trustees"])]
    return village.say("coop.secret-poll/v1", payload, members[0], *(signers or (village.operator, *(village.keys[m] for m in members))))


class Ceremony:
    """A poll set up by the real tool; each role has a private folder of its own."""

    def __init__(self, village: Village, root: Path, tool: Tool, **changes: Any) -> None:
        self.village, self.tool, self.root = village, tool, root
        self.folder = PollFolder(root / "public")
        self.settings = settings(village, **({"uuid": new_uuid(tool)} | changes))
        self.folder.write_settings(self.settings)

    def private(self, number: int) -> Path:
        return self.root / f"trustee-{number}"

    def keys(self) -> None:
        """Everybody runs their command until nobody has anything left to do."""
        for _ in range(4):
            advance(self.folder, self.tool)
            for number in (1, 2, 3):
                trustee_turn(self.folder, self.private(number), number, self.tool)
        make_credentials(self.folder, self.root / "authority", self.tool)
        assert advance(self.folder, self.tool) is None

    @property
    def archive(self) -> Archive:
        return read_archive(self.folder.archive().read_bytes())

    def payload(self) -> dict[str, Any]:
        return poll_payload(self.settings, self.archive)

    def check(self, private: Path, member_id: str, **changes: Any) -> None:
        coop = self.village.coop.register.coop
        drafted = body("coop.secret-poll/v1", self.payload(), coop=coop, author=self.settings.credential_authority) | changes
        check_part(self.folder, private, member_id, coop, drafted, self.tool)

    def checked(self) -> None:
        """Trustees and credential authority check what they sign."""
        for number, one in enumerate(self.settings.trustees, start=1):
            self.check(self.private(number), one)
        self.check(self.root / "authority", self.settings.credential_authority)

    def opened(self) -> str:
        self.keys()
        self.checked()
        return open_poll(self.village, self.payload()).id

    @property
    def box(self) -> Box:
        return Box(self.folder, self.village.coop, self.tool)

    def credential(self, voter: str) -> bytes:
        return (self.root / "authority" / f"{voter}.credential").read_bytes()

    def ballot(self, voter: str, answer: str) -> bytes:
        return make_ballot(self.folder, self.village.coop.register, self.credential(voter), answer, self.tool)

    def decrypt(self, *numbers: int) -> None:
        for number in numbers:
            decrypt(self.folder, self.private(number), number, self.village.coop, self.tool)


def events(archive: Archive) -> list[tuple[str, bytes | None, list[bytes]]]:
    """Return (kind, payload, what the payload refers to) of each event, to be put together again otherwise."""
    out: list[tuple[str, bytes | None, list[bytes]]] = []
    for event in archive.events:
        payload = archive.data[event.payload] if event.payload else None
        inner = json.loads(payload) if payload and event.kind in ("Setup", "EncryptedTally", "PartialDecryption") else {}
        out.append((event.kind, payload, [archive.data[value] for value in inner.values() if isinstance(value, str) and value in archive.data]))
    return out


def write(parts: Iterable[tuple[str, bytes | None, list[bytes]]]) -> bytes:
    """Write an archive as the tool would, with honest digests, whatever the events are: the operator's power."""
    moment = 1_795_363_537
    out = member("BELENIOS", b'{"version":1,"timestamp":"%d"}' % moment, moment)
    before = None
    for height, (kind, payload, inner) in enumerate(parts):
        value: dict[str, Any] = {"parent": before} if before else {}
        value |= {"height": height, "type": kind}
        for data in [*inner, *([payload] if payload else [])]:
            out += member(f"{hashlib.sha256(data).hexdigest()}.data.json", data, moment)
        if payload:
            value["payload"] = hashlib.sha256(payload).hexdigest()
        text = json.dumps(value, separators=(",", ":")).encode()
        before = hashlib.sha256(text).hexdigest()
        out += member(f"{before}.event.json", text, moment)
    return out
