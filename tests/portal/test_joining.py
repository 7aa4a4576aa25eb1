"""Joining: an account, a pseudonym, a key of one's own; and that nobody else's word makes a member."""

import pytest

from governance_hooks.sshsig import generate_key
from tests.portal.conftest import Portal
from tests.portal.people import SIGNING, OldDevice
from tests.portal.test_voting import propose


def test_somebody_joins_with_a_passkey_and_two_registrars(portal: Portal) -> None:
    person = portal.stranger()
    assert "What needs you" in person.sign_in("new@example.org").words
    assert "1 of 3 signatures" in person.touch(person.make_passkey(person.post("/join/passkey"))).words
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
    assert "1 of 3 signatures" in done.words
    member = portal.service.private.accounts.find(mail="file@example.org").asks_as  # type: ignore[union-attr]
    first = portal.founder(0)
    page = first.get(first.get("/stewards/admissions").links(f"as={portal.members[0]}")[0])
    assert "2 of 3 signatures" in first.paste(page).words
    assert first.paste(page).words.count("2 of 3 signatures") == 1  # the same signature again is not another one
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
    assert "1 of 2 signatures" in halfway.words
    assert "A change waits for a signature" in person.get("/keys").words
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
    assert "no enrolled passkey of yours" in refused.words


def test_lost_keys_are_recovered_by_guardians_and_stopped_by_an_old_key(portal: Portal) -> None:
    person, member = portal.joined()
    old, guardians = person.device, portal.members[3:5]
    assert person.post("/keys/guardians", guardians=guardians[0]).status == 422
    person.touch(person.post("/keys/guardians", guardians=" ".join(guardians)))
    page = person.touch(person.make_passkey(person.post("/recover/passkey")))
    assert "1 of 3 signatures" in page.words
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
    assert "2 of 3 signatures are here." in person.get("/join").words
    assert first.key is not None
    old, new = first.key, generate_key(portal.root / "new")
    first.paste(first.paste(first.post("/keys/add", line=new.public.line)), new)
    first.paste(first.post("/keys/revoke", line=old.public.line), new)
    for page in (second.get("/stewards/admissions"), second.get(f"{SIGNING}/sign/{drafted.id}")):
        assert "1 of 3 signatures are here." in page.words
    assert "1 of 3 signatures are here." in person.get("/join").words
    assert "1 person asks to join." in first.get("/").words
    for registrar, number in ((second, 1), (third, 2)):
        registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={portal.members[number]}")[0]))
    account = portal.service.private.accounts.find(mail="new@example.org")
    assert account is not None
    assert account.member in portal.service.view.register.members


def test_a_registrar_declines_and_nobody_else_can(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    person.touch(person.make_passkey(person.post("/join/passkey")))
    (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
    assert portal.founder(4).post(f"/stewards/admissions/{drafted.id}/decline").status == 409
    assert "put your request to join aside" not in person.get("/join").words
    portal.founder(0).post(f"/stewards/admissions/{drafted.id}/decline")
    assert "put your request to join aside" in person.get("/").words
    assert "put your request to join aside" in person.get("/join").words
    assert portal.service.private.drafts.open(kind="coop.admission/v1") == []
    assert "Make a passkey" in person.get("/join").words
    person.touch(person.make_passkey(person.post("/join/passkey")))
    assert "put your request" not in person.get("/join").words + person.get("/").words


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
