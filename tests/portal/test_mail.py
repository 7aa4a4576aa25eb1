"""Mail through a real SMTP server: links, notices and reminders, in the reader's language, to whom they concern, and once."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from governance_hooks.bylaws import Rules
from governance_hooks.errors import BadInput
from governance_hooks.statement import now, shift
from portal.mail.letters import message_of
from portal.mail.reminders import remind
from portal.mail.sender import Sender, by_smtp
from tests.portal.conftest import Portal
from tests.portal.test_running import free_port
from tests.portal.test_voting import propose
from tests.village import RULES


@dataclass
class Server:
    """Takes every mail, unless it is told to be busy."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    busy: bool = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.busy:
            return "451 try again later"
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 taken"

    def to(self, mail: str) -> list[EmailMessage]:
        return [one for one in self.mails if one["To"] == mail]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    controller = Controller(made, hostname="127.0.0.1", port=free_port())
    controller.start()
    made.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield made
    finally:
        controller.stop()


def test_the_link_in_a_mail_signs_in_and_what_it_said_is_forgotten(portal: Portal, server: Server) -> None:
    person = portal.stranger()
    person.post("/signin", mail="a@example.org")
    assert Sender(portal.service, by_smtp(server.url)).round() == 1
    (mail,) = server.to("a@example.org")
    text = mail.get_content()
    assert mail["Subject"] == "Sign in at village"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] is None
    link = next(word for word in text.split() if word.startswith("https://"))
    assert person.post(link.partition("?")[0]).status == 200
    assert Sender(portal.service, by_smtp(server.url)).round() == 0
    kept = b"".join(path.read_bytes() for path in (portal.root / "private").glob("portal.sqlite"))
    assert link.rpartition("/")[2].partition("?")[0].encode() not in kept


def test_a_busy_server_is_asked_again_and_nothing_is_lost(portal: Portal, server: Server) -> None:
    person, clock = portal.stranger(), [now()]
    portal.service.private.outbox._clock = lambda: clock[0]
    server.busy = True
    person.post("/signin", mail="a@example.org")
    sender = Sender(portal.service, by_smtp(server.url))
    assert sender.round() == 0
    server.busy = False
    assert sender.round() == 0  # not at once
    clock[0] = shift(clock[0], 130)
    assert sender.round() == 1
    assert len(server.to("a@example.org")) == 1


def test_a_server_that_is_not_there_holds_nobody_up(portal: Portal) -> None:
    portal.stranger().post("/signin", mail="a@example.org")
    assert Sender(portal.service, by_smtp(f"smtp://127.0.0.1:{free_port()}")).round() == 0
    assert portal.service.private.outbox.due() == []


def test_who_has_not_voted_is_reminded_once_and_who_has_is_not(make_portal: Any, server: Server) -> None:
    day = Rules(quorum_percent=50, minimum_for=2, minimum_period_s=3600)
    portal: Portal = make_portal(kinds={"run": day.model_dump(), "release": RULES.model_dump()})
    founders = [portal.founder(number) for number in range(3)]
    sender = Sender(portal.service, by_smtp(server.url))
    sender.round()
    server.mails.clear()
    proposal = propose(portal, closes=shift(now(), 3 * 86_400))
    assert remind(portal.service) == 3
    assert remind(portal.service) == 0
    founders[0].paste(founders[0].post(f"/proposals/{proposal}/vote", choice="for"))  # before the letter is sent
    sender.round()
    subjects = {mail["To"]: mail["Subject"] for mail in server.mails if "vote is open" in mail["Subject"]}
    assert set(subjects) == {"founder1@village.example", "founder2@village.example"}
    portal.service.clock = lambda: shift(now(), 2 * 86_400 + 60)
    founders[1].service.private.accounts.settle(portal.service.private.accounts.find(member=portal.members[1]).account, notices=False)  # type: ignore[union-attr]
    assert remind(portal.service) == 1
    server.mails.clear()
    sender.round()
    (mail,) = server.mails
    assert (mail["To"], "closes soon" in mail["Subject"]) == ("founder2@village.example", True)
    assert "for" not in mail.get_content().split()


def test_one_click_ends_notices_and_another_ones_link_does_not(portal: Portal, server: Server) -> None:
    founder = portal.founder(1)
    propose(portal)
    remind(portal.service)
    Sender(portal.service, by_smtp(server.url)).round()
    mail = next(one for one in server.to("founder1@village.example") if "open" in one["Subject"] or "soon" in one["Subject"])
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = mail["List-Unsubscribe"].strip("<>")
    assert founder.get(url).status == 200
    assert founder.get("/account").text.count("checked") == 1  # looking ends nothing
    assert portal.stranger().client.post(url, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert "checked" not in founder.get("/account").text
    assert portal.stranger().client.post(url[:-2] + "xx").status_code == 409


@pytest.mark.parametrize("url", ["", "http://mail.example", "smtp://", "smtp://host:port", "mail.example:25"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="mail server"):
        by_smtp(url)


def test_a_title_adds_no_header(portal: Portal) -> None:
    portal.service.private.outbox.put("x", "a@example.org", "en", "opened", {"url": "u", "title": "t\nBcc: b@example.org", "closes": now(), "proposal": "p"})
    (letter,) = portal.service.private.outbox.due()
    made = message_of(portal.service, letter)
    assert made["Bcc"] is None
    assert "Bcc: b@example.org" in made.get_content()
