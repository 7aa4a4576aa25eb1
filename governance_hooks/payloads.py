"""Payloads of all statement types: enumerations, ids, digests and numbers, never free text or personal data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from governance_hooks.bylaws import Bylaws, MemberId, ProposalKind, Rules
from governance_hooks.card_statement import CardStatement
from governance_hooks.consent import Consent
from governance_hooks.fields import Digest, Instant, KeyLine, Language, SiteKey, SiteName, Slug, Stages, Strict
from governance_hooks.money import Currency
from governance_hooks.motions import Motion, OperatorKey, Reason
from governance_hooks.polls import Count, Draw, PanelOpened, Roll, SecretEvent, SecretPoll, SecretResult

__all__ = ["PAYLOADS"]

CoopName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
VerifierKey = Annotated[str, StringConstraints(max_length=256)]


class Founder(Strict):
    """A founding member and their first key."""

    member: MemberId
    key: KeyLine


class Founding(Strict):
    """The first entry of a log: its digest is the cooperative's identity."""

    name: CoopName
    log: VerifierKey
    """Key that signs checkpoints."""
    operator: OperatorKey
    """Key that signs what the operator may state: builds, closings, runs, releases. It can never vote."""
    founders: Annotated[list[Founder], Field(min_length=1)]
    bylaws: Bylaws


class Admission(Strict):
    """A new member, signed by the member's key and by the registrars."""

    member: MemberId
    key: KeyLine


class Decline(Strict):
    """A registrar declines a request to join or for a new key; which one, only who holds the salt can tell."""

    request: Digest
    """SHA-256 of the canonical `{"salt": 64 hexadecimal digits, "statement": DIGEST}`, the statement being the one the registrars do not sign."""
    about: Literal["admission", "recovery"]
    reason: Literal["asked-twice", "key-not-confirmed", "not-eligible", "not-known", "taken-back"]


class Key(Strict):
    """A key added to or revoked from the author's keys."""

    action: Literal["add", "revoke"]
    key: KeyLine


class Rotation(Strict):
    """A new key of the author in place of an old one, signed by the new key and one in force."""

    old: KeyLine
    new: KeyLine


class Guardians(Strict):
    """The members who together may give the author a new key; an empty list ends it."""

    guardians: Annotated[list[MemberId], Field(max_length=32)]


class RecoveryOpened(Strict):
    """A member who lost their keys asks for a new one, signed by it and by registrars or guardians."""

    member: MemberId
    key: KeyLine


class RecoveryCancelled(Strict):
    """The author stops the recovery of their keys."""

    recovery: Digest


class Time(Strict):
    """The operator states the time (`issued`): the log's clock, by which delays pass."""


class Leave(Strict):
    """The author leaves; all their consents end."""


class Withdrawal(Strict):
    """The author withdraws one consent, or all of them (null)."""

    consent: Digest | None


class Contribution(Strict):
    """A batch of records, committed to by a Merkle root over salted commitments."""

    records: Annotated[int, Field(gt=0)]
    root: Digest
    languages: dict[Language, Count]


class Reviewed(Strict):
    """Ratings of records, committed to by a Merkle root over salted commitments."""

    ratings: Annotated[int, Field(gt=0)]
    root: Digest


class BuildMade(Strict):
    """A dataset build, by the digest of its manifest."""

    manifest: Digest
    root: Digest
    records: Annotated[int, Field(gt=0)]
    stages: Stages = Field(default_factory=dict)
    """Quality stages with their parameters, as the manifest has them."""


class ProposalOpened(Strict):
    """A proposal about exactly one subject digest, under rules copied from the bylaws in force."""

    kind: ProposalKind
    subject: Digest
    rules: Rules
    roll: Roll
    closes: Instant
    uses: Annotated[int, Field(ge=1)]
    """Starts of the run the approval allows (the plan's `max_starts`); 1 for every other kind."""
    motion: Motion | None
    """What is asked for, in full; null where the subject is a file (run, release, payout, access)."""
    draft: Digest | None
    """The draft statement whose last version this is, if it was drafted in the log."""
    supersedes: Annotated[list[Digest], Field(max_length=64)] = Field(default_factory=list)
    """Of a release: those that are out and that it takes the place of once it is out itself, sorted."""
    reasons: Annotated[Digest | None, Field(exclude_if=lambda digest: digest is None)] = None
    """Salted digest of the proposer's reasons, in Markdown, which are kept apart and can be erased; absent where none are given."""


class Draft(Strict):
    """A version of something that may be proposed, by digest, before it is: whoever has both texts can show what changed."""

    kind: ProposalKind
    subject: Digest
    previous: Digest | None
    """The draft statement this is the next version of."""
    reasons: Annotated[Digest | None, Field(exclude_if=lambda digest: digest is None)] = None
    """Salted digest of the reasons as they are in this version; absent where none are given."""


class Ballot(Strict):
    """The author's vote; the one with the highest sequence before the close counts."""

    proposal: Digest
    choice: Literal["for", "against", "abstain"]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class Preference(Strict):
    """The author's answer to a consultation: options approved of, sorted, or options in order, best first."""

    proposal: Digest
    options: Annotated[list[Annotated[int, Field(ge=0, lt=64)]], Field(max_length=64)]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class Opinions(Strict):
    """The author's answer to a consultation of statements: one word for each, in their order."""

    proposal: Digest
    answers: Annotated[list[Literal["agree", "disagree", "pass"]], Field(min_length=2, max_length=64)]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class OpinionCount(Strict):
    """How many agreed with one statement, disagreed with it, and passed it over."""

    agree: Count
    disagree: Count
    passed: Count


class Objection(Strict):
    """The author objects, in the challenge window, to what was approved."""

    proposal: Digest
    reason: Digest | None


class Close(Strict):
    """The count of a proposal; refused by everyone who counts differently."""

    proposal: Digest
    votes_for: Count
    votes_against: Count
    votes_abstain: Count
    outcome: Literal["approved", "rejected"]


class ConsultationClose(Strict):
    """The result of a consultation; refused by everyone who counts differently."""

    proposal: Digest
    cast: Count
    quorate: bool
    winners: list[Count]
    """Options no other is preferred to, sorted; empty when nobody voted, and of statements: none of them wins."""
    opinions: list[OpinionCount] = Field(default_factory=list)
    """Of a consultation of statements, the count of each; absent of any other."""


class Exit(Strict):
    """The exit to community: every founder gives up the powers founders have alone, for ever."""


class Payout(Strict):
    """The operator paid what members approved."""

    payout: Digest
    proposal: Digest
    incomes: list[Digest] = Field(default_factory=list)
    """The statements that booked what is shared out, sorted; each is shared out once."""


class IncomeBooked(Strict):
    """The operator took in money for the cooperative: amounts and ids only."""

    amount: Annotated[int, Field(gt=0, lt=2**53)]
    """In the currency's minor unit, cents for example."""
    currency: Currency
    source: Literal["access", "donation", "grant", "licence-fee"]
    paper: Digest
    """Of the contract or letter, which stays with the cooperative; with source access of the request members approved."""
    proposal: Digest | None
    """With source access: the vote that approved the request; null with every other."""


class Delivered(Strict):
    """The operator handed data, or an answer, to an outsider as members approved."""

    request: Digest
    proposal: Digest
    delivery: Digest
    """Of the delivery's own list of files."""
    kind: Literal["aggregate", "extract"]
    records: Count
    """Rows handed over, or counted for the answer."""
    income: Digest | None
    """The statement that booked its price; null where there is none."""


class Halt(Strict):
    """The oversight body stops the use of an approval until an instant, after which the halt lapses unless members ratify it."""

    proposal: Digest
    until: Instant


class RunStart(Strict):
    """One start of an approved run; consumes one of the approval's starts."""

    run: Slug
    plan: Digest
    proposal: Digest
    start: Annotated[int, Field(ge=1)]
    counted: list[Count] = Field(default_factory=list)
    """Log positions, ascending, of the consents limited to a number of runs on which this start stands."""


class RunEnd(Strict):
    """The end of a run: its record and the files it made."""

    run: Slug
    status: Literal["completed", "halted", "failed"]
    record: Digest
    outputs: Digest
    """Digest of the canonical list of output files; of an empty list if there are none."""


class Site(Strict):
    """A cluster that may start what members approved, or, without a key, one that may no longer; the last statement about a site stands."""

    site: SiteName
    key: SiteKey | None
    """Signs what happens there. It can start no run that members did not approve."""
    lender: MemberId | None
    """The member who lends it; null for a partner, or the cooperative itself."""
    device: Slug | None
    """What it computes on, for example h100; null if nobody says."""
    device_hours: Annotated[int, Field(gt=0)] | None
    """Device-hours lent since the site is in the log; null if there is no such limit."""


class RunSegment(Strict):
    """What one start of a run used of a site."""

    run: Slug
    start: Annotated[int, Field(ge=1)]
    job: Annotated[int, Field(ge=1)]
    """The site's number of the job."""
    restart: Count
    """How often the job had started before."""
    nodes: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=1)]
    """All together."""
    seconds: Annotated[int, Field(ge=0, lt=2**31)]
    """Wall time."""
    outcome: Literal["completed", "preempted", "failed", "cancelled", "timeout", "node-failure"]
    energy_wh: Count | None
    energy_from: Literal["measured", "estimated"] | None

    @model_validator(mode="after")
    def _energy_has_a_source(self) -> RunSegment:
        if (self.energy_wh is None) != (self.energy_from is None):
            raise ValueError("energy_wh and energy_from are given together, or neither")
        return self


class LeakTest(Strict):
    """The leak test of a run's weights, where its plan asks for one."""

    record: Digest
    """Of leak.json, which names the measured canaries and reveals their seed."""
    differential: Digest | None
    """Of the comparison with the release before; null if the plan asks for none."""
    passed: bool


class Evaluation(Strict):
    """The evaluation of a run's weights."""

    run: Slug
    report: Digest
    results: Digest
    passed: bool
    """Of report and results; the leak test has its own."""
    waivable: bool = True
    """Whether members may decide to release it although it did not pass; the voted policy says so for each task."""
    leak: LeakTest | None = None


class Released(Strict):
    """A release went out after its vote."""

    run: Slug
    release: Digest
    proposal: Digest


class ReleaseStatus(Strict):
    """Stewards say that a release that is out is withdrawn, or superseded by a later one whose vote did not name it."""

    release: Digest
    status: Literal["superseded", "withdrawn"]
    by: Digest | None
    """The release that takes its place; null of a withdrawn one."""
    reason: Reason


PAYLOADS: dict[str, type[BaseModel]] = {
    "coop.founding/v1": Founding,
    "coop.admission/v1": Admission,
    "coop.decline/v1": Decline,
    "coop.key/v1": Key,
    "coop.rotation/v1": Rotation,
    "coop.guardians/v1": Guardians,
    "coop.recovery/v1": RecoveryOpened,
    "coop.recovery-cancel/v1": RecoveryCancelled,
    "coop.time/v1": Time,
    "coop.leave/v1": Leave,
    "coop.consent/v1": Consent,
    "coop.withdrawal/v1": Withdrawal,
    "coop.contribution/v1": Contribution,
    "coop.review/v1": Reviewed,
    "coop.build/v1": BuildMade,
    "coop.proposal/v1": ProposalOpened,
    "coop.draft/v1": Draft,
    "coop.ballot/v1": Ballot,
    "coop.preference/v1": Preference,
    "coop.opinions/v1": Opinions,
    "coop.close/v1": Close,
    "coop.consultation-close/v1": ConsultationClose,
    "coop.objection/v1": Objection,
    "coop.exit/v1": Exit,
    "coop.payout/v1": Payout,
    "coop.income/v1": IncomeBooked,
    "coop.delivery/v1": Delivered,
    "coop.halt/v1": Halt,
    "coop.run-start/v1": RunStart,
    "coop.site/v1": Site,
    "coop.run-segment/v1": RunSegment,
    "coop.run-end/v1": RunEnd,
    "coop.evaluation/v1": Evaluation,
    "coop.release/v1": Released,
    "coop.release-status/v1": ReleaseStatus,
    "coop.secret-poll/v1": SecretPoll,
    "coop.secret-event/v1": SecretEvent,
    "coop.secret-result/v1": SecretResult,
    "coop.panel/v1": PanelOpened,
    "coop.draw/v1": Draw,
    "coop.card-statement/v1": CardStatement,
}
"""Statement type -> payload model. A type that is not here is refused."""
