"""An entry of the log as everybody reads it: what kind of statement it is, in a sentence, and what it says field by field."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from governance_hooks.canonical import dumps, sha256
from governance_hooks.register import Register
from governance_hooks.statement import OPERATOR
from portal.i18n import current, isolated, ngettext, number
from portal.i18n import gettext as _
from portal.proposal_rows import release_name, title_of
from portal.rendering import short
from portal.service import Service

__all__ = ["facts_of", "kind_of", "reason_in_words", "sentence_of", "who_of"]

_MOST_FACTS: Final = 80
_LONGEST: Final = 400


def kind_of(kind: str) -> str:
    """Return what kind of statement it is."""
    return _kinds(current()).get(kind, kind)


@cache
def _kinds(_language: str) -> dict[str, str]:
    return {
        "coop.founding/v1": _("The cooperative is founded"),
        "coop.admission/v1": _("A member is admitted"),
        "coop.decline/v1": _("A request is declined"),
        "coop.key/v1": _("A key is added or ends"),
        "coop.rotation/v1": _("A key takes another's place"),
        "coop.guardians/v1": _("Guardians are named"),
        "coop.recovery/v1": _("A key is to be recovered"),
        "coop.recovery-cancel/v1": _("A recovery is stopped"),
        "coop.time/v1": _("The time is stated"),
        "coop.leave/v1": _("A member leaves"),
        "coop.consent/v1": _("A consent"),
        "coop.withdrawal/v1": _("A consent is withdrawn"),
        "coop.contribution/v1": _("Texts are given"),
        "coop.review/v1": _("Texts are rated"),
        "coop.build/v1": _("A dataset is built"),
        "coop.proposal/v1": _("A vote opens"),
        "coop.draft/v1": _("A draft is shown"),
        "coop.ballot/v1": _("A ballot"),
        "coop.preference/v1": _("An answer to a consultation"),
        "coop.opinions/v1": _("Opinions on statements"),
        "coop.close/v1": _("A vote closes"),
        "coop.consultation-close/v1": _("A consultation closes"),
        "coop.objection/v1": _("An objection"),
        "coop.exit/v1": _("A stake is paid out"),
        "coop.payout/v1": _("A payout is made"),
        "coop.income/v1": _("Money comes in"),
        "coop.delivery/v1": _("Data is delivered"),
        "coop.halt/v1": _("A halt"),
        "coop.run-start/v1": _("A run starts"),
        "coop.site/v1": _("A computing site"),
        "coop.run-segment/v1": _("A part of a run is over"),
        "coop.run-end/v1": _("A run ends"),
        "coop.evaluation/v1": _("A model is evaluated"),
        "coop.release/v1": _("A model is released"),
        "coop.release-status/v1": _("A release is superseded or withdrawn"),
        "coop.secret-poll/v1": _("A secret ballot is prepared"),
        "coop.secret-event/v1": _("A step of a secret ballot"),
        "coop.secret-result/v1": _("The result of a secret ballot"),
        "coop.panel/v1": _("A panel is to be drawn by lot"),
        "coop.draw/v1": _("A panel is drawn by lot"),
        "coop.card-statement/v1": _("A member's words for a model card"),
    }


@cache
def _choices(_language: str) -> dict[str, str]:
    return {"for": _("%(who)s votes for: %(what)s"), "against": _("%(who)s votes against: %(what)s"), "abstain": _("%(who)s abstains: %(what)s")}


def reason_in_words(reason: str) -> str:
    """Return why a registrar declined a request."""
    return {
        "asked-twice": _("it was asked twice"),
        "key-not-confirmed": _("nobody confirmed the fingerprint of the key"),
        "not-eligible": _("the bylaws do not allow it"),
        "not-known": _("the registrar does not know who is asking"),
        "taken-back": _("whoever asked took it back"),
    }.get(reason, reason)


def who_of(author: str) -> str:
    """Return who states something: a pseudonym or the name of a site as it is, the operator in words."""
    return _("the operator") if author == OPERATOR else author


def sentence_of(service: Service, register: Register, value: dict[str, Any]) -> str:
    """Return a statement's body in one sentence; hold the register."""
    payload, author = value["payload"], isolated(who_of(value["author"]))
    match value["type"]:
        case "coop.ballot/v1":
            return _choices(current())[payload["choice"]] % {"who": author, "what": _title(service, register, payload["proposal"])}
        case "coop.proposal/v1":
            return _("%(who)s puts to the vote: %(what)s") % {"who": author, "what": _title(service, register, sha256(dumps(value)))}
        case "coop.close/v1":
            result = {"approved": _("Approved: %(what)s"), "rejected": _("Rejected: %(what)s")}[payload["outcome"]]
            return result % {"what": _title(service, register, payload["proposal"])}
        case "coop.admission/v1":
            return _("%(who)s becomes a member") % {"who": isolated(payload["member"])}
        case "coop.decline/v1":
            what = {"admission": _("%(who)s declines a request to join: %(why)s"), "recovery": _("%(who)s declines a request for a new key: %(why)s")}
            return what[payload["about"]] % {"who": author, "why": reason_in_words(payload["reason"])}
        case "coop.founding/v1":
            return _("The founders and the operator found the cooperative")
        case "coop.leave/v1":
            return _("%(who)s leaves") % {"who": author}
        case "coop.consent/v1":
            return _("%(who)s allows some use of what they give") % {"who": author}
        case "coop.withdrawal/v1":
            return _("%(who)s takes a consent back") % {"who": author}
        case "coop.objection/v1":
            return _("%(who)s objects: %(what)s") % {"who": author, "what": _title(service, register, payload["proposal"])}
        case "coop.release/v1":
            return _("The operator hands out release %(what)s, as members decided") % {"what": isolated(release_name(service, payload["release"]))}
        case "coop.consultation-close/v1":
            return _("The consultation closes: %(what)s") % {"what": _title(service, register, payload["proposal"])}
        case "coop.contribution/v1":
            count = payload["records"]
            return ngettext("%(who)s gives %(num)s text", "%(who)s gives %(num)s texts", count) % {"who": author, "num": number(count)}
        case "coop.review/v1":
            count = payload["ratings"]
            return ngettext("%(who)s rates %(num)s text", "%(who)s rates %(num)s texts", count) % {"who": author, "num": number(count)}
        case "coop.key/v1":
            said = _("%(who)s adds a key") if payload["action"] == "add" else _("%(who)s puts a key out of force")
            return said % {"who": author}
        case "coop.guardians/v1":
            return _("%(who)s names guardians") % {"who": author}
        case "coop.preference/v1" | "coop.opinions/v1":
            return _("%(who)s answers: %(what)s") % {"who": author, "what": _title(service, register, payload["proposal"])}
        case "coop.halt/v1":
            return _("%(who)s halts: %(what)s") % {"who": author, "what": _title(service, register, payload["proposal"])}
        case "coop.release-status/v1" if payload["status"] == "withdrawn":
            return _("The stewards withdraw release %(what)s") % {"what": isolated(release_name(service, payload["release"]))}
    return _("%(kind)s, by %(who)s") % {"kind": kind_of(value["type"]), "who": author}


def _title(service: Service, register: Register, proposal: str) -> str:
    found = register.proposals.get(proposal)
    return isolated(title_of(service, found)[:200] if found else short(proposal))


def facts_of(payload: dict[str, Any]) -> tuple[list[tuple[str, str]], bool]:
    """Return what a statement says as (field, value), and whether that is all of it."""
    found: list[tuple[str, str]] = []
    for name, value in _walk(payload, ""):
        if len(found) == _MOST_FACTS:
            return found, False
        found.append((name, value if len(value) <= _LONGEST else value[:_LONGEST] + "…"))
    return found, True


def _walk(value: Any, name: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _walk(one, f"{name}.{key}" if name else key)
        case list() if any(isinstance(one, (dict, list)) for one in value):
            for number, one in enumerate(value, 1):
                yield from _walk(one, f"{name} {number}")
        case list():
            yield name, ", ".join(str(one) for one in value) or "–"
        case None:
            yield name, "–"
        case bool():
            yield name, _("yes") if value else _("no")
        case _:
            yield name, str(value)
