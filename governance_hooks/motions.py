"""Motions: what a proposal asks for when its effect is on the cooperative itself; the motion stands in the proposal, in full.

A proposal about a file (run, release, payout, access) names the file's digest instead and has no motion.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from governance_hooks.bylaws import Bylaws, MemberId
from governance_hooks.canonical import digest
from governance_hooks.fields import Digest, Instant, KeyLine, Slug, Strict

__all__ = [
    "Admit",
    "AmendBylaws",
    "AppealAgainst",
    "Appoint",
    "ChangeOperator",
    "Consult",
    "HaltUse",
    "Motion",
    "OperatorKey",
    "Reason",
    "Recall",
    "Suspend",
    "Waive",
    "subject_of",
]

OperatorKey = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/]{68}$")]


class AmendBylaws(Strict):
    """The whole new bylaws; their version is the next one."""

    kind: Literal["bylaws"] = "bylaws"
    bylaws: Bylaws


class Waive(Strict):
    """Let a run be released although its evaluation or its leak test did not pass; names the very records members have read."""

    kind: Literal["waiver"] = "waiver"
    run: Slug
    report: Digest
    leak: Annotated[Digest | None, Field(exclude_if=lambda record: record is None)] = None
    """Digest of leak.json, if the leak test did not pass; else absent."""


class Admit(Strict):
    """A new member by vote instead of by registrars; the proposal also bears the signature of their key."""

    kind: Literal["admission"] = "admission"
    member: MemberId
    key: KeyLine


class Suspend(Strict):
    """A member who may not propose or hold an office until an instant, and is on no roll frozen in that time; consents and the right to leave stay."""

    kind: Literal["suspension"] = "suspension"
    member: MemberId
    until: Instant


class HaltUse(Strict):
    """A halt of an approval by the members; with `ratifies`, it prolongs a halt of the oversight body that would lapse."""

    kind: Literal["halt"] = "halt"
    proposal: Digest
    until: Instant
    ratifies: Digest | None


Reason = Literal["consent-withdrawals", "safety", "privacy", "licence", "defect", "improved"]
"""Why a release is superseded or withdrawn; what there is to say besides is said elsewhere."""


class Recall(Strict):
    """The withdrawal of a release by the members; with `ratifies`, that of the stewards, which would lapse, stands for good."""

    kind: Literal["recall"] = "recall"
    release: Digest
    reason: Reason
    ratifies: Digest | None


class AppealAgainst(Strict):
    """The end of a halt (its statement), of a status of a release (its statement, or the members' proposal) or of a suspension (its proposal)."""

    kind: Literal["appeal"] = "appeal"
    against: Digest


class Appoint(Strict):
    """The members of the oversight body until an instant; those of a panel drawn by lot, where the bylaws say so."""

    kind: Literal["appointment"] = "appointment"
    members: Annotated[list[MemberId], Field(min_length=1, max_length=64)]
    until: Instant
    panel: Digest | None


class ChangeOperator(Strict):
    """Another operator; the proposal also bears the signature of the new key."""

    kind: Literal["operator"] = "operator"
    operator: OperatorKey


class Consult(Strict):
    """A question with numbered options, or statements to agree with or not; the answer binds nobody. The texts are kept by their digest."""

    kind: Literal["consultation"] = "consultation"
    question: Digest
    options: Annotated[list[Digest], Field(min_length=2, max_length=64)]
    """With method opinions: the statements, which stay as they are until the end."""
    method: Literal["approval", "ranked", "opinions"]

    @model_validator(mode="after")
    def _statements_differ(self) -> Consult:
        if self.method == "opinions" and len(set(self.options)) != len(self.options):
            raise ValueError("the same statement twice would count twice in what is drawn from the answers")
        return self


Motion = Annotated[
    AmendBylaws | Waive | Admit | Suspend | HaltUse | Recall | AppealAgainst | Appoint | ChangeOperator | Consult,
    Field(discriminator="kind"),
]

MOTIONS: dict[str, type[Strict]] = {one.model_fields["kind"].default: one for one in get_args(get_args(Motion)[0])}
"""Kind -> motion; kinds that are not here are about a file."""


def subject_of(motion: Strict) -> str:
    """Return the digest a proposal with this motion is about."""
    return digest(motion.model_dump(mode="json"))
