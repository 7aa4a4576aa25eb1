"""The auditor of secret polls: replays an archive against the log, and refuses what belenios-tool lets through.

`belenios-tool election verify` (3.3.0) says "all checks passed" of an archive cut short, of a ballot added after the end of the ballots,
and, before the count, of a ballot nobody on the roll could cast. The steps before the last are ours; the last is the tool.
"""

from __future__ import annotations

import base64
import re
from functools import cached_property
from typing import Any

from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.secret.archive import Archive, Ballot, read_archive
from governance_hooks.secret.grammar import require_order
from governance_hooks.secret.tool import GROUP, INSTALL, Tool, complaint, scratch
from governance_hooks.state.polls import SecretPoll

__all__ = ["audit_secret", "check_ballot", "counts_of", "poll_of"]

_KEY = re.compile(r"[0-9a-f]{64}")


def check_ballot(archive: Archive, ballot: Ballot) -> None:
    """Refuse a ballot whose election, credential or ciphertexts are not those of one who may cast it now.

    Raises:
        Refused: of another election, of no credential on the list, or a ballot that was in the archive before.
    """
    election = archive.setup["election"]
    if ballot.election_uuid != archive.uuid or ballot.election_hash != base64.b64encode(bytes.fromhex(election)).decode().rstrip("="):
        raise Refused("the ballot is of another election", value=ballot.election_uuid, allowed=archive.uuid)
    if ballot.credential not in archive.eligible:
        raise Refused("the ballot's credential is not among the poll's credentials", value=ballot.credential[:16])
    if any(ballot.ciphertexts == other.ciphertexts for other in archive.ballots):
        raise Refused("the ballot was in the archive before: an older ballot put over a newer one takes a changed vote back", value=ballot.credential[:16])


def poll_of(register: Register, archive: Archive) -> SecretPoll:
    """Return the poll an archive's setup belongs to; raise Refused if the log has none."""
    setup = f"sha256:{archive.events[0].digest}"
    found = next((poll for poll in register.secret_polls.values() if poll.events[0][1] == setup), None)
    if found is None:
        raise Refused("no secret poll in this log has the setup of this archive", value=setup, next="coop secret setup, until all have signed")
    return found


class _Audit:
    def __init__(self, data: bytes, register: Register, tool: Tool | None, counted: bool) -> None:
        self.data, self.register, self.tool, self.counted = data, register, tool, counted

    @cached_property
    def archive(self) -> Archive:
        return read_archive(self.data)

    @cached_property
    def poll(self) -> SecretPoll:
        return poll_of(self.register, self.archive)

    # (1) Every file has the digest it is named by, every event names the one before it.
    def form(self) -> str:
        return f"{len(self.archive.events)} events, {len(self.archive.data)} files, each named by its digest"

    # (2) Setup Ballot* EndBallots EncryptedTally PartialDecryption+ Result: nothing late, nothing left out.
    def order(self) -> str:
        before = ""
        for number, event in enumerate(self.archive.events):
            try:
                require_order(before, event.kind)
            except Refused as error:
                raise StepFailed(f"event {number}: {error.what} (got {error.value})", todo="do not count this archive; keep it as evidence") from error
            before = event.kind
        if before not in (("Result",) if self.counted else ("EncryptedTally", "PartialDecryption")):
            raise StepUnknown(f"the archive ends with {before}, so there is no {'result' if self.counted else 'encrypted count'} yet")
        return f"{len(self.archive.of('Ballot'))} ballots, then the end, then the count"

    # (3) The log anchors exactly these events: none cut off, none exchanged, none added.
    def anchored(self) -> str:
        logged = [digest_ for _, digest_ in self.poll.events]
        found = [f"sha256:{event.digest}" for event in self.archive.events]
        for number, (ours, theirs) in enumerate(zip(logged, found, strict=False)):
            if ours != theirs:
                raise StepFailed(f"event {number} is not the one the log anchors", todo="ask the operator for the archive the log speaks of")
        if len(found) < len(logged):
            raise StepFailed(
                f"the archive is cut short: the log anchors {len(logged)} events, it has {len(found)}", todo="ask the operator for the whole archive"
            )
        if len(found) > len(logged):
            raise StepFailed(
                f"{len(found) - len(logged)} events at its end are not anchored in the log", todo="take a newer proof of the log, or do not trust them"
            )
        return f"all {len(found)} events are those of poll {self.poll.id[7:19]} in the log"

    # (4) Question, key and credentials are those the poll was opened with; one question, exactly one answer.
    def election(self) -> str:
        setup, poll = self.archive.setup, self.poll
        if (poll.election, poll.credentials) != (f"sha256:{setup['election']}", f"sha256:{setup['credentials']}"):
            raise StepFailed("election or credentials are not those the poll was opened with")
        trustees = self.archive.object(setup["trustees"])
        try:
            ((kind, pedersen),) = trustees
            certificates = [digest(one) for one in pedersen["certs"]]
            threshold = pedersen["threshold"]
        except (ValueError, KeyError, TypeError) as error:
            raise StepFailed("the election's key is not one threshold key of its trustees") from error
        if kind != "Pedersen" or threshold != poll.threshold or certificates != [one for _, one in poll.trustees]:
            raise StepFailed("trustees or threshold are not those the poll was opened with: somebody else could decrypt")
        election = self.archive.object(setup["election"])
        questions = election.get("questions")
        form = {"blank": False, "min": 1, "max": 1}
        if election.get("group") != GROUP or not isinstance(questions, list) or len(questions) != 1 or set(questions[0]) != {"answers", "question", *form}:
            raise StepFailed("the election is not one question added up homomorphically, in the group we know")
        if questions[0] != questions[0] | form or len(questions[0]["answers"]) != poll.options:
            raise StepFailed("the election's question is not one of exactly one answer out of those the poll was opened with")
        return f"one question of {poll.options} answers; {poll.threshold} of {len(poll.trustees)} trustees decrypt"

    # (5) One credential a member of the roll, each of weight 1, none with a name on it.
    def credentials(self) -> str:
        listed = self.archive.credentials
        if not all(_KEY.fullmatch(one) for one in listed):
            raise StepFailed("a credential has a weight or a name, or is no key: each counts once and is nobody's by name")
        if len(set(listed)) != len(listed) or len(listed) != self.poll.roll:
            raise StepFailed(f"there are {len(listed)} credentials ({len(set(listed))} distinct) for a roll of {self.poll.roll}")
        if listed != sorted(listed):
            raise StepFailed("the credentials are not sorted: their order could tell whose they are")
        return f"{len(listed)} distinct credentials of weight 1, as many as the roll has members"

    # (6) Every ballot is of this election and of a credential on the list, and none is an older one put back.
    def ballots(self) -> str:
        ballots = self.archive.ballots
        empty = Archive(self.archive.events[:1], self.archive.data)
        fingerprints: set[str] = set()
        for number, ballot in enumerate(ballots, start=1):
            if ballot.ciphertexts in fingerprints:
                raise StepFailed(f"ballot {number} was in the archive before: an older ballot put over a newer one takes a changed vote back")
            fingerprints.add(ballot.ciphertexts)
            try:
                check_ballot(empty, ballot)
            except Refused as error:
                raise StepFailed(f"ballot {number}: {error.what}") from error
        return f"{len(ballots)} ballots of {self.voters} credentials; the last of each counts"

    @cached_property
    def voters(self) -> int:
        return len({ballot.credential for ballot in self.archive.ballots})

    # (7) As many are counted as credentials voted, each once, and enough to hide in.
    def count(self) -> str:
        tallies = self.archive.of("EncryptedTally")
        if not tallies:
            raise StepUnknown("there is no encrypted count yet")
        value = self.archive.object(tallies[0].payload)
        counted, weight = value.get("num_tallied"), value.get("total_weight")
        if not counted == weight == self.voters:
            raise StepFailed(f"{self.voters} credentials voted, and {counted} ballots of weight {weight} were counted")
        if self.voters < self.poll.minimum_ballots:
            raise StepFailed(f"{self.voters} voted: a count of fewer than {self.poll.minimum_ballots} tells who voted what, so it is not decrypted")
        return f"{counted} ballots counted, one a credential that voted"

    # (8) Enough distinct trustees decrypted; the result adds up to the ballots and is the one registrars stated.
    def result(self) -> str:
        owners = [self.archive.object(event.payload).get("owner") for event in self.archive.of("PartialDecryption")]
        if len(set(owners)) != len(owners) or not set(owners) <= set(range(1, len(self.poll.trustees) + 1)) or len(owners) < self.poll.threshold:
            raise StepFailed(f"decryptions are of trustees {owners}; {self.poll.threshold} distinct ones are needed")
        results = self.archive.of("Result")
        counts = counts_of(self.archive) if results else None
        if counts is None or len(counts) != self.poll.options or sum(counts) != self.voters:
            raise StepFailed(f"the result {counts} does not add up to the {self.voters} who voted")
        if self.poll.counts is not None and (list(self.poll.counts), self.poll.archive) != (counts, sha256(self.data)):
            raise StepFailed(f"registrars stated {list(self.poll.counts)} of another archive or with other counts than {counts}")
        stated = "as registrars stated" if self.poll.counts is not None else "not yet stated by registrars"
        return f"counts {counts}, {stated}"

    # (9) The tool's own proofs: ballots, key, decryptions.
    def proofs(self) -> str:
        if self.tool is None:
            raise StepUnknown("belenios-tool is not on this machine, so its proofs are not checked", todo=INSTALL)
        with scratch({f"{self.archive.uuid}.bel": self.data}) as folder:
            done = self.tool.run("election", "verify", folder=folder)
        if done.returncode != 0 or b"all checks passed" not in done.stderr:
            raise StepFailed(f"belenios-tool election verify failed: {complaint(done)}")
        return f"belenios-tool {self.tool.version} election verify: all checks passed"

    # (10) The voter's own: their ballot is in, and is the last of its credential.
    def tracked(self, tracker: str) -> str:
        events = self.archive.of("Ballot")
        places = [number for number, event in enumerate(events) if event.payload == tracker.removeprefix("sha256:")]
        if not places:
            raise StepFailed(
                "no ballot with this tracking number is in the archive", todo="send your ballot again before the poll closes, and tell the registrars"
            )
        ballot = self.archive.ballots[places[0]]
        if any(later.credential == ballot.credential for later in self.archive.ballots[places[0] + 1 :]):
            raise StepFailed(
                "this ballot was replaced by a later one of the same credential", todo="if that was not you, tell the registrars: somebody has your credential"
            )
        return f"ballot {places[0] + 1} of {len(events)}, the last of its credential"


def counts_of(archive: Archive) -> list[int] | None:
    """Return the counts of an archive's result by answer, or None if it has none of the form of one question."""
    for event in archive.of("Result"):
        value: Any = archive.object(event.payload)
        rows = value.get("result") if isinstance(value, dict) else None
        if isinstance(rows, list) and len(rows) == 1 and isinstance(rows[0], list) and all(type(one) is int and one >= 0 for one in rows[0]):
            return list(rows[0])
    return None


def audit_secret(data: bytes, register: Register, tool: Tool | None, *, counted: bool = True, tracker: str | None = None) -> Report:
    """Check an archive against the log and return the table.

    Args:
        data: the archive's bytes.
        register: the log's state, from a cooperative's folder or from a proof.
        tool: belenios-tool; without it the last step is UNKNOWN, and the report does not pass.
        counted: False before the count, for trustees: everything up to the encrypted count.
        tracker: SHA-256 of a ballot whose voter asks for it.
    """
    work = _Audit(data, register, tool, counted)
    checklist = Checklist("Audit of a secret poll" if counted else "Audit of a secret poll before its count is decrypted")
    checklist.run("files and digests", work.form)
    checklist.run("order of events", work.order)
    checklist.run("anchored in the log", work.anchored)
    checklist.run("election", work.election)
    checklist.run("credentials", work.credentials)
    checklist.run("ballots", work.ballots)
    checklist.run("count", work.count)
    if counted:
        checklist.run("result", work.result)
    checklist.run("Belenios' proofs", work.proofs)
    if tracker is not None:
        checklist.run("your ballot", lambda: work.tracked(tracker))
    return checklist.report()
