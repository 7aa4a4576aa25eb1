"""A secret poll from its first ballot to its result: each event is tried on a scratch copy, anchored in the log, then kept.

The archive is replaced only after the log holds the event. If the machine dies in between, the finished copy lies beside the archive,
and `Box.open` takes it if the log anchors it, or throws it away.
"""

from __future__ import annotations

import hashlib
import json
from itertools import combinations, islice
from pathlib import Path

from governance_hooks.atomic import write_bytes
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.secret.archive import MAX_ARCHIVE, read_archive, read_ballot
from governance_hooks.secret.auditor import audit_secret, check_ballot, counts_of, poll_of
from governance_hooks.secret.ceremony import private_key
from governance_hooks.secret.settings import PollFolder
from governance_hooks.secret.tool import Tool, scratch

__all__ = ["Box", "decrypt", "make_ballot", "read_file"]

_TRIES = 500
"""Choices of decryptions that are tried before giving up."""
MAX_BALLOT = 64 * 1024
"""Bytes; a ballot of sixteen answers has about 9 kB."""


def read_file(path: Path, limit: int = MAX_ARCHIVE) -> bytes:
    """Read a file somebody sent; raise BadInput if it cannot be read or is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise BadInput(f"{path} is too long", value=len(data), allowed=f"{limit} bytes")
    return data


def make_ballot(folder: PollFolder, register: Register, credential: bytes, answer: str, tool: Tool) -> bytes:
    """Return the encrypted ballot of a voter, made on the voter's own machine from the poll's public archive.

    Raises:
        BadInput: there is no such answer.
        Refused: the archive is of no poll in the log, so its key may be anybody's; or the credential is not one of this poll's.
    """
    settings, data = folder.settings(), read_file(folder.archive())
    if answer not in settings.answers:
        raise BadInput("there is no such answer", value=answer, allowed=", ".join(settings.answers))
    choice = [[int(one == answer) for one in settings.answers]]
    archive = read_archive(data)
    poll_of(register, archive)
    asked = archive.object(archive.setup["election"])["questions"][0]
    if (asked["question"], asked["answers"]) != (settings.question, settings.answers):
        raise Refused("poll.json asks something else than the election", value=settings.question, allowed=str(asked["question"])[:200])
    with scratch({f"{settings.uuid}.bel": data, "credential": credential.strip(), "choice": json.dumps(choice).encode()}) as at:
        ballot = tool.output("election", "generate-ballot", "--privcred", "credential", "--choice", "choice", folder=at)
    check_ballot(archive, read_ballot(ballot.strip()))
    return ballot


class Box:
    """The operator's ballot box: the archive of one poll, and the log that anchors it."""

    def __init__(self, folder: PollFolder, coop: Cooperative, tool: Tool) -> None:
        self.folder, self.coop, self.tool = folder, coop, tool
        self.path = folder.archive()
        self.next = self.path.with_suffix(".next")
        self.data = read_file(self.path)
        self.archive = read_archive(self.data)
        self.poll = poll_of(coop.register, self.archive)
        self._recover()

    def _recover(self) -> None:
        """Finish or undo what a killed process left."""
        if self.next.is_file():
            data = read_file(self.next)
            head = f"sha256:{read_archive(data).events[-1].digest}"
            if head == self.poll.events[-1][1]:
                self._keep(data)
            self.next.unlink(missing_ok=True)
        if [digest for _, digest in self.poll.events] != [f"sha256:{event.digest}" for event in self.archive.events]:
            raise Refused("this archive is not the one the log anchors", value=f"{len(self.archive.events)} events", allowed=f"{len(self.poll.events)} events")

    def _keep(self, data: bytes) -> None:
        write_bytes(self.path, data)
        self.data, self.archive = data, read_archive(data)

    def _append(self, kind: str, payload: bytes) -> str:
        """Add an event: on a scratch copy, then in the log, then in the archive; return its digest."""
        with scratch({self.path.name: self.data}) as at:
            self.tool.output("archive", "add-event", f"--type={kind}", folder=at, stdin=payload)
            data = (at / self.path.name).read_bytes()
        made = read_archive(data)
        if made.events[:-1] != self.archive.events or made.events[-1].kind != kind:
            raise Refused("belenios-tool did not add exactly one event", value=len(made.events))
        write_bytes(self.next, data)
        digest = f"sha256:{made.events[-1].digest}"
        statement = {"poll": self.poll.id, "event": kind, "sequence": len(made.events) - 1, "digest": digest}
        try:
            self.coop.operate("coop.secret-event/v1", statement)
        except Refused:
            self.next.unlink()
            raise
        self._keep(data)
        self.next.unlink()
        return digest

    def add(self, ballot: bytes) -> str:
        """Check a ballot and add it; return its tracking number, the SHA-256 of its bytes.

        Raises:
            Refused: not a ballot of this poll, of no credential on its list, an older one again, badly proved, or too late.
        """
        line = ballot.strip()
        if len(line) > MAX_BALLOT or b"\n" in line or b"\r" in line:
            raise Refused("a ballot is one line", value=len(line), allowed=f"{MAX_BALLOT} bytes")
        check_ballot(self.archive, read_ballot(line))
        with scratch({self.path.name: self.data, "ballot": line}) as at:
            self.tool.output("election", "verify-ballot", "--ballot", "ballot", folder=at)
        self._append("Ballot", line + b"\n")
        return hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """End the ballots and add the encrypted count; goes on where it was cut off."""
        if self.archive.events[-1].kind in ("Setup", "Ballot"):
            self._append("EndBallots", b"")
        if self.archive.events[-1].kind == "EndBallots":
            with scratch({self.path.name: self.data}) as at:
                encrypted = self.tool.output("election", "compute-encrypted-tally", folder=at)
            self._append("EncryptedTally", encrypted)

    def count(self) -> list[int] | None:
        """Add enough of the decryptions that are in the folder, and the result; return the counts, or None if trustees are missing.

        Raises:
            Refused: no choice of the decryptions in the folder opens the count.
        """
        if self.archive.events[-1].kind in ("EncryptedTally", "PartialDecryption"):
            there = [self.archive.object(event.payload).get("owner") for event in self.archive.of("PartialDecryption")]
            trustees = range(1, len(self.poll.trustees) + 1)
            found = {
                number: self.folder.read(f"decryption/{number}.json")
                for number in trustees
                if number not in there and self.folder.has(f"decryption/{number}.json")
            }
            if len(there) + len(found) < self.poll.threshold:
                return None
            chosen, result = self._opening(found, self.poll.threshold - len(there))
            for number in chosen:
                self._append("PartialDecryption", found[number])
            self._append("Result", result)
        return counts_of(self.archive)

    def _opening(self, found: dict[int, bytes], needed: int) -> tuple[tuple[int, ...], bytes]:
        """Return which decryptions open the count, and the result they give, tried on scratch copies.

        `election verify` does not look at decryptions before the result is there: a wrong one in the archive would block it for ever.
        """
        why: object = None
        for chosen in islice(combinations(sorted(found), needed), _TRIES):
            with scratch({self.path.name: self.data}) as at:
                for number in chosen:
                    self.tool.output("archive", "add-event", "--type=PartialDecryption", folder=at, stdin=found[number])
                try:
                    return chosen, self.tool.output("election", "compute-result", folder=at)
                except Refused as error:
                    why = f"trustees {', '.join(map(str, chosen))}: {error.value}"
        raise Refused("the decryptions do not open the count: one of them is wrong", value=why, next="ask another trustee to decrypt, then: coop secret tally")


def decrypt(folder: PollFolder, private: Path, number: int, coop: Cooperative, tool: Tool) -> None:
    """Decrypt the count as a trustee, once the archive passes the audit against the log: never a part of it, never few ballots.

    Two counts that differ by one ballot tell that ballot, so a trustee decrypts one count of a poll; and because every two groups of k
    trustees have one in common (rules of the log), no second one is decrypted by others.

    Raises:
        Blocked: the audit did not pass.
        Refused: this trustee decrypted another count of this poll, or the tool could not decrypt.
    """
    data = read_file(folder.archive())
    audit_secret(data, coop.register, tool, counted=False).require()
    count, record = read_archive(data).of("EncryptedTally")[0].digest.encode(), private / "decrypted"
    if record.is_file() and record.read_bytes() != count:
        raise Refused(
            "you decrypted another count of this poll: two that differ by one ballot tell that ballot", value=count.decode()[:16], next="tell the registrars"
        )
    write_bytes(record, count, mode=0o600)
    files = {f"{folder.settings().uuid}.bel": data, "key": private_key(private), "dkey": folder.read(f"dkey/{number}.json")}
    with scratch(files) as at:
        made = tool.output("election", "decrypt-threshold", "--key", "key", "--decryption-key", "dkey", "--trustee-id", str(number), folder=at)
    folder.write(f"decryption/{number}.json", made)
