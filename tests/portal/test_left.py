"""Who left: they see what of theirs is still kept and erase it with a key that was in force then; nothing else opens for them, and nobody else erases it."""

from __future__ import annotations

import re

import pytest

from governance_hooks.canonical import dumps, loads
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import body, entry, now, shift, sign
from portal.signing.kinds import ACCOUNT, DOCUMENTS, ERASURE
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, Page, Person
from tests.portal.test_giving import allow, give, write
from tests.portal.test_voting import propose, say

WHY = "Too soon for me."


def leave(person: Person, member: str) -> Page:
    return person.sign(person.post("/mine/leave", sure=member))


def records_of(portal: Portal, member: str) -> list[str]:
    return [one.record for one in portal.service.house.contributions().records(member=member) if not one.erased_at]


def reasons_of(portal: Portal, member: str) -> list[str]:
    return [one for one, named in portal.service.view.reasons.items() if named.author == member and portal.service.house.reason(one) is not None]


def gone(portal: Portal, last: int = 4, texts: int = 2) -> tuple[Person, str, str]:
    """A founder with a key in a file who gave texts, voted with a reason, and left; and that vote."""
    person, member = portal.founder(last), portal.members[last]
    allow(person)
    give(person, texts)
    proposal = propose(portal)
    person.sign(person.post(f"/proposals/{proposal}/vote", choice="against", reason=WHY))
    leave(person, member)
    return person, member, proposal


def test_who_leaves_then_sees_what_is_kept_and_erases_a_text_and_a_reason(portal: Portal) -> None:
    person, member, proposal = gone(portal)
    assert "as far as it is still kept, you can see and erase" in person.get("/").words
    page = person.get("/mine")
    assert page.status == 200
    assert "texts kept 2 texts erased 0 reasons kept 1" in page.words
    for words in ("What is 0?", "What is 1?", WHY, "You have left the cooperative."):
        assert words in page.words
    ticked, size = records_of(portal, member)[0], portal.service.view.register.size
    form = person.post("/mine/erase", records=ticked, reasons=reasons_of(portal, member))
    assert "1 text of yours is erased. 1 reason of yours is erased." in form.words
    assert len(records_of(portal, member)) == 2  # nothing yet: it takes the key
    done = person.sign(form)
    assert done.path == "/mine"
    assert "texts kept 1 texts erased 1 reasons kept 0" in done.words
    assert WHY not in done.words
    assert WHY not in person.get(f"/proposals/{proposal}").words
    assert (ticked in records_of(portal, member), reasons_of(portal, member)) == (False, [])
    assert portal.service.view.register.size == size  # it is in no log
    done = person.sign(person.post("/mine/erase", everything="true"))
    assert "Nothing: no text and no reason of yours is kept here." in done.words
    assert records_of(portal, member) == []
    assert person.post("/mine/erase", everything="true").status == 409


def test_a_passkey_erases_after_leaving_too(portal: Portal) -> None:
    person, member = portal.joined()
    give(person)
    leave(person, member)
    assert person.sign(person.post("/mine/erase", everything="true")).path == "/mine"
    assert records_of(portal, member) == []


def test_the_pages_of_a_vote_erase_reasons_of_who_left_with_their_key(portal: Portal) -> None:
    person, member, proposal = gone(portal)
    form = person.post(f"/proposals/{proposal}/reason/erase")
    assert form.path.startswith("/sign/")
    assert len(reasons_of(portal, member)) == 1
    assert person.sign(form).path == "/mine"
    assert reasons_of(portal, member) == []


def test_reasons_of_a_proposal_go_with_the_key_of_who_left(portal: Portal) -> None:
    kept = portal.service.house.keep_reason("# Why now")
    proposal = propose(portal, reasons=kept)
    proposer, person = portal.members[0], portal.founder(0)
    say(portal, "coop.leave/v1", {}, proposer, portal.keys[proposer])
    form = portal.founder(0).post(f"/proposals/{proposal}/reasons/erase")
    assert portal.service.house.reason(kept) is not None
    person.sign(form)
    assert portal.service.house.reason(kept) is None


def test_nothing_else_opens_for_who_left(portal: Portal) -> None:
    person, member, proposal = gone(portal)
    for path in ("/contribute", "/review", "/consent", "/keys", "/propose", "/stewards/admissions"):
        assert person.get(path).status == 409, path
    size, given = portal.service.view.register.size, len(records_of(portal, member))
    for path, fields in (
        (f"/proposals/{proposal}/vote", {"choice": "for"}),
        (f"/proposals/{proposal}/remarks", {"text": "I am still here", "stance": "for"}),
        ("/consent/give", {"purpose": "dpv:PublicBenefit", "licences": "Apache-2.0", "public": "true"}),
        ("/consent/withdraw", {"consent": "all"}),
        ("/keys/add", {"line": generate_key(portal.root / "late").public.line}),
        ("/keys/guardians", {"guardians": ""}),
        ("/recover/key", {"line": generate_key(portal.root / "later").public.line}),
        ("/mine/leave", {"sure": member}),
    ):
        assert person.post(path, **fields).status == 409, path
    assert write(person, 7).status == 409
    assert (portal.service.view.register.size, len(records_of(portal, member))) == (size, given)
    for path in ("/mine/where", "/mine/stake"):  # theirs, to read
        assert person.get(path).status == 200, path


def refused(portal: Portal, member: str, form: Page, person: Person, key: PrivateKey, why: str) -> None:
    before = records_of(portal, member)
    answer = person.paste(form, key)
    assert answer.status == 409
    assert why in answer.words.lower()
    assert records_of(portal, member) == before != []


def test_a_key_revoked_before_leaving_erases_nothing(portal: Portal) -> None:
    person, member = portal.founder(4), portal.members[4]
    old, new = portal.keys[member], generate_key(portal.root / "new")
    give(person)
    say(portal, "coop.key/v1", {"action": "add", "key": new.public.line}, member, old, new)
    say(portal, "coop.key/v1", {"action": "revoke", "key": old.public.line}, member, new)
    person = portal.founder(4)
    person.key = new
    leave(person, member)
    refused(portal, member, person.post("/mine/erase", everything="true"), person, old, "this key has no part in this statement")
    thief = portal.stranger()
    thief.sign_in("thief@example.org")
    assert "this key is no member's" in thief.post("/join/prove", line=old.public.line).words.lower()
    person.sign(person.post("/mine/erase", everything="true"))
    assert records_of(portal, member) == []


def test_a_key_that_a_recovery_would_have_brought_dies_with_the_membership(portal: Portal) -> None:
    member, thief = portal.members[4], generate_key(portal.root / "thief")
    person = portal.founder(4)
    give(person)
    say(portal, "coop.recovery/v1", {"member": member, "key": thief.public.line}, member, thief, *(portal.keys[one] for one in portal.members[:2]))
    with portal.service.view.reading() as register:
        assert member in register.recoveries
    leave(person, member)
    refused(portal, member, person.post("/mine/erase", everything="true"), person, thief, "this key has no part in this statement")


def test_no_other_members_key_erases_what_somebody_left(portal: Portal) -> None:
    person, member, _ = gone(portal)
    form = person.post("/mine/erase", everything="true")
    for key in (portal.keys[portal.members[0]], portal.operator, generate_key(portal.root / "nobody")):
        refused(portal, member, form, person, key, "this key has no part in this statement")


def test_who_left_erases_nothing_of_somebody_else(portal: Portal) -> None:
    other, victim = portal.founder(3), portal.members[3]
    allow(other)
    give(other)
    proposal = propose(portal)
    other.sign(other.post(f"/proposals/{proposal}/vote", choice="for", reason="Theirs."))
    texts, written = records_of(portal, victim), reasons_of(portal, victim)
    person, member = portal.founder(4), portal.members[4]
    write(person, 9)
    person.sign(person.post("/contribute/give"))
    person.sign(person.post(f"/proposals/{proposal}/vote", choice="for", reason="Mine."))
    leave(person, member)
    for fields in (
        {"records": texts},
        {"reasons": written},
        {"records": [*records_of(portal, member), *texts]},
        {"records": "f" * 16},
        {"reasons": "sha256:" + "0" * 64},
    ):
        answer = person.post("/mine/erase", **fields)
        assert answer.status == 409
        assert "you erase your own texts and reasons only" in answer.words.lower()
    # nor with a document that they make and sign themselves: it is judged again when it is signed
    with portal.service.view.reading() as register:
        from portal.signing.drafting import draft

        made = draft(portal.service, register, ERASURE, {"records": texts, "reasons": written}, member)
    assert "own texts and reasons only" in person.paste(person.get(f"https://sign.village.example/sign/{made.id}?as={member}")).words
    assert (records_of(portal, victim), reasons_of(portal, victim)) == (texts, written)


@pytest.mark.parametrize("which", ["stranger", "newcomer"])
def test_who_never_was_a_member_reaches_nothing(portal: Portal, which: str) -> None:
    _, member, _ = gone(portal)
    person = portal.stranger()
    if which == "newcomer":
        person.sign_in("newcomer@example.org")
    for answer in (person.get("/mine"), person.post("/mine/erase", records=records_of(portal, member)), person.post("/mine/erase", everything="true")):
        assert not answer.path.startswith("/sign/")
        assert WHY not in answer.words
        assert answer.status == 409 or answer.path == "/signin"
    key = generate_key(portal.root / "nobody")
    document = body(ERASURE, {"records": records_of(portal, member), "reasons": []}, coop=portal.service.view.pin, author="m-" + "0" * 16, payloads=DOCUMENTS)
    drafted = portal.service.private.drafts.add(ERASURE, "m-" + "0" * 16, dumps(document), {})
    answer = person.post(f"https://sign.village.example/sign/{drafted.id}", signature=key.sign(drafted.body))
    assert answer.status == 409
    assert len(records_of(portal, member)) == 2


def test_a_signature_over_an_erasure_is_used_once_and_for_a_day(portal: Portal) -> None:
    person, member, _ = gone(portal)
    form = person.post("/mine/erase", records=records_of(portal, member)[0])
    armored = portal.keys[member].sign(form.shown)
    other = person.post("/mine/erase", records=records_of(portal, member)[1])
    assert person.post(form.url, signature=armored).path == "/mine"
    again = person.post(form.url, signature=armored)
    assert (again.status, "this statement is not waiting for signatures" in again.words.lower()) == (409, True)
    swapped = person.post(other.url, signature=armored)
    assert swapped.status == 409
    handed = portal.stranger().post("/statements", statement=form.shown.decode(), signatures=armored)
    assert handed.status in (409, 422)
    assert len(records_of(portal, member)) == 1
    # found later, by somebody who can have it drafted again to the letter: too old
    value = loads(form.shown) | {"issued": shift(now(), -2 * 86_400)}
    value["payload"] = {"records": records_of(portal, member), "reasons": []}
    late = portal.service.private.drafts.add(ERASURE, member, dumps(value), {})
    answer = person.post(f"https://sign.village.example/sign/{late.id}", signature=portal.keys[member].sign(late.body))
    assert "this was drafted too long ago" in answer.words.lower()
    assert len(records_of(portal, member)) == 1


def test_the_log_takes_nothing_more_of_who_left(portal: Portal) -> None:
    _, member, _ = gone(portal)
    key = portal.keys[member]
    made = body("coop.withdrawal/v1", {"consent": None}, coop=portal.service.view.pin, author=member)
    answer = portal.stranger().post("/statements", statement=dumps(made).decode(), signatures=sign(made, key))
    assert answer.status in (409, 422)
    assert entry(made, [])


def test_who_erased_the_account_comes_back_with_the_key_and_a_planted_session_does_not(portal: Portal) -> None:
    person, member, _ = gone(portal)
    own = portal.service.private.accounts.find(member=member)
    assert own is not None
    assert "in force when you left" in person.get("/account").words
    assert person.post("/account/erase", mail=own.mail).status == 200
    back = Person(portal.app, portal.service, portal.keys[member])
    back.begin("back@example.org")
    planted = Person(portal.app, portal.service)  # somebody who got into the mailbox before
    planted.begin("back@example.org")
    assert planted.get("/mine").status == 409
    assert back.get("/mine").status == 409
    form = back.post("/join/prove", line=portal.keys[member].public.line)
    assert loads(form.shown)["type"] == ACCOUNT
    back.sign(form)
    assert "texts kept 2" in back.get("/mine").words
    assert "What is 0?" not in planted.get("/mine").words
    back.sign(back.post("/mine/erase", everything="true"))
    assert records_of(portal, member) == []


def test_leaving_and_erasing_the_account_say_what_stays_and_how_it_is_erased(portal: Portal) -> None:
    person, member = portal.founder(4), portal.members[4]
    for page in (person.get("/mine"), person.post("/mine/leave", sure=member)):
        assert "Your texts and reasons stay on this server, and go into no new dataset." in page.words
        assert "before you leave or at any time after, here, with a key that is in force when you leave" in page.words
    give(person)
    leave(person, member)
    page = person.get("/mine")
    assert re.search(r"Registrars: m-[0-9a-f]{16}", page.words)
    assert "Who left gets no new key." in page.words
    assert "coop erase" in portal.founder(0).get("/stewards/admissions").words
    assert 'href="/mine"' in person.get("/join").text
    assert page.url == f"{MAIN}/mine"


def test_who_is_suspended_when_they_leave_erases_all_the_same(portal: Portal) -> None:
    person, member = portal.founder(4), portal.members[4]
    give(person)
    with portal.service.view.reading() as register:
        register.members[member].suspended_until = shift(now(), 86_400)
    leave(person, member)
    person.sign(person.post("/mine/erase", everything="true"))
    assert records_of(portal, member) == []
