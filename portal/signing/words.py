"""What a statement says, in plain words that follow from its bytes and from nothing else: shown beside them on the signing page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance_hooks.consent import Consent
from governance_hooks.consent_words import in_words
from governance_hooks.motions import MOTIONS, AmendBylaws
from governance_hooks.register import Register
from governance_hooks.sshsig import PublicKey
from portal.bylaws_words import changes_in_words
from portal.i18n import apart, language_by_tag, listed, ngettext, numbered, told, when
from portal.i18n import gettext as _
from portal.log_words import kind_of, reason_in_words
from portal.motion_words import motion_in_words
from portal.plan_words import plan_in_words
from portal.proposal_rows import kind_in_words, title_of
from portal.rendering import short
from portal.service import Service
from portal.signing.kinds import ACCOUNT, ERASURE
from portal.signing.requests import asked_as
from portal.store.accounts import masked

__all__ = ["Words", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """A statement in plain words."""

    title: str
    lines: tuple[str, ...]
    logged: bool = True
    """Whether it goes into the log."""


def words_of(service: Service, register: Register, value: dict[str, Any]) -> Words:
    """Return a statement's body in plain words; hold the register."""
    payload, author = value["payload"], value["author"]
    match value["type"]:
        case "coop.ballot/v1":
            choice = {"for": _("You vote FOR this."), "against": _("You vote AGAINST this."), "abstain": _("You ABSTAIN.")}[payload["choice"]]
            lines = [choice, _about(service, register, payload["proposal"])]
            if payload["sequence"] > 1:
                lines.append(_("This takes the place of your earlier ballot."))
            lines.append(_("Until the vote closes you may vote again; the last ballot counts. Your ballot is public, under your pseudonym."))
            return Words(_("Your ballot"), (*lines, *_reason(payload["reason"])))
        case "coop.preference/v1":
            ranked = _method(register, payload["proposal"]) == "ranked"
            heading = _("Your order, the best first:") if ranked else _("These are fine with you:")
            named = [
                numbered(rank if ranked else number + 1, _option(service, register, payload["proposal"], number))
                for rank, number in enumerate(payload["options"], start=1)
            ]
            lines = [_about(service, register, payload["proposal"]), *([heading, *named] if named else [_("You name no option.")])]
            return Words(_("Your answer"), (*lines, *_reason(payload["reason"])))
        case "coop.opinions/v1":
            said = {"agree": _("You agree: %(text)s"), "disagree": _("You disagree: %(text)s"), "pass": _("You pass over: %(text)s")}
            lines = [
                said[one] % {"text": numbered(number + 1, _option(service, register, payload["proposal"], number))}
                for number, one in enumerate(payload["answers"])
            ]
            after = _("Until the vote closes you may vote again; the last ballot counts. Your ballot is public, under your pseudonym.")
            return Words(_("Your answers"), (_about(service, register, payload["proposal"]), *lines, after, *_reason(payload["reason"])))
        case "coop.objection/v1":
            lines = [_("You object to what was approved."), _about(service, register, payload["proposal"])]
            return Words(_("Your objection"), (*lines, *_reason(payload["reason"])))
        case "coop.consent/v1":
            return Words(_("What you allow"), tuple(told(one) for one in in_words(Consent.model_validate(payload))))
        case "coop.withdrawal/v1":
            grant = None if payload["consent"] is None else register.grant(payload["consent"], author)
            what = _("You take back everything you allowed.") if payload["consent"] is None else _("You take back one consent.")
            named = [] if grant is None else [told(one) for one in in_words(grant.consent)]
            after = _("From the next entry of the log on nothing new is built on your texts. Weights released before cannot be called back.")
            return Words(_("Withdrawal"), (what, *named, after))
        case "coop.contribution/v1":
            languages = listed(f"{language_by_tag(code)} {count}" for code, count in sorted(payload["languages"].items()))
            count = ngettext("You give %(num)d text.", "You give %(num)d texts.", payload["records"]) % {"num": payload["records"]}
            privacy = _(
                "The texts stay private. The log gets one fingerprint of them, mixed with a secret random number. They are used only for what you allow."
            )
            return Words(_("Your contribution"), (count, _("Languages: %(languages)s") % {"languages": languages}, privacy))
        case "coop.review/v1":
            count = ngettext("You give %(num)d rating.", "You give %(num)d ratings.", payload["ratings"]) % {"num": payload["ratings"]}
            return Words(_("Your review"), (count, _("A dataset that counts a rating shows it, under your pseudonym.")))
        case "coop.admission/v1":
            return Words(
                _("A new member"),
                (
                    _("%(member)s becomes a member, with one vote.") % {"member": payload["member"]},
                    _("Their key: %(key)s") % {"key": PublicKey.from_line(payload["key"]).fingerprint},
                    _("Signed by the new key, and by registrars of the cooperative."),
                ),
            )
        case "coop.decline/v1":
            asked = asked_as(service, payload["request"])
            who = asked.author if asked else _("somebody this server does not know of")
            request = {"admission": _("You decline the request of %(who)s to join."), "recovery": _("You decline the request of %(who)s for a new key.")}
            after = _(
                "Whoever asked reads this, and so do the other registrars, who can agree all the same. The log says that you declined a request, and why, but not whose."
            )
            return Words(
                _("A request is declined"),
                (request[payload["about"]] % {"who": who}, _("The reason: %(why)s.") % {"why": reason_in_words(payload["reason"])}, after),
            )
        case "coop.key/v1" | "coop.rotation/v1":
            return Words(_("Your keys"), tuple(_keys(payload)))
        case "coop.guardians/v1":
            named = payload["guardians"]
            lines = (
                [_("These members may together give you a new key: %(members)s") % {"members": listed(map(apart, named))}]
                if named
                else [_("Only registrars may give you a new key.")]
            )
            return Words(_("Your guardians"), tuple(lines))
        case "coop.recovery/v1":
            lines = [
                _("%(member)s lost their keys and gets this one: %(key)s")
                % {"member": payload["member"], "key": PublicKey.from_line(payload["key"]).fingerprint},
                _("It comes into force after a delay, in which any old key can stop it."),
            ]
            return Words(_("A key recovered"), tuple(lines))
        case "coop.recovery-cancel/v1":
            return Words(_("A recovery stopped"), (_("Your old keys stay, and the new one is refused."),))
        case "coop.leave/v1":
            ends = _("Your membership ends, and everything you allowed ends with it. Your votes of the past still count.")
            return Words(_("You leave"), (ends, what_stays()))
        case "coop.halt/v1":
            until = _("It is halted until %(until)s, unless members decide otherwise.") % {"until": when(payload["until"])}
            return Words(_("A halt"), (_about(service, register, payload["proposal"]), until))
        case "coop.proposal/v1":
            lines = [
                _("You put this to the vote: %(kind)s, %(subject)s") % {"kind": kind_in_words(payload["kind"]), "subject": short(payload["subject"])},
                *_asked(service, register, payload),
                _("The vote closes on %(when)s.") % {"when": when(payload["closes"])},
                ngettext("%(num)d member may vote.", "%(num)d members may vote.", payload["roll"]["members"]) % {"num": payload["roll"]["members"]},
                *_reasons(payload.get("reasons")),
            ]
            return Words(_("A proposal"), tuple(lines))
        case kind if kind == ERASURE:
            texts, written = len(payload["records"]), len(payload.get("reasons", []))
            lines = [ngettext("%(num)d text of yours is erased.", "%(num)d texts of yours are erased.", texts) % {"num": texts}] if texts else []
            lines += [ngettext("%(num)d reason of yours is erased.", "%(num)d reasons of yours are erased.", written) % {"num": written}] if written else []
            after = _("Erased texts cannot be brought back. Datasets and weights made before stay as they are. This does not go into the log.")
            return Words(_("Erasure"), (*lines, after), logged=False)
        case kind if kind == ACCOUNT:
            account = service.private.accounts.find(account=payload["account"])
            lines = [
                _("You show that %(member)s is you.") % {"member": author},
                _("Whoever reads the mail of %(mail)s will see your texts and drafts on %(portal)s. If that is not you, do not sign.")
                % {"mail": masked(account.mail) if account else "?", "portal": payload["portal"]},
                _("This does not go into the log."),
            ]
            return Words(_("Your account"), tuple(lines), logged=False)
    return Words(kind_of(value["type"]), (_("There are no plain words for this statement: read the text itself."),))


def what_stays() -> str:
    """Return what of somebody who leaves is still kept, and how it is erased."""
    return _(
        "Your texts and reasons stay on this server, and go into no new dataset. You can erase them before you leave or at any time after, here, "
        "with a key that is in force when you leave: keep one."
    )


def _about(service: Service, register: Register, proposal: str) -> str:
    found = register.proposals.get(proposal)
    title = title_of(service, found)[:300] if found else _("a proposal that is not in this log")
    return _("“%(title)s” (proposal %(digest)s)") % {"title": apart(title), "digest": apart(short(proposal))}


def _asked(service: Service, register: Register, payload: dict[str, Any]) -> list[str]:
    """Return what a proposal asks for, or is about, where this folder knows it by its digest."""
    plan, folder = service.house.plans().get(payload["subject"]), service.house.releases().get(payload["subject"])
    motion = payload["motion"] or {}
    if motion.get("kind") == "consultation":
        texts = [service.house.text(one) or _("(the text is not here)") for one in (motion["question"], *motion["options"])]
        return [texts[0][:1000], *(numbered(number, text[:300]) for number, text in enumerate(texts[1:], start=1))]
    if motion.get("kind") == "bylaws":
        return changes_in_words(register.bylaws, AmendBylaws.model_validate(motion).bylaws)
    if motion:
        return motion_in_words(service, register, MOTIONS[motion["kind"]].model_validate(motion))
    name = plan.name if plan else folder.name if folder else None
    said = [] if name is None else [_("Its name here: %(name)s") % {"name": name}]
    return said + (plan_in_words(plan, starts=payload["uses"]) if plan else [])


def _option(service: Service, register: Register, proposal: str, number: int) -> str:
    found = register.proposals.get(proposal)
    options = getattr(found.motion, "options", []) if found else []
    text = service.house.text(options[number]) if number < len(options) else None
    return (text or _("an option whose text is not here"))[:300]


def _method(register: Register, proposal: str) -> str:
    found = register.proposals.get(proposal)
    return str(getattr(found.motion, "method", "")) if found else ""


def _reason(digest: str | None) -> list[str]:
    return [] if digest is None else [_("Your reason is kept here, and can be erased; what you sign holds its fingerprint only.")]


def _reasons(digest: str | None) -> list[str]:
    return (
        []
        if digest is None
        else [_("The reasons are kept here, and their author can erase them; the log has their fingerprint: %(digest)s") % {"digest": short(digest)}]
    )


def _keys(payload: dict[str, Any]) -> list[str]:
    if "old" in payload:
        return [
            _("This key comes into force: %(key)s") % {"key": PublicKey.from_line(payload["new"]).fingerprint},
            _("This key goes out of force: %(key)s") % {"key": PublicKey.from_line(payload["old"]).fingerprint},
        ]
    key = PublicKey.from_line(payload["key"]).fingerprint
    if payload["action"] == "add":
        return [
            _("This key may sign for you from now on: %(key)s") % {"key": key},
            _("It takes two signatures: of the new key, and of a key you have already."),
        ]
    return [_("This key may sign for you no more: %(key)s") % {"key": key}]
