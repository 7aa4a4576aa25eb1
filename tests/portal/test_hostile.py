"""What a stranger, or a member, could stop or take from others by one request: each is refused, and the others go on."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller

from governance_hooks.canonical import CanonicalError, dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult, subject_of
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import body, shift, sign
from portal import i18n
from portal.downloads import _BLOCK, Part, _checked
from portal.limits import RATES, Limits, network
from portal.mail.sender import Sender
from portal.mail.smtp import Smtp
from portal.signing.submitting import submit_signature
from portal.store.accounts import mail_address
from portal.store.drafted import ASKED
from portal.store.schema import links
from portal.store.sessions import LINK_S
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Device
from tests.portal.test_mail import Mailbox, later
from tests.portal.test_voting import propose

PART = b'--x\r\nContent-Disposition: form-data; name="mail"\r\n\r\n%s\r\n--x--\r\n'
ARMOR = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"


# Requests that keep the server busy, or break a page


@pytest.mark.parametrize("path", ["/signin", "/statements", "/contribute", SIGNING + "/sign/" + "0" * 32])
@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "undefined", "utf-8"])
def test_no_form_is_read_in_a_charset_of_its_senders_choice(still: Portal, path: str, charset: str) -> None:
    """512 KiB of Python's punycode, which a multipart form may name, keep a core for half a minute, and with it every page."""
    client = still.stranger().client
    url = path if path.startswith("https:") else MAIN + path
    headers = {"content-type": f"Multipart/Form-Data; boundary=x; charset={charset}", "sec-fetch-site": "same-origin"}
    answer = client.post(url, content=PART % (b"x" * 200_000 + b"-" + b"a" * 200_000), headers=headers)
    assert answer.status_code == 415
    assert answer.elapsed.total_seconds() < 5


def test_one_click_of_a_mail_program_is_taken_as_multipart(portal: Portal) -> None:
    """RFC 8058, 3.1; nothing of it is read."""
    founder = portal.founder(0)
    account = portal.service.private.accounts.find(mail="founder0@village.example")
    assert account is not None
    assert account.notices
    stop = f"{MAIN}/unsubscribe/{portal.service.tokens.dumps(account.account)}"
    sent = PART % (b"x" * 200_000 + b"-" + b"a" * 200_000)
    answer = portal.stranger().client.post(stop, content=sent, headers={"content-type": "multipart/form-data; boundary=x; charset=punycode"})
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 5
    again = portal.service.private.accounts.find(account=account.account)
    assert again is not None
    assert not again.notices
    assert founder.get("/account").status == 200


@pytest.mark.parametrize(
    "value", ['{"a\\ud800":1}', '"\\udfff"', "[" * 480 + "]" * 480, "[" * 60_000, '{"payload":' + "[" * 900 + "]" * 900 + "}", "9" * 60_000, "NaN"]
)
def test_json_that_is_half_a_letter_or_too_deep_is_refused_in_words(still: Portal, value: str) -> None:
    stranger = still.stranger()
    page = stranger.post("/statements", statement=value, signatures=ARMOR)
    assert page.status in (409, 422)
    for sent in (value, f'{{"statement":{value},"signatures":[]}}'):
        answer = stranger.client.post(f"{MAIN}/api/v1/statements", content=sent, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500
        assert answer.json()["status"] == answer.status_code


def test_a_statement_that_is_nested_too_deep_is_refused_by_the_api(still: Portal) -> None:
    made = body("coop.leave/v1", {}, coop=still.service.view.pin, author=still.members[0])
    sent = json.dumps({"statement": made, "signatures": [ARMOR]}).replace('"payload": {}', '"payload": {"a":' + "[" * 900 + "]" * 900 + "}")
    answer = still.stranger().client.post(f"{MAIN}/api/v1/statements", content=sent, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500


def test_a_document_nested_too_deep_is_no_canonical_one() -> None:
    for deep in (300, 900, 100_000):
        with pytest.raises(CanonicalError):
            loads(b"[" * deep + b"1" * 20 + b"]" * deep)
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(CanonicalError):
        dumps(value)


@pytest.mark.parametrize("rank", ["0001" + "0" * 5000, "00010000", "0", "\u0661", "1e3", "+1"])
def test_a_rank_that_is_no_number_of_an_option_is_refused(portal: Portal, rank: str) -> None:
    founder = portal.founder(0)
    founder.sign(founder.post("/propose/question", question="Which?", options="One\nTwo", method="ranked", act="sign"))
    with portal.service.view.reading() as register:
        (proposal,) = register.proposals
    refused = founder.post(f"/proposals/{proposal}/answer", **{"option-0": rank})
    assert refused.status == 422
    assert "a rank is a number" in refused.words.lower()


def test_who_resumes_a_download_far_in_gives_way_after_each_block(tmp_path: Path) -> None:
    """Else forty strangers who ask for the last byte of large weights hold every thread, and no page comes until all is hashed."""
    data = bytes(range(256)) * (4 * _BLOCK // 256)
    path = tmp_path / "weights"
    path.write_bytes(data)
    part = Part("weights", len(data), "sha256:" + hashlib.sha256(data).hexdigest(), "adapter")
    with path.open("rb", buffering=0) as file:
        pieces, at = [], []
        for piece in _checked(file, part, len(data) - 1, len(data)):
            pieces.append(piece)
            at.append(0 if file.closed else file.tell())
    assert b"".join(pieces) == data[-1:]
    assert at[:4] == [_BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK]
    with path.open("rb", buffering=0) as file:
        assert b"".join(_checked(file, part, 10, 2 * _BLOCK + 5)) == data[10 : 2 * _BLOCK + 5]


def test_who_has_an_ipv6_network_is_one_sender(portal: Portal) -> None:
    assert network(("2001:db8:1:2:3:4:5:6", 1)) == network(("2001:db8:1:2:ffff::1", 2)) != network(("2001:db8:1:3::1", 1))
    assert network(("::ffff:198.51.100.7", 1)) == network(("198.51.100.7", 1)) == "198.51.100.7"
    assert network(None) == network(("?", 0)) == "?"
    assert network(("testclient", 1)) == "testclient"
    portal.service.limits = Limits()
    person = portal.stranger()
    for number in range(30):
        person.client._transport.client = (f"2001:db8::{number:x}", 5000)  # type: ignore[attr-defined]
        assert person.post("/signin", mail=f"somebody{number}@example.org").status == 200
    assert len(portal.service.private.outbox.due(500)) == RATES["mail-from"].amount


# Mail


@pytest.mark.parametrize(
    "text",
    [
        "a@.example.org",
        "a..b@example.org",
        ".a@example.org",
        "a@-b.example",
        "a@b-.example",
        "\u00e9@example.org",
        "a\x9b31m@example.org",
        "a\u202eb@example.org",
        "a\u200b@example.org",
        "a@exa\u200bmple.org",
        "a@fa\u00df.example",
        "a@" + "b" * 64 + ".example",
        "a@" + "\u00e9." * 50_000,
    ],
)
def test_an_address_no_letter_can_be_written_to_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        mail_address(text)


def test_an_address_is_kept_in_letters_every_server_knows() -> None:
    assert mail_address(" O'Neil+x@Example.ORG ") == "O'Neil+x@example.org"
    assert mail_address("a@ex\u0430mple.org") == mail_address("a@xn--exmple-4nf.org") == "a@xn--exmple-4nf.org"
    assert mail_address("a@M\u00dcNCHEN.example") == "a@xn--mnchen-3ya.example"


def test_a_letter_that_cannot_be_written_keeps_no_other_waiting(portal: Portal) -> None:
    """One such address, typed by a stranger, ended the postman, again after each start."""
    box, outbox = Mailbox(), portal.service.private.outbox
    for mail in ("a@.example.org", "b@ex\u0430mple.org", "c@example.org"):  # as an earlier version took them
        outbox.put(f"signin:{mail}", mail, "en", "signin", {"url": MAIN + "/signin/x", "minutes": "15"})
    controller = Controller(box, hostname="127.0.0.1", port=box.port, enable_SMTPUTF8=False)
    controller.start()
    try:
        assert asyncio.run(Sender(portal.service, Smtp("127.0.0.1", box.port, tls=False)).send_due()) == 1
    finally:
        controller.stop()
    assert [one["To"] for one in box.taken] == ["c@example.org"]
    assert outbox.due() == []
    assert outbox.sums().failed == 2


def test_no_address_is_left_when_its_account_is_erased_or_its_link_is_over(portal: Portal) -> None:
    person, _ = portal.joined("gone@example.org")
    portal.stranger().post("/signin", mail="gone@example.org")  # a link nobody used
    portal.stranger().post("/signin", mail="other@example.org")
    assert person.post("/account/erase", mail="gone@example.org").status == 200
    left = b"".join(path.read_bytes() for path in (portal.root / "private").glob("portal.sqlite*"))
    assert b"gone@example.org" not in left
    clock = portal.service.clock
    portal.service.private.sessions._clock = lambda: shift(clock(), 3600)
    portal.service.private.sessions.expire()
    with portal.service.private.transaction() as connection:
        assert connection.execute(links.select()).all() == []


# Members against members


def test_a_stranger_drives_out_no_draft_of_a_member(portal: Portal) -> None:
    """Anybody may ask to be shown to be a member, by the member's key, which is public: a hundred such drafts took the place of those that waited."""
    victim, stranger = portal.founder(0), portal.stranger()
    page = victim.post(f"/proposals/{propose(portal)}/vote", choice="for")
    stranger.begin("evil@example.org")
    line = portal.keys[portal.members[0]].public.line
    for _ in range(101):
        assert stranger.post("/join/prove", line=line).status == 200
    assert victim.get(page.url).status == 200
    assert victim.paste(page).status == 200
    with portal.service.view.reading() as register:
        assert portal.members[0] in next(iter(register.proposals.values())).votes


def test_nobody_erases_or_hands_out_what_another_wrote_by_naming_it(portal: Portal) -> None:
    author, thief, proposal = portal.founder(0), portal.founder(1), propose(portal)
    author.sign(author.post(f"/proposals/{proposal}/vote", choice="against", reason="It leaks our texts."))
    with portal.service.view.reading() as register:
        reason = register.proposals[proposal].votes[portal.members[0]].reason
    assert reason is not None

    def state(kind: str, payload: dict[str, object]) -> str:
        made = body(kind, payload, coop=portal.service.view.pin, author=portal.members[1])
        page = thief.post("/statements", statement=dumps(made).decode(), signatures=sign(made, portal.keys[portal.members[1]]))
        assert page.path.startswith("/receipts/"), page.words
        return page.path.removeprefix("/receipts/")

    state("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": reason})
    refused = thief.post(f"/proposals/{proposal}/reason/erase")
    assert refused.status == 409
    assert "somebody else wrote this" in refused.words.lower()

    # Reasons of a proposal are handed out with their salt; those of a ballot, which could then be proven after they were erased, are not.
    with portal.service.view.reading() as register:
        opened = register.proposals[proposal]
        payload = portal.service.house.proposal_payload(opened.kind, "sha256:" + "5" * 64, uses=1, motion=None, reasons=reason)
    other = state("coop.proposal/v1", payload)
    assert thief.client.get(f"{MAIN}/api/v1/proposals/{other}/reasons").status_code == 404
    assert thief.post(f"/proposals/{other}/reasons/erase").status == 409
    assert "It leaks our texts." in author.get(f"/proposals/{proposal}").words
    assert author.post(f"/proposals/{proposal}/reason/erase").status == 200
    assert "It leaks our texts." not in author.get(f"/proposals/{proposal}").words


def test_who_begins_again_and_again_is_one_person(portal: Portal, tmp_path: Path) -> None:
    stranger, registrar = portal.stranger(), portal.founder(0)
    stranger.begin("evil@example.org")
    for number in range(6):
        key = generate_key(tmp_path / f"key{number}")
        stranger.paste(stranger.post("/join/key", line=key.public.line), key)
    assert "1 person asks to join" in registrar.get("/").words
    assert registrar.get("/stewards/admissions").words.count("To join:") == ASKED
    last = stranger.get("/join")
    assert "You have signed." in last.words


def test_who_is_mailed_no_other_link_has_one_that_opens(portal: Portal) -> None:
    """Else whoever knows a member's address keeps them from signing in until a vote is over."""
    assert RATES["mail-to"].get_expiry() <= LINK_S


@pytest.mark.parametrize("text", ["When? 2099-99-99T99:99:99Z", "20\u0662\u0664-01-01T00:00:00Z?", "2024-13-01T00:00:00Z"])
def test_what_looks_like_a_date_and_is_none_breaks_no_page(portal: Portal, text: str) -> None:
    founder = portal.founder(0)
    asked = founder.sign(founder.post("/propose/question", question=text, options=f"{text} yes\n{text} no", method="ranked", act="sign"))
    assert asked.path.startswith("/receipts/")
    with portal.service.view.reading() as register:
        (proposal,) = register.proposals
    page = founder.post(f"/proposals/{proposal}/answer", **{"option-0": "1"})
    assert page.path.startswith("/sign/")
    assert text in page.words.replace("\u2068", "").replace("\u2069", "")
    assert founder.sign(page).path.startswith("/receipts/")


@pytest.mark.parametrize("other", ["Yes\u200b", "Y\u2060es", "Yes\u3164", "\uff39es", "Yes\ufe0f", "Yes\u00a0", "\u2067\u2069Yes"])
def test_two_options_that_look_alike_are_no_choice(still: Portal, other: str) -> None:
    page = still.founder(0).post("/propose/question", question="Shall we?", options=f"Yes\n{other}\nNo", method="ranked", act="preview")
    assert page.status == 422
    assert "different options" in page.words


def test_a_title_does_not_turn_the_words_behind_it(portal: Portal) -> None:
    """An isolate that was begun in a title and ended beyond where it was cut would close with the one around the title, and leave that open."""
    for title in ("pay \u2067me\u2069 \u05d0", "\u0627 \u2067" + "x" * 400):
        set_apart = i18n.apart(title[:300])
        assert (set_apart[0], set_apart[-1]) == ("\u2068", "\u2069")
        assert not any(one in set_apart[1:-1] for one in "\u2066\u2067\u2068\u2069")
    question = portal.service.house.keep_text("Which \u2069 first?\u2067".encode())
    motion = Consult(question=question, options=[portal.service.house.keep_text(one) for one in (b"One", b"Two")], method="approval")
    propose(portal, "consultation", subject_of(motion), motion=motion.model_dump(mode="json"))
    assert "puts to the vote: \u2068Which  first?\u2069" in portal.stranger().get("/log").text  # nor in the log's sentences


def test_a_letter_at_which_the_server_breaks_off_keeps_no_other_waiting(portal: Portal) -> None:
    """A stranger may type an address of a domain whose server never answers, and the mail server may want to ask it first."""

    class Tarpit(Mailbox):
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
            if address == "a@tarpit.example":
                server.transport.close()
            envelope.rcpt_tos.append(address)
            return "250 OK"

    box, outbox = Tarpit(), portal.service.private.outbox
    for mail in ("a@tarpit.example", "b@example.org"):
        portal.stranger().post("/signin", mail=mail)
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    sender = Sender(portal.service, Smtp("127.0.0.1", box.port, tls=False))
    try:
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            asyncio.run(sender.send_due())
        assert asyncio.run(sender.send_due()) == 1
    finally:
        controller.stop()
    assert [one["To"] for one in box.taken] == ["b@example.org"]
    later(portal, 3600)
    assert [(one.mail, one.tries) for one in outbox.due()] == [("a@tarpit.example", 1)]


def test_two_who_sign_in_the_same_moment_leave_no_request_lying(portal: Portal, tmp_path: Path) -> None:
    stranger, key = portal.stranger(), generate_key(tmp_path / "key")
    stranger.begin("new@example.org")
    page = stranger.paste(stranger.post("/join/key", line=key.public.line), key)
    drafts = portal.service.private.drafts
    seen = [drafts.find(page.path.removeprefix("/sign/")) for _ in range(2)]  # as each saw it before the other one had signed
    done = [submit_signature(portal.service, one, portal.keys[member].sign(one.body)) for one, member in zip(seen, portal.members, strict=False) if one]
    assert [(one.have, one.need) for one in done] == [(2, 3), (3, 3)]
    assert done[1].statement is not None
    with portal.service.view.reading() as register:
        assert seen[0] is not None
        assert seen[0].author in register.active()


def test_a_key_that_signs_again_and_again_adds_nothing(portal: Portal) -> None:
    """Each signature of a request is checked again on each registrar's first page."""
    stranger, device = portal.stranger(), Device()
    stranger.begin("new@example.org")
    page = stranger.post("/join/key", line=device.public.line)
    for _ in range(4):  # ECDSA: another signature each time
        assert stranger.post(page.url, assertion=device.get(page.shown)).status == 200
    found = portal.service.private.drafts.find(page.path.removeprefix("/sign/"))
    assert found is not None
    assert len(found.signatures) == 1
