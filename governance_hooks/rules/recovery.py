"""Rules of recovery: registrars or guardians give a member who lost all keys a new one, after a delay in which any old key cancels.

The delay passes by the log's clock, which is the `issued` of the operator's statements: a signer writes `issued` as they
like, and whoever opens a recovery would date it back, or their next statement forward. The delay runs from the first time
the operator states after the recovery, so that a log that lay still for a week does not swallow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.membership import Guardians, RecoveryCancelled, RecoveryOpened
from governance_hooks.rules.keys import fresh
from governance_hooks.sentence import Sentence
from governance_hooks.state.membership import Recovery
from governance_hooks.statement import shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["advance", "cancel", "name_guardians", "open_recovery", "state_time"]


def name_guardians(register: Register, statement: Statement) -> None:
    """Record whom a member trusts with a new key: other members, enough of them, or nobody."""
    member = register.author(statement)
    named = cast(Guardians, statement.payload).guardians
    if named != sorted(set(named)):
        raise Refused("guardians are listed once each, sorted", value=named)
    if member.id in named:
        raise Refused("nobody is their own guardian", value=member.id)
    for guardian in named:
        register.member(guardian)
    if named and len(named) < register.bylaws.recovery_required:
        raise Refused(
            Sentence("too few guardians to ever recover a key"),
            value=len(named),
            allowed=Sentence("{number} or more, or none", number=register.bylaws.recovery_required),
        )
    member.guardians = frozenset(named)


def open_recovery(register: Register, statement: Statement) -> None:
    """Open a recovery, signed by the new key and by enough distinct registrars or enough distinct guardians of the member."""
    payload = cast(RecoveryOpened, statement.payload)
    member = register.member(payload.member)
    if statement.author != member.id:
        raise Refused("a recovery is stated in the name of the member it is for", value=statement.author, allowed=member.id)
    if member.id in register.recoveries:
        raise Refused(Sentence("a recovery of this member is pending already"), value=register.recoveries[member.id].id, allowed="one at a time")
    raw = fresh(register, payload.key)
    if raw not in statement.signers:
        raise Refused("a recovery is signed by the new key too (proof of possession)", value=member.id)
    holders = {register.holder(signer) for signer in statement.signers - {raw}}
    if member.id in holders:
        raise Refused(Sentence("a key of the member that is in force signed this: nothing is lost"), value=member.id, next="coop key rotate NEW")
    bodies = {"registrars": frozenset(register.bylaws.registrars), "guardians of this member": member.guardians}
    # None in `holders` is a key of nobody, or no longer in force: it is in neither body.
    name = next((name for name, people in bodies.items() if holders <= people), None)
    supporters = sorted(holder for holder in holders if holder is not None)
    if name is None:
        raise Refused("a recovery is signed by registrars alone or by guardians of the member alone", value=supporters, allowed=", ".join(bodies))
    if len(supporters) < register.bylaws.recovery_required:
        raise Refused(Sentence("too few signed this recovery"), value=len(supporters), allowed=f"{register.bylaws.recovery_required} distinct {name}")
    register.require_community(supporters)
    register.recoveries[member.id] = Recovery(statement.id, member.id, raw, tuple(supporters), register.size)
    register.known_keys[raw] = member.id


def cancel(register: Register, statement: Statement) -> None:
    """Cancel a pending recovery with any key of the member that is in force, or with the new key itself."""
    member = register.member(statement.author)
    pending = register.recoveries.get(member.id)
    wanted = cast(RecoveryCancelled, statement.payload).recovery
    if pending is None or pending.id != wanted:
        raise Refused(Sentence("no such recovery of yours is pending"), value=wanted, allowed=pending.id if pending else "none is pending")
    if len(statement.signers) != 1 or not statement.signers <= member.keys | {pending.key}:
        raise Refused("cancelling a recovery needs one key of the member that is in force, or the new key", value=statement.author)
    del register.recoveries[member.id]


def state_time(register: Register, statement: Statement) -> None:
    """Let the operator state the time; the register moves its clock for every statement of the operator."""
    register.require_operator(statement)


def advance(register: Register) -> None:
    """Start the delay of new recoveries, and put those in effect whose delay is over by the log's clock."""
    for pending in list(register.recoveries.values()):
        if pending.due is None:
            pending.due = shift(register.operator_clock, register.bylaws.recovery_delay_s)
        elif register.operator_clock >= pending.due:
            member = register.members[pending.member]
            # Whoever had the old keys may have named the guardians: the member names them again.
            member.keys, member.guardians = {pending.key}, frozenset()
            register.in_force_since[pending.key] = register.size
            del register.recoveries[pending.member]
