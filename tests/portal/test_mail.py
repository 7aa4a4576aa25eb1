"""Mail through a real SMTP server: in the reader's language, once, later if it must be, never about a choice, and never to who has voted."""

from __future__ import annotations

import asyncio
import email
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller

from governance_hooks.errors import BadInput
from governance_hooks.statement import now, shift
from portal.mail.letters import message_of
from portal.mail.reminders import remind
from portal.mail.sender import Sender, sending
from portal.mail.smtp import PASSWORD, Smtp
from portal.store.outbox import Letter
from tests.portal.conftest import Portal
from tests.portal.people import MAIN
from tests.portal.test_voting import propose
from tests.ports import free_port

READY_S = 180
"""So long a mail server may take to answer for the first time."""


class Mailbox:
    """A server that keeps what it takes, and refuses as it is told."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.answers: list[str] = []
        self.port = free_port()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.taken.append(email.message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 taken"

    def to(self, mail: str) -> list[EmailMessage]:
        return [one for one in self.taken if one["To"] == mail]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=READY_S)
    controller.start()
    yield box
    controller.stop()


def send(portal: Portal, box: Mailbox) -> int:
    return asyncio.run(Sender(portal.service, Smtp("127.0.0.1", box.port, tls=False)).send_due())


def later(portal: Portal, seconds: int) -> None:
    """Let the portal's clock go on."""
    clock = portal.service.clock
    portal.service.clock = portal.service.private.outbox._clock = lambda: shift(clock(), seconds)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_link_to_sign_in_arrives_as_text_and_html_and_signs_in(portal: Portal, mailbox: Mailbox) -> None:
    person = portal.stranger()
    person.post("/signin", mail="somebody@example.org")
    assert send(portal, mailbox) == 1
    assert send(portal, mailbox) == 0
    (letter,) = mailbox.taken
    url = next(word for word in text_of(letter).split() if word.startswith(MAIN))
    assert url in text_of(letter, "html").replace("&amp;", "&")
    assert letter["List-Unsubscribe"] is None
    assert letter["Auto-Submitted"] == "auto-generated"
    assert person.get(url).status == 200
    assert "Where you stand" in person.post(url.partition("?")[0]).words


def test_the_letter_about_a_vote_does_not_say_what_was_voted(portal: Portal, mailbox: Mailbox) -> None:
    person, _ = portal.joined()
    proposal = propose(portal)
    person.touch(person.post(f"/proposals/{proposal}/vote", choice="against", reason="Nobody shall read this."))
    send(portal, mailbox)
    letters = mailbox.to("new@example.org")
    assert any("You are a member" in one["Subject"] for one in letters)
    told = [one for one in letters if "Your key signed something" in one["Subject"]]
    assert told
    for one in told:
        whole = text_of(one) + text_of(one, "html") + one["Subject"]
        assert not {"against", "abstain", "Nobody", "for this"} & set(whole.split())
        assert "Nobody shall read this" not in whole


def test_reminders_go_to_who_has_not_voted_once_and_only_near_the_end(portal: Portal, mailbox: Mailbox) -> None:
    people = [portal.founder(number) for number in range(3)]
    proposal = propose(portal)
    with portal.service.view.reading() as register:
        period = register.bylaws.rules("run").minimum_period_s
    people[0].sign(people[0].post(f"/proposals/{proposal}/vote", choice="for"))
    portal.service.private.accounts.settle(portal.service.private.accounts.find(mail="founder1@village.example").account, notices=False)  # type: ignore[union-attr]
    assert remind(portal.service) == 0  # too early
    later(portal, period // 2 + 10)
    assert remind(portal.service) == 1
    assert remind(portal.service) == 0
    send(portal, mailbox)
    reminded = [one for one in mailbox.taken if "A vote ends soon" in one["Subject"]]
    assert [one["To"] for one in reminded] == ["founder2@village.example"]
    assert f"{MAIN}/proposals/{proposal}" in text_of(reminded[0])


def test_who_votes_while_the_reminder_waits_gets_none(portal: Portal, mailbox: Mailbox) -> None:
    person = portal.founder(0)
    proposal = propose(portal)
    clock = portal.service.clock
    with portal.service.view.reading() as register:
        later(portal, register.bylaws.rules("run").minimum_period_s // 2 + 10)
    assert remind(portal.service) == 1
    portal.service.clock = clock
    person.sign(person.post(f"/proposals/{proposal}/vote", choice="for"))
    send(portal, mailbox)
    assert not [one for one in mailbox.taken if "A vote ends soon" in one["Subject"]]
    assert remind(portal.service) == 0


def test_no_reminder_goes_out_after_the_end(portal: Portal, mailbox: Mailbox) -> None:
    portal.founder(0)
    propose(portal)
    with portal.service.view.reading() as register:
        period = register.bylaws.rules("run").minimum_period_s
    later(portal, period // 2 + 10)
    assert remind(portal.service) == 1
    later(portal, period)
    send(portal, mailbox)
    assert not [one for one in mailbox.taken if "A vote ends soon" in one["Subject"]]


def test_one_click_ends_notices_without_signing_in(portal: Portal, mailbox: Mailbox) -> None:
    person, _ = portal.joined()
    send(portal, mailbox)
    notice = next(one for one in mailbox.to("new@example.org") if one["List-Unsubscribe"])
    assert notice["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = notice["List-Unsubscribe"].strip("<>")
    stranger = portal.stranger()
    assert stranger.get(url).status == 200
    assert portal.service.private.accounts.find(mail="new@example.org").notices  # type: ignore[union-attr]  # opening the link is not enough
    answer = stranger.client.post(url, data={"List-Unsubscribe": "One-Click"})  # as a mail provider does: no cookie, no origin
    assert answer.status_code == 200
    assert not portal.service.private.accounts.find(mail="new@example.org").notices  # type: ignore[union-attr]
    before = len(mailbox.taken)
    person.touch(person.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    send(portal, mailbox)
    assert len(mailbox.taken) == before
    assert stranger.client.post(f"{MAIN}/unsubscribe/{'x' * 43}").status_code == 409


def test_a_letter_that_is_put_off_goes_out_later_and_one_that_is_refused_never(portal: Portal, mailbox: Mailbox) -> None:
    outbox = portal.service.private.outbox
    values = {"url": f"{MAIN}/x", "minutes": "1"}
    outbox.put("one", "a@example.org", "en", "signin", values)
    outbox.put("two", "b@example.org", "en", "signin", values)
    mailbox.answers = ["451 not now", "550 never"]
    assert send(portal, mailbox) == 0
    assert outbox.due() == []
    later(portal, 121)
    assert [(one.mail, one.tries) for one in outbox.due()] == [("a@example.org", 1)]
    assert send(portal, mailbox) == 1
    assert [one["To"] for one in mailbox.taken] == ["a@example.org"]
    later(portal, 10**7)
    assert outbox.due() == []


def test_a_server_that_is_down_costs_no_letter_a_try(portal: Portal) -> None:
    outbox = portal.service.private.outbox
    outbox.put("one", "a@example.org", "en", "signin", {"url": f"{MAIN}/x", "minutes": "1"})
    with pytest.raises((aiosmtplib.SMTPException, OSError)):
        asyncio.run(Sender(portal.service, Smtp("127.0.0.1", free_port(), tls=False)).send_due())
    assert [one.tries for one in outbox.due()] == [0]


def test_a_letter_nobody_can_write_keeps_no_other_waiting(portal: Portal, mailbox: Mailbox) -> None:
    outbox = portal.service.private.outbox
    outbox.put("one", "a@example.org", "en", "no-such", {})
    outbox.put("two", "b@example.org", "en", "signin", {})
    outbox.put("three", "c@example.org", "en", "signin", {"url": f"{MAIN}/x", "minutes": "1"})
    assert send(portal, mailbox) == 1
    later(portal, 10**7)
    assert outbox.due() == []


def test_the_postman_works_by_himself(portal: Portal, mailbox: Mailbox) -> None:
    with sending(portal.service, Smtp("127.0.0.1", mailbox.port, tls=False), every_s=0.05):
        portal.stranger().post("/signin", mail="somebody@example.org")
        until = time.monotonic() + 180
        while not mailbox.taken and time.monotonic() < until:
            time.sleep(0.05)
    assert [one["To"] for one in mailbox.taken] == ["somebody@example.org"]


def test_a_title_with_line_breaks_makes_no_header(portal: Portal) -> None:
    values = {"url": f"{MAIN}/x", "title": "Shall we?\r\nBcc: all@example.org\u202e", "closes": "2027-01-01T00:00:00Z", "proposal": "p"}
    made = message_of(Letter(1, "e", "a@example.org", "en", "reminder", values, 0), sender="portal@localhost", name="village", stop=f"{MAIN}/unsubscribe/t")
    assert made["Bcc"] is None
    assert "\u202e" not in made["Subject"]
    again = message_of(Letter(1, "e", "a@example.org", "en", "reminder", values, 3), sender="portal@localhost", name="village", stop=None)
    assert again["Message-ID"] == made["Message-ID"]


@pytest.mark.parametrize("url", ["", "http://x", "smtp://", "smtp://u:secret@x/path", "smtp://x:99999", "smtp://x/path", "smtp://u@x"])
def test_an_address_that_is_no_mail_server_is_refused_and_no_password_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(BadInput) as error:
        Smtp.of(url)
    assert "secret" not in str(error.value)


def test_only_this_machine_is_spoken_to_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "geheim")
    assert Smtp.of("smtp://127.0.0.1:25").here
    assert not Smtp.of("smtp://mail.example").here
    made = Smtp.of("smtps://coop%40x@mail.example")
    assert (made.port, made.tls, made.user, made.password) == (465, True, "coop@x", "geheim")
    assert "geheim" not in repr(made)


def test_a_long_vote_is_called_when_it_opens_and_again_near_its_end(portal: Portal, mailbox: Mailbox) -> None:
    portal.founder(0)
    propose(portal, closes=shift(now(), 7 * 86_400))
    assert remind(portal.service) == 1
    send(portal, mailbox)
    later(portal, 6 * 86_400 + 60)
    assert remind(portal.service) == 1
    send(portal, mailbox)
    later(portal, 3600)
    assert remind(portal.service) == 0
    assert [one["Subject"].partition(":")[0] for one in mailbox.taken if "vote" in one["Subject"]] == ["A vote is open", "A vote ends soon"]


def test_without_a_server_letters_are_printed(portal: Portal, capsys: pytest.CaptureFixture[str]) -> None:
    portal.stranger().post("/signin", mail="somebody@example.org")
    assert asyncio.run(Sender(portal.service, None).send_due()) == 1
    assert f"{MAIN}/signin/" in capsys.readouterr().err
