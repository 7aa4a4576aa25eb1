"""The payout document members vote on: rule, income, shares, work and every amount, so that anybody computes it again; and its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from governance_hooks.attribution import GuildName, Utility
from governance_hooks.bylaws import MemberId
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.money import Currency, show_amount
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.rules.runs import require_usable
from governance_hooks.stake.allocation import Allocation, allocate
from governance_hooks.stake.rule import PayoutRule
from governance_hooks.stake.work import Done

__all__ = ["FORMAT", "Evidence", "Payout", "SharesUsed", "check_payout", "income_of", "make_payout", "read_payout", "rule_approval"]

FORMAT: Final = "coop.payout-document/v1"


class IncomeUsed(Strict):
    """An income that is shared out."""

    statement: Digest
    amount: Annotated[int, Field(gt=0, lt=2**53)]
    currency: Currency


class SharesUsed(Strict):
    """The shares it goes by."""

    run: Slug
    digest: Digest
    """Of shares.json."""
    utility: Utility
    ppm: dict[GuildName, Annotated[int, Field(ge=0, le=1_000_000)]]


class Position(Strict):
    """Where in the log it stands: who was a member, and which income was there."""

    size: Annotated[int, Field(gt=0)]
    root: Digest


class Payout(Strict):
    """All of it."""

    format: Literal["coop.payout-document/v1"] = "coop.payout-document/v1"
    coop: Digest
    name: Slug
    log: Position
    rule: PayoutRule
    approval: Digest
    """The vote on the rule."""
    incomes: Annotated[list[IncomeUsed], Field(min_length=1, max_length=1000)]
    shares: SharesUsed | None
    """Null where the rule gives guilds nothing."""
    build: Digest
    """The build whose work counts, by its manifest."""
    work: Annotated[list[Done], Field(max_length=10**6)]
    departed: list[MemberId]
    """Members with work who had left."""
    allocation: Allocation

    @property
    def total(self) -> int:
        """The income, minor units."""
        return sum(income.amount for income in self.incomes)

    def dumps(self) -> bytes:
        """Return the canonical bytes members vote on."""
        return dumps(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is at hand to check a payout against; each is asked for when its step comes, and raises StepUnknown if it is not here."""

    at: Callable[[int], tuple[Register, str]]
    """Size -> the register and the root of the log at that size."""
    shares: Callable[[str], tuple[bytes, Mapping[str, int], str]]
    """Run -> shares.json, recomputed: its bytes, millionths by guild, and the voted utility."""
    work: Callable[[Payout, Register], list[Done]]
    """Accepted work, counted again from the build."""


def read_payout(data: bytes, *, source: str = "payout.json") -> Payout:
    """Read canonical bytes strictly; raise BadInput for anything else."""
    loads(data, source=source)
    try:
        return Payout.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error


def rule_approval(register: Register, rule: PayoutRule, at: str) -> str:
    """Return the vote that approved exactly this rule and may be used at an instant.

    Raises:
        StepFailed, Refused: members never voted on it, did not approve it, or the approval is not open yet or has expired.
    """
    about = digest(rule.model_dump(mode="json"))
    proposal = find_proposal(register, "payout", about, at=at)
    require_usable(proposal, "payout", about, at)
    return proposal.id


def income_of(register: Register, statement: str, currency: str) -> IncomeUsed:
    """Return an income that can be shared out in a currency; raise BadInput for one that is unknown, of another currency or shared out already."""
    found = register.incomes.get(statement)
    if found is None:
        raise BadInput("no such income in this log", value=statement, allowed=", ".join(register.incomes) or "none is booked yet", next="coop payout income")
    if found.currency != currency:
        raise BadInput("this income is in another currency than the rule", value=found.currency, allowed=currency)
    if found.paid is not None:
        raise BadInput("this income is shared out already", value=statement, allowed=f"once, by payout {found.paid}")
    return IncomeUsed(statement=statement, amount=found.amount, currency=found.currency)


def departed_of(register: Register, done: list[Done]) -> list[str]:
    """Return the members with work who had left, sorted; raise BadInput for work of somebody who never was a member."""
    people = {one.member for one in done}
    strangers = sorted(people - register.members.keys())
    if strangers:
        raise BadInput("work of somebody who is no member of this cooperative", value=strangers[0])
    return sorted(member for member in people if register.members[member].left is not None)


def make_payout(
    register: Register, *, name: str, root: str, rule: PayoutRule, incomes: list[str], shares: SharesUsed | None, build: str, done: list[Done], at: str
) -> Payout:
    """Return the document for the register as it stands.

    Raises:
        BadInput, StepFailed, Refused: an unapproved rule, an income that is unknown or shared out, shares that do not add up.
    """
    if rule.coop != register.coop:
        raise BadInput("this rule is of another cooperative", value=rule.coop, allowed=register.coop)
    if len(set(incomes)) != len(incomes) or not incomes:
        raise BadInput("a payout shares out incomes, each once", value=incomes, next="coop payout income")
    used = [income_of(register, one, rule.currency) for one in sorted(incomes)]
    departed = departed_of(register, done)
    total = sum(income.amount for income in used)
    if total >= 2**53:
        raise BadInput("this is more money than can be counted", value=total)
    ppm = None if shares is None or not rule.parts.guilds else shares.ppm
    return Payout(
        coop=register.coop,
        name=name,
        log=Position(size=register.size, root=root),
        rule=rule,
        approval=rule_approval(register, rule, at),
        incomes=used,
        shares=shares if rule.parts.guilds else None,
        build=build,
        work=done,
        departed=departed,
        allocation=allocate(rule, total, ppm, done, departed),
    )


def check_payout(data: bytes, evidence: Evidence, now: Register, *, source: str = "payout.json") -> Report:
    """Check a payout from its bytes up: canonical, rule voted, its place in the log, income, shares, work, and every amount again.

    Args:
        data: the document.
        evidence: what to check it against.
        now: the register as it is, to say whether the payout was approved and made.
    """
    checks = Checklist(f"payout {sha256(data)[:19]}")
    state: dict[str, object] = {}

    def payout() -> Payout:
        if "payout" not in state:
            raise StepUnknown("needs a readable payout")
        return state["payout"]  # type: ignore[return-value]

    def register() -> Register:
        if "register" not in state:
            raise StepUnknown("needs the log at the payout's position")
        return state["register"]  # type: ignore[return-value]

    def canonical() -> str:
        found = read_payout(data, source=source)
        if found.rule.coop != found.coop or found.coop != now.coop:
            raise StepFailed("the payout is of another cooperative", todo="check it where it belongs")
        if [one.statement for one in found.incomes] != sorted({one.statement for one in found.incomes}):
            raise StepFailed("the incomes are not listed once each, sorted")
        state["payout"] = found
        return f"{found.name}, {len(found.allocation.members)} members, {show_amount(found.total, found.rule.currency)}"

    def position() -> str:
        log = payout().log
        if log.size > now.size:
            raise StepFailed(f"the payout stands on {log.size} log entries, and the log has {now.size}", todo="get the log up to date")
        found, root = evidence.at(log.size)
        if root != log.root:
            raise StepFailed("the payout stands on another log than this one", todo="make it again from this log")
        state["register"] = found
        return f"log of {log.size} entries, root {root[:19]}"

    def rule_is_voted() -> str:
        made = payout()
        proposal = register().proposals.get(made.approval)
        if proposal is None or proposal.kind != "payout" or proposal.subject != digest(made.rule.model_dump(mode="json")):
            raise StepFailed("members never voted on exactly this rule", todo="coop propose payout RULE")
        words = check_vote(proposal)
        require_usable(proposal, "payout", proposal.subject, register().operator_clock)
        return f"rule {made.rule.name}: {words}"

    def incomes() -> str:
        made = payout()
        for one in made.incomes:
            if income_of(register(), one.statement, made.rule.currency) != one:
                raise StepFailed(f"income {one.statement[:19]} is booked with another amount", todo="make the payout again")
        for one in made.incomes:
            paid = now.incomes[one.statement].paid
            if paid not in (None, sha256(data)):
                raise StepFailed(f"income {one.statement[:19]} was shared out by another payout meanwhile", todo="make the payout again without it")
        return f"{len(made.incomes)} income(s) booked, not shared out before"

    def shares() -> str:
        made = payout()
        if made.shares is None:
            if made.rule.parts.guilds:
                raise StepFailed("the rule gives guilds a part, and the payout names no shares", todo="coop shares RUN, then make it again")
            return "the rule gives guilds nothing"
        if made.shares.run not in register().runs:
            raise StepFailed(f"the log knows no run {made.shares.run}")
        found, ppm, utility = evidence.shares(made.shares.run)
        if sha256(found) != made.shares.digest or dict(ppm) != made.shares.ppm or utility != made.shares.utility:
            raise StepFailed(f"the shares are not those of run {made.shares.run}", todo="make the payout again from its shares")
        return f"shares of run {made.shares.run}, utility {utility}"

    def work() -> str:
        made = payout()
        if made.build not in register().builds:
            raise StepFailed("the log does not know the dataset whose work counts", todo="coop build make, which logs it")
        counted = evidence.work(made, register())
        if counted != made.work:
            raise StepFailed("the accepted work is not what the dataset and the log say", todo="make the payout again")
        if departed_of(register(), counted) != made.departed:
            raise StepFailed("who has left is not what the log says at that position", todo="make the payout again")
        return f"{sum(one.pieces for one in counted)} pieces of work of {len({one.member for one in counted})} members, {len(made.departed)} of them left"

    def amounts() -> str:
        made = payout()
        ppm = None if made.shares is None else made.shares.ppm
        again = allocate(made.rule, made.total, ppm, made.work, made.departed)
        if again != made.allocation:
            raise StepFailed("the amounts do not follow from rule, income, shares and work", todo="make the payout again")
        if again.total != made.total:
            raise StepFailed(f"the amounts add up to {again.total}, the income is {made.total}")
        return f"{show_amount(made.total, made.rule.currency)} divided to the last unit"

    checks.run("payout is canonical", canonical)
    checks.run("it stands on this log", position)
    checks.run("rule is voted", rule_is_voted)
    checks.run("income is booked", incomes)
    checks.run("shares are the run's", shares)
    checks.run("work is counted right", work)
    checks.run("amounts follow", amounts)
    return checks.report()
