"""Bylaws in plain words: by which rules a vote is decided, and what an amendment changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from governance_hooks.bylaws import Bylaws, PasskeyOrigin, ProposalKind, Rules
from portal import i18n
from portal.proposal_rows import kind_in_words

__all__ = ["changes_in_words", "decided_in_words", "effect_in_words", "fields_in_words", "rules_in_words"]


def rules_in_words(rules: Rules) -> list[str]:
    """Return by which rules a proposal is decided."""
    _, ngettext = i18n.gettext, i18n.ngettext
    quorum = {
        "participation": _("At least %(percent)s of those who may vote have to vote."),
        "minimum-yes": _("At least %(percent)s of those who may vote have to say yes."),
        "rejection": _("It passes unless %(percent)s or more of those who may vote say no."),
    }[rules.quorum] % {"percent": i18n.percent(rules.quorum_percent)}
    lines = [quorum]
    if rules.quorum != "rejection":
        lines.append(_("Of those who say yes or no, at least %(percent)s have to say yes.") % {"percent": i18n.percent(rules.approval_percent)})
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
        late = _("If so many have voted only in the last %(span)s, the vote goes on for as long again, once.")
        lines.append(late % {"span": i18n.span(rules.late_quorum_s)})
    if rules.challenge_s:
        said = _("Before it takes effect members have %(span)s to object.") if rules.objections else _("It takes effect after %(span)s.")
        lines.append(said % {"span": i18n.span(rules.challenge_s)})
    if rules.objections:
        undo = ngettext("%(num)s objection undoes an approval.", "%(num)s objections undo an approval.", rules.objections)
        lines.append(undo % {"num": i18n.number(rules.objections)})
    return lines


def _times(rules: Rules) -> list[str]:
    """Return who opens such a vote, for how long, and how long an approval lasts."""
    _, ngettext = i18n.gettext, i18n.ngettext
    sponsors = ngettext("%(num)s member alone can put it to the vote.", "%(num)s members have to put it to the vote together.", rules.sponsors)
    least, most = _("A vote on it is open for %(least)s at least, and for %(most)s at most."), _("A vote on it is open for %(most)s at most.")
    return [
        sponsors % {"num": i18n.number(rules.sponsors)},
        (least if rules.minimum_period_s else most) % {"least": i18n.span(rules.minimum_period_s), "most": i18n.span(rules.maximum_period_s)},
        _("What is approved has to be used, or take effect, within %(span)s of the end of the vote.") % {"span": i18n.span(rules.expiry_s)},
    ]


def decided_in_words(kind: ProposalKind, rules: Rules) -> tuple[list[str], list[str]]:
    """Return what decides this kind of vote, and what else there is to know of it; nothing is approved in a consultation."""
    said, times = rules_in_words(rules), _times(rules)
    if kind == "consultation":
        return [*(said[:1] if rules.quorum_percent else []), times[1]], times[:1]
    main = 1 if rules.quorum == "rejection" else 2
    return said[:main], said[main:] + times


def effect_in_words(kind: ProposalKind) -> str:
    """Return what becomes of an approval of this kind."""
    _ = i18n.gettext
    return {
        "run": _("A model may be trained, exactly as the plan says that was voted on."),
        "release": _("A model may be handed out to everybody."),
        "payout": _("Money may be shared out, by the rule or the amounts that were voted on."),
        "bylaws": _("These rules change."),
        "waiver": _("A model that did not pass its tests may be released all the same, if members vote for that too."),
        "admission": _("Somebody becomes a member; the registrars need not agree."),
        "suspension": _("For a time, a member may propose nothing and holds no office, and cannot vote in votes that open meanwhile."),
        "halt": _("What was approved may not be used for a time."),
        "recall": _("A release is withdrawn, and handed out no more."),
        "appeal": _("A halt, a withdrawal of a release or a suspension ends."),
        "appointment": _("Members get a seat on the oversight body, for a term."),
        "operator": _("Another key speaks for the operator."),
        "access": _("Somebody from outside may get the data they asked for, once."),
        "consultation": _("Members say what they think. The answer binds nobody."),
    }[kind]


def changes_in_words(old: Bylaws, new: Bylaws) -> list[str]:
    """Return what one version of the bylaws changes in another, a sentence each."""
    said = list[str]()
    for field, (words, show) in fields_in_words().items():
        before, after = getattr(old, field), getattr(new, field)  # what one of them leaves out is as its default says
        if before == after:
            continue
        if isinstance(before, list | dict):
            was, becomes = ([show(one) for one in (value.items() if isinstance(value, dict) else value)] for value in (before, after))
            said += _differences(words, was, becomes)
        else:
            change = i18n.gettext("%(what)s: %(old)s → %(new)s").replace(" → ", "\u00a0→ ")  # no line begins with an arrow
            said.append(change % {"what": words, "old": show(before), "new": show(after)})
    for kind in sorted({*old.kinds, *new.kinds}):
        was, becomes = ([*rules_in_words(one), *_times(one)] for one in (old.rules(kind), new.rules(kind)))
        said += _differences(kind_in_words(kind), was, becomes) if was != becomes else []
    return said


def _differences(what: str, was: list[str], becomes: list[str]) -> list[str]:
    """Return what of several things is gone and what is new, a sentence each: in two long lists side by side nobody finds one name."""
    gone, new = i18n.gettext("%(kind)s, no longer: %(rule)s"), i18n.gettext("%(kind)s, from now on: %(rule)s")
    found = [gone % {"kind": what, "rule": one} for one in was if one not in becomes]
    found += [new % {"kind": what, "rule": one} for one in becomes if one not in was]
    return found or [new % {"kind": what, "rule": i18n.listed(becomes)}]  # another order, or one of them twice


def fields_in_words() -> dict[str, tuple[str, Callable[[Any], str]]]:
    """Return every field of bylaws but the rules of votes: in words, and how its value is shown."""
    _ = i18n.gettext
    return {
        "registrars": (_("Registrars"), _plain),
        "registrars_required": (_("Registrars who must agree to a new member"), _plain),
        "recovery_required": (_("Registrars or guardians who must agree to a new key"), _plain),
        "recovery_delay_s": (_("Time in which an old key can stop a new one"), i18n.span),
        "oversight": (_("Oversight body"), _plain),
        "oversight_required": (_("Members of the oversight body who must agree to a halt"), _plain),
        "halt_max_s": (_("Longest halt by the oversight body"), i18n.span),
        "oversight_seated": (_("How the oversight body gets its seats"), _seats),
        "oversight_term_s": (_("Longest term on the oversight body"), i18n.span),
        "stewards": (_("Stewards"), _plain),
        "stewards_required": (_("Stewards who must sign together"), _plain),
        "withdrawal_max_s": (_("Longest time a release is withdrawn without a vote"), i18n.span),
        "open_proposals": (_("Proposals one member may have open at a time"), _plain),
        "founder_led": (_("Votes that are the founders' alone, until they hand over"), kind_in_words),
        "supersede_after_withdrawals": (_("Members who take back their consent until a newer release is due"), _plain),
        "supersede_within_s": (
            _("Time in which a newer release is due, after a member takes back their consent"),
            lambda value: _plain(value and i18n.span(value)),
        ),
        "secret_minimum_roll": (_("Members who must be able to vote in a secret ballot"), _plain),
        "secret_minimum_ballots": (_("Votes that must be in before a secret ballot is counted"), _plain),
        "witnesses": (_("Outside witnesses"), _witness),
        "witnesses_required": (_("Outside witnesses who must sign each state of the log"), _plain),
        "stages": (_("Quality checks that every dataset must pass through"), _stage),
        "passkey_origins": (_("Where keys sign in the browser"), _site),
        "jurisdiction": (_("Country whose law applies"), lambda code: _plain(code and i18n.country_name(code))),
    }


def _seats(how: str) -> str:
    """Return how the oversight body gets its seats."""
    return {
        "bylaws": i18n.gettext("these rules name them"),
        "vote": i18n.gettext("members vote on them"),
        "lot": i18n.gettext("drawn by lot, then voted on"),
    }[how]


def _stage(stage: tuple[str, Mapping[str, int]]) -> str:
    """Return a quality check with what it is told."""
    name, parameters = stage
    return _plain(" ".join([name, *(f"{key}={value}" for key, value in sorted(parameters.items()))]))


def _site(site: PasskeyOrigin) -> str:
    """Return where keys sign, and from when until when."""
    first = i18n.apart(i18n.day(site.valid_from))
    if site.valid_until is None:
        return i18n.gettext("%(site)s, since %(day)s") % {"site": _plain(site.origin), "day": first}
    return f"{_plain(site.origin)} ({first} – {i18n.apart(i18n.day(site.valid_until))})"


def _witness(key: str) -> str:
    """Return what a witness calls itself in its key, with the number that tells this key from others."""
    return _plain(key.rpartition("+")[0])


def _plain(value: Any) -> str:
    """Return a value as it stands, isolated from the direction of the sentence around it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return i18n.number(value)
    return i18n.isolated(str(value or "–")[:400])
