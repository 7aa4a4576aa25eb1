"""Bylaws: who admits members, who may halt, and by which rules each kind of proposal is decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer, model_validator

from governance_hooks.errors import Refused
from governance_hooks.fields import Instant, Stages, Strict
from governance_hooks.witness.policy import Policy

__all__ = ["DRAFT_S", "KINDS", "Bylaws", "MemberId", "PasskeyOrigin", "ProposalKind", "Rules", "default_rules"]

MemberId = Annotated[str, StringConstraints(pattern=r"^m-[0-9a-f]{16}$")]
"""A random pseudonym; names live in a separate, erasable store."""

ProposalKind = Literal[
    "run", "release", "payout", "bylaws", "waiver", "admission", "suspension", "halt", "recall", "appeal", "appointment", "operator", "consultation", "access"
]
"""What members can decide; `motions.py` says what each asks for."""

KINDS: tuple[ProposalKind, ...] = get_args(ProposalKind)

DRAFT_S = 3600
"""A proposal, ballot, halt or objection that waits longer for its signatures is drafted again, seconds."""

Percent = Annotated[int, Field(ge=0, le=100)]

Seconds = Annotated[int, Field(ge=0, le=3653 * 86_400)]
"""A length of time, ten years at most: added to an `Instant` it can never overflow in the middle of a fold."""

Length = Annotated[Seconds, Field(gt=0)]


class Rules(Strict):
    """How one kind of proposal is decided; copied into each proposal when it opens."""

    quorum: Literal["participation", "minimum-yes", "rejection"] = "participation"
    """What `quorum_percent` of the roll must do: vote at all, vote for, or (rejection) vote against to defeat it: silence agrees."""
    quorum_percent: Percent = 50
    """Share of the roll."""
    approval_percent: Percent = 60
    """Ballots for, as a share of ballots for and against; exactly this share is enough. Not looked at with a rejection quorum."""
    abstain: Literal["quorum", "nothing", "against"] = "quorum"
    """What an abstention counts as: presence only, nothing at all, or presence and a ballot against."""
    minimum_for: Annotated[int, Field(ge=1)] = 2
    """So many members must say yes, however few vote."""
    minimum_period_s: Seconds = 86_400
    """Shortest time between opening and closing, seconds."""
    maximum_period_s: Seconds = 90 * 86_400
    """Longest time between opening and closing: nobody keeps an old roll and old rules in the drawer."""
    late_quorum_s: Seconds = 0
    """A quorum first reached in this last time prolongs the vote, once, by this time, seconds; 0 for never."""
    challenge_s: Seconds = 0
    """Time after the close before the approval may be used, or takes effect, seconds."""
    objections: Annotated[int, Field(ge=1)] | None = None
    """So many members who object in the challenge window undo the approval; null if nobody can."""
    expiry_s: Length = 30 * 86_400
    """Time after the end of the vote in which the approval may be used, or must take effect, seconds."""
    sponsors: Annotated[int, Field(ge=1)] = 1
    """Members who must sign a proposal to open it, its author among them."""

    @property
    def fewest(self) -> int:
        """Members without whom no such proposal could ever be opened and approved."""
        return max(self.minimum_for, self.sponsors)

    @model_validator(mode="after")
    def _coherent(self) -> Rules:
        if self.maximum_period_s < self.minimum_period_s:
            raise ValueError("maximum_period_s is less than minimum_period_s: no proposal could ever be opened")
        if self.expiry_s <= self.challenge_s:
            raise ValueError("expiry_s is not after challenge_s: no approval could ever be used")
        if self.objections is not None and not self.challenge_s:
            raise ValueError("objections need a challenge window (challenge_s)")
        if 0 < self.late_quorum_s < 2 * DRAFT_S:
            # A ballot may be dated back by DRAFT_S, out of the window: as much is left to answer it.
            raise ValueError(f"late_quorum_s is 0, or {2 * DRAFT_S} or more")
        if self.quorum == "rejection" and not self.quorum_percent:
            raise ValueError("a rejection quorum of nobody defeats everything")
        return self


def default_rules(kind: ProposalKind) -> Rules:
    """Return the rules of a kind that bylaws do not name: stricter for what changes the rules or takes rights away.

    They are part of the format: a log whose bylaws leave a kind out is replayed under these, so they never change. `coop init` and
    amendments write the rules of every kind.
    """
    day = 86_400
    match kind:
        case "bylaws" | "operator":
            return Rules(quorum_percent=50, approval_percent=67, minimum_period_s=7 * day, late_quorum_s=day, challenge_s=2 * day)
        case "suspension" | "waiver" | "access":
            return Rules(quorum_percent=50, approval_percent=67, minimum_period_s=3 * day, late_quorum_s=day, challenge_s=day)
        case "halt" | "recall" | "appeal":
            return Rules(quorum_percent=30, approval_percent=50, minimum_period_s=day)
        case "consultation":
            return Rules(quorum_percent=0, approval_percent=0, minimum_for=1, minimum_period_s=day)
        case _:
            return Rules()


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


_LATER = frozenset(("stewards", "stewards_required", "withdrawal_max_s", "supersede_after_withdrawals", "supersede_within_s"))


class Bylaws(Strict):
    """The cooperative's rules at a log position."""

    version: Annotated[int, Field(ge=1)] = 1
    """An amendment has the next number."""
    registrars: Annotated[list[MemberId], Field(min_length=1)]
    """Members who may admit others."""
    registrars_required: Annotated[int, Field(ge=1)] = 2
    """Signatures of distinct registrars an admission needs."""
    oversight: list[MemberId]
    """Members who may halt a run or a release for a limited time; with seats by vote or lot, those who do until the first are seated."""
    oversight_required: Annotated[int, Field(ge=1)] = 1
    oversight_seated: Literal["bylaws", "vote", "lot"] = "bylaws"
    """How the oversight body is seated: by this list, by a vote on an appointment, or by a vote that seats a panel drawn by lot."""
    oversight_term_s: Length = 366 * 86_400
    """Longest term of an appointment, seconds; when it is over the seats are empty."""
    halt_max_s: Length = 7 * 86_400
    """Longest time a halt of the oversight body lasts before it lapses, unless members ratify it, seconds."""
    open_proposals: Annotated[int, Field(ge=1)] = 5
    """Proposals one member may have open at a time."""
    founder_led: list[ProposalKind] = Field(default_factory=list)
    """Kinds only founders vote on until the exit to community, after which this list stays empty for ever."""
    kinds: dict[ProposalKind, Rules]
    """Rules by kind; run and release must be named, the others have defaults."""
    recovery_required: Annotated[int, Field(ge=1)] = 2
    """Distinct registrars, or distinct guardians the member named, who together give a member a new key."""
    recovery_delay_s: Length = 7 * 86_400
    """Time in which any key of the member can cancel a recovery, seconds of the log's clock."""
    jurisdiction: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    """Country under whose law the cooperative works, ISO 3166-1 alpha-2; consent records name it."""
    passkey_origins: list[PasskeyOrigin] = Field(default_factory=list)
    """Where members may sign with passkeys, dated; a cooperative without such a list refuses passkeys."""
    secret_minimum_roll: Annotated[int, Field(ge=3)] = 10
    """Members a roll needs for a secret poll: a count of few tells who voted what."""
    secret_minimum_ballots: Annotated[int, Field(ge=2)] = 5
    """Members who must vote before the trustees of a secret poll may decrypt."""
    stages: Stages = Field(default_factory=dict)
    """Quality stages every build must run, with the parameters it must use; what is not named here is the builder's choice."""
    witnesses: list[str] = Field(default_factory=list)
    """Verifier keys (C2SP vkeys) of other parties who cosign checkpoints; see docs/witness.md."""
    witnesses_required: Annotated[int, Field(ge=0)] = 0
    """So many of them must have cosigned a checkpoint before a gate, a guard or a verifier relies on it."""
    stewards: list[MemberId] = Field(default_factory=list)
    """Members who sign the attestations of a release and the root of the download site, and who may withdraw a release in an emergency."""
    stewards_required: Annotated[int, Field(ge=1)] = 1
    """So many distinct stewards it takes for each of these."""
    withdrawal_max_s: Length = 30 * 86_400
    """Longest time a withdrawal of a release by the stewards stands before it lapses, unless members ratify it, seconds."""
    supersede_after_withdrawals: Annotated[int, Field(ge=1)] | None = None
    """So many members who withdrew consent since a release make a superseding one due; null if the bylaws promise no number."""
    supersede_within_s: Length | None = None
    """So long after the first such withdrawal a superseding release is due, seconds; null if the bylaws promise no time."""

    @model_serializer(mode="wrap")
    def _absent_stays_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later fields that nobody set: bylaws voted before there were any keep their digest."""
        return {name: value for name, value in write(self).items() if name not in _LATER or name in self.model_fields_set}

    @model_validator(mode="after")
    def _reachable(self) -> Bylaws:
        if self.registrars_required > len(set(self.registrars)):
            raise ValueError("registrars_required is more than there are registrars")
        if self.oversight and self.oversight_required > len(set(self.oversight)):
            raise ValueError("oversight_required is more than the oversight body has members")
        if not {"run", "release"} <= set(self.kinds):
            raise ValueError("rules for run and release are needed")
        halt = self.rules("halt")
        if self.halt_max_s <= halt.minimum_period_s + halt.late_quorum_s + halt.challenge_s:
            raise ValueError("halt_max_s is too short: a halt would lapse before members can ratify it (rules of kind halt)")
        if self.stewards and self.stewards_required > len(set(self.stewards)):
            raise ValueError("stewards_required is more than there are stewards")
        recall = self.rules("recall")
        if self.stewards and self.withdrawal_max_s <= recall.minimum_period_s + recall.late_quorum_s + recall.challenge_s:
            raise ValueError("withdrawal_max_s is too short: a withdrawal would lapse before members can ratify it (rules of kind recall)")
        try:
            Policy.parse(self.witnesses, self.witnesses_required)
        except Refused as error:
            raise ValueError(f"witnesses: {error.what}") from error
        if self.rules("consultation").quorum == "rejection":
            raise ValueError("nobody votes against a consultation: its quorum is no rejection quorum")
        return self

    def rules(self, kind: ProposalKind) -> Rules:
        """Return the rules of a kind: those named here, else the defaults."""
        return self.kinds.get(kind) or default_rules(kind)

    @property
    def offices(self) -> set[str]:
        """Everybody these bylaws name."""
        return {*self.registrars, *self.oversight, *self.stewards}

    @property
    def policy(self) -> Policy:
        """Who must have cosigned a checkpoint that these bylaws govern."""
        return Policy.parse(self.witnesses, self.witnesses_required)
