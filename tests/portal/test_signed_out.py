"""Who was signed out reads so, in the same words whatever ended the session, and comes back to the page they wanted, on this site alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import Request

from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, shift
from portal import pages
from portal.app import make_app
from portal.store.sessions import COOKIE_S, SESSION_S
from portal.visit import Visit, local_path
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Person
from tests.portal.test_sessions import COOKIE, add_key, name_of, with_name
from tests.portal.test_voting import propose, say

WHY = (
    "You were signed out. That happens after 12 hours, when you sign out everywhere, when your keys or your membership change, and when the account is erased."
)
THERE = "Sign in again, and you come back to the page you wanted."
SHORT = "You were signed out. Sign in again"


def told(person: Person) -> bool:
    """Whether somebody reads why on the page to sign in, and is shown where on a public one."""
    asked, seen = person.get("/mine"), person.get("/releases")
    assert asked.path == "/signin"
    assert (WHY in asked.words) == (THERE in asked.words) == (SHORT in seen.words)
    assert SHORT not in asked.words
    return WHY in asked.words


def expired(portal: Portal) -> Person:
    person = portal.founder(0)
    portal.service.private.sessions._clock = lambda: shift(now(), SESSION_S + 1)
    return person


def renewed(portal: Portal) -> Person:
    person, _ = portal.joined()
    person.get("/mine")
    other = with_name(portal, name_of(person))
    add_key(person)
    assert person.get("/mine").path == "/mine"
    return other


def changed_elsewhere(portal: Portal) -> Person:
    person = portal.founder(0)
    person.get("/mine")
    new = generate_key(portal.root / "second")
    say(portal, "coop.key/v1", {"action": "add", "key": new.public.line}, portal.members[0], portal.keys[portal.members[0]], new)
    return person


def erased(portal: Portal) -> Person:
    person, _ = portal.joined("gone@example.org")
    other = with_name(portal, name_of(person))
    assert person.post("/account/erase", mail="gone@example.org").status == 200
    assert person.client.cookies.get(COOKIE) is None
    assert not told(person)  # who did it themselves knows
    return other


def ended_everywhere(portal: Portal) -> Person:
    person = portal.founder(0)
    other = with_name(portal, name_of(person))
    person.post("/signout", everywhere="true")
    assert not told(person)
    return other


def made_up(portal: Portal) -> Person:
    return with_name(portal, "x" * 43)


def made_up_and_long(portal: Portal) -> Person:
    return with_name(portal, "x" * 3000)


@pytest.mark.parametrize("how", [expired, renewed, changed_elsewhere, erased, ended_everywhere, made_up, made_up_and_long])
def test_who_was_signed_out_reads_the_same_words_whatever_ended_the_session(portal: Portal, how: Callable[[Portal], Person]) -> None:
    person = how(portal)
    assert told(person)
    other = made_up(portal)
    for path in ("/signin?next=/mine", "/", "/releases", "/nowhere"):
        found, same = person.get(path), other.get(path)
        assert (found.status, found.answer.content) == (same.status, same.answer.content)
        ours = [{name: value for name, value in one.answer.headers.items() if name != "date"} for one in (found, same)]
        assert ours[0] == ours[1]
        assert found.answer.headers["cache-control"] == "no-store"


def test_who_was_never_signed_in_or_signed_out_themselves_reads_nothing_of_it(portal: Portal) -> None:
    assert not told(portal.stranger())
    person = portal.founder(0)
    assert WHY not in person.get("/signin").words
    assert SHORT not in person.get("/").words
    person.post("/signout")
    assert not told(person)
    assert "You were signed out" not in made_up(portal).get(SIGNING + "/").words
    assert "You were signed out" not in made_up(portal).get("/offline/en").words
    assert "You were signed out" not in made_up(portal).get("/api/v1/releases").text


def test_a_browser_keeps_the_name_for_longer_than_it_opens_anything_and_a_new_session_takes_its_place(portal: Portal) -> None:
    person = portal.stranger()
    link = portal.service.private.sessions.make_link("a@example.org", "en", "/")
    person.client.follow_redirects = False
    assert f"Max-Age={COOKIE_S};" in person.post(f"/signin/{link}").answer.headers["set-cookie"]
    person.client.follow_redirects = True
    assert COOKIE_S > SESSION_S
    portal.service.private.sessions._clock = lambda: shift(now(), SESSION_S + 1)
    assert told(person)
    person.sign_in("a@example.org")
    assert person.get("/account").path == "/account"
    assert SHORT not in person.get("/releases").words


def test_who_signs_in_again_comes_back_to_what_they_wanted(portal: Portal) -> None:
    wanted = "/consent/give?purpose=dpv:NonCommercialResearch"
    person = expired(portal)
    page = person.get(wanted)
    assert page.path == "/signin"
    then = page.text.partition('name="next" value="')[2].partition('"')[0]
    assert unescape(then) == wanted
    page = person.sign_in("founder0@village.example", unescape(then))
    assert page.url == MAIN + wanted
    assert page.status == 200


def test_who_sent_a_form_comes_back_to_the_page_it_stands_on(portal: Portal) -> None:
    person, proposal = made_up(portal), propose(portal)
    assert person.get("/signin?next=/" + "a" * 400).status == 422
    sent: dict[str, tuple[str, dict[str, str]]] = {
        f"/proposals/{proposal}/vote": (f"/proposals/{proposal}", {"choice": "for"}),
        f"/proposals/{proposal}/remarks": (f"/proposals/{proposal}", {"text": "x", "stance": "for"}),
        f"/proposals/{proposal}/reasons/erase": (f"/proposals/{proposal}", {}),
        f"/proposals/{proposal}/remarks/{'0' * 24}/erase": (f"/proposals/{proposal}", {}),
        "/contribute": ("/contribute", {"id": "0" * 32}),
        "/keys/revoke": ("/keys", {"line": "x"}),
        "/account/erase": ("/account", {"mail": "a@example.org"}),
        "/propose/question": ("/propose", {"question": "Which?", "options": "a\nb", "method": "ranked"}),
        f"/propose/file?subject=sha256:{'0' * 64}": (f"/propose/file?subject=sha256:{'0' * 64}", {"subject": "sha256:" + "0" * 64}),
        "/stewards/letters": ("/stewards/letters", {}),
    }
    for path, (back, fields) in sent.items():
        page = person.post(path, **fields)
        assert page.path == "/signin"
        assert f'name="next" value="{back}"' in page.text, path
        assert WHY in page.words


def test_every_form_leads_back_to_a_page(still: Portal) -> None:
    """Whatever is added: an address deeper than is looked at would send people to the first page."""
    site: Any = make_app(still.service)
    site = site._sites[MAIN.removeprefix("https://")]
    while not hasattr(site, "routes"):
        site = site._app
    routes: list[Any] = [route for part in pages.MAIN for route in part.router.routes]
    forms = [route.path for route in routes if "POST" in route.methods and route.path != "/signout"]
    for path in forms:
        made = re.sub(r"{\w+}", "0" * 32, path)
        scope = {"type": "http", "method": "POST", "path": made, "query_string": b"", "headers": [(b"host", b"a")], "app": site}
        assert Visit(Request(scope), still.service, None).signing_in != "/signin?next=/", path
    assert len(forms) > 30


@pytest.mark.parametrize(
    "then",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/%0a//evil.example\n", "javascript:alert(1)", "evil.example", "/é"],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(still: Portal, then: str) -> None:
    assert local_path(then) == "/"
    page = made_up(still).get(f"/signin?next={quote(then)}")
    assert WHY in page.words
    assert 'name="next" value="/"' in page.text
    sessions = still.service.private.sessions
    sent = made_up(still).post(f"/signin/{sessions.make_link('guest@example.org', 'en', then)}")
    assert sent.url == MAIN + "/"


@pytest.mark.parametrize(
    "path", ["//evil.example/mine", "/mine//evil.example", "/\\evil.example", "/nowhere?next=//evil.example", "/x" * 3000, "/%2f%2fevil.example"]
)
def test_whatever_address_is_asked_for_the_way_back_is_ours(still: Portal, path: str) -> None:
    answer = made_up(still).client.get(MAIN + path)
    assert answer.status_code == 404
    found = unescape(answer.text.partition('You were signed out. <a href="')[2].partition('"')[0])
    assert found in ("/signin?next=/", "/signin?next=/mine")


def test_a_path_too_long_to_come_back_to_still_leads_to_sign_in(still: Portal) -> None:
    page = made_up(still).get("/review?language=" + "é" * 64)
    assert page.url == MAIN + "/signin"
    assert WHY in page.words


def test_the_log_is_read_once_to_know_who_asks(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    person, _ = portal.joined()
    reads = 0
    reading = portal.service.view.reading

    def counted() -> object:
        nonlocal reads
        reads += 1
        return reading()

    monkeypatch.setattr(portal.service.view, "reading", counted)
    for _ in range(2):  # the first notes what the account is
        reads = 0
        assert person.get("/account").path == "/account"  # a page that reads nothing of the log itself
        assert reads == 1
    monkeypatch.undo()
    first, page = person.device, person.touch(person.make_passkey(person.post("/keys/passkey")))
    person.client.follow_redirects = False
    person.touch(page, first)
    before = name_of(person)
    monkeypatch.setattr(portal.service.view, "reading", counted)
    reads = 0
    assert person.get("/account").path == "/account"
    assert name_of(person) != before  # renewed
    assert reads == 1
