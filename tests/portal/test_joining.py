"""Joining: an account, a pseudonym, a key of one's own; and that nobody else's word makes a member."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.sshsig import generate_key
from portal.store.drafted import Drafted
from tests.portal.conftest import Portal
from tests.portal.people import SIGNING, OldDevice, Page, Person
from tests.portal.test_voting import propose, say


def test_somebody_joins_with_a_passkey_and_two_registrars(portal: Portal) -> None:
    person = portal.stranger()
    assert "Where you stand" in person.sign_in("new@example.org").words
    assert "Signatures so far: 1 of 3" in person.touch(person.make_passkey(person.post("/join/passkey"))).words
    account = portal.service.private.accounts.find(mail="new@example.org")
    assert account is not None
    member = account.asks_as
    assert member is not None
    for number in (0, 1):
        registrar = portal.stranger()
        registrar.key = portal.keys[portal.members[number]]
        registrar.sign_in(f"founder{number}@village.example")
        assert registrar.prove().status == 200
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    with portal.service.view.reading() as register:
        assert member in register.active()
        assert register.known_keys[person.device.public.raw] == member  # type: ignore[union-attr]
    assert "What needs you" in person.get("/").words
    assert f"You are a member, as {member}" in person.get("/join").words


def test_somebody_joins_with_a_key_in_a_file_and_no_script(portal: Portal) -> None:
    person = portal.stranger()
    person.key = generate_key(portal.root / "own")
    person.sign_in("file@example.org")
    done = person.paste(person.post("/join/key", line=person.key.public.line + " me@laptop"))
    assert "Signatures so far: 1 of 3" in done.words
    member = portal.service.private.accounts.find(mail="file@example.org").asks_as  # type: ignore[union-attr]
    first = portal.founder(0)
    page = first.get(first.get("/stewards/admissions").links(f"as={portal.members[0]}")[0])
    assert "Signatures so far: 2 of 3" in first.paste(page).words
    assert first.paste(page).words.count("Signatures so far: 2 of 3") == 1  # the same signature again is not another one
    second = portal.founder(1)
    second.paste(second.get(second.get("/stewards/admissions").links(f"as={portal.members[1]}")[0]))
    with portal.service.view.reading() as register:
        assert member in register.active()
    assert person.get("/").status == 200


def test_a_founder_shows_that_an_account_is_theirs_and_nobody_else_can(portal: Portal) -> None:
    founder = portal.stranger()
    founder.key = portal.keys[portal.members[0]]
    founder.sign_in("founder@example.org")
    assert portal.service.private.accounts.find(member=portal.members[0]) is None
    founder.prove()
    account = portal.service.private.accounts.find(member=portal.members[0])
    assert account is not None
    assert account.mail == "founder@example.org"
    thief = portal.stranger()
    thief.sign_in("thief@example.org")
    page = thief.post("/join/prove", line=portal.keys[portal.members[1]].public.line)
    refused = thief.paste(page, founder.key)
    assert refused.status == 409
    assert "no part in this statement" in refused.words
    assert portal.service.private.accounts.find(member=portal.members[1]) is None


@pytest.mark.parametrize("number", [3, 4])
def test_who_is_no_registrar_admits_nobody(portal: Portal, number: int) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    page = person.touch(person.make_passkey(person.post("/join/passkey")))
    other = portal.founder(number)
    assert "no part in this statement" in other.paste(page).words


def test_a_computer_that_makes_rsa_passkeys_only_enrols_and_votes(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("old@example.org")
    person.touch(person.make_passkey(person.post("/join/passkey"), OldDevice()))
    for number in (0, 1):
        registrar = portal.founder(number)
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    proposal = propose(portal)
    assert "In the log, for good" in person.touch(person.post(f"/proposals/{proposal}/vote", choice="for")).words


def test_a_second_device_is_added_and_a_lost_one_put_out_of_force(portal: Portal) -> None:
    person, member = portal.joined()
    first = person.device
    page = person.make_passkey(person.post("/keys/passkey"))
    second = person.device
    assert first is not None
    assert second is not None
    halfway = person.touch(page)
    assert "Signatures so far: 1 of 2" in halfway.words
    assert "This key may sign for you from now on" in person.get("/keys").words
    assert person.touch(halfway, first).path == "/keys"
    with portal.service.view.reading() as register:
        assert register.members[member].keys == {first.public.raw, second.public.raw}
    person.touch(person.post("/keys/revoke", line=first.public.line))
    with portal.service.view.reading() as register:
        assert register.members[member].keys == {second.public.raw}
    assert person.post("/keys/revoke", line=second.public.line).status == 409  # the last one
    proposal = propose(portal)
    refused = person.touch(person.post(f"/proposals/{proposal}/vote", choice="for"), first)
    assert refused.status == 409
    assert "No enrolled passkey of yours" in refused.words


def test_two_passkeys_are_told_apart_by_since_when_they_sign_and_what_they_signed_last(portal: Portal) -> None:
    person, _ = portal.joined()
    first = person.device
    assert "It has signed nothing in the log since then." in person.get("/keys").words
    halfway = person.touch(person.make_passkey(person.post("/keys/passkey")))
    page = person.touch(halfway, first)
    (joined, since_first), (last, at_last), (added, since_second) = re.findall(r'<time datetime="([^"]+)">.*?href="/log/entries/(\d+)"', page.text)
    assert int(since_first) < int(since_second) == int(at_last)  # the first signed that the second comes into force
    assert (portal.service.view.entry(int(since_first)).issued, added) == (joined, last)
    assert re.search(r"In force since: \w+ \d+, \d{4}, .* UTC · entry \d+ Last signed in the log: .* In force since: .* It has signed nothing", page.words)
    person.touch(person.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    last = re.findall(r'href="/log/entries/(\d+)"', person.get("/keys").text)[-1]
    assert portal.service.view.entry(int(last)).type == "coop.ballot/v1"
    assert "En vigor desde:" in person.get("/keys?lang=es").words


def test_lost_keys_are_recovered_by_guardians_and_stopped_by_an_old_key(portal: Portal) -> None:
    person, member = portal.joined()
    old, guardians = person.device, portal.members[3:5]
    assert person.post("/keys/guardians", guardians=guardians[0]).status == 422
    person.touch(person.post("/keys/guardians", guardians=" ".join(guardians)))
    page = person.touch(person.make_passkey(person.post("/recover/passkey")))
    assert "Signatures so far: 1 of 3" in page.words
    assert "lost their keys" not in person.get("/").words
    for number in (3, 4):
        guardian = portal.founder(number)
        assert "1 member lost their keys and asks you for help." in guardian.get("/").words
        guardian.paste(guardian.get(guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
        assert "lost their keys" not in guardian.get("/").words
    with portal.service.view.reading() as register:
        assert member in register.recoveries
    assert "Somebody asked for a new key for you" in person.get("/").words
    person.touch(person.post("/keys/cancel"), old)
    with portal.service.view.reading() as register:
        assert member not in register.recoveries


def test_a_signature_of_a_key_that_is_out_of_force_meanwhile_counts_no_more_and_stops_nobody(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    person.touch(person.make_passkey(person.post("/join/passkey")))
    (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
    first, second, third = (portal.founder(number) for number in range(3))
    assert "1 person asks to join." in first.get("/").words
    first.sign(first.get(first.get("/stewards/admissions").links(f"as={portal.members[0]}")[0]))
    assert "asks to join" not in first.get("/").words  # they have done their part
    assert "You have signed. 1 registrar must still sign." in person.get("/join").words
    assert first.key is not None
    old, new = first.key, generate_key(portal.root / "new")
    first.paste(first.paste(first.post("/keys/add", line=new.public.line)), new)
    first.paste(first.post("/keys/revoke", line=old.public.line), new)
    for page in (second.get("/stewards/admissions"), second.get(f"{SIGNING}/sign/{drafted.id}")):
        assert "Signatures so far: 1 of 3." in page.words
    assert "You have signed. 2 registrars must still sign." in person.get("/join").words
    assert "1 person asks to join." in first.get("/").words
    for registrar, number in ((second, 1), (third, 2)):
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    account = portal.service.private.accounts.find(mail="new@example.org")
    assert account is not None
    assert account.member in portal.service.view.register.members


def asks(portal: Portal, mail: str = "new@example.org") -> tuple[Person, Drafted]:
    """Somebody who asked to join with a passkey, and their request."""
    person = portal.stranger()
    person.sign_in(mail)
    person.touch(person.make_passkey(person.post("/join/passkey")))
    return person, portal.service.private.drafts.open(kind="coop.admission/v1")[-1]


def decline(portal: Portal, request: Drafted, number: int = 0, reason: str = "not-known") -> Page:
    """A registrar declines, and signs it."""
    registrar = portal.founder(number)
    return registrar.sign(registrar.post(f"/stewards/admissions/{request.id}/decline", reason=reason))


def test_a_registrar_declines_by_a_statement_and_who_asked_reads_why_and_what_to_do(portal: Portal) -> None:
    person, request = asks(portal)
    page = portal.founder(0).post(f"/stewards/admissions/{request.id}/decline", reason="not-known")
    assert f"You decline the request of {request.author} to join." in page.words
    assert "declined" not in person.get("/join").words  # nothing happens before it is signed
    assert portal.founder(0).paste(page).path == "/stewards/admissions"
    with portal.service.view.reading() as register:
        (found,) = register.declined.values()
    assert (found.registrar, found.reason, found.about) == (portal.members[0], "not-known", "admission")
    for path in ("/", "/join"):
        assert "A registrar declined your request" in person.get(path).words
    own = person.get("/join")
    assert "the registrar does not know who is asking" in own.words
    assert "put your admission to the vote of all" in own.words
    assert own.links(f"/log/entries/{found.position}")
    opening = html.unescape(re.search(r"<pre>(.*?)</pre>", own.text)[1])  # type: ignore[index]
    assert portal.service.view.entry(found.position).payload.request == sha256(opening.encode())  # type: ignore[attr-defined]
    (letter,) = person.mails("new@example.org", "declined")
    assert letter["reason"] == "not-known"
    assert re.search(r"requests to join declined (\d+)", portal.stranger().get("/").words)[1] == "1"  # type: ignore[index]
    assert portal.stranger().get("/api/v1/members").answer.json()["declined"] == 1
    person.touch(person.make_passkey(person.post("/join/passkey")))  # asked again
    assert "declined your request" not in person.get("/join").words + person.get("/").words


def test_every_member_sees_how_many_requests_each_registrar_declined(portal: Portal) -> None:
    """Also those that nobody made: the log cannot tell them apart, and they stand under the name of whoever stated them."""
    assert "Declined so far" not in portal.founder(4).get("/stewards/admissions").words
    _, request = asks(portal)
    decline(portal, request)
    for about in ("admission", "recovery", "recovery"):
        payload = {"request": sha256(secrets.token_bytes(32)), "about": about, "reason": "not-known"}
        say(portal, "coop.decline/v1", payload, portal.members[1], portal.keys[portal.members[1]])
    for founder in (portal.founder(4), portal.founder(0)):
        page = founder.get("/stewards/admissions").words
        assert f"requests for a new key {portal.members[1]} 1 2 {portal.members[0]} 1 0" in page
        assert "the log cannot show that somebody asked" in page


def test_other_registrars_see_what_was_declined_and_admit_all_the_same(portal: Portal) -> None:
    person, request = asks(portal)
    assert "1 person asks to join." in portal.founder(1).get("/").words
    decline(portal, request, reason="key-not-confirmed")
    other = portal.founder(1)
    assert "asks to join" not in other.get("/").words  # it needs nobody now
    page = other.get("/stewards/admissions")
    assert f"Declined by {portal.members[0]} : nobody confirmed the fingerprint of the key." in page.words
    assert "You can agree all the same." in page.words
    for number in (1, 2):
        registrar = portal.founder(number)
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    with portal.service.view.reading() as register:
        assert request.author in register.active()
    assert f"You are a member, as {request.author}" in person.get("/join").words


def test_the_log_and_outsiders_learn_nothing_of_who_was_declined(portal: Portal) -> None:
    _, request = asks(portal)
    decline(portal, request)
    for path in ("/log", f"/log/entries/{portal.service.view.register.size - 1}", "/api/v1/log/entries?start=1", "/api/v1/members"):
        text = portal.stranger().get(path).text
        assert request.author not in text
        assert request.digest not in text
        assert request.digest[7:] not in text
    assert "declines a request to join: the registrar does not know who is asking" in portal.stranger().get("/log").words


def test_erasing_the_account_takes_away_what_could_show_whose_request_it_was(portal: Portal) -> None:
    person, request = asks(portal)
    decline(portal, request)
    salt = portal.service.private.drafts.find(request.id).after["salt"]  # type: ignore[union-attr]
    assert salt.encode() in (portal.root / "private/portal.sqlite").read_bytes() + (portal.root / "private/portal.sqlite-wal").read_bytes()
    person.post("/account/erase", mail="new@example.org")
    assert portal.service.private.drafts.find(request.id) is None
    for file in (portal.root / "private").glob("portal.sqlite*"):
        assert salt.encode() not in file.read_bytes()


@pytest.mark.parametrize("number", [3, 4])
def test_who_is_no_registrar_declines_nothing(portal: Portal, number: int) -> None:
    _, request = asks(portal)
    assert portal.founder(number).post(f"/stewards/admissions/{request.id}/decline", reason="not-known").status == 409
    page = portal.founder(0).post(f"/stewards/admissions/{request.id}/decline", reason="not-known")
    refused = portal.founder(number).paste(page)
    assert refused.status == 409
    assert "no part in this statement" in refused.words
    with portal.service.view.reading() as register:
        assert not register.declined


def test_a_decline_needs_a_reason_of_the_list_and_a_request_that_waits(portal: Portal) -> None:
    person, request = asks(portal)
    registrar = portal.founder(0)
    for fields, status in (({}, 422), ({"reason": "rude"}, 422), ({"reason": "not-known"}, 200)):
        assert registrar.post(f"/stewards/admissions/{request.id}/decline", **fields).status == status
    assert registrar.post(f"/stewards/admissions/{'0' * 32}/decline", reason="not-known").status == 409
    unsigned = portal.stranger()
    unsigned.sign_in("other@example.org")
    unsigned.make_passkey(unsigned.post("/join/passkey"))  # not signed by its own key: no registrar sees it
    hidden = portal.service.private.drafts.open(kind="coop.admission/v1")[-1]
    assert registrar.post(f"/stewards/admissions/{hidden.id}/decline", reason="not-known").status == 409
    ballot = portal.founder(1).post(f"/proposals/{propose(portal)}/vote", choice="for").path.rpartition("/")[2]
    assert registrar.post(f"/stewards/admissions/{ballot}/decline", reason="not-known").status == 409  # no request at all
    del person


def test_a_request_is_declined_once(portal: Portal) -> None:
    _, request = asks(portal)
    late = portal.founder(1).post(f"/stewards/admissions/{request.id}/decline", reason="taken-back")
    first = portal.founder(0).post(f"/stewards/admissions/{request.id}/decline", reason="not-known")
    portal.founder(0).paste(first)
    portal.founder(0).paste(first)  # sent twice is stated once
    refused = portal.founder(1).paste(late)
    assert refused.status == 409
    assert "declined already" in refused.words
    assert portal.founder(2).post(f"/stewards/admissions/{request.id}/decline", reason="not-known").status == 409
    with portal.service.view.reading() as register:
        assert len(register.declined) == 1


def test_a_decline_that_is_signed_after_the_admission_is_refused(portal: Portal) -> None:
    _, request = asks(portal)
    late = portal.founder(2).post(f"/stewards/admissions/{request.id}/decline", reason="not-known")
    for number in (0, 1):
        registrar = portal.founder(number)
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    refused = portal.founder(2).paste(late)
    assert refused.status == 409
    assert "Nobody asks for this any more" in refused.words


def test_a_decline_of_another_request_swapped_under_the_touch_is_refused(portal: Portal) -> None:
    _, one = asks(portal, "one@example.org")
    _, two = asks(portal, "two@example.org")
    registrar, member = portal.joined("registrar@example.org")
    founder = portal.founder(0)
    shown = founder.post(f"/stewards/admissions/{one.id}/decline", reason="not-known")
    other = founder.post(f"/stewards/admissions/{two.id}/decline", reason="not-known")
    assert one.author in shown.words
    assert two.author not in shown.words
    assert founder.key is not None
    for signature in (founder.key.sign(other.shown), founder.key.sign(shown.shown.replace(b"not-known", b"taken-back"))):
        assert founder.post(shown.url, signature=signature).status == 409
    with portal.service.view.reading() as register:
        assert not register.declined
    del registrar, member


def test_a_registrar_declines_with_one_touch_of_a_passkey(make_portal: Callable[..., Portal]) -> None:
    portal = make_portal()
    registrar = portal.founder(0)
    registrar.paste(registrar.make_passkey(registrar.post("/keys/passkey")))
    (waiting,) = portal.service.private.drafts.open(kind="coop.key/v1")
    registrar.touch(registrar.get(f"{SIGNING}/sign/{waiting.id}?as={portal.members[0]}"))
    _, request = asks(portal)
    page = registrar.post(f"/stewards/admissions/{request.id}/decline", reason="asked-twice")
    assert registrar.touch(page).path == "/stewards/admissions"
    with portal.service.view.reading() as register:
        assert [one.reason for one in register.declined.values()] == ["asked-twice"]


def test_a_recovery_is_declined_without_telling_who_lost_their_keys_and_guardians_help_all_the_same(portal: Portal) -> None:
    person, member = portal.joined()
    person.touch(person.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    person.touch(person.make_passkey(person.post("/recover/passkey")))
    (request,) = portal.service.private.drafts.open(kind="coop.recovery/v1")
    assert portal.founder(3).post(f"/stewards/admissions/{request.id}/decline", reason="not-known").status == 409  # a guardian is no registrar
    decline(portal, request)
    assert member not in portal.stranger().get(f"/log/entries/{portal.service.view.register.size - 1}").text
    assert "A registrar declined your request for a new key" in person.get("/").words
    assert "Other registrars, or your guardians, can still agree." in person.get("/recover").words
    assert "requests to join declined 0" in portal.stranger().get("/").words
    for number in (3, 4):
        guardian = portal.founder(number)
        guardian.paste(guardian.get(guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    with portal.service.view.reading() as register:
        assert member in register.recoveries


def test_who_left_can_join_again_as_somebody_new(portal: Portal) -> None:
    person, member = portal.joined()
    person.sign(person.post("/mine/leave", sure=member))
    person.touch(person.make_passkey(person.post("/join/passkey")))
    account = portal.service.private.accounts.find(mail="new@example.org")
    assert account is not None
    assert account.asks_as not in (None, member)


def test_the_proof_of_an_account_says_whose_mail_it_is(portal: Portal) -> None:
    thief = portal.stranger()
    thief.sign_in("thief@example.org")
    page = thief.post("/join/prove", line=portal.keys[portal.members[1]].public.line)
    assert "Whoever reads the mail of th…@example.org will see your texts" in page.words
