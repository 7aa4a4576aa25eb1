"""What may go outside: nothing but what each author's consent names, at that moment, and no count that tells of a few."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.canonical import digest, dumps
from governance_hooks.consent_words import in_words
from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.stake.outside import answer, eligible, members_of
from governance_hooks.stake.request import AccessRequest, Price, read_request, request_words, requester_commitment, terms
from tests.village import Village, committed

OUTSIDE = {"recipients": ["dpv:NonProfitOrganisation"], "forms": ["aggregate", "extract"]}
NOON = "2099-01-01T12:00:00Z"


def request(**changes: Any) -> AccessRequest:
    fields: dict[str, Any] = {
        "coop": digest("coop"),
        "name": "corpus",
        "requester": requester_commitment("A library", "0" * 32),
        "recipient": "dpv:NonProfitOrganisation",
        "purpose": "dpv:NonCommercialResearch",
        "licence": "Apache-2.0",
        "build": digest("build"),
        "form": "extract",
        "query": None,
        "languages": None,
        "price": Price(amount=50_000, currency="EUR"),
        "until": "2030-01-01T00:00:00Z",
    }
    return AccessRequest(**(fields | changes))


def row(record: str, authors: list[str], batch: str, language: str = "spa") -> LedgerRow:
    return LedgerRow(
        record=record, commitment=committed(record), content=digest(record), authors=sorted(authors), consents=[digest("then")] * len(authors),
        batch=batch, language=language, split="train",
    )  # fmt: skip


@pytest.fixture
def five(village: Village) -> tuple[Village, list[LedgerRow], dict[str, str]]:
    """Five members who gave two records each and let non-profits have them."""
    consents = {member: village.consent(member, outside=OUTSIDE).id for member in village.members}
    batches = {member: village.contribute(member, [f"{member[-1]}0", f"{member[-1]}1"]).id for member in village.members}
    rows = [row(f"{member[-1]}{n}", [member], batches[member]) for member in village.members for n in range(2)]
    return village, rows, consents


def test_what_every_author_allows_goes_out_on_the_consents_of_now(five: tuple[Village, list[LedgerRow], dict[str, str]]) -> None:
    village, rows, consents = five
    found = eligible(village.coop.register, rows, request(), at=village.clock)
    assert [one.record for one in found] == [one.record for one in rows]
    assert [list(one.consents) for one in found] == [[consents[one.authors[0]]] for one in rows]


@pytest.mark.parametrize(
    "change",
    [
        {"recipient": "dpv:ForProfitOrganisation"},
        {"purpose": "dpv:CommercialResearch"},
        {"licence": "CC-BY-4.0"},
        {"languages": ["eus"]},
        {"minimum_members": 6},
    ],
)
def test_another_recipient_purpose_licence_or_language_gets_nothing(five: tuple[Village, list[LedgerRow], dict[str, str]], change: dict[str, Any]) -> None:
    village, rows, _ = five
    assert eligible(village.coop.register, rows, request(**change), at=village.clock) == []


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"outside": None},
        {"outside": OUTSIDE | {"forms": ["aggregate"]}},
        {"outside": OUTSIDE, "occurrences": 1},
        {"outside": OUTSIDE, "expires": "2026-01-01T00:00:00Z"},
        {"outside": OUTSIDE, "scope": {"languages": ["eus"], "batches": None}},
        {"outside": OUTSIDE, "purposes": ["dpv:AcademicResearch"]},
    ],
)
def test_a_consent_that_does_not_say_so_lets_nothing_out(village: Village, change: dict[str, Any]) -> None:
    rows = []
    for member in village.members:
        village.consent(member, **change)
        rows.append(row(member[-1], [member], village.contribute(member, [member[-1]]).id))
    assert eligible(village.coop.register, rows, request(), at=village.clock) == []


def test_a_withdrawal_ends_it_from_its_position_on_and_takes_what_was_built_on_it(five: tuple[Village, list[LedgerRow], dict[str, str]]) -> None:
    village, rows, consents = five
    first, second = village.members[:2]
    joint = row("edit", [first, second], rows[0].batch)
    asked, before = request(minimum_members=5), village.coop.register.size
    register = village.coop.register
    assert len(eligible(register, [*rows, joint], asked, at=village.clock)) == 11
    village.say("coop.withdrawal/v1", {"consent": consents[second]}, second)
    assert eligible(register, [*rows, joint], asked, at=village.clock) == []  # four are too few
    assert len(eligible(register, [*rows, joint], asked, at=village.clock, position=before)) == 11
    village.join("m-00000000000000aa")
    village.consent("m-00000000000000aa", outside=OUTSIDE)
    sixth = row("s", ["m-00000000000000aa"], village.contribute("m-00000000000000aa", ["s"]).id)
    left = {one.record for one in eligible(register, [*rows, joint, sixth], asked, at=village.clock)}
    assert left == {one.record for one in [*rows, sixth]} - {one.record for one in rows if one.authors == [second]}
    village.say("coop.leave/v1", {}, first)
    assert eligible(register, [*rows, sixth], asked, at=village.clock) == []


def test_a_consent_of_a_broader_purpose_covers_the_request_and_never_the_reverse(five: tuple[Village, list[LedgerRow], dict[str, str]]) -> None:
    village, rows, _ = five
    assert eligible(village.coop.register, rows, request(purpose="dpv:NonCommercialPurpose"), at=village.clock) == []
    for member in village.members:
        village.consent(member, outside=OUTSIDE, purposes=["dpv:NonCommercialPurpose"])
    assert len(eligible(village.coop.register, rows, request(purpose="dpv:NonCommercialPurpose"), at=village.clock)) == 10


@given(st.dictionaries(st.sampled_from(["spa", "eus", "que"]), st.lists(st.integers(1, 12), min_size=1, max_size=60), min_size=1))
@settings(deadline=None)
def test_counts_are_rounded_down_and_hold_no_total(people: dict[str, list[int]]) -> None:
    rows = [row(f"{language}{n}", [f"m-{who:016x}"], digest("b"), language) for language, given in people.items() for n, who in enumerate(given)]
    for query, exact in (
        ("records-by-language", {code: len(who) for code, who in people.items()}),
        ("members-by-language", {c: len(set(g)) for c, g in people.items()}),
    ):
        found = answer(rows, request(form="aggregate", query=query))
        assert found["counts"] == {language: count // 5 * 5 for language, count in exact.items()}
        assert set(found) == {"format", "query", "rounded_down_to", "counts"}
    assert {language: len(found) for language, found in members_of(rows).items()} == {code: len(set(given)) for code, given in people.items()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"form": "aggregate"}, "answers a query"),
        ({"query": "records-by-language"}, "an extract answers none"),
        ({"languages": ["spa", "eus"]}, "sorted"),
        ({"languages": []}, "at least 1 item"),
        ({"minimum_members": 4}, "greater than or equal to 5"),
        ({"recipient": "dpv:Recipient"}, "Input should be"),
        ({"purpose": "dpv:Marketing"}, "no purpose of ours"),
        ({"price": {"amount": -1, "currency": "EUR"}}, "greater than or equal to 0"),
        ({"note": "please"}, "Extra inputs"),
    ],
)
def test_a_request_that_does_not_hold_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        read_request(dumps(request().model_dump(mode="json") | change))


def test_members_and_recipient_read_what_it_means() -> None:
    words = "\n".join(request_words(request()))
    for said in ("non-profit organisations asks for the texts themselves", "500.00 EUR", "fewer than 5 such members are left out"):
        assert said in words
    assert "A library" not in words + terms(request()).decode()
    assert b"delete what it names within 30 days" in terms(request())


def test_a_consent_says_aloud_who_outside_may_have_what(village: Village) -> None:
    quiet = in_words(village.consent(village.members[0]).payload)  # type: ignore[arg-type]
    loud = in_words(village.consent(village.members[0], outside=OUTSIDE).payload)  # type: ignore[arg-type]
    assert quiet[0] == "Who may use it: the cooperative, and nobody else."
    assert loud[0].startswith("Who may use it: the cooperative; and non-profit organisations members vote to admit, by counting")
    village.refuses("outside", "coop.consent/v1", {"outside": {"recipients": [], "forms": ["extract"]}}, village.members[0])
