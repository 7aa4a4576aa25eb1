"""Offices in plain words: who may do what by the bylaws, how many it takes, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from governance_hooks.bylaws import Bylaws
from governance_hooks.register import Register
from portal.bylaws_words import fields_in_words
from portal.i18n import gettext as _
from portal.i18n import number, when

__all__ = ["Office", "offices_in_words", "others_in_words"]

_OTHERS = (
    "supersede_after_withdrawals",
    "supersede_within_s",
    "stages",
    "secret_minimum_roll",
    "secret_minimum_ballots",
    "witnesses",
    "witnesses_required",
    "passkey_origins",
    "jurisdiction",
)
"""Fields of bylaws that give nobody an office."""


@dataclass(frozen=True, slots=True)
class Office:
    """Who may do something, as a page tells it."""

    name: str
    lines: list[str]
    facts: list[tuple[str, str]]
    """What there is to know in numbers: words, value."""
    people: list[tuple[str, str]] | None = None
    """Members who hold it, each with why they cannot act now, or nothing; None for an office that is nobody's in particular."""


def offices_in_words(bylaws: Bylaws, register: Register | None) -> list[Office]:
    """Return who may do what; hold the register.

    Args:
        bylaws: any version.
        register: the register whose bylaws they are; None for a version that counts no more, of which nobody holds an office now.
    """
    return [
        Office(
            _("Every member"),
            [
                _("Has one vote, and can put something to the vote."),
                _("Can ask members to end a halt, a withdrawal of a release or a suspension, by an appeal."),
                _("Can take back what they allowed, and can leave, at any time. No vote takes that away."),
                *_founders(bylaws, register),
            ],
            _facts(bylaws, "open_proposals"),
        ),
        Office(
            _("Registrars"),
            [
                _("They decide together whether somebody who asks becomes a member."),
                _("Where one declines, the others can still agree. Members can admit somebody too, by a vote."),
            ],
            _facts(bylaws, "registrars_required"),
            _people(bylaws.registrars, register),
        ),
        Office(
            _("Who lost their keys"),
            [_("Registrars give them a new key together, or guardians whom they named themselves. An old key can stop that.")],
            _facts(bylaws, "recovery_required", "recovery_delay_s"),
        ),
        _oversight(bylaws, register),
        Office(
            _("Stewards"),
            [
                _(
                    "They sign the papers of every release together, and can withdraw a release in an emergency, once. It stays withdrawn only if members vote for that."
                )
            ],
            _facts(bylaws, "stewards_required", "withdrawal_max_s"),
            _people(bylaws.stewards, register),
        )
        if bylaws.stewards
        else Office(_("Stewards"), [_("There are none: the operator signs the papers of a release alone, and only members withdraw one, by a vote.")], []),
        Office(
            _("The operator"),
            [
                _("It keeps the machines running and writes what happens into the log, by these rules. Anybody can check it."),
                _("The operator has no vote, holds no member's key, and can admit nobody."),
            ],
            [],
        ),
    ]


def _oversight(bylaws: Bylaws, register: Register | None) -> Office:
    how = {
        "bylaws": _("Its members are named in these rules."),
        "vote": _("Members vote on who sits on it, for a term."),
        "lot": _("Its members are drawn by lot, then voted on, for a term."),
    }[bylaws.oversight_seated]
    lines = [
        _("It can halt a run, a release or data for outsiders for a limited time, once each, and nothing else. Only members can prolong that, by a vote."),
        how,
    ]
    seats = register.seats if register and bylaws.oversight_seated != "bylaws" else None
    if bylaws.oversight_seated != "bylaws" and seats is None:
        lines.append(_("Until the first of them are seated, these rules name who does it."))
    people = _people(list(register.oversight()) if register else bylaws.oversight, register)
    if seats is not None and people:
        lines.append(_("This term ends on %(when)s.") % {"when": when(seats.until)})
    if not people:
        lines.append(_("Nobody sits on it now."))
    term = () if bylaws.oversight_seated == "bylaws" else ("oversight_term_s",)
    return Office(_("Oversight body"), lines, _facts(bylaws, "oversight_required", "halt_max_s", *term), people)


def _founders(bylaws: Bylaws, register: Register | None) -> list[str]:
    """Return what the founders alone may do still, or that they may do it no more."""
    if register is not None and register.exited is not None:
        return [_("The founders handed over to all members (entry %(entry)s of the log): alone they can decide nothing.") % {"entry": number(register.exited)}]
    return [_("Some votes are the founders' alone, until they hand over to all members. It is said below, beside each.")] if bylaws.founder_led else []


def _people(named: list[str], register: Register | None) -> list[tuple[str, str]]:
    return [(one, _absent(one, register) if register else "") for one in dict.fromkeys(named)]


def _absent(name: str, register: Register) -> str:
    """Return why a member cannot act in an office now, if they cannot."""
    member = register.members.get(name)
    if member is None or member.left is not None:
        return _("has left")
    return _("suspended until %(when)s") % {"when": when(str(member.suspended_until))} if register.suspended(member) else ""


def _facts(bylaws: Bylaws, *fields: str) -> list[tuple[str, str]]:
    words = fields_in_words()
    return [(words[one][0], words[one][1](getattr(bylaws, one))) for one in fields]


def others_in_words(bylaws: Bylaws) -> list[tuple[str, list[str]]]:
    """Return the other rules, each with its values; those that ask for nothing are left out."""
    words, found = fields_in_words(), list[tuple[str, list[str]]]()
    for field in _OTHERS:
        value, (said, show) = getattr(bylaws, field), words[field]
        if value:
            found.append((said, [show(one) for one in (value.items() if isinstance(value, dict) else value if isinstance(value, list) else [value])]))
    return found
