"""What needs somebody now: votes they have not cast, signatures they are asked for, drafts they left, and what stands in their way."""

from __future__ import annotations

from dataclasses import dataclass

from governance_hooks.register import Register
from portal.i18n import gettext as _
from portal.i18n import ngettext
from portal.log_words import reason_in_words
from portal.proposal_rows import title_of
from portal.service import Service
from portal.signing.kinds import signers
from portal.signing.requests import declined
from portal.store.accounts import Account
from portal.store.drafted import Drafted

__all__ = ["Need", "needs_of"]


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to do."""

    words: str
    path: str
    act: str
    """What the button says."""
    until: str | None = None


def needs_of(service: Service, register: Register, account: Account) -> list[Need]:
    """Return what needs the owner of an account, the most pressing first; hold the register."""
    member = account.member
    if member is None:
        why = _declined(service, register, "coop.admission/v1", account.asks_as)
        if why is not None:
            return [Need(_("A registrar declined your request to join: %(why)s.") % {"why": why}, "/join", _("Look at it"))]
        if account.asks_as and service.private.drafts.open(kind="coop.admission/v1", author=account.asks_as):
            return [Need(_("You asked to join. Registrars have to agree."), "/join", _("See how it stands"))]
        return [Need(_("You are signed in, but not yet a member here."), "/join", _("Join"))]
    if member not in register.members or register.members[member].left is not None:
        theirs = Need(_("What you gave and wrote, as far as it is still kept, you can see and erase."), "/mine", _("Look at it"))
        return [Need(_("You have left the cooperative."), "/join", _("Join again")), theirs]
    now, found = service.clock(), list[Need]()
    pending = register.recoveries.get(member)
    if pending is not None:
        found.append(Need(_("Somebody asked for a new key for you. If that is not you, stop it now."), "/keys", _("Look at it"), pending.due))
    why = _declined(service, register, "coop.recovery/v1", member) if pending is None else None
    if why is not None:
        found.append(Need(_("A registrar declined your request for a new key: %(why)s.") % {"why": why}, "/recover", _("Look at it")))
    suspended = register.suspended(register.members[member])
    if suspended:
        path = f"/proposals/{register.members[member].suspended_by}"
        words = _("You are suspended: for now you propose nothing, rate nothing and hold no office. You can still give texts, and take back what you allowed.")
        found.append(Need(words, path, _("Look at it"), register.members[member].suspended_until))
    if service.private.outbox.refused_since(account.mail) is not None:
        found.append(Need(_("Mail does not reach you: the server of your address refuses it."), "/account", _("Look at it")))
    votes = [one for one in service.view.running() if now <= one.closes and member in one.roll and member not in one.votes]
    for one in sorted(votes, key=lambda one: one.closes):
        found.append(Need(_("Vote: %(title)s") % {"title": title_of(service, one)[:160]}, f"/proposals/{one.id}", _("Read and vote"), one.closes))
    for one in service.view.disputable(now):
        if member in one.roll and member not in one.objections and not one.contested():
            words = _("Approved, and open to objections: %(title)s") % {"title": title_of(service, one)[:160]}
            found.append(Need(words, f"/proposals/{one.id}", _("Look at it"), one.due()))
    found += [] if suspended else _asked(service, register, member)
    kept, rated = service.private.basket.waiting(account.account)
    if kept:
        words = ngettext("%(num)d text waits to be given.", "%(num)d texts wait to be given.", kept) % {"num": kept}
        found.append(Need(words, "/contribute", ngettext("Give the text", "Give the texts", kept)))
    if rated and not suspended:
        words = ngettext("%(num)d rating waits for your signature.", "%(num)d ratings wait for your signature.", rated) % {"num": rated}
        found.append(Need(words, "/review", ngettext("Sign the rating", "Sign the ratings", rated)))
    grants = register.grants.get(member, [])
    if not any(grant.withdrawn is None for grant in grants):
        found.append(Need(_("Nothing of yours is used: you allow nothing yet."), "/consent", _("Choose what you allow")))
    soon = [grant.consent.expires for grant in grants if grant.withdrawn is None and grant.consent.expires is not None and grant.consent.expires > now]
    if soon:
        found.append(Need(_("A consent of yours ends."), "/consent", _("Look at it"), min(soon)))
    if len(register.members[member].keys) == 1:
        found.append(Need(_("You have one key only. If you lose it, others must help you."), "/keys", _("Add another")))
    return found


def _declined(service: Service, register: Register, kind: str, author: str | None) -> str | None:
    """Return why a registrar declined the newest request of somebody; None if none did."""
    newest = service.private.drafts.open(kind=kind, author=author)[-1:] if author else []
    found = declined(register, newest[0]) if newest else None
    return None if found is None else reason_in_words(found.reason)


def _asked(service: Service, register: Register, member: str) -> list[Need]:
    """Return the requests of others that this member may sign and has not signed: to join, or for a new key."""
    found = list[Need]()
    joining, recovering = set[str](), set[str]()  # people, who may have asked more than once
    for one in service.private.drafts.open(kind="coop.admission/v1") if member in register.bylaws.registrars else ():
        joining |= {one.author} if _waits(register, one, member) else set()
    for one in service.private.drafts.open(kind="coop.recovery/v1"):
        lost = register.members.get(one.author)
        if one.author != member and (member in register.bylaws.registrars or (lost is not None and member in lost.guardians)):
            recovering |= {one.author} if _waits(register, one, member) else set()
    if joining:
        words = ngettext("%(num)d person asks to join.", "%(num)d people ask to join.", len(joining)) % {"num": len(joining)}
        found.append(Need(words, "/stewards/admissions", _("Look at it")))
    if recovering:
        words = ngettext("%(num)d member lost their keys and asks you for help.", "%(num)d members lost their keys and ask you for help.", len(recovering))
        found.append(Need(words % {"num": len(recovering)}, "/stewards/admissions", _("Look at it")))
    return found


def _waits(register: Register, one: Drafted, member: str) -> bool:
    """Tell whether a request was signed by the key it brings, not by this member, and declined by nobody."""
    signed = signers(register, one.value, one.body, one.signatures)
    return "new key" in signed and member not in signed and declined(register, one) is None
