"""Shares follow from the values table alone: right ones, with intervals, and any changed number is found."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from scipy import stats

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from governance_hooks.report import StepFailed
from governance_hooks.stake.game import next_coalition
from governance_hooks.stake.resampling import expanded_tail
from governance_hooks.stake.shares import check_shares, make_shares
from governance_hooks.stake.values import Answer, Head, Trained, Values, read_values
from tests.shares import assigned, shares_of, sharing, table
from tests.village import Approved

COUNTS = {"eus": 10, "que": 5, "spa": 30}
OWN = {"eus": 300_000, "que": 90_000, "spa": 210_000}


def additive(coalition: list[str], language: str, seed: int) -> int:
    """Each guild helps its own language only."""
    return OWN[language] if language in coalition else 0


def kin(coalition: list[str], language: str, seed: int) -> int:
    """Two guilds say the same: either helps both languages, and both no more than one."""
    if language == "que":
        return OWN["que"] if "que" in coalition else 0
    return 200_000 if {"eus", "spa"} & set(coalition) else 0


@pytest.fixture
def made(approved: Approved) -> Any:
    def make(worth: Any = additive, counts: dict[str, int] = COUNTS, how: dict[str, Any] | None = None, **policy: Any) -> tuple[bytes, dict[str, bytes]]:
        data = sharing(approved.plan, counts, **policy)
        attribution = read_plan(data).attribution
        assert attribution is not None
        return data, shares_of(data, attribution, counts, worth, **(how or {}))

    return make


def result(files: dict[str, bytes]) -> Any:
    return loads(files["stake/shares.json"])


def test_guilds_that_only_help_themselves_get_what_they_add(made: Any) -> None:
    plan, files = made()
    found = result(files)
    total = sum(OWN.values())
    assert {guild: one["share_ppm"] for guild, one in found["shares"].items()} == pytest.approx(
        {g: worth * 1_000_000 / total for g, worth in OWN.items()}, abs=1
    )
    assert {guild: one["value_micro"] for guild, one in found["shares"].items()} == {guild: worth // 3 for guild, worth in OWN.items()}
    assert sum(one["share_ppm"] for one in found["shares"].values()) == 1_000_000
    assert (found["method"], found["trainings"], len(found["v"])) == ("exact", 7, 8)
    assert found["players"]["spa"]["record_share_ppm"] == pytest.approx(30 / 45 * 1_000_000, abs=1)
    assert "shares of 3 guilds recomputed from 7 trainings" in check_shares(plan, files, run="first")


def test_two_guilds_that_say_the_same_share_its_worth_and_gain_nothing_by_being_two(made: Any) -> None:
    _, files = made(kin)
    found = result(files)
    assert found["shares"]["eus"]["share_ppm"] == found["shares"]["spa"]["share_ppm"]
    [pair] = [one for one in found["splitting"] if one["guilds"] == ["eus", "spa"]]
    assert pair["apart_ppm"] == pair["together_ppm"]


def test_what_a_split_pays_is_told(made: Any) -> None:
    def needs_both(coalition: list[str], language: str, seed: int) -> int:
        return 300_000 if len(coalition) == 3 else 0

    _, files = made(needs_both)
    found = result(files)
    assert all(one["share_ppm"] in (333_333, 333_334) for one in found["shares"].values())
    assert all((one["apart_ppm"], one["together_ppm"]) == (666_667, 500_000) for one in found["splitting"])


def test_a_guild_that_does_harm_gets_nothing_and_owes_nothing(made: Any) -> None:
    def harmful(coalition: list[str], language: str, seed: int) -> int:
        return additive(coalition, language, seed) - (50_000 if "que" in coalition and language != "que" else 0) - (90_000 if "que" in coalition else 0)

    _, files = made(harmful)
    found = result(files)
    assert found["shares"]["que"]["value_micro"] < 0
    assert found["shares"]["que"]["share_ppm"] == found["shares"]["que"]["low_ppm"] == 0
    assert sum(one["share_ppm"] for one in found["shares"].values()) == 1_000_000


def test_where_nothing_was_gained_nothing_is_shared(made: Any) -> None:
    plan, files = made(lambda coalition, language, seed: -1000 * len(coalition))
    assert (result(files)["shares"], result(files)["verdict"]) == (None, "no gain")
    check_shares(plan, files)


def test_the_utility_decides_and_the_others_stand_beside_it(made: Any) -> None:
    def half(coalition: list[str], language: str, seed: int) -> int:
        return OWN[language] * ((language in coalition) + (len(coalition) == 3))

    shares = {}
    for utility in ("languages", "tokens", "accuracy"):
        _, files = made(half, utility=utility)
        found = result(files)
        assert (found["utility"], utility in found["alternatives"], len(found["alternatives"])) == (utility, False, 2)
        shares[utility] = found["shares"]["eus"]["value_micro"]
    assert len(set(shares.values())) > 1


@pytest.mark.parametrize(("clusters", "unit"), [(6, "clusters"), (4, "items")])
def test_intervals_hold_the_point_and_are_wider_with_noise(made: Any, clusters: int, unit: str) -> None:
    _, calm = made(how={"clusters": clusters, "noise": 100_000})
    _, noisy = made(how={"clusters": clusters, "noise": 3_000_000})
    width = []
    for files in (calm, noisy):
        found = result(files)
        assert found["interval"]["unit"] == unit
        assert all(one["low_ppm"] <= one["share_ppm"] <= one["high_ppm"] for one in found["shares"].values())
        width.append(statistics.mean(one["high_ppm"] - one["low_ppm"] for one in found["shares"].values()))
    assert width[1] > 3 * width[0] > 0


def test_seeds_that_disagree_widen_the_interval(made: Any) -> None:
    def moody(coalition: list[str], language: str, seed: int) -> int:
        return additive(coalition, language, seed) * (3 if seed and language == "spa" else 1)

    _, steady = made(seeds=[0, 1, 2])
    _, files = made(moody, seeds=[0, 1, 2])
    found, calm = result(files)["shares"]["spa"], result(steady)["shares"]["spa"]
    assert found["high_ppm"] - found["low_ppm"] > calm["high_ppm"] - calm["low_ppm"] + 50_000
    assert result(files)["trainings"] == 21


MANY = dict.fromkeys(("aaa", "bbb", "ccc", "ddd", "eee", "fff", "ggg"), 4)


def test_above_six_guilds_orders_are_sampled_and_agree_with_what_is_known(made: Any) -> None:
    def own(coalition: list[str], language: str, seed: int) -> int:
        return 100_000 * (1 + "abcdefg".index(language[0])) if language in coalition else 0

    plan, files = made(own, counts=MANY, permutations=20, truncation_permille=0)
    found = result(files)
    assert (found["method"], found["permutations"], found["splitting"]) == ("sampled", 20, [])
    assert found["trainings"] < 2**7 - 1
    for number, guild in enumerate(sorted(MANY), start=1):
        assert found["shares"][guild]["share_ppm"] == pytest.approx(number / 28 * 1_000_000, abs=2)
    check_shares(plan, files)


def test_a_cut_order_needs_fewer_trainings_and_stays_near(made: Any) -> None:
    def saturates(coalition: list[str], language: str, seed: int) -> int:
        return 400_000 - 400_000 // (1 + len(coalition)) ** 3

    _, whole = made(saturates, counts=MANY, permutations=12, truncation_permille=0)
    _, cut = made(saturates, counts=MANY, permutations=12, truncation_permille=40)
    assert result(cut)["trainings"] < result(whole)["trainings"]
    for guild in MANY:
        low, high = (result(cut)["shares"][guild][bound] for bound in ("low_ppm", "high_ppm"))
        assert low <= 1_000_000 / 7 <= high


@pytest.mark.parametrize("path", ["stake/shares.json", "stake/values.jsonl", "stake/guilds.jsonl"])
def test_every_changed_digit_is_found(made: Any, path: str) -> None:
    plan, files = made()
    data = files[path]
    places = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    for place in places[:: max(1, len(places) // 25)]:
        changed = bytearray(data)
        changed[place] = ord("1") if data[place] != ord("1") else ord("2")
        with pytest.raises((StepFailed, BadInput)):
            check_shares(plan, files | {path: bytes(changed)}, run="first")


def test_shares_of_another_run_or_without_their_table_are_refused(made: Any, approved: Approved) -> None:
    plan, files = made()
    with pytest.raises(StepFailed, match="is of run 'first', not 'other'"):
        check_shares(plan, files, run="other")
    with pytest.raises(StepFailed, match=r"stake/values.jsonl is missing"):
        check_shares(plan, {path: data for path, data in files.items() if "values" not in path})
    assert "no shares are stated" in check_shares(plan, {})
    with pytest.raises(StepFailed, match="members voted on no attribution"):
        check_shares(approved.plan_bytes, files)
    assert "there are no shares" in check_shares(approved.plan_bytes, {})


def test_better_numbers_with_a_table_of_another_plan_are_refused(made: Any) -> None:
    plan, _ = made()
    _, other = made(seeds=[1])
    with pytest.raises(StepFailed, match="of another plan"):
        check_shares(plan, other)


def test_a_table_with_a_coalition_too_many_or_too_few_shares_nothing(made: Any) -> None:
    plan, files = made()
    lines = files["stake/values.jsonl"].splitlines(keepends=True)
    with pytest.raises(BadInput, match="exactly the coalitions"):
        make_shares(plan, "first", b"".join(lines[:-1]), files["stake/guilds.jsonl"])
    with pytest.raises(BadInput, match="stands twice"):
        make_shares(plan, "first", b"".join([*lines, lines[-1]]), files["stake/guilds.jsonl"])


def test_a_torn_last_line_is_left_out_and_the_table_goes_on(made: Any) -> None:
    plan, files = made()
    attribution = read_plan(plan).attribution
    assert attribution is not None
    whole = files["stake/values.jsonl"]
    with pytest.raises(BadInput, match="cut off"):
        read_values(whole[:-5])
    resumed = read_values(whole[:-5], torn=True)
    assert len(resumed.trained) == 7
    wanted = next_coalition(attribution, resumed)
    assert wanted is not None
    resumed.add(read_values(whole).trained[tuple(wanted[0]), wanted[1]])
    assert make_shares(plan, "first", resumed.dumps(), files["stake/guilds.jsonl"]) == files["stake/shares.json"]


def test_plans_from_before_stay_valid_to_the_byte(approved: Approved) -> None:
    older = loads(approved.plan_bytes, floats=True)
    del older["attribution"]
    assert read_plan(dumps(older)).attribution is None


def test_an_assignment_that_counts_otherwise_than_the_plan_is_refused(made: Any) -> None:
    plan, files = made()
    other = assigned(COUNTS | {"spa": 31})
    with pytest.raises(BadInput, match="not the assignment the plan names"):
        make_shares(plan, "first", files["stake/values.jsonl"], other)


def test_values_are_a_pure_function_of_the_table(made: Any) -> None:
    plan, files = made(seeds=[0, 3], how={"noise": 500_000})
    attribution = read_plan(plan).attribution
    assert attribution is not None
    values = table(plan, attribution, additive, noise=500_000)
    assert make_shares(plan, "first", values.dumps(), files["stake/guilds.jsonl"]) == files["stake/shares.json"]


@pytest.mark.parametrize("units", [5, 6, 12, 40, 200])
@pytest.mark.parametrize("percent", [80, 95])
def test_the_tail_of_an_interval_is_that_of_students_t(percent: int, units: int) -> None:
    wanted = stats.norm.cdf(-math.sqrt(units / (units - 1)) * stats.t.ppf((100 + percent) / 200, units - 1))
    assert expanded_tail(percent, units) == pytest.approx(wanted, rel=0.05)
    assert expanded_tail(percent, units) < (100 - percent) / 200


@pytest.mark.slow
def test_intervals_cover_the_true_shares_about_as_often_as_they_say(approved: Approved) -> None:
    """A known game, seen through answers of twelve contributors who differ: 95% intervals hold the truth in nearly 95 of 100 draws."""
    guilds, true = ["eus", "que", "spa"], {"eus": 0.5, "que": 0.2, "spa": 0.3}
    data = sharing(approved.plan, dict.fromkeys(guilds, 5), resamples=1000)
    plan = read_plan(data).attribution
    assert plan is not None
    answers = [Answer(item=f"{code}-{who}-{n}", language=code, cluster=f"m-{who}", tokens=20) for code in guilds for who in range(12) for n in range(3)]
    held = drawn = 0
    for number in range(50):
        draw = random.Random(number)
        person = {(f"m-{who}", code): draw.gauss(1, 0.5) for who in range(12) for code in guilds}
        gains = [900_000 * true[one.language] * person[one.cluster, one.language] * draw.gauss(1, 0.7) * one.tokens for one in answers]
        values = Values(Head(plan=sha256(data), assignment=plan.assignment, answers=answers, device="cpu", threads=1), [])
        while (wanted := next_coalition(plan, values)) is not None:
            coalition, seed = wanted
            nll = [round(100_000_000 - (gain if one.language in coalition else 0)) for one, gain in zip(answers, gains, strict=True)]
            values.add(Trained(coalition=coalition, seed=seed, nll=nll, hits=[0] * len(nll), steps=1, milliseconds=1))
        found = loads(make_shares(data, "first", values.dumps(), assigned(dict.fromkeys(guilds, 5))))["shares"]
        held += sum(found[code]["low_ppm"] <= true[code] * 1_000_000 <= found[code]["high_ppm"] for code in guilds)
        drawn += len(guilds)
    assert held / drawn > 0.88
