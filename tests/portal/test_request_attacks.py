"""Attacks by requests: other hosts, scripts in texts, bodies without an end, addresses that are none."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from portal.app import make_app
from portal.security import BODY_BYTES
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING
from tests.portal.test_giving import allow, give, write
from tests.portal.test_voting import propose

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("host", ["evil.example", "village.example.evil.example", "village.example:444", "", "VILLAGE.example"])
def test_another_host_is_not_served(still: Portal, host: str) -> None:
    answer = still.stranger().client.get(MAIN + "/", headers={"host": host})
    assert answer.status_code == (200 if host == "VILLAGE.example" else 421)


def test_every_page_has_the_headers_and_runs_nothing_inline(portal: Portal) -> None:
    founder = portal.founder(0)
    proposal = propose(portal)
    page = founder.post(f"/proposals/{proposal}/vote", choice="for")
    urls = ["/", "/signin", "/account", "/contribute", "/review", "/consent", "/mine", "/keys", f"/proposals/{proposal}", "/nothing", page.url, SIGNING + "/"]
    for url in urls:
        found = founder.get(url)
        policy = found.answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert found.answer.headers["x-content-type-options"] == "nosniff"
        assert found.answer.headers["referrer-policy"] == "no-referrer"
        assert "max-age" in found.answer.headers["strict-transport-security"]
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=|javascript:", found.text), url
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//(?!(?:sign\.)?village\.example)', found.text), url
        assert "server" not in found.answer.headers


def test_text_of_members_is_text_in_every_field(portal: Portal) -> None:
    writer, author = portal.joined()
    allow(writer)
    write(writer, 1, inputs=SCRIPT, targets=SCRIPT + " answer")
    pages = [writer.get("/contribute")]
    writer.sign(writer.post("/contribute/give"))
    (record,) = portal.service.house.contributions().records(member=author)
    proposal = propose(portal)
    founder = portal.founder(1)
    founder.post(f"/proposals/{proposal}/remarks", text=SCRIPT, stance="question")
    founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="for", reason=SCRIPT))
    pages += [writer.get("/mine"), founder.get("/review"), founder.get(f"/improve/{record.record}"), founder.get(f"/proposals/{proposal}")]
    pages += [founder.get(f"/languages?q={SCRIPT}"), founder.get(f"/review?language={SCRIPT}"), founder.get(f"/signin?next={SCRIPT}")]
    pages += [founder.post("/signin", mail=SCRIPT), founder.post("/statements", statement=SCRIPT, signatures=SCRIPT), founder.post("/join/key", line=SCRIPT)]
    pages += [write(founder, 3, inputs=SCRIPT, targets="", licence=SCRIPT), founder.post("/consent/give", purpose=SCRIPT, licences=SCRIPT)]
    assert sum("alert(1)" in page.text for page in pages) >= 9
    for page in pages:
        assert "<script>alert" not in page.text, page.url
        assert "<img src=x" not in page.text, page.url


def test_a_text_that_reads_as_another_one_is_refused(portal: Portal) -> None:
    founder, proposal = portal.founder(1), propose(portal)
    assert founder.post(f"/proposals/{proposal}/remarks", text="pay \u202eme\u202c", stance="for").status == 422
    assert founder.post(f"/proposals/{proposal}/vote", choice="for", reason="\u202e").status == 422


def test_bodies_are_bounded_whether_their_length_is_told_or_not(portal: Portal) -> None:
    client = portal.stranger().client
    big = b"statement=" + b"x" * BODY_BYTES
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": MAIN, "sec-fetch-site": "same-origin"}
    assert client.post(MAIN + "/statements", content=big, headers=headers).status_code == 413

    def pieces() -> Any:
        for _ in range(BODY_BYTES // 4096 + 2):
            yield b"x" * 4096

    assert client.post(MAIN + "/statements", content=pieces(), headers=headers).status_code == 413
    assert client.post(MAIN + "/statements", content=b"a", headers=headers | {"content-length": "-1"}).status_code == 413
    many = "&".join(f"a{number}=1" for number in range(5000))
    assert client.post(MAIN + "/statements", content=many, headers=headers).status_code in (400, 422)


def test_a_client_that_sends_too_slowly_is_cut_off(portal: Portal) -> None:
    app = make_app(portal.service, body_s=0.3)

    async def slow() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/statements",
            "raw_path": b"/statements",
            "query_string": b"",
            "root_path": "",
            "scheme": "https",
            "http_version": "1.1",
            "client": ("198.51.100.7", 1),
            "server": ("village.example", 443),
            "headers": [(b"host", b"village.example"), (b"content-type", b"application/x-www-form-urlencoded")],
        }

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.1)
            return {"type": "http.request", "body": b"a", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(app(scope, receive, send), 300)
        return sent

    sent = asyncio.run(slow())
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    "path",
    [
        "/receipts/sha256:" + "0" * 64,
        "/proposals/sha256:" + "f" * 64,
        "/proposals/x",
        "/proposals?page=99999999999999999999",
        "/receipts/" + "9" * 5000,
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/improve/../../etc",
        "/mine?page=-1",
        "/signin/%00",
        "/review?language=" + "x" * 500,
    ],
)
def test_an_address_that_is_none_is_an_answer_and_no_trace(still: Portal, path: str) -> None:
    founder = still.founder(0)
    page = founder.get(path)
    assert 400 <= page.status < 500, page.status
    assert "Traceback" not in page.text


def test_the_log_and_its_receipts_hold_no_address(portal: Portal) -> None:
    person, _ = portal.joined("hidden.person@example.org")
    give(person)
    everything = b"".join(portal.service.view.log.entries())
    assert b"hidden" not in everything
