"""The register: the fold over the log into members, keys, consents, proposals and runs.

`apply` takes the next entry and either changes the state or raises Refused and changes nothing. The writer applies
an entry before it appends it, and every auditor applies the same function to the same bytes: one set of rules.
The rules of each subject are in `governance_hooks/rules/`.
"""

from __future__ import annotations

from collections.abc import Callable

from governance_hooks.bylaws import Bylaws
from governance_hooks.checkpoint import NoteVerifier
from governance_hooks.consent import Use, permits
from governance_hooks.errors import Refused
from governance_hooks.payloads import Founding
from governance_hooks.rules import consents, keys, membership, proposals, recovery, runs
from governance_hooks.rules.origins import check_origins
from governance_hooks.seen import Seen
from governance_hooks.sshsig import PublicKey
from governance_hooks.state import Contribution, Grant, Member, Proposal, Recovery, Run
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
        self.members: dict[str, Member] = {}
        self.known_keys: dict[bytes, str] = {}
        """Every raw key ever enrolled -> its owner; a key never changes hands."""
        self.recoveries: dict[str, Recovery] = {}
        """Pending recoveries by member."""
        self.grants: dict[str, list[Grant]] = {}
        self.contributions: dict[str, Contribution] = {}
        self.builds: dict[str, int] = {}
        """Manifest digest -> log position."""
        self.proposals: dict[str, Proposal] = {}
        self.runs: dict[str, Run] = {}
        self.releases: dict[str, str] = {}
        """Release digest -> proposal that allowed it."""
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
            raise Refused("this statement is in the log already", value=statement.id)
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
            _RULES[statement.type](self, statement)
            if statement.author == OPERATOR:
                self.operator_clock = statement.issued
                recovery.advance(self)
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
        strangers = (set(payload.bylaws.registrars) | set(payload.bylaws.oversight)) - set(keys)
        if strangers:
            raise Refused("bylaws name somebody who is no founder", value=sorted(strangers))
        self.log_key = NoteVerifier.parse(payload.log)
        self.coop, self.name, self.operator, self.bylaws = statement.id, payload.name, operator, payload.bylaws
        self.members = {member: Member(member, {key}, joined=0) for member, key in keys.items()}
        self.known_keys = {operator: OPERATOR} | {key: member for member, key in keys.items()}
        self.operator_clock = statement.issued

    def member(self, identifier: str) -> Member:
        """Return a member in good standing; raise Refused for anybody else."""
        found = self.members.get(identifier)
        if found is None or found.left is not None:
            raise Refused("not a member of this cooperative", value=identifier, allowed="a member admitted in the log who has not left")
        return found

    def holder(self, raw: bytes) -> str | None:
        """Return the member in good standing whose key in force this is, or None."""
        member = self.members.get(self.known_keys.get(raw, ""))
        return member.id if member is not None and member.left is None and raw in member.keys else None

    def author(self, statement: Statement) -> Member:
        """Return the member who made a statement alone with one of their keys in force; raise Refused otherwise."""
        member = self.member(statement.author)
        if len(statement.signers) != 1 or not statement.signers <= member.keys:
            by = " and ".join(self.known_keys.get(raw, "a key nobody enrolled") for raw in sorted(statement.signers))
            raise Refused(f"{statement.type} of {statement.author} is signed by {by}", allowed="one key of the author that is in force")
        return member

    def require_operator(self, statement: Statement) -> None:
        """Refuse a statement that is the operator's to make but names another author."""
        if statement.author != OPERATOR:
            raise Refused(f"{statement.type} is the operator's to state", value=statement.author, allowed=OPERATOR)

    def require_recent(self, statement: Statement) -> None:
        """Refuse a statement whose timing matters if it is dated before what the operator has already stated."""
        if statement.issued < shift(self.operator_clock, -CLOCK_SKEW_S):
            raise Refused("this statement is backdated", value=statement.issued, allowed=f"{self.operator_clock} or later, {CLOCK_SKEW_S} s for slow clocks")

    def active(self) -> list[str]:
        """Return the ids of all members in good standing, sorted."""
        return sorted(member.id for member in self.members.values() if member.left is None)

    def proposal(self, identifier: str) -> Proposal:
        """Return a proposal by statement digest; raise Refused if there is none."""
        found = self.proposals.get(identifier)
        if found is None:
            raise Refused("no such proposal in this log", value=identifier, allowed=", ".join(self.proposals) or "none is open yet")
        return found

    def run(self, identifier: str) -> Run:
        """Return a run by id; raise Refused if the log knows none."""
        found = self.runs.get(identifier)
        if found is None:
            raise Refused("no such run in this log", value=identifier, allowed=", ".join(self.runs) or "none has started yet")
        return found

    def consent_for(self, member: str, use: Use, *, language: str, batch: str, at: str, position: int | None = None) -> str | None:
        """Return the digest of the newest consent that allows this use, or None.

        Args:
            member: whose record it is.
            use: purpose, processing, recipients and licence asked for.
            language: ISO 639-3 of the record.
            batch: contribution statement the record came with.
            at: instant (RFC 3339 UTC) against which expiry is judged.
            position: judge as of a log of this many entries; now, if None.
        """
        where = self.size if position is None else position
        for grant in reversed(self.grants.get(member, [])):
            if grant.stands(where) and permits(grant.consent, use, language=language, batch=batch, at=at):
                return grant.id
        return None

    def grant(self, identifier: str, member: str) -> Grant | None:
        """Return a consent of a member by digest."""
        return next((grant for grant in self.grants.get(member, []) if grant.id == identifier), None)


_RULES: dict[str, Callable[[Register, Statement], None]] = {
    "coop.admission/v1": membership.admit,
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
    "coop.build/v1": runs.build,
    "coop.proposal/v1": proposals.open_proposal,
    "coop.ballot/v1": proposals.cast_ballot,
    "coop.close/v1": proposals.close,
    "coop.halt/v1": proposals.halt,
    "coop.run-start/v1": runs.start,
    "coop.run-end/v1": runs.end,
    "coop.evaluation/v1": runs.evaluate,
    "coop.release/v1": runs.release,
    "coop.founding/v1": membership.refuse_second_founding,
}
