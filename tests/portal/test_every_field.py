"""What is tried in every field of every form and address, on both sites, and against the server by sockets: nothing comes back as markup, and nobody waits."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from fastapi.routing import APIRoute

from data_pipeline.record import Draft
from portal import pages
from portal.app import make_app
from portal.diffs import Piece, word_changes
from portal.pages import contribute
from tests.portal.chromium import serving
from tests.portal.conftest import Portal
from tests.portal.effort import Effort, counted
from tests.portal.people import MAIN, SIGNING, Person
from tests.portal.test_giving import allow, give
from tests.portal.test_voting import propose
from tests.ports import free_port

MARK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>"
HANG_S = 300
"""So long nothing takes on a machine that is only slow."""
LIVE = re.compile(r"<script>alert|<img src=x|onerror=alert\(2\)>|<b>")


def routes(parts: tuple[Any, ...]) -> Iterator[tuple[str, APIRoute]]:
    for part in parts:
        for route in part.router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods):
                    yield method, route


def fields(route: APIRoute) -> dict[str, str]:
    """A value for each field of a form and each part of a query: what is tried."""
    return {one.alias: MARK for one in (*route.dependant.body_params, *route.dependant.query_params)}


def test_no_field_of_any_form_or_address_comes_back_as_markup(portal: Portal) -> None:
    person, member = portal.joined()
    allow(person)
    give(person)
    (record,) = portal.service.house.contributions().records(member=member)
    proposal = propose(portal)
    drafted = person.post(f"/proposals/{proposal}/vote", choice="for").path.rpartition("/")[2]
    founder = portal.founder(1)
    known = {
        "identifier": proposal, "statement": proposal, "record": record.record, "token": "x" * 43, "position": "0", "number": "0" * 24, "name": "statement.json",
        "account": "a", "release": proposal, "digest": proposal, "path": "README.md", "chart": "loss", "size": "1",
    }  # fmt: skip
    tried = 0
    for site, parts in ((MAIN, pages.MAIN), (SIGNING, pages.SIGNING)):
        for method, route in routes(parts):
            values = known | {"identifier": drafted if site == SIGNING or "admissions" in route.path else known["identifier"]}
            paths = {re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values.get(found[1], "x"), route.path)}  # noqa: B023
            if "{" in route.path:
                paths.add(re.sub(r"\{(\w+)(?::\w+)?\}", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", route.path))
            for path in sorted(paths):
                if path in ("/signout", "/account/erase"):
                    continue
                asked = fields(route)
                person_asks(founder, site, method, path, asked)
                tried += 1 + len(asked)
                # One field at a time, the others as a person would fill them in.
                for name in asked:
                    person_asks(founder, site, method, path, sensible(founder, proposal) | {name: MARK})
    assert tried > 120
    question = founder.post("/propose/question", question=MARK, options=f"{MARK} one\n{MARK} two", method="approval")
    assert "alert(1)" in question.text
    assert not LIVE.search(question.text)
    asked_path = founder.paste(question)
    for page in (asked_path, founder.get("/proposals"), founder.get("/"), founder.get("/log?lang=ar"), portal.stranger().get("/proposals")):
        assert not LIVE.search(page.text), page.url


def sensible(person: Person, proposal: str) -> dict[str, str]:
    return {
        "id": secrets.token_hex(16), "inputs": "a question", "targets": "an answer", "language": "en", "licence": "CC0-1.0", "choice": "for", "text": "well",
        "stance": "for", "reason": "so", "mail": "a@example.org", "next": "/", "hours": "24", "proposal": proposal, "subject": proposal, "method": "approval",
        "question": "which?", "options": "one\ntwo", "purpose": "dpv:NonCommercialResearch", "score": "4", "page": "1", "line": "ssh-ed25519 AAAA",
    }  # fmt: skip


def person_asks(person: Person, site: str, method: str, path: str, values: dict[str, str]) -> None:
    headers = {"origin": site, "sec-fetch-site": "same-origin"}
    given: dict[str, Any] = {"params": values} if method in ("GET", "HEAD") else {"data": values}
    answer = person.client.request(method, site + path, headers=headers, follow_redirects=False, **given)
    assert answer.status_code < 500, (method, path, values, answer.text[:400])
    assert not LIVE.search(answer.text), (method, path, values)
    assert "alert" not in answer.headers.get("location", "").replace("%3C", "").partition("lang=")[0] or answer.headers["location"].startswith(
        (MAIN, SIGNING, "/")
    )


@pytest.mark.parametrize("path", ["/sign/" + "0" * 32, "/enrol/" + "x" * 43])
def test_a_form_of_another_site_is_refused_on_the_signing_site_too(still: Portal, path: str) -> None:
    assert still.founder(0).post(SIGNING + path, origin="https://evil.example", signature="x", assertion="x", credential="{}").status == 403
    assert still.founder(0).post(SIGNING + path, origin=MAIN, signature="x", assertion="x", credential="{}").status == 403  # nor does the other site sign


def test_guessed_links_all_get_the_same_answer_and_say_nothing(portal: Portal) -> None:
    person, member = portal.joined("known@example.org")
    drafted = portal.service.private.drafts.add("coop.leave/v1", member, b"{}", {})
    stranger = portal.stranger()
    for form in (
        lambda: f"{SIGNING}/sign/{secrets.token_hex(16)}",
        lambda: f"{SIGNING}/enrol/{secrets.token_urlsafe(32)}",
        lambda: f"/signin/{secrets.token_urlsafe(32)}",
        lambda: f"/unsubscribe/{secrets.token_urlsafe(24)}",
        lambda: f"/receipts/sha256:{secrets.token_hex(32)}",
    ):
        pages_ = [stranger.get(form()) for _ in range(4)]
        assert all(400 <= one.status < 500 for one in pages_), [one.url for one in pages_]
        assert len({(one.status, re.sub(r"/[A-Za-z0-9_:.-]{24,}", "", one.text)) for one in pages_}) == 1
        assert not any("known@example.org" in one.text or member in one.text or drafted.id in one.text for one in pages_)
    assert person.get("/account").status == 200


@contextmanager
def slow_bodies(portal: Portal, body_s: float) -> Iterator[tuple[int, list[socket.socket]]]:
    """Serve the portal, and begin 150 requests whose bodies never end."""
    port = free_port()
    head = b"POST /statements HTTP/1.1\r\nHost: village.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 400000\r\n\r\nstatement="
    with serving(make_app(portal.service, body_s=body_s), port), ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=HANG_S)) for _ in range(150)]
        for one in slow:
            one.sendall(head)
        yield port, slow


def test_many_slow_bodies_hold_up_nobody_and_are_cut_off(portal: Portal) -> None:
    with slow_bodies(portal, 2 * HANG_S) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as quick:
        quick.sendall(b"GET /proposals HTTP/1.1\r\nHost: village.example\r\nConnection: close\r\n\r\n")
        assert b" 200 " in quick.recv(100)  # while all of them wait
    with slow_bodies(portal, 1) as (_, slow):
        answers = [one.recv(100) for one in slow]
    assert all(b" 408 " in one for one in answers), set(answers)


def test_a_basket_full_of_edits_made_to_be_slow_to_compare_does_not_hold_up_others(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, author = portal.joined()
    allow(writer)
    words = ("a " * 99).strip()
    writer.post("/contribute", id=secrets.token_hex(12), inputs="q", targets=words, language="en")
    writer.sign(writer.post("/contribute/give"))
    (record,) = portal.service.house.contributions().records(member=author)
    founder = portal.founder(1)
    account = portal.service.private.accounts.find(mail="founder1@village.example")
    assert account is not None
    for number in range(60):
        edit = Draft("q", f"{number} " + "b a " * 48, "eng", annotation_type="re-annotations", parents=(record.record,))
        assert portal.service.private.basket.put(account.account, secrets.token_hex(12), edit)
    compared = list[str]()

    def once(old: str, new: str) -> list[Piece]:
        compared.append(new)
        with counted(Effort(most=2_000_000)):  # lines of Python, of which a machine does tens of millions a second
            return word_changes(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(contribute, "word_changes", lambda old, new: (word_changes if compared else once)(old, new))
        page = founder.get("/contribute")
    assert page.status == 200
    assert len(compared) == 1
    assert "60 texts wait" in founder.get("/").words
    assert len(re.findall("<ins>", page.text)) > 0
