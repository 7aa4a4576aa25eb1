"""The register: the fold over the log into members, keys, consents, proposals and runs.

`apply` takes the next entry and either changes the state or raises Refused and changes nothing. The writer applies
an entry before it appends it, and every auditor applies the same function to the same bytes: one set of rules.
The rules of each subject are in `governance_hooks/rules/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from governance_hooks.bylaws import Bylaws, ProposalKind
from governance_hooks.card_statement import CardStatementMade
from governance_hooks.checkpoint import NoteVerifier
from governance_hooks.consent import Use
from governance_hooks.errors import Refused
from governance_hooks.payloads.membership import Founding
from governance_hooks.rules import (
    ballots,
    card_statements,
    closing,
    community,
    consents,
    effects,
    halts,
    keys,
    membership,
    panels,
    proposals,
    recalls,
    recovery,
    runs,
    secret,
    sites,
    stake,
)
from governance_hooks.rules.origins import check_origins
from governance_hooks.seen import Seen
from governance_hooks.sentence import Sentence
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.consents import Contribution, Grant, Review
from governance_hooks.state.membership import Declined, Member, Recovery, Seats
from governance_hooks.state.polls import Panel, SecretPoll
from governance_hooks.state.proposals import Draft, Halt, Proposal
from governance_hooks.state.releases import Mark, Stewards
from governance_hooks.state.runs import Run, Site
from governance_hooks.state.stake import Delivery, Income
from governance_hooks.statement import CLOCK_SKEW_S, OPERATOR, SELF, Statement, parse, shift

__all__ = ["Register"]


class Register:
    """The state of a cooperative after `size` entries of its log."""

    def __init__(self) -> None:
        self.size = 0
        self.coop = ""
        self.name = ""
        self.log_key: NoteVerifier
        self.operator: bytes
        self.bylaws: Bylaws
        self.founders: frozenset[str] = frozenset()
        self.exited: int | None = None
        """Log position of the exit to community, since when founders alone can do nothing."""
        self.members: dict[str, Member] = {}
        self.known_keys: dict[bytes, str] = {}
        """Every raw key ever enrolled -> its owner; a key never changes hands."""
        self.in_force_since: dict[bytes, int] = {}
        """Raw key of a member -> log position at which it came into force; also of keys that are out of force."""
        self.recoveries: dict[str, Recovery] = {}
        """Pending recoveries by member."""
        self.declined: dict[str, Declined] = {}
        """Requests to join or for a new key that a registrar declined, by their salted digest."""
        self.grants: dict[str, list[Grant]] = {}
        self.contributions: dict[str, Contribution] = {}
        self.reviews: dict[str, Review] = {}
        self.builds: dict[str, dict[str, dict[str, int]]] = {}
        """Manifest -> the quality stages it was made with."""
        self.drafts: dict[str, Draft] = {}
        self.proposals: dict[str, Proposal] = {}
        self.pending: list[Proposal] = []
        """Approved motions that take effect when their challenge window is over."""
        self.halts: dict[str, Halt] = {}
        self.seats: Seats | None = None
        """The oversight body once it was seated by vote or lot; None while it is the bylaws' list."""
        self.runs: dict[str, Run] = {}
        self.sites: dict[str, Site] = {}
        self.releases: dict[str, str] = {}
        """Release digest -> proposal that allowed it."""
        self.stewards: dict[str, Stewards] = {}
        """Release digest -> who were the stewards when it went out, and with which keys."""
        self.marks: dict[str, Mark] = {}
        """Statement or proposal -> what it says about a release that is out: superseded or withdrawn."""
        self.payouts: dict[str, str] = {}
        """Payout digest -> proposal that allowed it."""
        self.incomes: dict[str, Income] = {}
        self.deliveries: dict[str, Delivery] = {}
        """By digest of the request."""
        self.secret_polls: dict[str, SecretPoll] = {}
        self.panels: dict[str, Panel] = {}
        self.card_statements: dict[str, CardStatementMade] = {}
        """What members said on cards, in the order of the log."""
        self.operator_clock = ""
        self.seen = Seen()

    def apply(self, data: bytes) -> Statement:
        """Check the entry at position `size` and fold it in.

        Raises:
            Refused: the entry is malformed, badly signed, or the rules do not allow it here. The state is unchanged.
        """
        statement = parse(data, source=f"entry {self.size}")
        self.admit(statement)
        return statement

    def admit(self, statement: Statement) -> None:
        """Fold in a statement whose signatures were checked (see governance_hooks.statement and vouching)."""
        if statement.id in self.seen:
            raise Refused(Sentence("this statement is in the log already"), value=statement.id)
        if self.size == 0:
            self._found(statement)
        else:
            if statement.coop != self.coop:
                raise Refused("statement belongs to another cooperative", value=statement.coop, allowed=self.coop)
            if statement.origins:
                check_origins(self.bylaws, statement, clock=self.operator_clock)
            if statement.author == OPERATOR:
                if statement.signers != {self.operator}:
                    raise Refused(
                        f"{statement.type} speaks for the operator but is not signed by the operator's key alone",
                        allowed=PublicKey.from_raw(self.operator).fingerprint,
                    )
                if statement.issued < self.operator_clock:
                    raise Refused("the operator's clock went back", value=statement.issued, allowed=f"{self.operator_clock} or later")
                if statement.type != "coop.time/v1" and self.due(statement.issued):
                    raise Refused(
                        Sentence("a decision of the members is due, and takes effect first"), value=statement.issued, next="coop log stamp, then this again"
                    )
            _RULES[statement.type](self, statement)
            if statement.author == OPERATOR:
                self.operator_clock = statement.issued
                recovery.advance(self)
                effects.advance(self)
                panels.note_time(self, statement)
        self.seen.add(statement.id)
        self.size += 1

    def _found(self, statement: Statement) -> None:
        payload = statement.payload
        if not isinstance(payload, Founding) or statement.coop != SELF or statement.author != OPERATOR:
            raise Refused("a log starts with a founding statement", value=statement.type, allowed="coop.founding/v1")
        operator = PublicKey.from_line(payload.operator).raw
        keys = {founder.member: PublicKey.from_line(founder.key).raw for founder in payload.founders}
        everyone = {operator, *keys.values()}
        if len(keys) != len(payload.founders) or len(everyone) != len(keys) + 1:
            raise Refused("founders and operator need distinct ids and distinct keys")
        if statement.signers != everyone:
            raise Refused(
                "a founding statement is signed by the operator and by every founder", value=len(statement.signers), allowed=f"{len(everyone)} signatures"
            )
        check_origins(payload.bylaws, statement, clock=statement.issued)
        if payload.bylaws.version != 1:  # from a version near 2^53 there would be no next one
            raise Refused("the first bylaws are version 1", value=payload.bylaws.version)
        strangers = payload.bylaws.offices - set(keys)
        if strangers:
            raise Refused("bylaws name somebody who is no founder", value=sorted(strangers))
        log_key = NoteVerifier.parse(payload.log)
        payload.bylaws.policy.require_independent(log_key, operator)
        self.log_key = log_key
        self.coop, self.name, self.operator, self.bylaws = statement.id, payload.name, operator, payload.bylaws
        self.members = {member: Member(member, {key}, joined=0) for member, key in keys.items()}
        self.founders = frozenset(keys)
        self.known_keys = {operator: OPERATOR} | {key: member for member, key in keys.items()}
        self.in_force_since = dict.fromkeys(keys.values(), 0)
        self.operator_clock = statement.issued

    def member(self, identifier: str) -> Member:
        """Return a member; raise Refused for anybody else."""
        found = self.members.get(identifier)
        if found is None or found.left is not None:
            raise Refused(Sentence("not a member of this cooperative"), value=identifier, allowed=Sentence("a member admitted in the log who has not left"))
        return found

    def suspended(self, member: Member) -> bool:
        """Tell whether a member is suspended by the log's clock."""
        return member.suspended_until is not None and self.operator_clock < member.suspended_until

    def standing(self, identifier: str) -> Member:
        """Return a member in good standing; raise Refused for anybody else, suspended members among them."""
        found = self.member(identifier)
        if self.suspended(found):
            raise Refused(
                Sentence("this member is suspended"),
                value=identifier,
                allowed=Sentence("after {when}", when=found.suspended_until),
                next=f"coop propose appeal {found.suspended_by}",
            )
        return found

    def holder(self, raw: bytes) -> str | None:
        """Return the member in good standing whose key in force this is, or None."""
        member = self.members.get(self.known_keys.get(raw, ""))
        return member.id if member is not None and member.left is None and not self.suspended(member) and raw in member.keys else None

    def cosigners(self, statement: Statement, signers: frozenset[bytes], *, suspended_author: bool = False) -> tuple[str, ...]:
        """Return the members in good standing these keys in force belong to, sorted, the author among them; raise Refused for any other key."""
        author = self.member(statement.author) if suspended_author else self.standing(statement.author)
        found = {author.id if raw in author.keys else self.holder(raw) for raw in signers}
        names = sorted(one for one in found if one is not None)
        if len(names) != len(found) or statement.author not in names:
            raise Refused(
                f"{statement.type} of {statement.author} is signed by {', '.join(names) or 'nobody'} and a key that is no member's in force"
                if None in found
                else f"{statement.type} of {statement.author} is not signed by its author",
                allowed="keys in force of members, one of the author's among them",
            )
        return tuple(names)

    def author(self, statement: Statement) -> Member:
        """Return the member who made a statement alone with one of their keys in force; raise Refused otherwise."""
        member = self.member(statement.author)
        if len(statement.signers) != 1 or not statement.signers <= member.keys:
            by = " and ".join(self.known_keys.get(raw, "a key nobody enrolled") for raw in sorted(statement.signers))
            raise Refused(f"{statement.type} of {statement.author} is signed by {by}", allowed=Sentence("one key of the author that is in force"))
        return member

    def require_operator(self, statement: Statement) -> None:
        """Refuse a statement that is the operator's to make but names another author."""
        if statement.author != OPERATOR:
            raise Refused(f"{statement.type} is the operator's to state", value=statement.author, allowed=OPERATOR)

    def require_recent(self, statement: Statement) -> None:
        """Refuse a statement whose timing matters if it is dated before what the operator has already stated."""
        if statement.issued < shift(self.operator_clock, -CLOCK_SKEW_S):
            raise Refused(
                Sentence("this statement is backdated"),
                value=statement.issued,
                allowed=Sentence("{when} or later, {skew} s for slow clocks", when=self.operator_clock, skew=CLOCK_SKEW_S),
            )

    def active(self) -> list[str]:
        """Return the ids of all members in good standing, sorted."""
        return sorted(member.id for member in self.members.values() if member.left is None and not self.suspended(member))

    def roll(self, kind: ProposalKind) -> list[str]:
        """Return who may vote on a proposal of this kind that opens now, sorted: founders alone, where the bylaws still say so."""
        everybody = self.active()
        staying = sum(self.members[one].left is None for one in self.founders)
        # Founders too few to ever decide would hold up the kind, and the exit, for ever.
        if self.exited is None and kind in self.bylaws.founder_led and staying >= self.bylaws.rules(kind).minimum_for:
            return [one for one in everybody if one in self.founders]
        return everybody

    def due(self, at: str) -> bool:
        """Tell whether a decision of the members falls due by an instant: the next statement of the time puts it in effect."""
        return any(one.due() <= at for one in self.pending)

    def oversight(self) -> tuple[str, ...]:
        """Return who is of the oversight body now: the bylaws' list until somebody is seated, nobody when the term is over."""
        if self.seats is None or self.bylaws.oversight_seated == "bylaws":
            return tuple(self.bylaws.oversight)
        return self.seats.members if self.operator_clock < self.seats.until else ()

    def office_holders(self) -> frozenset[str]:
        """Return who holds an office now: registrars, stewards and the oversight body, those in good standing."""
        named = {*self.bylaws.registrars, *self.bylaws.stewards, *self.oversight()}
        found = [self.members[one] for one in named if one in self.members]
        return frozenset(one.id for one in found if one.left is None and not self.suspended(one))

    def require_community(self, people: Iterable[str]) -> None:
        """Refuse an act of founders alone since the exit to community."""
        if self.exited is not None and self.founders.issuperset(people):
            raise Refused(
                Sentence("since the exit to community founders cannot act alone"), value=sorted(people), allowed=Sentence("one who is no founder among them")
            )

    def drawn(self, panel: str) -> list[str] | None:
        """Return who was drawn by lot for the seats of the oversight body in a panel, or None if the log knows no such draw."""
        found = self.panels.get(panel)
        return list(found.selected) if found is not None and found.purpose == "oversight" and found.selected else None

    def proposal(self, identifier: str) -> Proposal:
        """Return a proposal by statement digest; raise Refused if there is none."""
        found = self.proposals.get(identifier)
        if found is None:
            raise Refused(Sentence("no such proposal in this log"), value=identifier, allowed=", ".join(self.proposals) or "none is open yet")
        return found

    def run(self, identifier: str) -> Run:
        """Return a run by id; raise Refused if the log knows none."""
        found = self.runs.get(identifier)
        if found is None:
            raise Refused("no such run in this log", value=identifier, allowed=", ".join(self.runs) or "none has started yet")
        return found

    def consent_for(
        self, member: str, use: Use, *, language: str, batch: str, at: str, position: int | None = None, run: str | None = None, without: str | None = None
    ) -> str | None:
        """Return the digest of the consent that carries this use, or None; arguments as in `rules.consents.choose`."""
        found = consents.choose(self, member, use, language=language, batch=batch, at=at, position=position, run=run, without=without)
        return None if found is None else found.id

    def grant(self, identifier: str, member: str) -> Grant | None:
        """Return a consent of a member by digest."""
        return next((grant for grant in self.grants.get(member, []) if grant.id == identifier), None)


_RULES: dict[str, Callable[[Register, Statement], None]] = {
    "coop.admission/v1": membership.admit,
    "coop.decline/v1": membership.decline,
    "coop.key/v1": keys.change,
    "coop.rotation/v1": keys.rotate,
    "coop.guardians/v1": recovery.name_guardians,
    "coop.recovery/v1": recovery.open_recovery,
    "coop.recovery-cancel/v1": recovery.cancel,
    "coop.time/v1": recovery.state_time,
    "coop.leave/v1": membership.leave,
    "coop.consent/v1": consents.give,
    "coop.withdrawal/v1": consents.withdraw,
    "coop.contribution/v1": consents.contribute,
    "coop.review/v1": consents.review,
    "coop.build/v1": runs.build,
    "coop.proposal/v1": proposals.open_proposal,
    "coop.draft/v1": proposals.draft,
    "coop.ballot/v1": ballots.cast_ballot,
    "coop.preference/v1": ballots.prefer,
    "coop.opinions/v1": ballots.opine,
    "coop.close/v1": closing.close,
    "coop.consultation-close/v1": closing.close_consultation,
    "coop.objection/v1": closing.object_to,
    "coop.halt/v1": halts.halt,
    "coop.exit/v1": community.exit_to_community,
    "coop.payout/v1": runs.pay,
    "coop.income/v1": stake.book,
    "coop.delivery/v1": stake.deliver,
    "coop.run-start/v1": runs.start,
    "coop.site/v1": sites.state,
    "coop.run-segment/v1": sites.account,
    "coop.run-end/v1": runs.end,
    "coop.evaluation/v1": runs.evaluate,
    "coop.release/v1": runs.release,
    "coop.release-status/v1": recalls.state_status,
    "coop.secret-poll/v1": secret.open_poll,
    "coop.secret-event/v1": secret.anchor,
    "coop.secret-result/v1": secret.state_result,
    "coop.panel/v1": panels.open_panel,
    "coop.draw/v1": panels.draw,
    "coop.card-statement/v1": card_statements.speak,
    "coop.founding/v1": membership.refuse_second_founding,
}
