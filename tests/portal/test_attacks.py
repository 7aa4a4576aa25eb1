"""What somebody would try against the portal: each is refused, or made visible."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, Refused
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import body, now, shift, sign
from portal.app import make_app
from portal.limits import Limits
from portal.security import BODY_BYTES
from portal.settings import Settings
from portal.signing.assertion import passkey_of
from portal.signing.kinds import ACCOUNT, DOCUMENTS
from tests.portal.conftest import Portal, opened_portal
from tests.portal.people import MAIN, SIGNING, Device
from tests.portal.test_giving import allow, give, write
from tests.portal.test_voting import propose

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


# Keys: harvest, swap, replay, enrolment


def test_the_two_sites_cannot_be_one_domain() -> None:
    for main, signing in [
        ("https://coop.example", "https://coop.example:8443"),
        ("https://app.sign.coop.example", "https://sign.coop.example"),
        ("https://coop.example", "http://sign.coop.example"),
        ("javascript:alert(1)", "https://sign.coop.example"),
        ("https://coop.example/", "https://sign.coop.example"),
    ]:
        with pytest.raises(BadInput):
            Settings(main, signing)


def test_the_members_site_may_not_use_passkeys_and_the_signing_site_has_no_session(portal: Portal) -> None:
    person, _ = portal.joined()
    assert "publickey-credentials-get=()" in person.get("/").answer.headers["permissions-policy"]
    assert "publickey-credentials-get=(self)" in person.get(SIGNING + "/").answer.headers["permissions-policy"]
    assert person.get(SIGNING + "/mine").status == 404
    assert person.get("/sign/" + "0" * 32).status == 404
    cookies = {(one.name, one.domain) for one in person.client.cookies.jar}
    assert ("__Host-coop", "village.example") in cookies
    assert all(name == "lang" for name, domain in cookies if domain == "sign.village.example")


@pytest.mark.parametrize("change", ["origin", "type", "crossOrigin", "challenge"])
def test_a_harvested_assertion_is_no_ballot(portal: Portal, change: str) -> None:
    """A page of another site, or one that said "sign in", got the member to touch their key."""
    person, member = portal.joined()
    proposal = propose(portal)
    page = person.post(f"/proposals/{proposal}/vote", choice="for")
    assert person.device is not None
    changes: dict[str, Any] = {
        "origin": {"origin": MAIN},
        "type": {"type": "webauthn.create"},
        "crossOrigin": {"crossOrigin": True},
        "challenge": {"challenge": base64.urlsafe_b64encode(b"welcome back").decode().rstrip("=")},
    }[change]
    refused = person.post(page.url, assertion=person.device.get(page.shown, **changes))
    assert refused.status == 409
    with portal.service.view.reading() as register:
        assert member not in register.proposals[proposal].votes


def test_a_statement_swapped_under_the_touch_is_refused(portal: Portal) -> None:
    person, member = portal.joined()
    proposal = propose(portal)
    page = person.post(f"/proposals/{proposal}/vote", choice="for")
    assert person.device is not None
    swapped = page.shown.replace(b'"choice":"for"', b'"choice":"against"')
    assert swapped != page.shown
    refused = person.post(page.url, assertion=person.device.get(swapped))
    assert refused.status == 409
    assert "the challenge is not this statement" in refused.words
    with portal.service.view.reading() as register:
        assert member not in register.proposals[proposal].votes


def test_a_ballot_sent_twice_is_one_ballot(portal: Portal) -> None:
    person, member = portal.joined()
    proposal = propose(portal)
    page = person.post(f"/proposals/{proposal}/vote", choice="for")
    assert person.device is not None
    answer = person.device.get(page.shown)
    first, size = person.post(page.url, assertion=answer), portal.service.view.register.size
    again = person.post(page.url, assertion=answer)
    assert first.url == again.url
    pasted = portal.stranger()
    receipt = json.loads(pasted.get(first.path + "/receipt.json").text)
    entry = receipt["entry"]
    refused = pasted.post("/statements", statement=dumps(entry["body"]).decode(), signatures="".join(entry["signatures"]))
    assert refused.status == 409
    assert "in the log already" in refused.words
    with portal.service.view.reading() as register:
        assert register.size == size
        assert register.proposals[proposal].votes[member].sequence == 1


def test_an_old_ballot_cannot_undo_a_newer_one(portal: Portal) -> None:
    founder, proposal = portal.founder(2), propose(portal)
    old = founder.post(f"/proposals/{proposal}/vote", choice="for")
    newer = founder.post(f"/proposals/{proposal}/vote", choice="against")
    founder.paste(newer)
    refused = founder.paste(old)
    assert refused.status == 409
    assert "numbered one by one" in refused.words


@pytest.mark.parametrize("kind", ["coop.key/v1", "coop.rotation/v1", "coop.admission/v1", "coop.recovery/v1", "coop.ballot/v1"])
def test_the_operators_key_enrols_nobody_and_votes_for_nobody(portal: Portal, kind: str) -> None:
    own = generate_key(portal.root / "theirs")
    victim, proposal = portal.members[0], propose(portal)
    payload: dict[str, Any] = {
        "coop.key/v1": {"action": "add", "key": own.public.line},
        "coop.rotation/v1": {"old": portal.keys[victim].public.line, "new": own.public.line},
        "coop.admission/v1": {"member": "m-" + "a" * 16, "key": own.public.line},
        "coop.recovery/v1": {"member": victim, "key": own.public.line},
        "coop.ballot/v1": {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None},
    }[kind]
    author = "m-" + "a" * 16 if kind == "coop.admission/v1" else victim
    made = body(kind, payload, coop=portal.service.view.pin, author=author)
    size = portal.service.view.log.size
    keys = (portal.operator,) if kind == "coop.ballot/v1" else (own, portal.operator)
    refused = portal.stranger().post("/statements", statement=dumps(made).decode(), signatures="".join(sign(made, key) for key in keys))
    assert refused.status == 409, refused.words
    with portal.service.view.reading() as register:
        assert register.size == size


def test_a_passkey_made_elsewhere_or_for_another_page_is_not_enrolled(portal: Portal) -> None:
    settings, device = portal.service.settings, Device()
    options = {"challenge": base64.urlsafe_b64encode(b"c" * 32).decode().rstrip("=")}
    assert passkey_of(device.create(options), b"c" * 32, settings) == device.public
    for answer, challenge in [
        (device.create(options), b"d" * 32),
        (device.create(options, origin=MAIN), b"c" * 32),
        (device.create(options, type="webauthn.get"), b"c" * 32),
        (Device("village.example").create(options), b"c" * 32),
        ("{}", b"c" * 32),
        ("[" * 5000, b"c" * 32),
        (json.dumps({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "e30", "attestationObject": "oA"}}), b"c" * 32),
    ]:
        with pytest.raises(Refused):
            passkey_of(answer, challenge, settings)


def test_a_signature_for_another_portal_binds_no_account(portal: Portal) -> None:
    thief = portal.stranger()
    thief.sign_in("thief@example.org")
    account = portal.service.private.accounts.find(mail="thief@example.org")
    assert account is not None
    victim = portal.members[0]
    made = body(ACCOUNT, {"account": account.account, "portal": "https://other.example"}, coop=portal.service.view.pin, author=victim, payloads=DOCUMENTS)
    drafted = portal.service.private.drafts.add(ACCOUNT, victim, dumps(made), {})
    refused = thief.post(f"{SIGNING}/sign/{drafted.id}", signature=sign(made, portal.keys[victim]))
    assert "another portal" in refused.words
    assert portal.service.private.accounts.find(member=victim) is None
    # And it is no statement of the log.
    assert thief.post("/statements", statement=dumps(made).decode(), signatures=sign(made, portal.keys[victim])).status == 409


def test_a_member_learns_by_mail_that_their_key_signed_but_not_what(portal: Portal) -> None:
    founder, proposal = portal.founder(0), propose(portal)
    founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="against"))
    (told,) = [one for one in founder.mails("founder0@village.example", "signed") if one["kind"] == "coop.ballot/v1"]
    assert "against" not in json.dumps(told)
    assert founder.get(told["url"]).status == 200


# Browsers: CSRF, sessions, redirects, headers, scripts


@pytest.mark.parametrize("path", ["/signin", "/signout", "/account/erase", "/contribute", "/consent/withdraw", "/statements", "/join/passkey"])
def test_a_form_of_another_site_is_refused(still: Portal, path: str) -> None:
    founder = still.founder(0)
    assert founder.post(path, origin="https://evil.example", mail="a@example.org").status == 403
    answer = founder.client.post(MAIN + path, data={"mail": "a@example.org"})  # with our cookie, and no word of where it comes from
    assert answer.status_code == 403
    answer = founder.client.post(MAIN + path, data={"mail": "a@example.org"}, headers={"origin": "null"})
    assert answer.status_code == 403
    answer = founder.client.post(MAIN + path, data={"mail": "a@example.org"}, headers={"origin": SIGNING})
    assert answer.status_code == 403


def test_a_session_begins_under_a_new_name_and_the_old_one_ends(portal: Portal) -> None:
    person = portal.stranger()
    planted = "planted" * 6
    person.client.cookies.set("__Host-coop", planted, domain="village.example", path="/")
    person.sign_in("a@example.org")
    names = [one.value for one in person.client.cookies.jar if one.name == "__Host-coop"]
    assert planted not in names[-1:]
    assert portal.service.private.sessions.open(planted) is None
    first = names[-1]
    person.sign_in("a@example.org")
    assert portal.service.private.sessions.open(first or "") is None


def test_a_link_signs_in_once_and_only_after_a_button(portal: Portal) -> None:
    person = portal.stranger()
    person.post("/signin", mail="a@example.org")
    url = person.mails("a@example.org", "signin")[-1]["url"]
    for _ in range(3):  # a program that reads mail opens it
        assert "a@example.org" in person.get(url).words
    assert person.get("/account").path == "/signin"
    assert person.post(url.partition("?")[0]).status == 200
    assert person.post(url.partition("?")[0]).status == 409
    assert person.get(url).status == 409


def test_the_answer_is_the_same_for_an_address_that_has_an_account(portal: Portal) -> None:
    portal.founder(0)
    stranger = portal.stranger()
    known, unknown = (stranger.post("/signin", mail=mail) for mail in ("founder0@village.example", "nobody@example.org"))
    assert (known.status, known.text) == (unknown.status, unknown.text)


def test_mailboxes_are_not_flooded(portal: Portal) -> None:
    portal.service.limits = Limits()
    person = portal.stranger()
    for _ in range(8):
        assert person.post("/signin", mail="victim@example.org").status == 200
    assert len(person.mails("victim@example.org", "signin")) == 5


@pytest.mark.parametrize(
    "then",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\tevil",
        "\n//evil.example",
        "/%0d%0aSet-Cookie:a=b\r\nX: y",
        "http:evil",
        "",
    ],
)
def test_no_redirect_leads_to_another_site(portal: Portal, then: str) -> None:
    person = portal.stranger()
    page = person.sign_in("a@example.org", then=then)
    assert page.url.startswith(MAIN + "/")
    assert all(not str(one.headers.get("location", "")).startswith("//") for one in page.answer.history)
    assert (
        "evil"
        not in re.findall(r'name="next" value="([^"]*)"', person.get(f"/signin?next={then}".replace("\n", "").replace("\r", "").replace("\t", "")).text)[
            0
        ].partition("/")[0]
    )


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


# Bodies


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


@pytest.fixture(scope="module")
def voting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, str]]:
    """A portal with an open vote, for tests that are refused."""
    with opened_portal(tmp_path_factory.mktemp("voting") / "village") as made:
        yield made, propose(made, closes=shift(now(), 3600))


@pytest.mark.parametrize("field", ["assertion", "signature"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "{}",
        "null",
        "[]",
        '{"response":{}}',
        '{"response":{"authenticatorData":1,"clientDataJSON":2,"signature":3}}',
        "\x00",
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----",
    ],
)
def test_a_malformed_signature_is_refused_in_words(voting: tuple[Portal, str], field: str, value: str) -> None:
    portal, proposal = voting
    founder = portal.founder(0)
    page = founder.post(f"/proposals/{proposal}/vote", choice="for")
    refused = founder.post(page.url, **{field: value})
    assert refused.status in (409, 422)
    assert "Traceback" not in refused.text


def test_nobody_reads_a_page_of_members_without_signing_in_and_no_stranger_as_a_member(portal: Portal) -> None:
    stranger = portal.stranger()
    paths = [
        "/mine",
        "/mine/where",
        "/mine/stake",
        "/contribute",
        "/consent",
        "/consent/preview",
        "/review",
        "/keys",
        "/account",
        "/stewards/admissions",
        "/stewards/halts",
    ]
    for path in paths:
        assert stranger.get(path).path == "/signin", path
    stranger.sign_in("guest@example.org")
    for path in paths:
        if path != "/account":
            assert stranger.get(path).status == 409, path
    assert stranger.post("/consent/withdraw", consent="all").status == 409
    assert stranger.post("/contribute/give").status in (409, 422)


def test_what_waits_for_a_member_is_not_another_ones(portal: Portal) -> None:
    first, second = portal.founder(1), portal.founder(2)
    write(first, 1)
    assert "waits" not in second.get("/contribute").words
    second.post("/contribute/0123456789abcdef00000001/remove")
    assert "1 text waits" in first.get("/contribute").words


def test_an_account_is_erased_with_everything_private(portal: Portal) -> None:
    person, member = portal.joined("gone@example.org")
    give(person)
    write(person, 9)
    proposal = propose(portal)
    person.post(f"/proposals/{proposal}/remarks", text="remember me", stance="for")
    assert person.post("/account/erase", mail="other@example.org").status == 422
    assert person.post("/account/erase", mail="gone@example.org").status == 200
    assert person.get("/account").path == "/signin"
    left = b"".join(path.read_bytes() for path in (portal.root / "private").glob("portal.sqlite*"))
    assert b"gone@example.org" not in left
    assert b"remember me" not in left
    with portal.service.view.reading() as register:
        assert member in register.active()  # the log is another matter


def test_the_log_and_its_receipts_hold_no_address(portal: Portal) -> None:
    person, _ = portal.joined("hidden.person@example.org")
    give(person)
    everything = b"".join(portal.service.view.log.entries())
    assert b"hidden" not in everything
