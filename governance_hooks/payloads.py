"""Payloads of all statement types: enumerations, ids, digests and numbers, never free text or personal data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from governance_hooks.bylaws import Bylaws, MemberId, ProposalKind, Rules
from governance_hooks.consent import Consent, Instant

__all__ = ["PAYLOADS"]

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
KeyLine = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/]{68}$")]
VerifierKey = Annotated[str, StringConstraints(max_length=256)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
Count = Annotated[int, Field(ge=0)]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Founder(_Payload):
    """A founding member and their first key."""

    member: MemberId
    key: KeyLine


class Founding(_Payload):
    """The first entry of a log: its digest is the cooperative's identity."""

    name: Slug
    log: VerifierKey
    """Key that signs checkpoints."""
    operator: KeyLine
    """Key that signs what the operator may state: builds, closings, runs, releases. It can never vote."""
    founders: Annotated[list[Founder], Field(min_length=1)]
    bylaws: Bylaws


class Admission(_Payload):
    """A new member, signed by the member's key and by the registrars."""

    member: MemberId
    key: KeyLine


class Key(_Payload):
    """A key added to or revoked from the author's keys."""

    action: Literal["add", "revoke"]
    key: KeyLine


class Leave(_Payload):
    """The author leaves; all their consents end."""


class Withdrawal(_Payload):
    """The author withdraws one consent, or all of them (null)."""

    consent: Digest | None


class Contribution(_Payload):
    """A batch of records, committed to by a Merkle root over salted commitments."""

    records: Annotated[int, Field(gt=0)]
    root: Digest
    languages: dict[Language, Count]


class BuildMade(_Payload):
    """A dataset build, by the digest of its manifest."""

    manifest: Digest
    root: Digest
    records: Annotated[int, Field(gt=0)]


class Roll(_Payload):
    """The electoral roll frozen at opening: Merkle root over sorted member ids, and their number."""

    root: Digest
    members: Annotated[int, Field(gt=0)]


class ProposalOpened(_Payload):
    """A proposal about exactly one subject digest, under rules copied from the bylaws in force."""

    kind: ProposalKind
    subject: Digest
    rules: Rules
    roll: Roll
    closes: Instant
    uses: Annotated[int, Field(ge=1)]
    """Starts of the run the approval allows (the plan's `max_starts`); 1 for a release."""


class Ballot(_Payload):
    """The author's vote; the one with the highest sequence before the close counts."""

    proposal: Digest
    choice: Literal["for", "against", "abstain"]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class Close(_Payload):
    """The count of a proposal; refused by everyone who counts differently."""

    proposal: Digest
    votes_for: Count
    votes_against: Count
    votes_abstain: Count
    outcome: Literal["approved", "rejected"]


class Halt(_Payload):
    """The oversight body stops the use of an approval until an instant, after which the halt lapses."""

    proposal: Digest
    until: Instant


class RunStart(_Payload):
    """One start of an approved run; consumes one of the approval's starts."""

    run: RunId
    plan: Digest
    proposal: Digest
    start: Annotated[int, Field(ge=1)]


class RunEnd(_Payload):
    """The end of a run: its record and the files it made."""

    run: RunId
    status: Literal["completed", "halted", "failed"]
    record: Digest
    outputs: Digest
    """Digest of the canonical list of output files; of an empty list if there are none."""


class Evaluation(_Payload):
    """The evaluation of a run's weights."""

    run: RunId
    report: Digest
    results: Digest
    passed: bool


class Released(_Payload):
    """A release went out after its vote."""

    run: RunId
    release: Digest
    proposal: Digest


PAYLOADS: dict[str, type[BaseModel]] = {
    "coop.founding/v1": Founding,
    "coop.admission/v1": Admission,
    "coop.key/v1": Key,
    "coop.leave/v1": Leave,
    "coop.consent/v1": Consent,
    "coop.withdrawal/v1": Withdrawal,
    "coop.contribution/v1": Contribution,
    "coop.build/v1": BuildMade,
    "coop.proposal/v1": ProposalOpened,
    "coop.ballot/v1": Ballot,
    "coop.close/v1": Close,
    "coop.halt/v1": Halt,
    "coop.run-start/v1": RunStart,
    "coop.run-end/v1": RunEnd,
    "coop.evaluation/v1": Evaluation,
    "coop.release/v1": Released,
}
"""Statement type -> payload model. A type that is not here is refused."""
