"""Reader of Belenios archives: a strict subset of tar that holds data and events, each named by its own SHA-256.

`UUID.bel` is `BELENIOS` followed by `<sha256>.data.json` and `<sha256>.event.json` members (Belenios 3.3, doc/events.md). Every byte is
compared with the one form the tool writes, so there is no second way to read it: no other tar feature, no duplicate JSON key.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from governance_hooks.errors import Refused

__all__ = ["MAX_ARCHIVE", "Archive", "Ballot", "Event", "member", "read_archive", "read_ballot", "strict_json"]

MAX_ARCHIVE = 256 * 1024 * 1024
"""Bytes; a ballot takes about 4 kB, so this is more than 50,000 ballots."""
_BLOCK = 512
_HEX = re.compile(r"[0-9a-f]{64}")
_EVENTS = ("Setup", "Ballot", "EndBallots", "EncryptedTally", "Shuffle", "PartialDecryption", "Result")


def _bad(what: str, value: object = None) -> NoReturn:
    raise Refused(f"not a Belenios archive: {what}", value=value)


def strict_json(data: bytes) -> Any:
    """Parse one JSON document; raise Refused for a duplicate key, which two readers could take for two documents."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) != len(items):
            _bad("duplicate key in its JSON", sorted(key for key, _ in items)[:8])
        return dict(items)

    try:
        return json.loads(data.decode(), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        _bad(f"not JSON ({str(error)[:80]})")


def member(name: str, data: bytes, moment: int) -> bytes:
    """Return a member as the tool writes it: ustar header without owner or magic, contents, padding."""
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.encode().ljust(100, b"\0"), 0o644, 0, 0, len(data), moment)
    rest = b"0".ljust(_BLOCK - len(head) - 8, b"\0")
    checksum = sum(head) + 8 * ord(" ") + sum(rest)
    return head + b"%06o\0 " % checksum + rest + data + bytes(-len(data) % _BLOCK)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type, the SHA-256 of its payload (hex; None for EndBallots) and its own SHA-256 (hex)."""

    kind: str
    payload: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """What our checks need of a ballot: the public credential that signed it, and its ciphertexts."""

    credential: str
    election_uuid: str
    election_hash: str
    ciphertexts: str
    """SHA-256 over the ciphertexts alone: the same ballot written in other bytes is the same ballot."""


def read_ballot(data: bytes) -> Ballot:
    """Return what a ballot says; raise Refused if it has not the form of one."""
    value = strict_json(data)
    try:
        answers = [[(choice["alpha"], choice["beta"]) for choice in answer["choices"]] for answer in value["answers"]]
        texts = (value["credential"], *(half for answer in answers for pair in answer for half in pair))
        if not all(isinstance(text, str) and _HEX.fullmatch(text) for text in texts):
            _bad("a ballot's credential and ciphertexts are 32 bytes in hex", [str(text)[:70] for text in texts[:1]])
        uuid, election = value["election_uuid"], value["election_hash"]
        if not isinstance(uuid, str) or not isinstance(election, str):
            _bad("a ballot does not name its election")
    except (KeyError, TypeError) as error:
        _bad(f"a ballot lacks {error}")
    return Ballot(value["credential"], uuid, election, hashlib.sha256(repr(answers).encode()).hexdigest())


@dataclass(frozen=True)
class Archive:
    """An archive whose data and events have the digests they are named by, and whose events follow each other without a gap."""

    events: tuple[Event, ...]
    data: dict[str, bytes]
    """SHA-256 in hex -> bytes."""

    def object(self, digest: str | None) -> Any:
        """Return the parsed data of this digest; raise Refused if the archive lacks it."""
        if digest is None or digest not in self.data:
            _bad("it lacks the data of an event", digest)
        return strict_json(self.data[digest])

    def of(self, kind: str) -> list[Event]:
        """Return the events of a kind, in order."""
        return [event for event in self.events if event.kind == kind]

    @cached_property
    def setup(self) -> dict[str, str]:
        """Digests (hex) of `election`, `trustees` and `credentials`."""
        value = self.object(self.events[0].payload)
        if self.events[0].kind != "Setup" or not isinstance(value, dict) or set(value) != {"election", "trustees", "credentials"}:
            _bad("it does not begin with the setup of an election")
        return value

    @cached_property
    def credentials(self) -> list[str]:
        """The public credentials as they are listed; their form is the auditor's question."""
        value = self.object(self.setup["credentials"])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            _bad("its credentials are no list")
        return value

    @cached_property
    def eligible(self) -> frozenset[str]:
        """The public credentials as a set."""
        return frozenset(self.credentials)

    @cached_property
    def ballots(self) -> list[Ballot]:
        """All ballots, in the order they were added."""
        return [read_ballot(self.data.get(event.payload or "", b"")) for event in self.of("Ballot")]

    @cached_property
    def uuid(self) -> str:
        """The election's identifier, which is also the archive's file name."""
        election = self.object(self.setup["election"])
        uuid = election.get("uuid") if isinstance(election, dict) else None
        if not isinstance(uuid, str) or not re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{14,22}", uuid):
            _bad("its election has no identifier", uuid)
        return uuid


def read_archive(data: bytes) -> Archive:
    """Parse an archive and check every digest, and that each event names the one before it.

    Raises:
        Refused: too long, a byte that differs from what the tool writes, a digest that does not match, or a gap.
    """
    if len(data) > MAX_ARCHIVE:
        _bad("it is too long", len(data))
    found: dict[str, bytes] = {}
    events: list[Event] = []
    offset, number = 0, 0
    while offset < len(data):
        name, content, size = _member(data, offset)
        offset, number = offset + size, number + 1
        digest = hashlib.sha256(content).hexdigest()
        if number == 1:
            head = strict_json(content)
            if name != "BELENIOS" or not isinstance(head, dict) or head.get("version") != 1:
                _bad("it is of a version we do not know", name[:40])
        elif name == f"{digest}.data.json":
            found[digest] = content
        elif name == f"{digest}.event.json":
            events.append(_event(content, digest, events))
        else:
            _bad("a member is not named by its own digest", name[:90])
    if not events:
        _bad("it holds no event")
    return Archive(tuple(events), found)


def _member(data: bytes, offset: int) -> tuple[str, bytes, int]:
    """Return name, contents and length in the archive of the member at `offset`."""
    header = data[offset : offset + _BLOCK]
    fields = re.match(rb"([A-Za-z0-9.]{1,90})\0+0000644\x000000000\x000000000\x00([0-7]{11})\0([0-7]{11})\0", header)
    if fields is None:
        _bad("a member's header is not the tool's", header[:40])
    name, length, moment = fields.group(1).decode(), int(fields.group(2), 8), int(fields.group(3), 8)
    content = data[offset + _BLOCK : offset + _BLOCK + length]
    made = member(name, content, moment)
    if len(content) != length or data[offset : offset + len(made)] != made:
        _bad("a member is cut off or padded otherwise than the tool does", name)
    return name, content, len(made)


def _event(content: bytes, digest: str, before: list[Event]) -> Event:
    value = strict_json(content)
    if not isinstance(value, dict) or value.get("type") not in _EVENTS:
        _bad("an event of a type we do not know", content[:60])
    expected: dict[str, Any] = {"parent": before[-1].digest} if before else {}
    expected |= {"height": len(before), "type": value["type"]}
    payload = value.get("payload")
    if payload is not None:
        expected["payload"] = payload
    if content != json.dumps(expected, separators=(",", ":")).encode() or not (payload is None or (isinstance(payload, str) and _HEX.fullmatch(payload))):
        _bad("an event does not follow the one before it: one was changed, left out or put in", f"event {len(before)}")
    return Event(value["type"], payload, digest)
