"""Consent, contributions, improvements and reviews through pages: signed each, private each, and erasable."""

from __future__ import annotations

import re

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.stake.allocation import Allocation, Portion
from governance_hooks.stake.payout import IncomeUsed, Payout, Position
from governance_hooks.stake.rule import PayoutRule
from governance_hooks.state.runs import Run
from tests.portal.conftest import Portal
from tests.portal.people import Page, Person

ID = "0123456789abcdef"


def allow(person: Person, purpose: str = "dpv:NonCommercialResearch", **changes: object) -> Page:
    return person.sign(person.post("/consent/give", **{"purpose": purpose, "licences": "Apache-2.0", "public": "true"} | changes))


def write(person: Person, number: int = 0, **changes: str) -> Page:
    fields = {"id": f"{ID}{number:08x}", "inputs": f"What is {number}?", "targets": f"It is {number}.", "language": "sw"}
    return person.post("/contribute", **fields | changes)


def give(person: Person, count: int = 1) -> Page:
    for number in range(count):
        assert write(person, number).path == "/contribute"
    return person.sign(person.post("/contribute/give"))


def payout_of(portal: Portal, paid: dict[str, int]) -> Payout:
    """A payout as `coop payout make` would write it, as far as a member's own part goes."""
    nothing, coop = "sha256:" + "0" * 64, portal.service.view.pin
    portions = {member: Portion(guilds=amount - 3400, patronage=3450, above_cap=50, departed=0, paid=amount) for member, amount in paid.items()}
    return Payout(
        coop=coop,
        name="spring",
        log=Position(size=1, root=nothing),
        rule=PayoutRule(coop=coop, name="fair", currency="KES", member_cap_percent=60),
        approval=nothing,
        incomes=[IncomeUsed(statement=nothing, amount=sum(paid.values()) + 50 * len(paid), currency="KES")],
        shares=None,
        build=nothing,
        work=[],
        departed=[],
        allocation=Allocation(reserve=0, common_fund=50 * len(paid), guilds={}, members=portions),
    )


def test_a_switch_is_a_consent_and_switching_it_off_a_withdrawal(portal: Portal) -> None:
    person, member = portal.joined()
    assert "Nothing of yours is used" in person.get("/").words
    page = person.post("/consent/give", purpose="dpv:NonCommercialResearch", licences=["Apache-2.0", "CC-BY-4.0"], languages="sw, yor", once="true")
    assert "What for: non-commercial research." in page.words
    assert "only your texts in Swahili and Yoruba" in page.words
    assert person.sign(page).path == "/consent"
    with portal.service.view.reading() as register:
        (grant,) = register.grants[member]
    assert (grant.consent.occurrences, grant.consent.recipients) == (1, ["coop:Members"])
    shown = person.get("/consent")
    assert "Non-commercial research On since entry" in shown.words
    assert person.sign(person.post("/consent/withdraw", consent=grant.id)).path == "/consent"
    with portal.service.view.reading() as register:
        assert register.grants[member][0].withdrawn is not None
    assert "non-commercial research: Off" in person.get("/consent").words


def test_everything_is_withdrawn_in_one_step_after_a_preview_that_changes_nothing(portal: Portal) -> None:
    person, member = portal.joined()
    allow(person)
    allow(person, "dpv:PublicBenefit")
    give(person, 2)
    size = portal.service.view.register.size
    assert "if you withdraw everything now" in person.get("/consent/preview").words or "The next dataset loses 2" in person.get("/consent/preview").words
    assert portal.service.view.register.size == size
    page = person.post("/consent/withdraw", consent="all")
    assert "You take back everything you allowed." in page.words
    person.sign(page)
    with portal.service.view.reading() as register:
        assert all(grant.withdrawn is not None for grant in register.grants[member])
    assert person.post("/consent/withdraw", consent="all").status == 409


def test_one_consent_is_previewed_by_itself_and_the_withdrawal_names_it(portal: Portal) -> None:
    person, member = portal.joined()
    allow(person)
    allow(person, "dpv:PublicBenefit")
    give(person, 2)
    with portal.service.view.reading() as register:
        research, benefit = (one.id for one in register.grants[member])
        size = register.size
    page = person.get(f"/consent/preview?consent={research}")
    assert "If I take this back" in page.words
    assert "What for: non-commercial research." in page.words
    assert "Nothing so far." in page.words
    assert "The next dataset loses 2 of its 2 texts: 2 of yours" in page.words
    assert "The next dataset loses 0 of its 2 texts" in person.get(f"/consent/preview?consent={benefit}").words  # what builds are for rests on the other one
    assert portal.service.view.register.size == size
    assert person.get(f"/consent/preview?consent=sha256:{'0' * 64}").status == 409
    assert portal.founder(1).get(f"/consent/preview?consent={research}").status == 409
    links = person.get("/consent").links("/consent/preview?consent=")
    assert {one.rpartition("=")[2].replace("%3A", ":") for one in links} == {research, benefit}
    page = person.post("/consent/withdraw", consent=research)
    assert "You take back one consent." in page.words
    assert "What for: non-commercial research." in page.words
    person.sign(page)
    with portal.service.view.reading() as register:
        assert [grant.withdrawn is None for grant in register.grants[member]] == [False, True]
    empty = portal.founder(2).get("/consent/preview")
    assert "You allow nothing at the moment" in empty.words
    assert "Take everything back" not in empty.words


def test_texts_wait_in_a_basket_and_are_given_with_one_signature(portal: Portal) -> None:
    person, member = portal.joined()
    for number in range(3):
        write(person, number)
    assert "3 texts wait" in person.get("/contribute").words
    done = person.sign(person.post("/contribute/give"))
    assert done.path == "/contribute/given"
    assert "used nowhere until you allow it" in done.words
    store = portal.service.house.contributions()
    records = store.records(member=member)
    assert [one.statement for one in records] == [next(iter(portal.service.view.register.contributions))] * 3
    assert {one.language for one in records} == {"swa"}
    assert "texts wait" not in person.get("/contribute").words
    assert person.get("/mine").words.count("What is") == 3


def test_a_form_sent_twice_by_the_outbox_is_kept_once(portal: Portal) -> None:
    person, _ = portal.joined()
    for _ in range(2):
        write(person, 7)
    assert "1 text waits" in person.get("/contribute").words


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"targets": ""}, "targets is empty"),
        ({"language": "klingonish"}, "language"),
        ({"inputs": "a\u202eb"}, "direction override"),
        ({"targets": "x" * 100_001}, "too long"),
        ({"licence": "<b>"}, "SPDX"),
        ({"parent": "nobody-knows"}, "no such text"),
    ],
)
def test_a_text_no_record_may_hold_is_refused_and_stays_on_the_form(still: Portal, changes: dict[str, str], why: str) -> None:
    founder = still.founder(2)
    page = write(founder, **changes)
    assert page.status in (409, 422)
    assert why in page.words
    assert "What is 0?" in page.text or "inputs" in changes or "parent" in changes
    assert "waits" not in founder.get("/contribute").words


def test_a_text_of_somebody_who_allows_it_is_reviewed_and_improved_and_others_are_not_seen(portal: Portal) -> None:
    writer, author = portal.joined()
    give(writer)
    reader = portal.founder(2)
    assert "nothing to review" in reader.get("/review").words
    (record,) = portal.service.house.contributions().records(member=author)
    assert reader.get(f"/improve/{record.record}").status == 409
    allow(writer)
    page = reader.get("/review")
    assert "What is 0?" in page.words
    assert author not in page.text
    assert "nothing to review" in writer.get("/review").words  # their own
    assert "nothing to review" in reader.get("/review?language=yor").words
    reader.post(f"/review/{record.record}", score="4", flags=["spam"])
    assert "nothing to review" in reader.get("/review").words
    signed = reader.sign(reader.post("/review"))
    assert signed.path == "/review"
    assert "Sign 1 rating" not in signed.words
    with portal.service.view.reading() as register:
        assert [review.ratings for review in register.reviews.values()] == [1]
    (rating,) = portal.service.house.contributions().reviews.ratings()
    assert (rating.record, rating.score, rating.flags, rating.reviewer) == (record.record, 4, ("spam",), portal.members[2])
    assert "It is 0." in reader.get(f"/improve/{record.record}").text
    basket = write(reader, 5, inputs=record.inputs, targets="It is nothing.", language="swa", parent=record.record)
    assert re.search(r"<del>\s*0\.</del>|<del>0\.</del>", basket.text)
    assert "<ins>nothing.</ins>" in basket.text
    reader.sign(reader.post("/contribute/give"))
    edit = next(one for one in portal.service.house.contributions().records(member=portal.members[2]))
    assert edit.parents == (record.record,)
    assert set(edit.authors) == {author, portal.members[2]}


def test_ones_own_texts_are_erased_with_a_key_and_nobody_elses(portal: Portal) -> None:
    writer, author = portal.joined()
    give(writer)
    (record,) = portal.service.house.contributions().records(member=author)
    thief = portal.founder(2)
    assert thief.post("/mine/erase", records=record.record).status == 409
    page = writer.post("/mine/erase", records=record.record)
    assert portal.service.house.contributions().record(record.record).erased_at is None  # a session alone erases nothing
    writer.sign(page)
    assert portal.service.house.contributions().record(record.record).erased_at is not None
    assert "erased" in writer.get("/mine").words


def test_leaving_ends_membership_and_consent(portal: Portal) -> None:
    writer, author = portal.joined()
    allow(writer)
    assert writer.post("/mine/leave", sure="m-0").status == 422
    writer.sign(writer.post("/mine/leave", sure=author))
    with portal.service.view.reading() as register:
        assert register.members[author].left is not None
        assert register.grants[author][0].withdrawn is not None
    assert writer.get("/consent").status == 409


@pytest.mark.parametrize(
    "path", ["/mine/where", "/mine/stake", "/keys", "/recover", "/stewards/admissions", "/stewards/halts", "/languages?q=swahili", "/account", "/statements"]
)
def test_every_page_of_a_member_is_there(still: Portal, path: str) -> None:
    assert still.founder(0).get(path).status == 200


def test_the_statement_of_stake_reads_the_shares_of_runs_and_survives_a_file_that_is_none(portal: Portal) -> None:
    person, _ = portal.joined()
    give(person)
    assert "No shares have been worked out yet" in person.get("/mine/stake").words
    shares = {
        "players": {"swa": {"members": 1, "records": 1}, "spa.edit": {"members": 3, "records": 9}},
        "shares": {
            "swa": {"share_ppm": 250_000, "low_ppm": 100_000, "high_ppm": 400_000, "value_micro": 1},
            "spa.edit": {"share_ppm": 750_000, "low_ppm": 600_000, "high_ppm": 900_000, "value_micro": 3},
        },
        "utility": "languages",
    }
    for name, data in (("good", dumps(shares)), ("bad", b"{"), ("odd", dumps({"shares": {"x": {}}}))):
        (portal.root / "runs" / name / "stake").mkdir(parents=True)
        (portal.root / "runs" / name / "stake" / "shares.json").write_bytes(data)
        portal.service.view.register.runs[name] = Run(name, "sha256:" + "0" * 64, "sha256:" + "1" * 64)
    page = person.get("/mine/stake").words
    assert "Swahili you are in it 25% 10–40% 1" in page
    assert "Spanish: texts of others made better 75% 60–90% 3" in page
    assert page.count("Training run ") == 1
    assert "you have one vote, like everybody" in page


def test_the_statement_of_stake_shows_a_members_own_part_of_each_payout_and_nobody_elses(portal: Portal) -> None:
    person, member = portal.joined()
    assert "No payout with a part of yours" in person.get("/mine/stake").words
    payout = payout_of(portal, {member: 123_400, portal.members[0]: 77_700})
    (portal.root / "payouts" / "spring").mkdir(parents=True)
    (portal.root / "payouts" / "spring" / "payout.json").write_bytes(payout.dumps())
    page = person.get("/mine/stake").words
    assert "spring · a draft" in page
    assert "you get KES 1,234.00" in page
    assert "by their shares KES 1,200.00" in page
    assert "for the common fund -KES 0.50" in page
    assert "Out of an income of KES 2,012.00" in page
    assert "777" not in page
    assert "KES 777.00" in portal.founder(0).get("/mine/stake").words
    (portal.root / "payouts" / "spring" / "payout.json").write_bytes(b"{")
    assert "cannot be read. Tell the operator." in person.get("/mine/stake").words


def test_flagged_texts_are_a_queue_of_those_with_an_office_and_no_longer_than_their_authors_allow(portal: Portal) -> None:
    author, _ = portal.joined()
    give(author, 2)
    allow(author)
    reviewer = portal.founder(1)
    record = reviewer.get("/review").links("/improve/")[0].rpartition("/")[2]
    assert "1 rating waits for your signature" not in reviewer.get("/").words
    reviewer.post(f"/review/{record}", score="2", flags=["harmful", "spam"])
    assert "1 rating waits for your signature" in reviewer.get("/").words
    steward = portal.founder(0)
    assert "Nothing is flagged" in steward.get("/stewards/flags").words  # not signed yet
    reviewer.sign(reviewer.post("/review"))
    assert "waits for your signature" not in reviewer.get("/").words
    page = steward.get("/stewards/flags")
    assert "Swahili · 1 rating, on average 2 of 5" in page.words
    assert "It could harm somebody (1) · It is spam (1)" in page.words
    assert page.text.count('class="card"') == 1
    assert portal.members[1] not in page.text  # who flagged it
    rated = steward.get(page.links("/review?record=")[0])
    assert rated.links(f"/improve/{record}")
    assert "Texts that were flagged" in steward.get("/mine").words
    assert author.get("/stewards/flags").status == 409
    assert "Texts that were flagged" not in author.get("/mine").words
    author.sign(author.post("/consent/withdraw", consent="all"))
    assert "Nothing is flagged" in steward.get("/stewards/flags").words
