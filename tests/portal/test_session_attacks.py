"""Attacks on sessions and accounts: forms of other sites, links, redirects, and pages of somebody else."""

from __future__ import annotations

import re

import pytest

from portal.limits import Limits
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING
from tests.portal.test_giving import give, write
from tests.portal.test_voting import propose


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
