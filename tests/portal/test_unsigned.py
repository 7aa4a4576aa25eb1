"""Texts nobody signed for: private, used nowhere, and gone after a term, or with the account; what is in the log is never touched."""

from __future__ import annotations

import pytest

from data_pipeline.record import Draft
from governance_hooks.statement import now, shift
from portal.unsigned import TERM_S, forget_unsigned
from tests.portal.conftest import Portal
from tests.portal.test_giving import allow, give, write
from tests.portal.test_voting import say


def later(portal: Portal, seconds: int) -> None:
    portal.service.clock = lambda: shift(now(), seconds)


def kept(portal: Portal) -> bytes:
    return b"".join(path.read_bytes() for path in portal.root.glob("contributions.sqlite*"))


def test_a_basket_that_was_never_signed_for_goes_after_its_term_and_a_given_one_stays(portal: Portal) -> None:
    person, member = portal.joined()
    allow(person)
    give(person)
    write(person, 7, inputs="Never signed for", targets="Nobody shall keep this")
    person.post("/contribute/give")  # and the tab is closed
    store = portal.service.house.contributions()
    assert len(store.unsealed()) == 1
    assert forget_unsigned(portal.service) == 0
    later(portal, TERM_S - 3600)
    assert forget_unsigned(portal.service) == 0
    assert b"Nobody shall keep this" in kept(portal)
    later(portal, TERM_S + 3600)
    assert forget_unsigned(portal.service) == 1
    assert forget_unsigned(portal.service) == 0
    assert store.unsealed() == []
    assert b"Nobody shall keep this" not in kept(portal)
    assert [one.statement is not None for one in store.records(member=member)] == [True]
    assert "not signed" not in person.get("/mine").words


def test_a_batch_that_is_in_the_log_stays_though_a_crash_left_it_unsealed(portal: Portal) -> None:
    store, member = portal.service.house.contributions(), portal.members[0]
    batch = store.add_batch(member, [Draft("q", "a", "eng")])
    say(portal, "coop.contribution/v1", batch.payload(), member, portal.keys[member])
    assert [one.batch for one in store.unsealed()] == [batch.batch]
    later(portal, TERM_S * 2)
    assert forget_unsigned(portal.service) == 0
    assert len(store.records(member=member)) == 1


def test_with_the_account_go_the_texts_that_were_never_signed_for(portal: Portal) -> None:
    person, member = portal.joined("gone@example.org")
    other = portal.founder(2)
    allow(person)
    give(person)
    write(person, 7, targets="Nobody shall keep this")
    person.post("/contribute/give")
    write(other, 8, targets="Somebody else's")
    other.post("/contribute/give")
    assert person.post("/account/erase", mail="gone@example.org").status == 200
    store = portal.service.house.contributions()
    assert [one.member for one in store.unsealed()] == [portal.members[2]]
    assert len(store.records(member=member)) == 1
    assert b"Nobody shall keep this" not in kept(portal)


def test_a_text_another_one_builds_on_is_not_taken_away(portal: Portal) -> None:
    store = portal.service.house.contributions()
    first = store.add_batch(
        "m-1", [Draft("q", "a", "eng", record_id="aaaaaaaaaaaaaaaa"), Draft("q", "b", "eng", record_id="bbbbbbbbbbbbbbbb", parents=("aaaaaaaaaaaaaaaa",))]
    )
    second = store.add_batch("m-2", [Draft("q", "c", "eng", parents=("bbbbbbbbbbbbbbbb",))])
    sealed = store.add_batch("m-3", [Draft("q", "d", "eng")])
    store.seal(sealed.batch, "sha256:" + "1" * 64)
    assert store.discard([first.batch, sealed.batch]) == 0
    assert store.discard([second.batch]) == 1
    assert store.discard([first.batch, "no such batch"]) == 1  # nothing else builds on it now
    assert [one.batch for one in store.batches()] == [sealed.batch]


@pytest.mark.parametrize("count", [1, 25])
def test_a_roll_call_of_any_length_can_be_read_to_its_end(portal: Portal, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.pages import proposals
    from tests.portal.test_voting import propose

    monkeypatch.setattr(proposals, "HEARD", 2)
    monkeypatch.setattr(proposals, "ROLL_CALL", 2)
    proposal = propose(portal)
    voters = portal.members[: min(count, 5)]
    reason = portal.service.house.keep_reason("Only this one says why.")
    for number, member in enumerate(voters):
        ballot = {"proposal": proposal, "choice": "against", "sequence": 1, "reason": reason if number == 0 else None}
        say(portal, "coop.ballot/v1", ballot, member, portal.keys[member])
    stranger = portal.stranger()
    page = stranger.get(f"/proposals/{proposal}")
    assert "Only this one says why." in page.words  # who gave a reason is heard before who voted later
    assert bool(page.links("/ballots")) == (len(voters) > 2)
    found, number = list[str](), 1
    while True:
        page = stranger.get(f"/proposals/{proposal}/ballots?page={number}")
        found += [member for member in voters if f"<code>{member}</code>" in page.text]
        if not page.links(f"page={number + 1}"):
            break
        number += 1
    assert found == voters
    assert number == -(-len(voters) // 2)
