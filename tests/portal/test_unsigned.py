"""Texts and reasons nobody signed for: private, used nowhere, and gone after a term, or with the account; what is in the log is never touched."""

from __future__ import annotations

import pytest

from data_pipeline.record import Draft
from governance_hooks.canonical import loads
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.statement import now, shift
from portal.unsigned import TERM_S, forget_reasons, forget_unsigned
from portal.view import View
from tests.portal.conftest import Portal
from tests.portal.people import Page, Person
from tests.portal.test_giving import allow, give, write
from tests.portal.test_voting import propose, say


def later(portal: Portal, seconds: int) -> None:
    portal.service.clock = lambda: shift(now(), seconds)


def later_for_drafts_too(portal: Portal, seconds: int) -> None:
    later(portal, seconds)
    portal.service.private.drafts._clock = lambda: shift(now(), seconds)


def reasons(portal: Portal) -> set[str]:
    return {"sha256:" + path.stem for path in (portal.root / "private/reasons").glob("*.json")}


def named(page: Page) -> str:
    """The reasons that the statement on a signing page names."""
    payload = loads(page.shown)["payload"]
    return str(payload.get("reason") or payload.get("reasons"))


def ask(person: Person, why: str) -> Page:
    return person.post("/propose/question", question="Which first?", options="one\ntwo", method="ranked", reasons=why)


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


def test_reasons_that_were_never_signed_for_go_after_their_term_and_signed_ones_stay(portal: Portal) -> None:
    founder, voter = portal.founder(1), portal.founder(2)
    drafted = named(ask(founder, "Never signed for"))
    asked = ask(founder, "Signed for")
    signed = {named(asked)}
    founder.paste(asked)
    proposal = propose(portal)
    for why in ("Changed my mind", "For good"):  # the first is of a ballot that counts no more, and the log names it
        ballot = voter.post(f"/proposals/{proposal}/vote", choice="for", reason=why)
        signed.add(named(ballot))
        voter.paste(ballot)
    first = portal.service.house.keep_reason("Of a draft in the log")
    say(
        portal,
        "coop.draft/v1",
        {"kind": "run", "subject": "sha256:" + "0" * 64, "previous": None, "reasons": first},
        portal.members[0],
        portal.keys[portal.members[0]],
    )
    signed.add(first)
    left = named(voter.post(f"/proposals/{proposal}/vote", choice="against", reason="And never signed this"))
    lost = portal.service.house.keep_reason("Kept, and then the process was killed")
    everything = {*signed, drafted, left, lost}
    assert reasons(portal) == everything
    assert len(everything) == 7
    assert forget_reasons(portal.service) == 0
    later_for_drafts_too(portal, TERM_S - 3600)
    assert forget_reasons(portal.service) == 0
    assert reasons(portal) == everything
    later(portal, TERM_S + 3600)
    portal.service.private.drafts._clock = now  # as long as the statements wait, what they name does
    assert forget_reasons(portal.service) == 1
    assert reasons(portal) == everything - {lost}
    later_for_drafts_too(portal, TERM_S + 3600)
    assert forget_reasons(portal.service) == 2
    assert reasons(portal) == signed
    assert portal.service.private.drafts.open() == []
    later_for_drafts_too(portal, 100 * TERM_S)
    assert forget_reasons(portal.service) == 0
    assert reasons(portal) == signed
    assert forget_reasons(portal.service, signed) == 0  # whoever asks
    with View.open(portal.root, read_only=True) as again:  # after a restart too
        assert again.reasons.keys() == signed


def test_what_a_kill_leaves_of_unsigned_reasons_goes_the_next_time(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    founder = portal.founder(1)
    drafted = {named(ask(founder, f"Never signed for, {number}")) for number in range(3)}
    asked = ask(founder, "Signed for")
    founder.paste(asked)
    later_for_drafts_too(portal, TERM_S + 3600)
    house, erase = portal.service.house, portal.service.house.erase_reason
    tried = list[str]()

    def killed(digest: str) -> None:
        if tried:
            raise KeyboardInterrupt
        tried.append(digest)
        erase(digest)

    monkeypatch.setattr(house, "erase_reason", killed)
    with pytest.raises(KeyboardInterrupt):
        forget_reasons(portal.service)
    assert reasons(portal) == {*drafted, named(asked)} - set(tried)
    monkeypatch.undo()
    assert forget_reasons(portal.service) == 2
    assert reasons(portal) == {named(asked)}
    assert "Signed for" in portal.stranger().get(f"/proposals/{_newest(portal)}").words


def _newest(portal: Portal) -> str:
    with portal.service.view.reading() as register:
        return list(register.proposals)[-1]


def test_what_is_no_reason_of_ours_is_left_where_it_lies(portal: Portal) -> None:
    assert forget_reasons(portal.service) == 0  # nothing is there yet
    portal.service.house.keep_reason("Old")
    folder = portal.root / "private/reasons"
    (folder / "notes.txt").write_text("the operator's")
    (folder / ("g" * 64 + ".json")).write_text("{}")
    (folder / ("0" * 64)).mkdir()
    later_for_drafts_too(portal, TERM_S + 3600)
    assert forget_reasons(portal.service) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["0" * 64, "g" * 64 + ".json", "notes.txt"]


def test_with_the_account_go_the_reasons_that_were_never_signed_for(portal: Portal) -> None:
    person, _ = portal.joined("gone@example.org")
    proposal = propose(portal)
    signed = person.post(f"/proposals/{proposal}/vote", choice="for", reason="Signed for")
    person.touch(signed)
    person.post(f"/proposals/{proposal}/vote", choice="against", reason="Nobody shall keep this")
    ask(person, "Nor this")
    other = named(ask(portal.founder(1), "Somebody else's"))
    assert len(reasons(portal)) == 4
    assert person.post("/account/erase", mail="gone@example.org").status == 200
    assert reasons(portal) == {named(signed), other}


def test_every_statement_that_can_name_reasons_is_looked_at() -> None:
    """The view looks for these two names; a digest of reasons under a third one would be taken for none."""
    found = {(kind, name) for kind, model in PAYLOADS.items() for name in model.model_fields if "reason" in name}
    assert {name for _, name in found} == {"reason", "reasons"}
    assert {"coop.ballot/v1", "coop.preference/v1", "coop.opinions/v1", "coop.objection/v1", "coop.proposal/v1", "coop.draft/v1"} <= {kind for kind, _ in found}
