"""Bylaws: who admits members, who may halt, and by which rules each kind of proposal is decided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from governance_hooks.errors import Refused
from governance_hooks.fields import Instant, Strict
from governance_hooks.witness.policy import Policy

__all__ = ["Bylaws", "MemberId", "PasskeyOrigin", "ProposalKind", "Rules"]

MemberId = Annotated[str, StringConstraints(pattern=r"^m-[0-9a-f]{16}$")]
"""A random pseudonym; names live in a separate, erasable store."""

ProposalKind = Literal["run", "release"]
Percent = Annotated[int, Field(ge=0, le=100)]


class Rules(Strict):
    """How one kind of proposal is decided; copied into each proposal when it opens."""

    quorum_percent: Percent = 50
    """Ballots cast, abstentions included, as a share of the roll."""
    approval_percent: Percent = 60
    """Ballots for, as a share of ballots for and against; exactly this share is enough."""
    minimum_for: Annotated[int, Field(ge=1)] = 2
    """So many members must say yes, however few vote."""
    minimum_period_s: Annotated[int, Field(ge=0)] = 86_400
    """Shortest time between opening and closing, seconds."""
    challenge_s: Annotated[int, Field(ge=0)] = 0
    """Time after the close before the approval may be used, seconds."""
    expiry_s: Annotated[int, Field(gt=0)] = 30 * 86_400
    """Time after the close in which the approval may be used, seconds."""


class PasskeyOrigin(Strict):
    """A web page on which members may sign with passkeys, and in which time."""

    origin: Annotated[str, StringConstraints(pattern=r"^(https://[a-z0-9.-]{1,253}|http://localhost)(:[1-9][0-9]{0,4})?$")]
    """Scheme, host and port as the browser states them; plain http is for this machine only."""
    rp_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}$")]
    """Relying party id: the domain the passkeys belong to."""
    valid_from: Instant
    valid_until: Instant | None = None
    """First instant at which it is no longer accepted; null while there is no end."""

    @model_validator(mode="after")
    def _ordered(self) -> PasskeyOrigin:
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until is not after valid_from")
        return self


class Bylaws(Strict):
    """The cooperative's rules at a log position."""

    version: Annotated[int, Field(ge=1)] = 1
    registrars: Annotated[list[MemberId], Field(min_length=1)]
    """Members who may admit others."""
    registrars_required: Annotated[int, Field(ge=1)] = 2
    """Signatures of distinct registrars an admission needs."""
    oversight: list[MemberId]
    """Members who may halt a run or a release for a limited time."""
    oversight_required: Annotated[int, Field(ge=1)] = 1
    halt_max_s: Annotated[int, Field(gt=0)] = 7 * 86_400
    """Longest time one halt lasts before it lapses, seconds."""
    kinds: dict[ProposalKind, Rules]
    recovery_required: Annotated[int, Field(ge=1)] = 2
    """Distinct registrars, or distinct guardians the member named, who together give a member a new key."""
    recovery_delay_s: Annotated[int, Field(gt=0)] = 7 * 86_400
    """Time in which any key of the member can cancel a recovery, seconds of the log's clock."""
    passkey_origins: list[PasskeyOrigin] = Field(default_factory=list)
    """Where members may sign with passkeys, dated; a cooperative without such a list refuses passkeys."""
    witnesses: list[str] = Field(default_factory=list)
    """Verifier keys (C2SP vkeys) of other parties who cosign checkpoints; see docs/witness.md."""
    witnesses_required: Annotated[int, Field(ge=0)] = 0
    """So many of them must have cosigned a checkpoint before a gate, a guard or a verifier relies on it."""

    @model_validator(mode="after")
    def _reachable(self) -> Bylaws:
        if self.registrars_required > len(set(self.registrars)):
            raise ValueError("registrars_required is more than there are registrars")
        if self.oversight and self.oversight_required > len(set(self.oversight)):
            raise ValueError("oversight_required is more than the oversight body has members")
        try:
            Policy.parse(self.witnesses, self.witnesses_required)
        except Refused as error:
            raise ValueError(f"witnesses: {error.what}") from error
        if set(self.kinds) != {"run", "release"}:
            raise ValueError("rules for every kind are needed: run, release")
        return self

    @property
    def policy(self) -> Policy:
        """Who must have cosigned a checkpoint that these bylaws govern."""
        return Policy.parse(self.witnesses, self.witnesses_required)
