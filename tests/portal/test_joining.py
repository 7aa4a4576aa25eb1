"""Joining: an account, a pseudonym, a key of one's own; and that nobody else's word makes a member."""

import pytest

from tests.portal.conftest import Portal


def test_somebody_joins_with_a_passkey_and_two_registrars(portal: Portal) -> None:
    person, member = portal.joined()
    with portal.service.view.reading() as register:
        assert member in register.active()
        assert register.known_keys[person.device.public.raw] == member  # type: ignore[union-attr]
    assert "What needs you" in person.get("/").words
    assert f"You are a member, as {member}" in person.get("/join").words


def test_somebody_joins_with_a_key_in_a_file_and_no_script(portal: Portal) -> None:
    from governance_hooks.sshsig import generate_key

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
    founder = portal.founder(0)
    assert portal.service.private.accounts.find(member=portal.members[0]) is not None
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
