"""Sessions get another name when what their account is changes; every other one of the account ends, and an old name opens nothing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import inspect, text

from governance_hooks.sshsig import generate_key
from portal.store.outbox import Sums
from portal.store.private import PrivateStore
from portal.store.sessions import COOKIE_S
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, Device, Person
from tests.portal.test_letters import turn
from tests.portal.test_voting import propose, say
from tests.postgres import Server

COOKIE = "__Host-coop"


def name_of(person: Person) -> str:
    found = person.client.cookies.get(COOKIE)
    assert found is not None
    return str(found)


def with_name(portal: Portal, name: str) -> Person:
    """A browser that has a session's name, wherever it got it."""
    other = portal.stranger()
    other.client.cookies.set(COOKIE, name, domain=urlsplit(MAIN).hostname or "", path="/")
    return other


def signed_in(person: Person) -> bool:
    return person.get("/account").path == "/account"


def add_key(person: Person) -> Device:
    """Add a second passkey; return the first one."""
    first = person.device
    assert first is not None
    person.touch(person.touch(person.make_passkey(person.post("/keys/passkey"))), first)
    return first


def test_a_planted_name_opens_nothing_once_the_account_is_a_members(portal: Portal) -> None:
    founder = portal.stranger()
    founder.key = portal.keys[portal.members[0]]
    founder.sign_in("founder@example.org")
    assert signed_in(founder)
    planted = name_of(founder)  # whoever put it there knows it
    thief = with_name(portal, planted)
    assert signed_in(thief)
    assert founder.prove().status == 200
    assert name_of(founder) != planted
    assert signed_in(founder)
    assert not signed_in(thief)
    assert thief.get("/mine").path == "/signin"


def test_the_answer_that_renews_a_session_says_so_safely(portal: Portal) -> None:
    person, _ = portal.joined()
    person.get("/")
    first = person.device
    assert first is not None
    page = person.touch(person.make_passkey(person.post("/keys/passkey")))
    person.client.follow_redirects = False
    person.touch(page, first)
    answer = person.client.get(f"{MAIN}/keys")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", f"Max-Age={COOKIE_S}"):
        assert part in cookie
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in person.client.get(f"{MAIN}/keys").headers


def test_adding_and_revoking_a_key_renews_the_session_that_asked_and_ends_all_others(portal: Portal) -> None:
    person, _ = portal.joined()
    phone, stolen = portal.stranger(), name_of(person)
    phone.begin("new@example.org")
    assert signed_in(person)
    assert signed_in(phone)
    first = add_key(person)
    second, after = person.device, name_of(person)
    assert after != stolen
    assert not signed_in(with_name(portal, stolen))
    assert not signed_in(phone)
    phone.begin("new@example.org")
    assert signed_in(phone)
    person.touch(person.post("/keys/revoke", line=first.public.line), second)
    assert name_of(person) not in (stolen, after)
    assert signed_in(person)
    assert not signed_in(with_name(portal, after))
    assert not signed_in(phone)  # the lost device


def test_a_session_that_drafted_and_never_signed_does_not_go_on(portal: Portal) -> None:
    person, _ = portal.joined()
    thief = portal.stranger()
    thief.begin("new@example.org")
    assert signed_in(person)
    thief.post("/keys/add", line=generate_key(portal.root / "thief").public.line)
    thief.post("/keys/passkey")
    add_key(person)
    assert signed_in(person)
    assert not signed_in(thief)


def test_what_a_session_asked_for_once_does_not_save_it_the_next_time(portal: Portal) -> None:
    person, member = portal.joined()
    assert signed_in(person)
    first = add_key(person)
    assert signed_in(person)
    assert person.device is not None
    say(portal, "coop.key/v1", {"action": "revoke", "key": person.device.public.line}, member, first)  # elsewhere, as with coop
    assert not signed_in(person)


def test_a_change_made_elsewhere_ends_every_session(portal: Portal) -> None:
    people = [portal.founder(0), portal.founder(0)]
    assert all(map(signed_in, people))
    new = generate_key(portal.root / "second")
    say(portal, "coop.key/v1", {"action": "add", "key": new.public.line}, portal.members[0], portal.keys[portal.members[0]], new)
    assert not any(map(signed_in, people))
    assert signed_in(portal.founder(0))


def test_being_admitted_renews_the_session(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    person.touch(person.make_passkey(person.post("/join/passkey")))
    before = name_of(person)
    assert signed_in(person)
    for number in (0, 1):
        registrar = portal.founder(number)
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    thief = with_name(portal, before)
    assert person.get("/mine").status == 200
    assert name_of(person) != before
    assert thief.get("/mine").path == "/signin"


def test_when_a_recovery_is_done_the_sessions_of_before_end(portal: Portal) -> None:
    person, member = portal.joined()
    person.touch(person.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    thief = portal.stranger()
    thief.begin("new@example.org")  # they have the mailbox, and the old key
    assert signed_in(thief)
    person.touch(person.make_passkey(person.post("/recover/passkey")))
    for number in (3, 4):
        guardian = portal.founder(number)
        guardian.paste(guardian.get(guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    say(portal, "coop.time/v1", {}, "operator", portal.operator)
    before = name_of(person)
    assert signed_in(thief)  # nothing is in force yet
    assert signed_in(person)
    with portal.service.view.reading() as register:
        delay = register.bylaws.recovery_delay_s
    turn(portal, delay + 60)
    assert not signed_in(thief)
    assert signed_in(person)  # it asked for the recovery
    assert name_of(person) != before
    assert not signed_in(with_name(portal, before))
    del member


def test_leaving_renews_the_session_and_ends_others(portal: Portal) -> None:
    person, member = portal.joined()
    other = portal.stranger()
    other.begin("new@example.org")
    assert signed_in(person)
    assert signed_in(other)
    before = name_of(person)
    person.sign(person.post("/mine/leave", sure=member))
    assert name_of(person) != before
    assert not signed_in(other)
    after = name_of(person)
    person.post("/join/passkey")  # to join again parts the account from who left, which is no change of what it is
    assert signed_in(person)
    assert name_of(person) == after


def test_a_ballot_renews_nothing(portal: Portal) -> None:
    person, _ = portal.joined()
    assert signed_in(person)
    before = name_of(person)
    person.touch(person.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    assert signed_in(person)
    assert name_of(person) == before


def test_who_signs_out_in_the_same_moment_is_signed_out(portal: Portal) -> None:
    person, _ = portal.joined()
    assert signed_in(person)
    first = person.device
    assert first is not None
    page = person.touch(person.make_passkey(person.post("/keys/passkey")))
    old = name_of(person)
    person.client.follow_redirects = False
    person.touch(page, first)
    person.post("/signout")
    assert person.client.cookies.get(COOKIE) is None
    assert not signed_in(with_name(portal, old))


def test_signing_in_in_the_same_moment_keeps_the_new_session(portal: Portal) -> None:
    person, _ = portal.joined()
    assert signed_in(person)
    first = person.device
    assert first is not None
    page = person.touch(person.make_passkey(person.post("/keys/passkey")))
    link = portal.service.private.sessions.make_link("other@example.org", "en", "/")
    person.client.follow_redirects = False
    person.touch(page, first)
    person.post(f"/signin/{link}")
    person.client.follow_redirects = True
    assert "other@example.org" in person.get("/account").words


def test_of_two_requests_with_one_old_name_one_is_renewed(portal: Portal) -> None:
    person, _ = portal.joined()
    assert signed_in(person)
    old, store = name_of(person), portal.service.private.sessions
    assert store.renew(old, "one") is not None
    assert store.renew(old, "two") is None


def test_a_renewed_session_lasts_no_longer_than_before(portal: Portal) -> None:
    person, _ = portal.joined()
    assert signed_in(person)
    with portal.service.private.transaction() as connection:
        before = connection.execute(text("select expires from portal_sessions")).scalars().all()
    add_key(person)
    assert signed_in(person)
    with portal.service.private.transaction() as connection:
        assert connection.execute(text("select expires from portal_sessions")).scalars().all() == before


def test_a_store_of_an_earlier_version_grows_and_its_sessions_go_on(tmp_path: Path) -> None:
    path = tmp_path / "portal.sqlite"
    with PrivateStore(path) as store:
        token, _, _ = store.sessions.sign_in(store.sessions.make_link("a@example.org", "en", "/"), None)
        with store.transaction(write=True) as connection:
            connection.execute(text("alter table portal_sessions drop column standing"))
            connection.execute(text("alter table portal_enrolments drop column session"))
    for _ in range(2):
        with PrivateStore(path) as store:
            with store.transaction() as connection:
                assert "standing" in {one["name"] for one in inspect(connection).get_columns("portal_sessions")}
            found = store.sessions.open(token)
            assert found is not None
            assert found.standing is None
            assert store.drafts.enrolment(store.drafts.begin_enrolment("m-" + "0" * 16, "add", session="x")).session == "x"


@pytest.mark.postgres
def test_the_store_grows_and_the_letters_are_counted_in_postgresql(postgres: Server) -> None:
    url = postgres.url("postgres", postgres.new_schema())
    with PrivateStore(url) as store, store.transaction(write=True) as connection:
        connection.execute(text("alter table portal_sessions drop column standing"))
        connection.execute(text("alter table portal_enrolments drop column session"))
    with PrivateStore(url) as store:
        token, _, _ = store.sessions.sign_in(store.sessions.make_link("a@example.org", "en", "/"), None)
        store.sessions.stand(token, "one")
        new = store.sessions.renew(token, "two")
        assert new is not None
        assert store.sessions.renew(token, "two") is None
        assert store.sessions.open(new).standing == "two"  # type: ignore[union-attr]
        for number in range(3):
            store.outbox.put("opened:x", f"{number}@example.org", "en", "opened", {})
        first, second, third = (one.number for one in store.outbox.due())
        store.outbox.sent(first)
        store.outbox.failed(second, "550 5.1.1", for_good=True)
        store.outbox.failed(third, "451")
        assert store.outbox.sums() == store.outbox.by_event("opened")["opened:x"] == Sums(waiting=1, sent=1, failed=1)
        assert [(one.error, one.given_up) for one in store.outbox.troubles()] == [("451", False), ("550 5.1.1", True)]
        assert store.outbox.hurry() == 1
        drafted = store.drafts.add("coop.admission/v1", "m-" + "0" * 16, b"{}", {"go": "/join", "session": "s"})
        assert store.drafts.salt(drafted.id) == store.drafts.salt(drafted.id)
        assert [one.id for one in store.drafts.asked_by("s", "m-" + "0" * 16)] == [drafted.id]


@pytest.mark.parametrize("name", ["", "x" * 43, "x" * 5000, "\u00e9"])
def test_a_name_nobody_gave_is_nobodys(still: Portal, name: str) -> None:
    assert still.service.private.sessions.open(name) is None
