"""Payloads of secret polls and of panels by lot."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from governance_hooks.bylaws import MemberId
from governance_hooks.fields import Count, Digest, Instant, Strict
from governance_hooks.payloads.proposals import Roll

__all__ = ["Draw", "PanelOpened", "SecretEvent", "SecretPoll", "SecretResult", "SecretTrustee"]


class SecretTrustee(Strict):
    """A member who holds a share of the key of a secret poll, and the digest of the certificate they made for it."""

    member: MemberId
    certificate: Digest


class SecretPoll(Strict):
    """A secret poll, signed by the operator, the credential authority and every trustee; its result is advice, never an approval."""

    subject: Digest
    """What is asked about: a document, a candidacy, a question of people."""
    election: Digest
    """The Belenios election file: question, answers and key."""
    credentials: Digest
    """The public credentials, one a member of the roll."""
    setup: Digest
    """The first event of the archive, which names all three files of the election."""
    options: Annotated[int, Field(ge=2, le=16)]
    roll: Roll
    credential_authority: MemberId
    trustees: Annotated[list[SecretTrustee], Field(min_length=2, max_length=16)]
    threshold: Annotated[int, Field(ge=2, le=16)]
    """So many trustees together can decrypt."""
    minimum_ballots: Annotated[int, Field(ge=2)]
    """With fewer members voting, trustees decrypt nothing."""
    closes: Instant


class SecretEvent(Strict):
    """One event of a poll's archive, anchored in the log before anybody relies on it."""

    poll: Digest
    event: Literal["Ballot", "EndBallots", "EncryptedTally", "PartialDecryption", "Result"]
    sequence: Annotated[int, Field(ge=1)]
    """Height of the event in the archive; the setup is 0."""
    digest: Digest


class SecretResult(Strict):
    """The result of a secret poll, stated by registrars who each audited the archive."""

    poll: Digest
    counts: Annotated[list[Count], Field(min_length=2, max_length=16)]
    archive: Digest
    """The whole archive file."""


class PanelOpened(Strict):
    """A panel to be drawn by lot from the members of this log position, after a time whose checkpoint nobody knows yet."""

    purpose: Literal["advice", "oversight"]
    subject: Digest
    """What the panel is for; there is one panel a subject."""
    seats: Annotated[int, Field(ge=1)]
    pool: Roll
    targets: Digest
    """CSV feature,value,min,max."""
    private_features: Digest | None
    """CSV of features that are not in the log; kept off it."""
    algorithm: Literal["maximin", "legacy"]
    engine: Annotated[str, StringConstraints(pattern=r"^sortition-algorithms [0-9.]{1,20} highspy [0-9.]{1,20} numpy [0-9.]{1,20} python [0-9.]{1,8}$")]
    """Versions that decide what is drawn."""
    draw_at: Instant


class Draw(Strict):
    """The draw of a panel: the checkpoint that seeds it, and who was drawn."""

    panel: Digest
    checkpoint: Annotated[str, StringConstraints(max_length=49_152)]
    """Signed note, with the cosignatures of witnesses."""
    selected: Annotated[list[MemberId], Field(min_length=1, max_length=1000)]
