"""Bylaws in plain words: by which rules a vote is decided, and what an amendment changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance_hooks.bylaws import Bylaws, Rules
from portal import i18n
from portal.proposal_rows import kind_in_words

__all__ = ["changes_in_words", "rules_in_words"]


def rules_in_words(rules: Rules) -> list[str]:
    """Return by which rules a proposal is decided."""
    _, ngettext = i18n.gettext, i18n.ngettext
    quorum = {
        "participation": _("%(percent)s%% of those who may vote have to vote."),
        "minimum-yes": _("%(percent)s%% of those who may vote have to say yes."),
        "rejection": _("It passes unless %(percent)s%% of those who may vote say no."),
    }[rules.quorum] % {"percent": i18n.number(rules.quorum_percent)}
    lines = [quorum]
    if rules.quorum != "rejection":
        lines.append(_("Of those who say yes or no, %(percent)s%% have to say yes.") % {"percent": i18n.number(rules.approval_percent)})
    lines.append(
        ngettext("At least %(num)s member has to say yes.", "At least %(num)s members have to say yes.", rules.minimum_for)
        % {"num": i18n.number(rules.minimum_for)}
    )
    lines.append(
        {
            "quorum": _("Who abstains counts as present."),
            "nothing": _("Who abstains is not counted."),
            "against": _("Who abstains counts as a no."),
        }[rules.abstain]
    )
    if rules.late_quorum_s:
        lines.append(_("If so many have voted only shortly before the end, the vote goes on for a while."))
    if rules.challenge_s:
        hours = i18n.number(-(-rules.challenge_s // 3600))
        lines.append(
            _("Before it takes effect members have %(hours)s hours to object.") % {"hours": hours}
            if rules.objections
            else _("It takes effect after %(hours)s hours.") % {"hours": hours}
        )
    return lines


def changes_in_words(old: Bylaws, new: Bylaws) -> list[str]:
    """Return what one version of the bylaws changes in another, a sentence each; fields that only engineers meet are told by their names."""
    said, before, after = list[str](), old.model_dump(mode="json"), new.model_dump(mode="json")
    named = _fields()
    for field in sorted({*before, *after} - {"version", "kinds"}, key=lambda one: (one not in named, one)):
        if before.get(field) != after.get(field):
            words, show = named.get(field, (field, _plain))
            said.append(i18n.gettext("%(what)s: %(old)s → %(new)s") % {"what": words, "old": show(before.get(field)), "new": show(after.get(field))})
    for kind in sorted({*old.kinds, *new.kinds}):
        was, becomes = rules_in_words(old.rules(kind)), rules_in_words(new.rules(kind))
        for sentence in [one for one in was if one not in becomes]:
            said.append(i18n.gettext("%(kind)s, no longer: %(rule)s") % {"kind": kind_in_words(kind), "rule": sentence})
        for sentence in [one for one in becomes if one not in was]:
            said.append(i18n.gettext("%(kind)s, from now on: %(rule)s") % {"kind": kind_in_words(kind), "rule": sentence})
    return said


def _fields() -> dict[str, tuple[str, Callable[[Any], str]]]:
    """Return the fields of bylaws that everybody should understand: in words, and how each is shown."""
    _ = i18n.gettext
    return {
        "registrars": (_("Registrars"), _plain),
        "registrars_required": (_("Registrars who must agree to a new member"), _plain),
        "oversight": (_("Oversight body"), _plain),
        "oversight_required": (_("Members of the oversight body who must agree to a halt"), _plain),
        "oversight_term_s": (_("Longest term on the oversight body"), i18n.span),
        "halt_max_s": (_("Longest halt by the oversight body"), i18n.span),
        "open_proposals": (_("Votes one member may have open at a time"), _plain),
        "recovery_required": (_("Members who together give somebody a new key"), _plain),
        "recovery_delay_s": (_("Time in which an old key can stop a new one"), i18n.span),
        "stewards": (_("Stewards"), _plain),
        "stewards_required": (_("Stewards who must sign together"), _plain),
        "withdrawal_max_s": (_("Longest time a release is withdrawn without a vote"), i18n.span),
        "witnesses_required": (_("Outside witnesses who must sign each state of the log"), _plain),
    }


def _plain(value: Any) -> str:
    """Return a value as it stands, isolated from the direction of the sentence around it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return i18n.number(value)
    shown = ", ".join(map(_plain, value)) if isinstance(value, list) else "" if value is None else str(value)
    return f"\u2068{shown[:400] or '–'}\u2069"
