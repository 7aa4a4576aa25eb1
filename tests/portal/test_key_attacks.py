"""Attacks on members' keys: harvested, swapped, replayed or malformed signatures, and keys nobody enrolled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, Refused
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import body, now, shift, sign
from portal.settings import Settings
from portal.signing.assertion import passkey_of
from portal.signing.kinds import ACCOUNT, DOCUMENTS
from tests.portal.conftest import Portal, opened_portal
from tests.portal.people import MAIN, SIGNING, Device
from tests.portal.test_voting import propose


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
