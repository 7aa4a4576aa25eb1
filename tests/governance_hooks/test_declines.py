"""Declined requests: a registrar's own signature, once, for a reason of the list, and no word about who asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.payloads.membership import Decline
from governance_hooks.requests import ABOUT, REASONS, Opening, new_salt
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import shift
from tests.village import Village

ASKED = sha256(b"a request")


def declined(salt: str | None = None, asked: str = ASKED, **changes: Any) -> dict[str, Any]:
    return {"request": Opening(salt=salt or new_salt(), statement=asked).digest, "about": "admission", "reason": "not-known"} | changes


def test_a_registrar_declines_and_the_register_and_the_audit_know_it(village: Village) -> None:
    payload = declined()
    made = village.say("coop.decline/v1", payload, village.members[1])
    (found,) = village.coop.register.declined.values()
    assert (found.id, found.about, found.reason, found.registrar) == (made.id, "admission", "not-known", village.members[1])
    assert audit(village.root).passed


@pytest.mark.parametrize("number", [3, 4])
def test_who_is_no_registrar_declines_nothing(village: Village, number: int) -> None:
    village.refuses("declined by registrars", "coop.decline/v1", declined(), village.members[number])


def test_neither_the_operator_nor_a_key_of_another_declines(village: Village) -> None:
    village.refuses("not a member", "coop.decline/v1", declined(), "operator", village.operator)
    village.refuses("is signed by operator", "coop.decline/v1", declined(), village.members[0], village.operator)
    village.refuses("is signed by m-", "coop.decline/v1", declined(), village.members[0], village.keys[village.members[1]])
    both = village.keys[village.members[0]], village.keys[village.members[1]]
    village.refuses("one key of the author|is signed by", "coop.decline/v1", declined(), village.members[0], *both)


def test_a_request_is_declined_once_and_a_statement_counts_once(village: Village) -> None:
    payload = declined()
    entry = village.entry("coop.decline/v1", payload, village.members[0])
    village.coop.append(entry)
    with pytest.raises(Refused, match="in the log already"):
        village.coop.append(entry)
    village.refuses("declined already", "coop.decline/v1", payload | {"reason": "asked-twice"}, village.members[1])
    village.say("coop.decline/v1", declined(), village.members[0])  # another request, or the same under another salt: nobody can tell
    assert len(village.coop.register.declined) == 2


def test_a_registrar_who_was_suspended_or_left_declines_nothing(village: Village) -> None:
    from governance_hooks.motions import Suspend

    village.decide(Suspend(member=village.members[0], until=shift(village.clock, 90 * 86_400)))
    village.refuses("suspended", "coop.decline/v1", declined(), village.members[0])
    village.say("coop.leave/v1", {}, village.members[1])
    village.refuses("not a member", "coop.decline/v1", declined(), village.members[1])
    village.say("coop.decline/v1", declined(), village.members[2])


def test_a_decline_is_neither_backdated_nor_kept_in_a_drawer(village: Village) -> None:
    entry = village.entry("coop.decline/v1", declined(), village.members[0], issued=village.clock)
    village.stamp(7200)
    with pytest.raises(Refused, match=r"backdated|drafted too long ago"):
        village.coop.append(entry)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reason": "she is my neighbour"}, "reason"),
        ({"reason": ""}, "reason"),
        ({"note": "x"}, "note"),
        ({"about": "contribution"}, "about"),
        ({"request": "m-0123456789abcdef"}, "request"),
        ({"request": "sha256:" + "g" * 64}, "request"),
    ],
)
def test_there_is_no_room_for_words_or_names(village: Village, change: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        village.say("coop.decline/v1", declined() | change, village.members[0])


def test_a_decline_hinders_no_other_registrar(village: Village, tmp_path: Path) -> None:
    new, member = generate_key(tmp_path / "new"), "m-" + "a" * 16
    asked = village.entry("coop.admission/v1", {"member": member, "key": new.public.line}, member, new, *(village.keys[one] for one in village.members[1:3]))
    statement = sha256(json.dumps(loads(asked)["body"], sort_keys=True, separators=(",", ":")).encode())
    village.say("coop.decline/v1", declined(asked=statement), village.members[0])
    assert village.coop.append(asked).id == statement
    assert member in village.coop.register.active()


def test_the_log_says_nothing_of_who_asked(village: Village) -> None:
    opening = Opening(salt=new_salt(), statement=ASKED)
    made = village.say("coop.decline/v1", declined(opening.salt), village.members[0])
    assert ASKED.encode() not in made.entry
    assert ASKED[7:].encode() not in made.entry
    payload = loads(made.entry)["body"]["payload"]
    assert set(payload) == {"request", "about", "reason"}
    assert payload["request"] != sha256(ASKED.encode())
    assert Opening.parse(opening.dumps()).digest == payload["request"]  # who has the salt can show it
    assert Opening(salt=new_salt(), statement=ASKED).digest != payload["request"]


def test_an_opening_is_exactly_that() -> None:
    for data in (b"{}", b"[]", b'{"salt":"00","statement":"' + ASKED.encode() + b'"}', b"no json"):
        with pytest.raises((BadInput, Refused)):
            Opening.parse(data)
    assert set(ABOUT.values()) == set(Decline.model_fields["about"].annotation.__args__)  # type: ignore[union-attr]
    assert "not-known" in REASONS


def test_offices_are_of_those_in_good_standing(village: Village) -> None:
    register = village.coop.register
    assert register.office_holders() == set(village.members)
    village.say("coop.leave/v1", {}, village.members[4])
    assert register.office_holders() == set(village.members[:4])
