"""The stewards' page of letters, and letters nobody can switch off: counts and answers, never an address, never who has not voted."""

from __future__ import annotations

import asyncio
import time

import pytest

from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, shift
from portal.limits import RATES, Limits
from portal.mail.answers import UNWRITTEN, answer, in_words
from portal.mail.letters import NOTICES, SECURITY
from portal.mail.reminders import calls, remind
from portal.mail.sender import Sender, sending
from portal.mail.smtp import Smtp
from portal.store.outbox import GIVE_UP
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, Person
from tests.portal.test_mail import Mailbox, later, mailbox, send
from tests.portal.test_voting import propose, say
from tests.ports import free_port

__all__ = ["mailbox"]

PAGE = "/stewards/letters"


def test_the_page_is_for_offices_and_its_button_too(portal: Portal) -> None:
    member, _ = portal.joined()
    assert portal.stranger().get(PAGE).path == "/signin"
    for answer_ in (member.get(PAGE), member.post(PAGE)):
        assert answer_.status == 409
        assert "for registrars, stewards and the oversight body" in answer_.words
    assert PAGE not in "".join(member.get("/mine").links("/stewards"))
    for number in (0, 4):  # a registrar, and one of the oversight body
        officer = portal.founder(number)
        assert officer.get(PAGE).status == 200
        assert officer.get("/mine").links(PAGE)


def test_no_address_and_no_pseudonym_is_on_the_page_whatever_a_server_said(portal: Portal, mailbox: Mailbox) -> None:
    people = [portal.founder(number) for number in range(5)]
    proposal = propose(portal, closes=shift(now(), 7 * 86_400))
    people[1].sign(people[1].post(f"/proposals/{proposal}/vote", choice="for"))
    remind(portal.service)
    mailbox.answers = ["550 5.1.1 <founder0@village.example>: no such user here", "451 4.2.2 founder2@village.example is full"]
    send(portal, mailbox)
    page = people[0].get(PAGE)
    assert "The address does not exist, or is refused 550 5.1.1" in page.words
    assert "The mailbox takes no mail, or is full 451 4.2.2" in page.words
    main = page.text[page.text.index("<main") : page.text.index("</main>")]
    assert "village.example" not in main.replace('name="fo…@village.example"', "")  # whoever reads the page is told whose texts wait
    assert "no such user" not in main
    assert not any(member in main for member in portal.members)


def test_of_a_vote_no_small_number_is_told(portal: Portal, mailbox: Mailbox) -> None:
    people = [portal.founder(number) for number in range(4)]
    proposal = propose(portal, closes=shift(now(), 7 * 86_400))
    assert remind(portal.service) == 4
    send(portal, mailbox)
    page = people[0].get(PAGE)
    line = page.words.partition("A vote opens:")[2]
    assert "waiting" not in line.partition("A vote ends soon:")[0]
    assert "sent: fewer than 5" in line.partition("A vote ends soon:")[0]
    assert "A vote ends soon:" in line
    assert "not yet due" in line
    assert "0 of 5 have voted." in page.words
    for number in range(6):
        portal.service.private.outbox.put(f"opened:{proposal}", f"other{number}@example.org", "en", "opened", {})
    assert "waiting: 6" in people[0].get(PAGE).words.partition("A vote opens:")[2]


def test_a_vote_says_when_it_is_called_and_to_whom_never(portal: Portal) -> None:
    proposal = propose(portal, closes=shift(now(), 7 * 86_400))
    with portal.service.view.reading() as register:
        one = register.proposals[proposal]
    assert calls(one) == {"opened": one.issued, "reminder": shift(one.closes, -86_400)}
    brief = propose(portal)
    with portal.service.view.reading() as register:
        short = register.proposals[brief]
    assert list(calls(short)) == ["reminder"]
    assert "Only those get it who may vote and have not voted yet" in portal.founder(0).get(PAGE).words


def test_what_waits_is_tried_at_once_and_what_was_put_off_too_often_once_more(portal: Portal, mailbox: Mailbox) -> None:
    outbox, officer = portal.service.private.outbox, portal.founder(0)
    for name in ("waits", "tired", "refused"):
        outbox.put(name, f"{name}@example.org", "en", "signin", {"url": f"{MAIN}/x", "minutes": "1"})
    waits, tired, refused = (one.number for one in outbox.due())
    outbox.failed(waits, "451 4.4.1")
    for _ in range(GIVE_UP):
        outbox.failed(tired, "452 4.2.2")
    outbox.failed(refused, "550 5.1.1", for_good=True)
    assert outbox.due() == []
    assert (outbox.sums().waiting, outbox.sums().failed) == (1, 2)
    assert "2 letters are tried now." in officer.post(PAGE).words
    assert {one.mail for one in outbox.due()} == {"waits@example.org", "tired@example.org"}
    assert send(portal, mailbox) == 2
    assert (outbox.sums().waiting, outbox.sums().sent, outbox.sums().failed) == (0, 2, 1)


def test_the_button_brings_the_postman_who_waits_for_a_server(portal: Portal, mailbox: Mailbox) -> None:
    officer, dead = portal.founder(0), free_port()
    smtp = Smtp("127.0.0.1", dead, tls=False)
    with sending(portal.service, smtp, every_s=60):
        portal.stranger().post("/signin", mail="somebody@example.org")
        officer.post(PAGE)
        wait_for(lambda: portal.service.post.trouble is not None)
        page = officer.get(PAGE)
        assert "No server takes mail at the moment:" in page.words
        assert f"Mail goes out through 127.0.0.1:{dead}" in page.words
        object.__setattr__(smtp, "port", mailbox.port)  # the server is back
        officer.post(PAGE)
        wait_for(lambda: bool(mailbox.taken))
        wait_for(lambda: portal.service.post.trouble is None)
    assert "the portal runs without its part that sends" in officer.get(PAGE).words


def wait_for(happens: object) -> None:
    until = time.monotonic() + 180
    while not happens():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def test_the_button_is_pressed_so_many_times_an_hour(portal: Portal) -> None:
    portal.service.limits = Limits({"write": RATES["write"].__class__(100_000, 1)})
    officer = portal.founder(0)
    assert [officer.post(PAGE).status for _ in range(7)] == [200] * 6 + [429]


@pytest.mark.parametrize(
    ("code", "words", "kept", "means"),
    [
        (550, "5.1.1 <a@example.org> unknown", "550 5.1.1", "address does not exist"),
        (452, "4.2.2 full", "452 4.2.2", "mailbox"),
        (451, "4.4.1 a@example.org", "451 4.4.1", "the way there"),
        (554, "5.7.1 spam", "554 5.7.1", "a rule there"),
        (451, "a@example.org 4.2.2", "451", "said: later"),
        (550, "no 5.1.1 for a@example.org", "550", "refuses it"),
        (550, "5.9.9 odd", "550 5.9.9", "refuses it"),
    ],
)
def test_of_an_answer_only_codes_are_kept(code: int, words: str, kept: str, means: str) -> None:
    assert answer(code, words) == kept
    assert means in in_words(kept)
    assert "could not be written" in in_words(UNWRITTEN)


# What protects keys cannot be switched off


def hears_nothing(portal: Portal, mail: str) -> None:
    account = portal.service.private.accounts.find(mail=mail)
    assert account is not None
    portal.stranger().post(f"/unsubscribe/{portal.service.tokens.dumps(account.account)}")
    assert not portal.service.private.accounts.find(mail=mail).notices  # type: ignore[union-attr]


def mailed(person: Person, mail: str = "new@example.org") -> list[str]:
    return [one["kind"] for one in person.mails(mail, "security")]


def test_who_wants_no_mail_still_hears_of_each_change_of_their_keys(portal: Portal, mailbox: Mailbox) -> None:
    person, _ = portal.joined()
    hears_nothing(portal, "new@example.org")
    first = person.device
    person.touch(person.touch(person.make_passkey(person.post("/keys/passkey"))), first)
    second, person.device = person.device, first
    person.touch(person.post("/keys/revoke", line=second.public.line))  # type: ignore[union-attr]
    person.touch(person.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    assert mailed(person) == ["coop.key/v1", "coop.key/v1", "coop.guardians/v1"]
    person.touch(person.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    send(portal, mailbox)
    letters = [one for one in mailbox.to("new@example.org") if "Something about your keys changed" in one["Subject"]]
    assert len(letters) == 3
    for letter in letters:
        assert letter["List-Unsubscribe"] is None
        assert "/unsubscribe/" not in letter.as_string()
        assert "cannot be switched off" in letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert not [one for one in mailbox.taken if "Your key signed something" in one["Subject"]]  # the ballot: that one they can do without


def test_a_recovery_is_told_at_its_beginning_a_day_before_and_when_it_is_done(portal: Portal) -> None:
    person, member = portal.joined()
    person.touch(person.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    hears_nothing(portal, "new@example.org")
    person.touch(person.make_passkey(person.post("/recover/passkey")))
    for number in (3, 4):
        guardian = portal.founder(number)
        guardian.paste(guardian.get(guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    assert mailed(person)[-1] == "coop.recovery/v1"
    assert remind(portal.service) == 0
    say(portal, "coop.time/v1", {}, "operator", portal.operator)
    with portal.service.view.reading() as register:
        delay = register.bylaws.recovery_delay_s
    later(portal, delay - 3600)
    assert remind(portal.service) == 1
    assert remind(portal.service) == 0
    assert mailed(person)[-1] == "soon"
    turn(portal, delay + 60)
    assert remind(portal.service) == 1
    assert remind(portal.service) == 0
    assert mailed(person)[-1] == "recovered"
    with portal.service.view.reading() as register:
        assert member not in register.recoveries
    later(portal, 31 * 86_400)
    assert remind(portal.service) == 0  # nor again, once the outbox has forgotten it


def test_a_recovery_another_program_appended_is_told_too(portal: Portal) -> None:
    person, member = portal.joined()
    hears_nothing(portal, "new@example.org")
    new, registrars = generate_key(portal.root / "new"), [portal.keys[one] for one in portal.members[:2]]
    say(portal, "coop.recovery/v1", {"member": member, "key": new.public.line}, member, new, *registrars)
    assert mailed(person) == []
    assert remind(portal.service) == 1
    assert remind(portal.service) == 0
    assert mailed(person) == ["coop.recovery/v1"]


def turn(portal: Portal, seconds: int) -> None:
    """Let the operator state a time to come."""
    from governance_hooks.statement import body, entry, sign

    made = body("coop.time/v1", {}, coop=portal.service.view.pin, author="operator", issued=shift(now(), seconds))
    portal.service.writer._coop.clock = lambda: shift(now(), seconds)  # type: ignore[attr-defined]
    portal.service.writer.append(entry(made, [sign(made, portal.operator)]))


def test_a_recovery_that_was_stopped_is_not_told_as_done(portal: Portal) -> None:
    person, _ = portal.joined()
    old = person.device
    person.touch(person.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    person.touch(person.make_passkey(person.post("/recover/passkey")))
    for number in (3, 4):
        guardian = portal.founder(number)
        guardian.paste(guardian.get(guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    person.touch(person.post("/keys/cancel"), old)
    assert portal.service.view.recovered == []
    assert mailed(person)[-1] == "coop.recovery-cancel/v1"


def test_no_letter_is_of_both_kinds(portal: Portal) -> None:
    assert "security" not in NOTICES
    assert {"coop.key/v1", "coop.rotation/v1", "coop.recovery/v1"} <= SECURITY
    page = portal.founder(0).get("/account")
    assert "Mail about your keys always comes" in page.words
    account = portal.service.private.accounts.find(mail="founder0@village.example")
    assert account is not None
    stop = portal.stranger().post(f"/unsubscribe/{portal.service.tokens.dumps(account.account)}")
    assert "so do letters about your keys" in stop.words


def test_a_letter_waits_while_no_server_is_there_and_the_page_counts_it(portal: Portal) -> None:
    portal.stranger().post("/signin", mail="somebody@example.org")
    with pytest.raises(Exception, match=r".*"):
        asyncio.run(Sender(portal.service, Smtp("127.0.0.1", free_port(), tls=False)).send_due())
    assert portal.service.private.outbox.sums().waiting == 1
    assert portal.service.private.outbox.troubles() == []
