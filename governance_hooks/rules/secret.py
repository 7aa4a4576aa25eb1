"""Rules of secret polls: everybody with a part in the ceremony signs, events are anchored in order, registrars state the result.

Nothing here touches `register.proposals`: a secret poll is advice, and no run or release can stand on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks import tally
from governance_hooks.errors import Refused
from governance_hooks.payloads.polls import SecretEvent, SecretResult
from governance_hooks.payloads.polls import SecretPoll as SecretPollPayload
from governance_hooks.secret.grammar import require_order
from governance_hooks.state.polls import SecretPoll

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["anchor", "open_poll", "state_result"]


def open_poll(register: Register, statement: Statement) -> None:
    """Open a secret poll that the operator, the credential authority and every trustee signed."""
    payload = cast(SecretPollPayload, statement.payload)
    trustees = [trustee.member for trustee in payload.trustees]
    if len(set(trustees)) != len(trustees) or len({trustee.certificate for trustee in payload.trustees}) != len(trustees):
        raise Refused("trustees are distinct members with certificates of their own", value=trustees)
    if payload.credential_authority in trustees:
        raise Refused(
            "the credential authority is a trustee: one member would know whose ballot is whose and help to open it", value=payload.credential_authority
        )
    if not len(trustees) < 2 * payload.threshold <= 2 * len(trustees):
        raise Refused(
            "the threshold is more than half of the trustees: two groups without one in common could decrypt two counts, and so single ballots",
            value=payload.threshold,
            allowed=f"{len(trustees) // 2 + 1} to {len(trustees)}",
        )
    _require_signers(register, statement, {payload.credential_authority, *trustees})
    roll = register.active()
    if payload.roll.members != len(roll) or payload.roll.root != tally.roll_root(roll):
        raise Refused("a poll's roll is that of its log position", value=payload.roll.members, allowed=f"{len(roll)} members; make new credentials")
    for name, stated, least in (
        ("members on its roll", len(roll), register.bylaws.secret_minimum_roll),
        ("ballots before it may be decrypted", payload.minimum_ballots, register.bylaws.secret_minimum_ballots),
    ):
        if stated < least:
            raise Refused(f"a secret poll needs more {name}: the count of few tells who voted what", value=stated, allowed=f"{least} or more (bylaws)")
    if payload.minimum_ballots > len(roll):
        raise Refused("a poll cannot ask for more ballots than there are members", value=payload.minimum_ballots, allowed=str(len(roll)))
    if payload.closes <= max(statement.issued, register.operator_clock):
        raise Refused("this poll would close before it opens", value=payload.closes, allowed=f"after {max(statement.issued, register.operator_clock)}")
    if any(poll.events[0][1] == payload.setup or poll.election == payload.election for poll in register.secret_polls.values()):
        raise Refused("this election is a poll in the log already", value=payload.election)
    register.secret_polls[statement.id] = SecretPoll(
        statement.id,
        payload.subject,
        payload.election,
        payload.credentials,
        payload.options,
        len(roll),
        payload.credential_authority,
        tuple((trustee.member, trustee.certificate) for trustee in payload.trustees),
        payload.threshold,
        payload.minimum_ballots,
        register.size,
        payload.closes,
        [("Setup", payload.setup)],
    )


def _require_signers(register: Register, statement: Statement, members: set[str]) -> None:
    """Refuse unless exactly the operator and these members signed, the author among them."""
    if register.operator not in statement.signers:
        raise Refused("a secret poll is signed by the operator too", allowed="the operator's key beside the members'")
    owners = {raw: register.holder(raw) for raw in statement.signers - {register.operator}}
    strangers = sorted(owner or "a key nobody enrolled" for owner in owners.values() if owner not in members)
    if strangers:
        raise Refused("a secret poll is signed by somebody with no part in it", value=strangers, allowed=", ".join(sorted(members)))
    missing = sorted(members - {owner for owner in owners.values() if owner})
    if missing or statement.author not in members:
        raise Refused(
            "a secret poll is signed by its credential authority and by every trustee",
            value=f"missing: {', '.join(missing) or 'the author'}",
            next="coop secret trustee, coop secret credentials",
        )


def _poll(register: Register, identifier: str) -> SecretPoll:
    """Return a secret poll by statement digest; raise Refused if the log knows none."""
    found = register.secret_polls.get(identifier)
    if found is None:
        raise Refused("no such secret poll in this log", value=identifier, allowed=", ".join(register.secret_polls) or "none is open yet")
    return found


def anchor(register: Register, statement: Statement) -> None:
    """Anchor the next event of a poll's archive; what is out of order, late or early is refused."""
    register.require_operator(statement)
    payload = cast(SecretEvent, statement.payload)
    poll = _poll(register, payload.poll)
    require_order(poll.events[-1][0], payload.event)
    if payload.sequence != len(poll.events):
        raise Refused("events of a poll are anchored one by one", value=payload.sequence, allowed=str(len(poll.events)))
    if any(digest == payload.digest for _, digest in poll.events):
        raise Refused("this event is anchored already", value=payload.digest)
    if payload.event == "Ballot" and statement.issued > poll.closes:
        raise Refused("this poll is closed", value=statement.issued, allowed=f"until {poll.closes}")
    if payload.event == "EndBallots" and statement.issued < poll.closes:
        raise Refused("this poll is still open", value=statement.issued, allowed=f"{poll.closes} or later")
    decrypted = sum(kind == "PartialDecryption" for kind, _ in poll.events)
    if payload.event == "Result" and decrypted < poll.threshold:
        raise Refused("too few trustees decrypted", value=decrypted, allowed=f"{poll.threshold} of {len(poll.trustees)}")
    if payload.event == "EncryptedTally" and sum(kind == "Ballot" for kind, _ in poll.events) < poll.minimum_ballots:
        raise Refused("too few ballots: their count would tell who voted what", value=len(poll.events) - 2, allowed=f"{poll.minimum_ballots} or more")
    poll.events.append((payload.event, payload.digest))


def state_result(register: Register, statement: Statement) -> None:
    """Record the result of a poll whose events are all anchored, signed by as many registrars as an admission needs."""
    payload = cast(SecretResult, statement.payload)
    poll = _poll(register, payload.poll)
    owners = {register.holder(raw) or "" for raw in statement.signers}
    strangers = sorted(owner or "a key nobody enrolled" for owner in owners if owner not in register.bylaws.registrars)
    if strangers:
        raise Refused("the result of a secret poll is signed by somebody who is no registrar", value=strangers, allowed=", ".join(register.bylaws.registrars))
    if len(owners) < register.bylaws.registrars_required or statement.author not in owners:
        raise Refused(
            "too few registrars signed this result",
            value=len(owners),
            allowed=f"{register.bylaws.registrars_required}, the author among them; each audits first",
        )
    register.require_community(owners)
    if poll.counts is not None:
        raise Refused("this poll has its result already", value=poll.id)
    if poll.events[-1][0] != "Result":
        raise Refused("this poll is not counted yet: its last anchored event is no result", value=poll.events[-1][0], next="coop secret tally")
    if len(payload.counts) != poll.options:
        raise Refused("a result has one count an answer", value=len(payload.counts), allowed=str(poll.options))
    if not poll.minimum_ballots <= sum(payload.counts) <= poll.roll:
        raise Refused("the counts do not fit the roll", value=sum(payload.counts), allowed=f"{poll.minimum_ballots} to {poll.roll} ballots")
    poll.counts, poll.archive = tuple(payload.counts), payload.archive
