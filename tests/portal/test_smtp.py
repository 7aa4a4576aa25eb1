"""Mail to a real server that wants TLS and a login: nothing is said in clear, to nobody whose certificate is not right, and no password is in any log."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from portal.mail.sender import Sender, sending
from portal.mail.smtp import PASSWORD, Smtp
from tests.portal.certificates import Authority
from tests.portal.conftest import Portal
from tests.portal.test_mail import READY_S, Mailbox, later, send

SECRET = "correct horse: battery/staple@1"
USER = "portal@village.example"
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")  # implicit TLS is not TLS to aiosmtpd


class Guarded(Mailbox):
    """A mail server that takes mail from who logs in, and remembers who tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[bytes, bytes, bool]] = []

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        self.tried.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=(data.login, data.password) == (USER.encode(), SECRET.encode()), handled=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority this machine trusts, and no other."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return made


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever server is spoken to is not this machine."""
    monkeypatch.setattr(Smtp, "here", False)


@contextmanager
def served(box: Guarded, *, implicit: ssl.SSLContext | None = None, **settings: Any) -> Iterator[None]:
    # aiosmtpd's implicit TLS does not tell its authenticator that the line is encrypted.
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ssl_context=implicit, authenticator=box.authenticate, auth_required=True,
                            auth_require_tls=implicit is None, ready_timeout=READY_S, **settings)  # fmt: skip
    controller.start()
    try:
        yield
    finally:
        controller.stop()


def hand_over(portal: Portal, url: str) -> int:
    portal.stranger().post("/signin", mail="somebody@example.org")
    return asyncio.run(Sender(portal.service, Smtp.of(url)).send_due())


def waits(portal: Portal) -> bool:
    """Whether the letter is still to be sent, and has counted no try."""
    return [one.tries for one in portal.service.private.outbox.due()] == [0]


@pytest.mark.usefixtures("elsewhere")
def test_a_letter_goes_out_by_starttls_and_a_login(portal: Portal, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    box = Guarded()
    with served(box, tls_context=authority.context("127.0.0.1"), require_starttls=True):
        assert hand_over(portal, f"smtp://{USER.replace('@', '%40')}@127.0.0.1:{box.port}") == 1
    assert box.tried == [(USER.encode(), SECRET.encode(), True)]
    assert len(box.to("somebody@example.org")) == 1


@pytest.mark.usefixtures("elsewhere")
def test_a_letter_goes_out_by_tls_from_the_first_byte(portal: Portal, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    box = Guarded()
    with served(box, implicit=authority.context("127.0.0.1")):
        assert hand_over(portal, f"smtps://{USER.replace('@', '%40')}@127.0.0.1:{box.port}") == 1
    assert [one[:2] for one in box.tried] == [(USER.encode(), SECRET.encode())]
    assert len(box.to("somebody@example.org")) == 1


@pytest.mark.usefixtures("elsewhere")
def test_a_server_elsewhere_that_offers_no_encryption_gets_neither_letter_nor_password(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    box = Guarded()
    with served(box), pytest.raises(aiosmtplib.SMTPException):
        hand_over(portal, f"smtp://{USER.replace('@', '%40')}@127.0.0.1:{box.port}")
    assert (box.tried, box.taken) == ([], [])
    assert waits(portal)


@pytest.mark.parametrize("wrong", ["another authority", "another name"])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.usefixtures("elsewhere")
def test_a_wrong_certificate_gets_neither_letter_nor_password(
    portal: Portal, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, scheme: str
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    context = authority.context("mail.example") if wrong == "another name" else Authority(tmp_path, "nobody we trust").context("127.0.0.1")
    box = Guarded()
    settings: dict[str, Any] = {"implicit": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
    with served(box, **settings), pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)):
        hand_over(portal, f"{scheme}://{USER.replace('@', '%40')}@127.0.0.1:{box.port}")
    assert (box.tried, box.taken) == ([], [])
    assert waits(portal)


def test_a_wrong_password_stands_in_no_log_and_blames_no_letter(
    portal: Portal, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PASSWORD, "a wrong one, and still nobody's business")
    caplog.set_level(logging.DEBUG)
    box = Guarded()
    portal.stranger().post("/signin", mail="somebody@example.org")
    smtp = Smtp.of(f"smtp://{USER.replace('@', '%40')}@127.0.0.1:{box.port}")
    with served(box, tls_context=authority.context("127.0.0.1"), require_starttls=True), sending(portal.service, smtp, every_s=0.05):
        until = time.monotonic() + 180
        while not [one for one in caplog.records if "no mail goes out" in one.getMessage()] and time.monotonic() < until:
            time.sleep(0.02)
    assert box.tried
    assert not box.taken
    assert waits(portal)
    told = [one.getMessage() for one in caplog.records if one.name.startswith("portal")]
    assert any("SMTPAuthenticationError" in one for one in told)
    said = "\n".join(one.getMessage() + str(one.exc_text or "") for one in caplog.records if not one.name.startswith("mail.log")) + "".join(capfd.readouterr())
    assert "nobody's business" not in said
    assert "nobody's business" not in repr(smtp)


class Refusing(Mailbox):
    """A server that knows no such person."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = "550 5.1.1 no such mailbox"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.refuses:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"


def test_a_member_whose_mail_is_refused_for_good_is_told_so_until_a_letter_arrives(portal: Portal) -> None:
    person = portal.founder(0)
    told = {"url": "https://village.example/receipts/x", "kind": "coop.ballot/v1", "entry": "3"}
    portal.service.private.outbox.put("signed:1", "founder0@village.example", "en", "signed", told)  # fmt: skip
    box = Refusing()
    box.refuses = "450 4.2.1 try again later"
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=READY_S)
    controller.start()
    with ExitStack() as stack:
        stack.callback(controller.stop)
        send(portal, box)
        assert "Mail does not reach you" not in person.get("/").words  # put off is not refused
        later(portal, 3600)
        box.refuses = "550 5.1.1 no such mailbox"
        send(portal, box)
        assert "Mail does not reach you" in person.get("/").words
        assert "a link to sign in would not arrive" in person.get("/account").words
        assert "Mail does not reach you" not in portal.founder(1).get("/").words
        box.refuses = ""
        portal.service.private.outbox.put("signed:2", "founder0@village.example", "en", "signed", told)  # fmt: skip
        assert send(portal, box) >= 1
        assert "Mail does not reach you" not in person.get("/").words
        assert "Mail does not reach you" not in person.get("/account").words
