"""Amounts: exact to the last unit, never negative, the same in whatever order things come; money and data are booked once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.canonical import digest, dumps
from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.money import CURRENCIES, parse_amount, show_amount
from governance_hooks.reviews import ShownRating
from governance_hooks.stake.allocation import allocate
from governance_hooks.stake.guilds import Assignment
from governance_hooks.stake.rule import Parts, PayoutRule, Units, read_rule, rule_words
from governance_hooks.stake.shapley import largest_remainder
from governance_hooks.stake.work import Done, count_work, units_of
from tests.village import Approved, Village, committed

COOP = digest("coop")
PEOPLE = [f"m-{number:016x}" for number in range(1, 7)]
GUILDS = ["eus", "que", "spa"]


def rule(**changes: Any) -> PayoutRule:
    return PayoutRule(coop=COOP, name="test", currency="EUR", **changes)


PARTS = (
    st.lists(st.integers(0, 100), min_size=3, max_size=3)
    .map(sorted)
    .map(lambda cuts: Parts(reserve=cuts[0], common_fund=cuts[1] - cuts[0], guilds=cuts[2] - cuts[1], patronage=100 - cuts[2]))
)
RULES = st.builds(
    rule,
    parts=PARTS,
    units=st.builds(Units, record=st.integers(1, 20), edit=st.integers(0, 20), rating=st.integers(0, 5)),
    within_guild=st.sampled_from(["accepted-work", "equal"]),
    most_pieces=st.none() | st.integers(1, 50),
    member_cap_percent=st.integers(1, 100),
    departed=st.sampled_from(["pay", "common-fund"]),
)
WORK = st.dictionaries(
    st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*GUILDS, None]), st.sampled_from(["record", "edit", "translation", "rating", "review"])),
    st.integers(1, 5000),
    max_size=20,
).map(lambda found: [Done(member=m, guild=g, work=w, pieces=n) for (m, g, w), n in found.items()])  # type: ignore[arg-type]
SHARES = st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any).map(lambda w: largest_remainder(1_000_000, dict(zip(GUILDS, w, strict=True))))


@given(RULES, st.integers(1, 10**13), SHARES, WORK, st.sets(st.sampled_from(PEOPLE)), st.randoms())
@settings(max_examples=200, deadline=None)
def test_every_unit_goes_somewhere_nobody_owes_and_order_decides_nothing(
    made: PayoutRule, income: int, shares: dict[str, int], done: list[Done], departed: set[str], random: Any
) -> None:
    found = allocate(made, income, shares, done, departed)
    assert found.total == income
    assert min([found.reserve, found.common_fund, *(one.paid for one in found.members.values())]) >= 0
    cap = income * made.member_cap_percent // 100
    for member, one in found.members.items():
        assert one.guilds + one.patronage == one.above_cap + one.departed + one.paid
        assert one.paid <= cap
        assert not (member in departed and made.departed == "common-fund" and one.paid)
    mixed = list(done)
    random.shuffle(mixed)
    assert allocate(made, income, dict(reversed(shares.items())), mixed, sorted(departed)) == found


@given(SHARES, WORK, st.sets(st.sampled_from(PEOPLE)))
@settings(max_examples=60, deadline=None)
def test_nobody_gets_more_by_anothers_leaving(shares: dict[str, int], done: list[Done], departed: set[str]) -> None:
    stays = allocate(rule(departed="common-fund"), 10_000_019, shares, done, [])
    leaves = allocate(rule(departed="common-fund"), 10_000_019, shares, done, departed)
    for member, one in leaves.members.items():
        assert one.paid == (0 if member in departed else stays.members[member].paid)


def test_a_case_worked_out_by_hand() -> None:
    done = [
        Done(member=PEOPLE[0], guild="spa", work="record", pieces=3),
        Done(member=PEOPLE[1], guild="spa", work="edit", pieces=5),
        Done(member=PEOPLE[1], guild="eus", work="record", pieces=1),
        Done(member=PEOPLE[2], guild=None, work="rating", pieces=40),
    ]
    found = allocate(rule(), 100_001, {"eus": 250_000, "spa": 750_000}, done, [])
    # 20% of 100001 is 20000.2, 10% 10000.1, 40% 40000.4, 30% 30000.3: the odd unit goes to the largest remainder, the guilds'.
    assert (found.reserve, found.common_fund, found.guilds) == (20_000, 10_000, {"eus": 10_000, "spa": 30_001})
    # spa: 30 units to 30; eus: all to the second. All work: 30, 40, 40 of 110 units of 30000.
    assert [found.members[one].guilds for one in PEOPLE[:3]] == [15_001, 25_000, 0]
    assert [found.members[one].patronage for one in PEOPLE[:3]] == [8182, 10_909, 10_909]


def test_a_guild_in_which_nobody_has_accepted_work_pays_the_common_fund() -> None:
    done = [Done(member=PEOPLE[0], guild="spa", work="record", pieces=1)]
    found = allocate(rule(), 1000, {"eus": 500_000, "spa": 500_000}, done, [])
    assert (found.common_fund, found.members[PEOPLE[0]].guilds) == (100 + 200, 200)
    assert allocate(rule(), 1000, {"eus": 500_000, "spa": 500_000}, [], []).common_fund == 800


@pytest.mark.parametrize("shares", [None, {"eus": 999_999}, {"eus": 1_000_001}, {"eus": -1, "spa": 1_000_001}])
def test_shares_that_do_not_add_up_are_refused(shares: dict[str, int] | None) -> None:
    with pytest.raises(BadInput, match="no shares that add up"):
        allocate(rule(), 1000, shares, [], [])


def test_nothing_cannot_be_shared_out() -> None:
    with pytest.raises(BadInput, match="nothing to share out"):
        allocate(rule(), 0, {"eus": 1_000_000}, [], [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parts": {"reserve": 20, "common_fund": 10, "guilds": 40, "patronage": 29}}, "make 99 percent"),
        ({"units": {"record": 0, "edit": 0, "translation": 0, "rating": 0, "review": 0}}, "no work counts"),
        ({"currency": "ABC"}, "no currency of ours"),
        ({"member_cap_percent": 0}, "greater than or equal to 1"),
        ({"bonus": 1}, "Extra inputs"),
    ],
)
def test_a_rule_that_does_not_hold_is_refused(change: dict[str, Any], why: str) -> None:
    document = rule().model_dump(mode="json") | change
    with pytest.raises(BadInput, match=why):
        read_rule(dumps(document))
    with pytest.raises(BadInput):
        read_rule(dumps(rule().model_dump(mode="json")) + b"\n")


def test_a_rule_says_in_words_what_it_does() -> None:
    words = "\n".join(rule_words(rule(most_pieces=9, member_cap_percent=25, departed="common-fund", review_required=True)))
    for said in ("40 to the guilds", "texts nobody has rated do not count", "at most 9 pieces", "more than 25%", "to the common fund, not to others"):
        assert said in words


@given(st.integers(0, 10**13 - 1), st.sampled_from(sorted(CURRENCIES)))
def test_an_amount_is_read_back_as_it_was_shown(minor: int, currency: str) -> None:
    shown, code = show_amount(minor, currency).split(" ")
    assert (parse_amount(shown, code), code) == (minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("1,5", "EUR"), ("1.5", "EUR"), ("1.555", "EUR"), ("-1", "EUR"), ("1e3", "EUR"), ("1.0", "JPY"), ("1", "ZZZ"), ("", "EUR")]
)
def test_an_amount_in_another_form_is_refused(text: str, currency: str) -> None:
    with pytest.raises(BadInput):
        parse_amount(text, currency)


@pytest.fixture
def worked(village: Village) -> tuple[Village, dict[str, str]]:
    """Three members have given batches of spa, eus and que."""
    return village, {member: village.contribute(member, [f"{member[-1]}{n}" for n in range(4)]).id for member in village.members[:3]}


def row(record: str, authors: list[str], batch: str, split: str = "train") -> LedgerRow:
    return LedgerRow(
        record=record, commitment=committed(record), content=digest(record), authors=sorted(authors), consents=[digest("c")] * len(authors), batch=batch, language="spa", split=split,
    )  # fmt: skip


def rating(record: str, reviewer: str, score: int, at: int = 1, statement: str = "s") -> ShownRating:
    return ShownRating(record=record, reviewer=reviewer, score=score, flags=[], at=f"2026-11-29T12:00:{at:02d}Z", salt="0" * 32, statement=digest(statement))


def test_work_is_counted_for_who_signed_for_it(worked: tuple[Village, dict[str, str]]) -> None:
    village, batches = worked
    a, b, c = village.members[:3]
    rows = [
        row("a0", [a], batches[a]),
        row("a1", [a], batches[a], "heldout"),
        row("a2", [a], batches[a]),  # an edit of a0 by its own author
        row("b0", [a, b], batches[b]),  # an edit of a's text by b
        row("b1", [b], batches[b]),  # a near copy
        row("c0", [b, c], batches[c]),  # a translation
        row("c1", [c], batches[c]),  # rated down
    ]
    kinds = {"a0": "original", "a1": "original", "a2": "edit", "b0": "edit", "b1": "original", "c0": "translation", "c1": "original"}
    ratings = [
        rating("a0", b, 5, 1, "one"),
        rating("a0", b, 4, 2, "two"),  # the later one of the same reviewer counts, and once
        rating("c1", a, 2),
        rating("c1", b, 3, statement="one"),
        rating("a0", a, 5),  # of one's own text
        rating("gone", c, 5),  # of a text that is not in the dataset
    ]
    assignment = Assignment({"a0": "spa", "a2": "spa", "b0": "spa", "c0": "spa", "c1": "spa"}, {"b1": "a0"})
    register = village.coop.register
    done = count_work(register, rows, kinds, ratings, assignment, rule())
    assert [(one.member, one.guild, one.work, one.pieces) for one in done] == [
        (a, None, "rating", 1),
        (a, None, "record", 1),
        (a, None, "review", 1),
        (a, "spa", "record", 1),
        (b, None, "rating", 2),
        (b, None, "review", 2),
        (b, "spa", "edit", 1),
        (c, "spa", "translation", 1),
    ]
    assert units_of(done, rule()) == {a: 10 + 10 + 1 + 2, b: 2 + 4 + 6, c: 8}
    assert units_of(done, rule(most_pieces=1)) == {a: 10 + 1 + 2, b: 1 + 2 + 6, c: 8}
    assert units_of(done, rule(), guild="spa") == {a: 10, b: 6, c: 8}
    strict = count_work(register, rows, kinds, ratings, assignment, rule(review_required=True))
    assert {one.member for one in strict if one.work in ("record", "edit", "translation")} == {a}
    with pytest.raises(BadInput, match="a batch the log does not know"):
        count_work(register, [row("x", [a], digest("no batch"))], {"x": "original"}, [], None, rule())


INCOME = {"amount": 100_000, "currency": "EUR", "source": "grant", "paper": digest("letter"), "proposal": None}


def test_income_is_booked_once_by_the_operator_alone(village: Village) -> None:
    village.refuses("is the operator's", "coop.income/v1", INCOME, village.members[0])
    village.refuses("names the vote that approved it", "coop.income/v1", INCOME | {"source": "access"}, "operator")
    village.refuses("amount", "coop.income/v1", INCOME | {"amount": 0}, "operator")
    village.refuses("no currency of ours", "coop.income/v1", INCOME | {"currency": "ABC"}, "operator")
    booked = village.say("coop.income/v1", INCOME, "operator").id
    village.refuses("booked already", "coop.income/v1", INCOME | {"amount": 5}, "operator")
    assert village.coop.register.incomes[booked].paid is None


def test_an_income_is_shared_out_once_however_many_payouts_are_approved(village: Village) -> None:
    booked = village.say("coop.income/v1", INCOME, "operator").id
    first, second = (village.approve("payout", digest(name)) for name in ("one", "two"))
    pay = {"payout": digest("one"), "proposal": first, "incomes": [booked]}
    village.refuses("no such income", "coop.payout/v1", pay | {"incomes": [digest("none")]}, "operator")
    village.refuses("once each, sorted", "coop.payout/v1", pay | {"incomes": [booked, booked]}, "operator")
    village.say("coop.payout/v1", pay, "operator")
    assert village.coop.register.incomes[booked].paid == digest("one")
    village.refuses("shared out already", "coop.payout/v1", {"payout": digest("two"), "proposal": second, "incomes": [booked]}, "operator")
    village.say("coop.payout/v1", {"payout": digest("two"), "proposal": second}, "operator")  # as payouts were before there were incomes


def test_a_delivery_needs_the_vote_on_its_request_and_is_made_once(village: Village, approved: Approved) -> None:
    request = digest("request")
    delivery = {"request": request, "proposal": approved.proposal, "delivery": digest("files"), "kind": "extract", "records": 9, "income": None}
    village.refuses("about a run, not a access", "coop.delivery/v1", delivery, "operator")
    open_ = village.propose("access", request).id
    village.refuses("not closed yet", "coop.delivery/v1", delivery | {"proposal": open_}, "operator")
    village.carry(open_)
    village.wait(2 * 86_400)
    delivery["proposal"] = open_
    village.refuses("another subject", "coop.delivery/v1", delivery | {"request": digest("other")}, "operator")
    village.refuses("is the operator's", "coop.delivery/v1", delivery, village.members[0])
    village.refuses("not the price of this request", "coop.delivery/v1", delivery | {"income": digest("none")}, "operator")
    price = INCOME | {"source": "access", "paper": request, "proposal": open_}
    village.refuses("another subject", "coop.income/v1", price | {"paper": digest("other")}, "operator")
    booked = village.say("coop.income/v1", price, "operator").id
    village.say("coop.delivery/v1", delivery | {"income": booked}, "operator")
    village.refuses("delivered already", "coop.delivery/v1", delivery | {"income": booked}, "operator")
    assert village.coop.register.deliveries[request].records == 9
