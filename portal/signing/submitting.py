"""Submitting: a signature is checked against the bytes that were shown, and when enough have signed, the statement goes to the writer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, Refused
from governance_hooks.payloads.consents import Contribution, Reviewed
from governance_hooks.payloads.membership import Decline
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.rules.origins import check_origins
from governance_hooks.sshsig import check
from governance_hooks.statement import CLOCK_SKEW_S, Statement, entry, parse, shift
from portal import i18n, reasons
from portal.mail.letters import SECURITY
from portal.service import Service
from portal.signing.kinds import DOCUMENTS, ERASURE, needed, require_signer, signers
from portal.signing.requests import asked_as
from portal.store.drafted import Drafted

__all__ = ["Progress", "armored_blocks", "require_own", "submit", "submit_signature"]

_BLOCK = re.compile(r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]{1,20000}\n-----END SSH SIGNATURE-----\n?")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a statement is."""

    have: int
    need: int
    statement: Statement | None
    """In the log, or, for a document of the portal alone, accepted."""


def armored_blocks(text: str) -> list[str]:
    """Return the armored signatures in a pasted text, in the form ssh-keygen writes; raise BadInput if there is none."""
    clean = "\n".join(line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()) + "\n"
    found = [block if block.endswith("\n") else block + "\n" for block in _BLOCK.findall(clean)]
    if not found:
        raise BadInput("there is no signature in this text", value=text[:60], allowed="what ssh-keygen -Y sign writes, from the line BEGIN SSH SIGNATURE on")
    return found


def submit_signature(service: Service, drafted: Drafted, armored: str) -> Progress:
    """Take one signature over a drafted statement; append the statement if it was the last one needed.

    Raises:
        Refused: the signature is not over these bytes, or of a key that has no part in it; or the rules do not allow the statement now.
    """
    value = drafted.value
    with service.view.reading() as register:
        known = service.view.statement(drafted.digest)
    if known is not None:  # sent twice, since the answer to the first was lost; or this process was killed after the append
        position, made = known
        if drafted.state == "open":
            _follow(service, made, position)
            _settle(service, drafted, made)
        return Progress(0, 0, made)
    with service.view.reading() as register:
        if drafted.state != "open":
            raise Refused("this statement is not waiting for signatures", value=drafted.state)
        need, mine = needed(register, value), check(armored, drafted.body)
        who = require_signer(register, value, mine.key)
        before = signers(register, value, drafted.body, drafted.signatures)
        kept = [*(before | {who: armored}).values()]
        data = entry(value, kept)
        document = parse(data, payloads={**PAYLOADS, **DOCUMENTS})
        check_origins(register.bylaws, document, clock=register.operator_clock)
        if drafted.kind == "coop.decline/v1" and asked_as(service, value["payload"]["request"]) is None:
            raise Refused("nobody asks for this any more: it was granted, or taken back", value=drafted.digest, next="look at the requests again")
    if len(kept) < need:
        # One of each is enough: some keys make another signature each time.
        there = drafted.signatures if who in before else service.private.drafts.sign(drafted.id, armored)
        with service.view.reading() as register:  # others may have signed in the same moment: the last one hands in
            kept = [*signers(register, value, drafted.body, there).values()]
        if len(kept) < need:
            return Progress(len(kept), need, None)
        data = entry(value, kept)
    if drafted.kind in DOCUMENTS:
        _obey(service, document)
        made = document
    else:
        made = submit(service, data)
    _settle(service, drafted, made)
    return Progress(need, need, made)


def submit(service: Service, data: bytes) -> Statement:
    """Append a signed statement, whoever brings it, and do what follows from it; it is durably in the log when this returns.

    Raises:
        Refused, BadInput: it is malformed, badly signed, or the rules do not allow it; nothing was appended.
        CoopError: the log could not be written.
    """
    made = service.writer.append(data)
    with service.view.reading():
        position = service.view.positions[made.id]
    _follow(service, made, position)
    return made


def _obey(service: Service, document: Statement) -> None:
    """Do what a member's key asks of the portal alone; once, for a day: who finds the document later can do nothing with it."""
    with service.view.reading() as register:
        left = register.members.get(document.author)
        if left is None or left.left is None:
            register.author(document)
        elif len(document.signers) != 1 or not document.signers <= left.keys:
            raise Refused("this takes one key of yours that was in force when you left", value=document.author)
    if not shift(service.clock(), -86_400) <= document.issued <= shift(service.clock(), CLOCK_SKEW_S):
        raise Refused("this was drafted too long ago", value=document.issued, next="begin again")
    payload = loads(document.entry)["body"]["payload"]
    if document.type == ERASURE:
        require_own(service, document.author, payload["records"], payload.get("reasons", []))
        service.house.contributions().erase(payload["records"])
        for one in payload.get("reasons", []):
            service.house.erase_reason(one)
        reasons.forget()
        return
    if payload["portal"] != service.settings.origin:
        raise Refused("this was signed for another portal", value=payload["portal"], allowed=service.settings.origin)
    service.private.accounts.bind(payload["account"], document.author)


def require_own(service: Service, author: str, records: list[str], named: list[str]) -> None:
    """Refuse an erasure that names a text or a reason of somebody else, or one that is not here.

    A reason is its author's, who is whoever named it first in the log: a statement may name what somebody else wrote.
    """
    found = service.house.contributions().some(records)
    with service.view.reading():
        written = [service.view.reasons.get(one) for one in named]
    if len(found) != len(set(records)) or any(one.member != author for one in found) or any(one is None or one.author != author for one in written):
        raise Refused(i18n.gettext("you erase your own texts and reasons only"), value=author)


def _follow(service: Service, made: Statement, position: int) -> None:
    """Do what follows from a statement in the log; all of it can be done again from the log, so that a kill here loses nothing."""
    match made.payload:
        case Contribution(root=root):
            store = service.house.contributions()
            for batch in store.batches(member=made.author):
                if batch.root == root and batch.statement is None:
                    store.seal(batch.batch, made.id)
        case Reviewed(root=root):
            store = service.house.contributions()
            for review in store.reviews.unsealed():
                if (review.reviewer, review.root) == (made.author, root):
                    store.reviews.seal(review.review, made.id)
        case Decline(request=request, about=about, reason=reason):
            one = asked_as(service, request)
            told = None if one is None else service.private.accounts.find(**{"asks_as" if about == "admission" else "member": one.author})
            if told is not None:
                values = {"url": service.settings.origin + ("/join" if about == "admission" else "/recover"), "about": about, "reason": reason}
                service.private.outbox.put(f"declined:{made.id}", told.mail, told.language, "declined", values)
    if made.type == "coop.admission/v1":
        member = loads(made.entry)["body"]["payload"]["member"]
        asked = service.private.accounts.find(asks_as=member)
        if asked is not None:
            service.private.accounts.bind(asked.account, member)
            service.private.outbox.put(f"admitted:{member}", asked.mail, asked.language, "admitted", {"url": service.settings.origin + "/"})
    account = service.private.accounts.find(member=made.author)
    if account is not None and made.type in SECURITY:
        values = {"url": f"{service.settings.origin}/keys", "kind": made.type, "entry": str(position)}
        service.private.outbox.put(f"signed:{made.id}", account.mail, account.language, "security", values)
    elif account is not None and account.notices:
        # Never what was decided: a mailbox is read by others. If it was not the member, they learn that their key was used.
        values = {"url": f"{service.settings.origin}/receipts/{made.id}", "kind": made.type, "entry": str(position)}
        service.private.outbox.put(f"signed:{made.id}", account.mail, account.language, "signed", values)


def _settle(service: Service, drafted: Drafted, made: Statement) -> None:
    """Note that a drafted statement is in, and take what was given with it out of the basket."""
    service.private.drafts.settle(drafted.id, made.id)
    given, rated = drafted.after.get("basket"), drafted.after.get("rated")
    account = service.private.accounts.find(member=drafted.author) if given or rated else None
    if account is not None:
        service.private.basket.remove(account.account, *(given or ()))
        service.private.basket.unrate(account.account, *(rated or ()))
