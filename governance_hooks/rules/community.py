"""Rules of the exit to community: founders give up, once and for ever, what they could do alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance_hooks.bylaws import Bylaws
from governance_hooks.errors import Refused

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["check_founders", "exit_to_community"]


def exit_to_community(register: Register, statement: Statement) -> None:
    """Record the exit, signed by every founder who is still a member; from here on founders alone can do nothing."""
    if register.exited is not None:
        raise Refused("the exit to community has taken place, and is not repeated", value=register.exited)
    signed = set(register.cosigners(statement, statement.signers))
    wanted = register.founders & set(register.active())
    if signed != wanted:
        raise Refused("the exit to community is signed by every founder, and by nobody else", value=sorted(signed), allowed=", ".join(sorted(wanted)))
    _require_community_offices(register, register.bylaws)
    register.exited = register.size
    for proposal in register.proposals.values():
        if proposal.closed is None:
            proposal.community = proposal.roll - register.founders


def check_founders(register: Register, bylaws: Bylaws) -> None:
    """Refuse new bylaws that would give founders back what they gave up."""
    if register.exited is None:
        return
    if bylaws.founder_led:
        raise Refused("since the exit to community no kind of proposal is the founders'", value=bylaws.founder_led, allowed="[]")
    _require_community_offices(register, bylaws)


def _require_community_offices(register: Register, bylaws: Bylaws) -> None:
    """Refuse bylaws whose offices are all founders': since founders cannot act alone, those offices could never act."""
    community = set(register.active()) - register.founders
    if not community & set(bylaws.registrars):
        raise Refused("a registrar who is no founder is needed first", value=bylaws.registrars, next="coop propose bylaws FILE")
    if bylaws.oversight_seated == "bylaws" and bylaws.oversight and not community & set(bylaws.oversight):
        raise Refused("a member of the oversight body who is no founder is needed first", value=bylaws.oversight, next="coop propose bylaws FILE")
    if bylaws.stewards and not community & set(bylaws.stewards):
        raise Refused("a steward who is no founder is needed first", value=bylaws.stewards, next="coop propose bylaws FILE")
