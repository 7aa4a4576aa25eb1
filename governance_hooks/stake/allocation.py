"""From a rule, an income, shares and accepted work to whole amounts for everybody: pure, exact, the same in whatever order things come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from governance_hooks.bylaws import MemberId
from governance_hooks.errors import BadInput
from governance_hooks.fields import Strict
from governance_hooks.stake.rule import PayoutRule
from governance_hooks.stake.shapley import largest_remainder
from governance_hooks.stake.work import Done, units_of

__all__ = ["Allocation", "Portion", "allocate"]

Minor = Annotated[int, Field(ge=0, lt=2**53)]


class Portion(Strict):
    """What one member's work came to, in minor units."""

    guilds: Minor
    """By the guilds' shares."""
    patronage: Minor
    """By all accepted work."""
    above_cap: Minor
    """Of both, what the rule's cap sends to the common fund."""
    departed: Minor
    """Of the rest, what goes to the common fund because the member has left."""
    paid: Minor


class Allocation(Strict):
    """Where an income goes; `reserve`, `common_fund` and all `paid` add up to it."""

    reserve: Minor
    common_fund: Minor
    guilds: dict[str, Minor]
    """What each guild's share comes to, before it is divided."""
    members: dict[MemberId, Portion]

    @property
    def total(self) -> int:
        """What all of it adds up to."""
        return self.reserve + self.common_fund + sum(one.paid for one in self.members.values())


def allocate(rule: PayoutRule, income: int, shares: Mapping[str, int] | None, done: Sequence[Done], departed: Collection[str]) -> Allocation:
    """Divide an income.

    Args:
        rule: members' rule.
        income: minor units, more than 0.
        shares: guild -> millionths; None if the rule gives guilds nothing.
        done: accepted work.
        departed: members who have left.

    Raises:
        BadInput: nothing to divide, or the rule divides by shares and there are none that add up.
    """
    if income <= 0:
        raise BadInput("there is nothing to share out", value=income, next="coop payout income")
    if rule.parts.guilds and (shares is None or sum(shares.values()) != 1_000_000 or min(shares.values()) < 0):
        raise BadInput("the rule shares by guilds, and there are no shares that add up", value=shares, allowed="millionths", next="coop shares RUN")
    parts = largest_remainder(income, rule.parts.model_dump())
    common = parts["common_fund"]
    guilds = largest_remainder(parts["guilds"], shares) if rule.parts.guilds and shares else {}
    by_guild: dict[str, int] = {}
    for guild, amount in guilds.items():
        units = units_of(done, rule, guild=guild)
        if rule.within_guild == "equal":
            units = dict.fromkeys(units, 1)
        if not units:  # nobody of it has accepted work any more
            common += amount
            continue
        for member, part in largest_remainder(amount, units).items():
            by_guild[member] = by_guild.get(member, 0) + part
    by_work: dict[str, int] = {}
    units = units_of(done, rule)
    if units:
        by_work = largest_remainder(parts["patronage"], units)
    else:
        common += parts["patronage"]
    cap = (parts["guilds"] + parts["patronage"]) * rule.member_cap_percent // 100
    members: dict[str, Portion] = {}
    for member in sorted(by_guild.keys() | by_work.keys()):
        earned = by_guild.get(member, 0) + by_work.get(member, 0)
        kept = min(earned, cap)
        lost = kept if member in departed and rule.departed == "common-fund" else 0
        common += earned - kept + lost
        members[member] = Portion(guilds=by_guild.get(member, 0), patronage=by_work.get(member, 0), above_cap=earned - kept, departed=lost, paid=kept - lost)
    return Allocation(reserve=parts["reserve"], common_fund=common, guilds=guilds, members=members)
