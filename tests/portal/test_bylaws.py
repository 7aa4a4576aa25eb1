"""The page of the bylaws: every rule in force, by whom and how it is decided, what changed when and what may change, faithful to the log."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.bylaws import KINDS, Bylaws, PasskeyOrigin, Rules
from governance_hooks.canonical import dumps, loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.motions import AmendBylaws, subject_of
from governance_hooks.state.membership import Seats
from governance_hooks.statement import now, shift
from portal import i18n
from portal.bylaws_words import changes_in_words, decided_in_words, effect_in_words, fields_in_words, rules_in_words
from portal.offices import offices_in_words, others_in_words
from tests.portal.conftest import Portal, named
from tests.portal.people import MAIN, Page
from tests.portal.showcase import PEOPLE
from tests.portal.test_voting import propose
from tests.village import Village, found, make_witnesses

DAY = 86_400
AT_ONCE = Rules(minimum_period_s=0)
"""Amended without waiting."""


class Amended:
    """A village whose members changed their bylaws twice, with a portal, and a third change that is voted on."""

    def __init__(self, root: Path) -> None:
        keys, operator = found(root, passkey_origins=[named(PEOPLE)], kinds={one: AT_ONCE.model_dump() for one in ("run", "release", "bylaws")})
        with Cooperative.open(root) as coop:
            village = Village(root, coop, keys, operator)
            later = Rules(minimum_period_s=3 * DAY, challenge_s=36 * 3600, objections=3, late_quorum_s=DAY, sponsors=1)
            kinds = coop.register.bylaws.kinds
            self.second = village.decide(village.amendment(registrars_required=3, oversight_seated="vote", jurisdiction="KE"))
            self.third = village.decide(village.amendment(kinds=kinds | {"bylaws": later}, stewards=village.members[:2], halt_max_s=10 * DAY))
            self.fourth = village.move(village.amendment(open_proposals=2)).id
            self.positions = {one: coop.register.proposals[one].enacted for one in (self.second, self.third)}
            self.now, self.members = coop.register.bylaws, village.members


@pytest.fixture(scope="module")
def amended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Amended, Portal]]:
    from contextlib import ExitStack

    from commonweights.commands.portal import open_service
    from portal.app import make_app

    root = tmp_path_factory.mktemp("amended") / "village"
    with ExitStack() as stack:
        made = Amended(root)
        service = stack.enter_context(open_service(root, PEOPLE))
        yield made, Portal(root, service, make_app(service), {}, None)  # type: ignore[arg-type]


def part(page: Page, start: str, end: str) -> str:
    """The words of a page between two ids."""
    text = page.text[page.text.index(f'id="{start}"') :]
    return " ".join(re.sub(r"<[^>]*>", " ", text[: text.index(f'id="{end}"')]).split())


def test_the_page_tells_who_how_and_since_when(amended: tuple[Amended, Portal]) -> None:
    made, portal = amended
    page = portal.stranger().get("/bylaws")
    assert page.status == 200
    assert "Version 3 · In force since" in page.words
    who = part(page, "who", "how")
    assert "Registrars who must agree to a new member 3" in who
    assert "Longest halt by the oversight body 10 days" in who
    assert "Longest term on the oversight body 366 days" in who
    assert "Longest time a release is withdrawn without a vote 30 days" in who
    assert all(who.count(one) >= 1 for one in made.members)
    assert f"/log/entries/{made.positions[made.third]}" in page.text
    assert f"/proposals/{made.third}" in page.text
    how = part(page, "how", "change")
    assert "Before it takes effect members have 1 day, 12 hours to object." in how
    assert "3 objections undo an approval." in how
    assert all(f'id="kind-{kind}"' in page.text for kind in KINDS)
    assert "Country whose law applies" in how
    assert "Kenya" in how
    assert "<script" not in page.text


def test_each_version_stands_with_what_it_changed_and_what_put_it_in_force(amended: tuple[Amended, Portal]) -> None:
    made, portal = amended
    stranger = portal.stranger()
    page = stranger.get("/bylaws")
    versions = part(page, "versions", "letter")
    assert re.search(
        r"Version 3 .*The vote that passed it.* Version 2 .*The vote that passed it.* Version 1 In force from .* The 5 founders signed it", versions
    )
    assert "Registrars who must agree to a new member: 2 → 3" in versions
    assert "Longest halt by the oversight body: 1 week → 10 days" in versions
    assert "New bylaws, from now on: 3 objections undo an approval." in versions
    for number, vote in ((1, None), (2, made.second), (3, made.third)):
        one = stranger.get(f"/bylaws/{number}")
        assert ("These rules count no more." in one.words) == (number < 3)
        assert ("on its way" in one.words) == (number == 3)
        assert f"/log/entries/{made.positions[vote] if vote else 0}" in one.text
        assert vote is None or f"/proposals/{vote}" in one.text
        assert vote is None or stranger.get(f"/proposals/{vote}").links(f"/bylaws/{number}#versions")
    assert "Registrars who must agree to a new member 2" in stranger.get("/bylaws/1").words
    assert [stranger.get(f"/bylaws/{one}").status for one in (4, 2**53 - 1)] == [404, 404]
    assert [stranger.get(f"/bylaws/{one}").status for one in (0, 2**53, "x")] == [422, 422, 422]


def test_what_the_log_put_in_force_is_what_the_list_says(amended: tuple[Amended, Portal]) -> None:
    """At each of these positions another replay has exactly these bylaws in force, and one entry before it has not."""
    made, portal = amended
    from governance_hooks.register import Register

    replayed, seen = Register(), list[tuple[int, int]]()
    for position, data in enumerate(portal.service.view.log.entries(0, portal.service.view.log.size)):
        before = replayed.bylaws.version if position else 0
        replayed.apply(data)
        if replayed.bylaws.version != before:
            seen.append((replayed.bylaws.version, position))
    assert seen == [(1, 0), (2, made.positions[made.second]), (3, made.positions[made.third])]


def test_the_letters_are_those_members_voted_on(amended: tuple[Amended, Portal]) -> None:
    made, portal = amended
    client = portal.stranger().client
    for number, vote in ((2, made.second), (3, made.third)):
        answer = client.get(f"{MAIN}/bylaws/{number}/bylaws.json")
        assert answer.headers["content-disposition"] == f'attachment; filename="bylaws-{number}.json"'
        said = hashlib.sha256(b'{"bylaws":' + answer.content + b',"kind":"bylaws"}').hexdigest()  # as the page's command has it
        with portal.service.view.reading() as register:
            assert register.proposals[vote].subject == f"sha256:{said}"
        assert said in client.get(f"{MAIN}/bylaws/{number}").text
    assert answer.content == dumps(made.now.model_dump(mode="json"))
    first = loads(next(portal.service.view.log.entries(0, 1)))["body"]["payload"]["bylaws"]
    assert Bylaws.model_validate(first).model_dump(mode="json") == client.get(f"{MAIN}/bylaws/1/bylaws.json").json()
    assert client.get(f"{MAIN}/bylaws/4/bylaws.json").status_code == 404
    tag = client.get(f"{MAIN}/bylaws").headers["etag"]
    assert client.get(f"{MAIN}/bylaws", headers={"if-none-match": tag}).status_code == 304


def test_programs_get_every_version(amended: tuple[Amended, Portal]) -> None:
    made, portal = amended
    client = portal.stranger().client
    found = client.get(f"{MAIN}/api/v1/bylaws").json()
    assert [(one["version"], one["since"], one["proposal"], one["in_force"]) for one in found["versions"]] == [
        (1, 0, None, False),
        (2, made.positions[made.second], made.second, False),
        (3, made.positions[made.third], made.third, True),
    ]
    assert (found["total"], found["next"]) == (3, None)
    assert client.get(f"{MAIN}/api/v1/bylaws?start=1&limit=1").json()["versions"] == [found["versions"][1]]
    for one in found["versions"]:
        assert client.get(f"{MAIN}/api/v1/bylaws/{one['version']}").json() == one
        assert one["bylaws"] == client.get(f"{MAIN}/bylaws/{one['version']}/bylaws.json").json()
    assert [client.get(f"{MAIN}/api/v1/bylaws/{one}").status_code for one in (4, 0, 2**53, "x")] == [404, 422, 422, 422]


def test_a_change_on_its_way_is_told_until_it_is_in_force_or_falls(amended: tuple[Amended, Portal], make_portal: Callable[..., Portal]) -> None:
    made, portal = amended
    page = portal.stranger().get("/bylaws")
    assert "1 change of these rules is on its way." in page.words
    coming = part(page, "coming", "versions")
    assert "Proposals one member may have open at a time: 5 → 2" in coming
    assert "Open until" in coming
    assert f"/proposals/{made.fourth}" in page.text
    other = make_portal()
    assert "None at the moment." in part(other.stranger().get("/bylaws"), "coming", "versions")
    with other.service.view.reading() as register:
        new = register.bylaws.model_copy(update={"version": 2, "open_proposals": 9})
    for _ in range(2):
        motion = AmendBylaws(bylaws=new)
        propose(other, "bylaws", subject_of(motion), motion=motion.model_dump(mode="json"))
    page = other.stranger().get("/bylaws")
    assert "2 changes of these rules are on their way." in page.words
    assert "Once one of them has effect, the others are void" in page.words


def test_an_approved_change_is_on_its_way_until_its_time_to_object_is_over(tmp_path: Path) -> None:
    from commonweights.commands.portal import open_service
    from portal.app import make_app

    later = Rules(minimum_period_s=0, challenge_s=DAY, objections=2)
    kinds = {"run": AT_ONCE.model_dump(), "release": AT_ONCE.model_dump(), "bylaws": later.model_dump()}
    keys, operator = found(tmp_path / "village", kinds=kinds)
    with Cooperative.open(tmp_path / "village") as coop:
        village = Village(tmp_path / "village", coop, keys, operator)
        asked = village.move(village.amendment(open_proposals=2)).id
        village.carry(asked)
        assert coop.register.proposals[asked].enacted is None
    with open_service(tmp_path / "village", PEOPLE) as service:
        page = Portal(tmp_path / "village", service, make_app(service), keys, operator).stranger().get("/bylaws")
    assert "Approved; members can object until" in part(page, "coming", "versions")
    assert "Version 1 · In force since" in page.words


FIELDS: dict[str, Any] = {
    "registrars": ["m-" + "9" * 16], "registrars_required": 2, "oversight": [], "oversight_required": 2, "oversight_seated": "lot", "oversight_term_s": DAY,
    "halt_max_s": 9 * DAY, "open_proposals": 4, "founder_led": ["run"], "recovery_required": 3, "recovery_delay_s": 36 * 3600, "jurisdiction": "IN",
    "passkey_origins": [PasskeyOrigin(origin="https://a.example", rp_id="a.example", valid_from="2026-01-01T00:00:00Z")], "secret_minimum_roll": 12,
    "secret_minimum_ballots": 6, "stages": {"review": {"min_edit": 5}}, "witnesses": ["w.example/w+1234abcd+key"], "witnesses_required": 1,
    "stewards": ["m-" + "8" * 16], "stewards_required": 2, "withdrawal_max_s": 31 * DAY, "supersede_after_withdrawals": 5, "supersede_within_s": 90 * DAY,
}  # fmt: skip
RULES: dict[str, Any] = {
    "quorum": "minimum-yes", "quorum_percent": 51, "approval_percent": 61, "abstain": "against", "minimum_for": 3, "minimum_period_s": 10 * DAY,
    "maximum_period_s": 91 * DAY, "late_quorum_s": 2 * DAY, "challenge_s": 10 * DAY, "objections": 7, "expiry_s": 40 * DAY, "sponsors": 2,
}  # fmt: skip


def test_no_change_of_any_field_goes_untold() -> None:
    """Also of one that either version leaves out, and of a name at the end of a long list."""
    old = Bylaws(registrars=["m-" + "1" * 16], registrars_required=1, oversight=["m-" + "2" * 16], kinds={"run": Rules(), "release": Rules()})
    assert set(FIELDS) | {"version", "kinds"} == set(Bylaws.model_fields)
    for field, value in FIELDS.items():
        (*_, said) = changes_in_words(old, old.model_copy(update={field: value}))
        assert said.startswith(fields_in_words()[field][0]), said
        assert changes_in_words(old.model_copy(update={field: value}), old)
    basis = Rules(challenge_s=5 * DAY, objections=2)
    assert set(RULES) == set(Rules.model_fields)
    for field, value in RULES.items():
        told = changes_in_words(
            old.model_copy(update={"kinds": {"run": basis}}), old.model_copy(update={"kinds": {"run": basis.model_copy(update={field: value})}})
        )
        assert told, field
        assert all(one.startswith("Training run, ") for one in told)
    many = [f"m-{number:016x}" for number in range(64)]
    (said,) = changes_in_words(old.model_copy(update={"registrars": many}), old.model_copy(update={"registrars": [*many, "m-" + "f" * 16]}))
    assert said == "Registrars, from now on: \u2068m-ffffffffffffffff\u2069"
    keys = [["w.example+1234abcd+one"], ["w.example+8765dcba+two"]]
    assert len(changes_in_words(*(old.model_copy(update={"witnesses": one}) for one in keys))) == 2  # the same name, another key
    assert changes_in_words(old.model_copy(update={"registrars": many[:2]}), old.model_copy(update={"registrars": many[1::-1]}))


def test_every_rule_that_asks_for_something_is_on_the_page() -> None:
    basis = Bylaws(registrars=["m-" + "1" * 16], registrars_required=1, oversight=["m-" + "2" * 16], kinds={"run": Rules(), "release": Rules()})
    full = basis.model_copy(update=FIELDS | {"oversight": ["m-" + "7" * 16]})
    offices = offices_in_words(full, None)
    told = {words for one in offices for words, _value in one.facts} | {words for words, _values in others_in_words(full)}
    told |= {fields_in_words()[field][0] for field in ("registrars", "oversight", "stewards", "founder_led", "oversight_seated")}  # in sentences, and by name
    assert told == {words for words, _show in fields_in_words().values()}
    assert {name for one in offices for name, _absent in one.people or []} == full.offices
    assert "Some votes are the founders' alone, until they hand over to all members. It is said below, beside each." in offices[0].lines


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (86_400, "1 day"), (7 * DAY, "1 week"), (10 * DAY, "10 days"), (36 * 3600, "1 day, 12 hours"), (90 * DAY, "90 days"),
     (366 * DAY, "366 days"), (90_061, "1 day, 1 hour, 1 minute, 1 second"), (12 * 3600, "12 hours")],
)  # fmt: skip
def test_a_length_of_time_is_told_to_the_second(seconds: int, words: str) -> None:
    assert i18n.span(seconds) == words


def test_a_length_of_time_is_told_in_the_readers_language() -> None:
    found = {}
    for language in i18n.LANGUAGES:
        i18n.use(language)
        try:
            found[language] = i18n.span(36 * 3600)
        finally:
            i18n.use("en")
    assert found["ar"] == "يوم، 12 ساعة"
    assert found["sw"] == "siku 1, saa 12"
    assert len(set(found.values())) == len(found)


def test_every_kind_says_what_becomes_of_it_and_a_consultation_approves_nothing() -> None:
    assert len({effect_in_words(kind) for kind in KINDS}) == len(KINDS)
    asked = " ".join(one for part_ in decided_in_words("consultation", Rules(quorum_percent=20, minimum_for=1)) for one in part_)
    assert "At least 20% of those who may vote have to vote." in asked
    assert "approved" not in asked
    assert "say yes" not in asked
    main, more = decided_in_words("run", Rules())
    assert main == rules_in_words(Rules())[:2]
    assert set(rules_in_words(Rules())) < {*main, *more}
    assert len(decided_in_words("run", Rules(quorum="rejection"))[0]) == 1


def test_who_cannot_act_is_told_and_so_is_an_empty_body(make_portal: Callable[..., Portal]) -> None:
    portal = make_portal(oversight_seated="vote")
    first, second = portal.members[:2]
    with portal.service.view.reading() as register:
        register.members[first].left = 1
        register.members[second].suspended_until = shift(now(), 40 * DAY)
        register.seats = Seats((second,), shift(now(), 80 * DAY))
    page = portal.stranger().get("/bylaws")
    registrars = part(page, "who", "how").partition("Who lost their keys")[0]
    assert re.search(rf"{first} \(has left\) {second} \(suspended until", registrars)
    assert "This term ends on" in page.words
    with portal.service.view.reading() as register:
        register.seats = Seats((second,), "2026-01-01T00:00:00Z")
    assert "Nobody sits on it now." in portal.stranger().get("/bylaws").words
    assert "Nobody sits on it now." not in portal.stranger().get("/bylaws").words.partition("Registrars")[0]


def test_what_only_founders_decide_is_told_until_they_handed_over(make_portal: Callable[..., Portal]) -> None:
    portal = make_portal(founder_led=["release"])
    page = portal.stranger().get("/bylaws")
    assert part(page, "kind-release", "kind-payout").count("Only founders vote on this, until they hand over to all members.") == 1
    assert page.words.count("Only founders vote on this") == 1
    with portal.service.view.reading() as register:
        register.exited = 3
    page = portal.stranger().get("/bylaws")
    assert "Only founders vote on this" not in page.words
    assert "The founders handed over to all members (entry 3 of the log)" in page.words


def test_hostile_names_in_bylaws_stay_text(make_portal: Callable[..., Portal], tmp_path: Path) -> None:
    """What a name of a witness may hold is anything but blanks and plus signs; it is shown, and runs nowhere."""
    witness = make_witnesses(tmp_path / "witnesses")[0]
    line = witness.key.cosigner.text
    portal = make_portal(witnesses=[line], witnesses_required=0)
    hostile = "<script>alert(1)</script>\u202e<img/src=x/onerror=alert(2)>"
    with portal.service.view.reading() as register:
        register.bylaws = register.bylaws.model_copy(update={"witnesses": [line.replace(witness.key.name, hostile)], "stages": {"<b>": {"</pre>": 1}}})
    for path in ("/bylaws", "/bylaws/1", "/bylaws?lang=ar"):
        page = portal.stranger().get(path)
        assert "alert(1)" in page.text
        assert not re.search(r"<script>alert|<img/src|<b>|</pre>\"", page.text)
        assert re.search(r"<bdi>[^<]*&lt;script&gt;alert", page.text)


def test_a_reader_finds_the_page_where_they_look_for_it(portal: Portal) -> None:
    proposal = propose(portal)
    stranger, member = portal.stranger(), portal.founder(0)
    for page in (stranger.get("/"), stranger.get("/join"), stranger.get("/proposals"), member.get("/propose"), stranger.get("/nowhere")):
        assert page.links("/bylaws"), page.url
    assert len(stranger.get("/join").links("/bylaws")) == 2  # beside the way to join, and at the end
    assert stranger.get(f"/proposals/{proposal}").links("/bylaws#kind-run")
    assert f"{portal.members[0]} ( that is you )" in member.get("/bylaws").words or f"{portal.members[0]} (that is you)" in member.get("/bylaws").words
    assert member.get("/bylaws").answer.headers.get("etag") is None  # what is shown to somebody is kept nowhere
    assert json.loads(stranger.client.get(f"{MAIN}/bylaws/1/bylaws.json").text)["version"] == 1
