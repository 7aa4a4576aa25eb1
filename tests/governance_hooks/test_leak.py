"""The leak test finds what is there and nothing else, its bounds hold, and a record that was touched is refused."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError
from scipy.stats import linregress, mannwhitneyu

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.leak import criteria_of, judge, judge_leak
from governance_hooks.leak_numbers import audit, calibrated
from governance_hooks.leak_policy import LeakPolicy, policy_words
from governance_hooks.plan import EvaluationPolicy, Plan, read_plan
from tests.leaky import SEED, items_of, lines_of, plan_of, record_of

LEVEL = Decimal("0.95")
Lines = list[dict[str, Any]]


def seed_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_where_nothing_leaks_the_bound_is_zero_in_at_least_95_of_100_runs() -> None:
    draw, above = random.Random(3), 0
    for _ in range(600):
        coins = [draw.random() < 0.5 for _ in range(200)]
        above += audit([int(draw.gauss(0, 1e6)) for _ in coins], coins, LEVEL)["lower_bound"] > 0
    assert above <= 0.05 * 600


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_the_bound_is_above_the_true_epsilon_in_at_most_5_of_100_runs(epsilon: float) -> None:
    """Randomised response is exactly epsilon private: each coin is reported right with probability e^epsilon / (1 + e^epsilon)."""
    draw, honest, above, largest = random.Random(int(10 * epsilon)), 1 / (1 + math.exp(-epsilon)), 0, 0.0
    for _ in range(300):
        coins = [draw.random() < 0.5 for _ in range(200)]
        scores = [int((1 if coin == (draw.random() < honest) else -1) * draw.uniform(1, 2) * 1e6) for coin in coins]
        bound = audit(scores, coins, LEVEL)["lower_bound"]
        above += bound > epsilon
        largest = max(largest, bound)
    assert above <= 0.05 * 300
    assert largest > epsilon / 2  # a bound that is always zero would hold too


def test_the_second_bound_holds_for_what_is_private_but_for_delta() -> None:
    """With probability delta a canary's coin is simply shown; else randomised response."""
    epsilon, delta, draw, above, pure = 1.0, 0.02, random.Random(9), 0, 0
    honest = 1 / (1 + math.exp(-epsilon))
    for _ in range(60):
        shown: Lines = lines_of(100, draw=draw)
        for line in shown:
            sure = draw.random() < delta
            gain = (1 if line["included"] == (sure or draw.random() < honest) else -1) * draw.uniform(1, 2) * (5 if sure else 1)
            line["tuned"] = round(line["base"] - gain, 6)
        found = judge(plan_of(100, policy=LeakPolicy(delta=delta)), SEED, shown)["numbers"]["epsilon"]
        above += found["with_delta"] > epsilon
        pure += found["lower_bound"] > 0
        assert found["with_delta"] <= found["lower_bound"]
    assert above <= 0.05 * 60
    assert pure


def test_planted_leaks_are_found_and_larger_ones_bound_more() -> None:
    bounds = [judge(plan_of(), SEED, lines_of(leak=leak))["numbers"]["epsilon"]["lower_bound"] for leak in (0.0, 1.0, 2.0, 6.0)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0
    assert bounds[1] > 0.3
    assert bounds[3] == judge(plan_of(), SEED, lines_of(leak=6.0))["numbers"]["epsilon"]["ceiling"] > 3


def test_a_planted_leak_fails_the_policy_and_none_passes_it() -> None:
    policy = LeakPolicy(maximum_epsilon=1.0, maximum_tpr=0.3)
    plan = plan_of(policy=policy)
    clean, leaky, loud = (judge(plan, SEED, lines_of(leak=leak, extracted=extracted)) for leak, extracted in ((0.0, 0), (3.0, 0), (0.5, 40)))
    assert (clean["verdict"], clean["passed"]) == ("PASS", True)
    assert (leaky["verdict"], leaky["passed"]) == ("FAIL", False)
    assert (leaky["criteria"]["epsilon"], leaky["criteria"]["tpr"], leaky["criteria"]["extraction"]) == ("FAIL", "FAIL", "PASS")
    assert (loud["criteria"]["extraction"], loud["passed"]) == ("FAIL", False)
    assert loud["numbers"]["extraction"]["whole"]["count"] == 40
    assert loud["numbers"]["extraction"]["half"]["count"] == 40
    assert loud["numbers"]["extraction"]["others"]["count"] == 0


def test_without_a_policy_there_are_numbers_and_no_verdict() -> None:
    judged = judge(plan_of(), SEED, lines_of())
    assert (judged["criteria"], judged["verdict"], judged["passed"]) == ({}, None, None)
    assert judged["numbers"]["made"] == 200


def test_what_the_test_cannot_tell_is_insufficient_and_passes_only_where_the_policy_says_so() -> None:
    few = judge(plan_of(40, policy=LeakPolicy(minimum_canaries=200)), SEED, lines_of(40))
    assert few["criteria"]["canaries"] == few["verdict"] == "INSUFFICIENT"
    assert few["passed"] is False
    lenient = judge(plan_of(40, policy=LeakPolicy(minimum_canaries=200, allow_insufficient=True)), SEED, lines_of(40))
    assert (lenient["verdict"], lenient["passed"]) == ("INSUFFICIENT", True)
    # An audit that could not have found more than is allowed proves nothing by finding less.
    blind = judge(plan_of(40, policy=LeakPolicy(minimum_canaries=20, maximum_epsilon=5.0)), SEED, lines_of(40))
    assert blind["numbers"]["epsilon"]["ceiling"] < 5
    assert blind["criteria"]["epsilon"] == "INSUFFICIENT"
    # and a leak that few canaries show is a leak
    leaky = judge(plan_of(60, policy=LeakPolicy(minimum_canaries=200, maximum_epsilon=0.5, allow_insufficient=True)), SEED, lines_of(60, leak=6.0))
    assert (leaky["verdict"], leaky["passed"]) == ("FAIL", False)


def test_base_weights_that_know_the_coins_fail_the_control() -> None:
    lines = lines_of()
    for line in lines:
        line["base"] = round(line["base"] - 60 * line["included"], 6)
        line["tuned"] = round(max(line["base"] - 3, 0), 6)
    judged = judge(plan_of(policy=LeakPolicy(allow_insufficient=True)), SEED, lines)
    assert judged["numbers"]["control"]["base"]["lower_bound"] > 0
    assert (judged["criteria"]["control"], judged["passed"]) == ("FAIL", False)


def test_coins_dealt_anew_show_a_leak_in_about_as_many_deals_as_confidence_allows() -> None:
    for leak in (0.0, 4.0):
        shuffled = judge(plan_of(), SEED, lines_of(leak=leak))["numbers"]["control"]["shuffled"]
        assert shuffled["of"] == 200
        assert shuffled["above_zero"] <= 16


def test_area_exposure_and_recognition_are_what_they_are_defined_as() -> None:
    lines = lines_of(leak=1.0)
    numbers = judge(plan_of(), SEED, lines)["numbers"]
    base, tuned = ([round(1e6 * line[name]) for line in lines] for name in ("base", "tuned"))
    gain = [float(score) for score in calibrated(base, tuned)]
    ins = [score for score, line in zip(gain, lines, strict=True) if line["included"]]
    outs = [score for score, line in zip(gain, lines, strict=True) if not line["included"]]
    assert numbers["auc"]["calibrated"]["value"] == pytest.approx(mannwhitneyu(ins, outs).statistic / len(ins) / len(outs), abs=1e-4)
    assert numbers["exposure"]["included"] == pytest.approx(sum(math.log2((len(outs) + 1) / (1 + sum(o > s for o in outs))) for s in ins) / len(ins), abs=1e-4)
    threshold = sorted(outs)[-1 - len(outs) // 100]
    assert numbers["tpr"]["count"] == sum(score > threshold for score in ins)
    assert numbers["tpr"]["false_alarms"] <= len(outs) / 100


def test_the_score_is_the_residual_of_a_line_that_knows_no_coins() -> None:
    draw = random.Random(8)
    base = [draw.randrange(10**8, 2 * 10**8) for _ in range(50)]
    tuned = [int(0.3 * value + draw.gauss(0, 1e6)) for value in base]
    fit = linregress(base, tuned)
    residuals = [fit.intercept + fit.slope * value - loss for value, loss in zip(base, tuned, strict=True)]
    scores = calibrated(base, tuned)
    assert sorted(range(50), key=scores.__getitem__) == sorted(range(50), key=residuals.__getitem__)
    assert calibrated([7, 7, 7], [3, 1, 2]) == [-3, -1, -2]


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_the_score_is_about_as_good_as_the_better_of_difference_and_loss(kept: float) -> None:
    """`kept`: how much of a line's difficulty is still there after training."""
    draw, lines = random.Random(int(10 * kept)), lines_of()
    for line in lines:
        line["tuned"] = round(60 + kept * line["base"] + draw.gauss(0, 2) - 4 * line["included"], 6)
    auc = {name: found["value"] for name, found in judge(plan_of(), SEED, lines)["numbers"]["auc"].items()}
    assert auc["calibrated"] > max(auc["gain"], auc["loss"]) - 0.01
    assert auc["calibrated"] > 0.88
    assert min(auc["gain"], auc["loss"]) < 0.75


def test_the_same_lines_give_the_same_numbers() -> None:
    assert dumps(judge(plan_of(), SEED, lines_of(leak=1.0))) == dumps(judge(plan_of(), SEED, lines_of(leak=1.0)))


def test_a_record_that_follows_is_accepted() -> None:
    plan, lines = plan_of(policy=LeakPolicy()), lines_of(leak=1.0)
    judged = judge_leak(plan, record_of(plan, lines), items_of(lines))
    assert judged["passed"] is True


def _swap_coin(lines: Lines) -> None:
    lines[3]["included"] = not lines[3]["included"]


def _swap_two(lines: Lines) -> None:
    lines[3], lines[4] = lines[4], lines[3]


def _rename(lines: Lines) -> None:
    lines[3]["canary"] = lines[4]["canary"]


def _drop(lines: Lines) -> None:
    del lines[-1]


def _double(lines: Lines) -> None:
    lines[5] = dict(lines[4])


def _add(lines: Lines) -> None:
    lines.append(lines[-1] | {"index": 200})


def _text(lines: Lines) -> None:
    lines[0]["text"] = "a member's"


def _negative(lines: Lines) -> None:
    lines[0]["tuned"] = -1.0


def _huge(lines: Lines) -> None:
    lines[0]["base"] = 1e300


def _true(lines: Lines) -> None:
    lines[0]["matched"] = True


def _beyond(lines: Lines) -> None:
    lines[0]["tail"] = 31


def _contradiction(lines: Lines) -> None:
    lines[0]["matched"] = 30


def _no_tokens(lines: Lines) -> None:
    lines[0].update(tokens=0, matched=0, tail=0)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_swap_coin, "the coin of the seed fell otherwise"),
        (_swap_two, "is not the canary of this place"),
        (_rename, "is another canary than the seed's"),
        (_drop, "does not hold every canary once"),
        (_double, "is not the canary of this place"),
        (_add, "does not hold every canary once"),
        (_text, "wrong fields"),
        (_negative, "tuned is no loss"),
        (_huge, "base is no loss"),
        (_true, "matched is no count"),
        (_beyond, "tail is no count"),
        (_contradiction, "contradict each other"),
        (_no_tokens, "tokens is no count"),
    ],
)
def test_lines_that_were_touched_are_refused(harm: Callable[[Lines], None], why: str) -> None:
    plan, lines = plan_of(policy=LeakPolicy()), lines_of(leak=1.0)
    honest = json.loads(record_of(plan, lines))
    harm(lines)
    with pytest.raises(BadInput, match=why):
        judge_leak(plan, dumps(honest | {"items": sha256(items_of(lines))}), items_of(lines))


@pytest.mark.parametrize("wrong", [b'"tuned":NaN', b'"tuned":Infinity', b'"tuned":"1"', b'"tuned":null', b'"tuned":1e2'])
def test_a_loss_that_is_no_number_is_refused(wrong: bytes) -> None:
    plan, lines = plan_of(policy=LeakPolicy()), lines_of()
    items = items_of(lines)
    harmed = items.replace(b'"tuned":' + dumps(lines[0]["tuned"]), wrong, 1)
    assert harmed != items
    with pytest.raises(BadInput):
        judge_leak(plan, dumps(json.loads(record_of(plan, lines)) | {"items": sha256(harmed)}), harmed)


def test_a_smaller_loss_than_was_measured_changes_what_follows() -> None:
    plan, lines = plan_of(policy=LeakPolicy()), lines_of(leak=1.0)
    honest = json.loads(record_of(plan, lines))
    best = max((line for line in lines if line["included"]), key=lambda line: line["base"] - line["tuned"])
    best["tuned"] = best["base"]
    with pytest.raises(BadInput, match=r"is not the file leak\.json names"):
        judge_leak(plan, dumps(honest), items_of(lines))
    with pytest.raises(BadInput, match="does not follow"):
        judge_leak(plan, dumps(honest | {"items": sha256(items_of(lines))}), items_of(lines))


def _changed(record: dict[str, Any], path: str, value: Any) -> bytes:
    *parents, last = path.split(".")
    here = record
    for name in parents:
        here = here[name]
    here[last] = value
    return dumps(record)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("seed", bytes(32).hex(), "not the one the plan commits to"),
        ("seed", "00", "seed"),
        ("policy.maximum_epsilon", 15, "another policy"),
        ("policy.allow_insufficient", True, "another policy"),
        ("policy", None, "another policy"),
        ("verdict", "PASS", "does not follow"),
        ("passed", True, "does not follow"),
        ("passed", None, "does not follow"),
        ("criteria.epsilon", "PASS", "does not follow"),
        ("criteria", {}, "does not follow"),
        ("numbers.epsilon.lower_bound", 0, "does not follow"),
        ("numbers.epsilon.sets", [], "does not follow"),
        ("numbers.extraction.whole.count", 7, "does not follow"),
        ("numbers.note", "all is well", "does not follow"),
        ("numbers", {}, "does not follow"),
        ("format", "coop.leak/v2", "format"),
        ("device", "a <b>loud</b> device", "device"),
        ("packages", {"torch": "2.13.0\n"}, "packages"),
        ("note", "all is well", "unknown field note"),
        ("weights", [], "weights"),
    ],
)
def test_a_record_that_was_touched_is_refused(path: str, value: Any, why: str) -> None:
    plan, lines = plan_of(policy=LeakPolicy(maximum_epsilon=0.5)), lines_of(leak=3.0)
    record = json.loads(record_of(plan, lines))
    assert record["verdict"] == "FAIL"
    with pytest.raises(BadInput, match=why):
        judge_leak(plan, _changed(record, path, value), items_of(lines))


def test_another_seed_of_the_operators_choice_is_refused_with_all_its_canaries() -> None:
    other = seed_of(5)
    plan, lines = plan_of(policy=LeakPolicy()), lines_of(seed=other)
    made = record_of(plan_of(policy=LeakPolicy(), seed=other), lines, seed=other)
    with pytest.raises(BadInput, match="not the one the plan commits to"):
        judge_leak(plan, made, items_of(lines))


def test_a_run_that_trained_on_another_number_of_canaries_than_the_coins_say_is_refused() -> None:
    plan, lines = plan_of(), lines_of()
    document = json.loads(dumps(plan.model_dump(mode="json")))
    document["tokens"]["languages"]["zxx"]["rows"] -= 1
    with pytest.raises(BadInput, match="another number of canaries"):
        judge(read_plan(dumps(document)), SEED, lines)


def test_bytes_that_are_no_record_are_refused() -> None:
    plan, lines = plan_of(), lines_of()
    for leak, items in ((b"", items_of(lines)), (b"[]", items_of(lines)), (record_of(plan, lines), b""), (record_of(plan, lines), items_of(lines)[:-1])):
        with pytest.raises(BadInput):
            judge_leak(plan, leak, items)


def test_a_plan_with_a_leak_policy_and_no_canaries_is_refused() -> None:
    document = json.loads(dumps(plan_of(policy=LeakPolicy()).model_dump(mode="json")))
    document["canaries"] = None
    del document["tokens"]["languages"]["zxx"]
    with pytest.raises(BadInput, match="needs canaries"):
        read_plan(dumps(document))
    with pytest.raises(ValidationError):
        Plan.model_validate(document)


def test_a_plan_without_a_policy_has_the_bytes_it_always_had() -> None:
    assert "leak" not in EvaluationPolicy().model_dump(mode="json")
    plan = dumps(plan_of().model_dump(mode="json"))
    assert b'"leak"' not in plan
    assert read_plan(plan) == plan_of()
    voted = plan_of(policy=LeakPolicy())
    assert read_plan(dumps(voted.model_dump(mode="json"))) == voted


@pytest.mark.parametrize(
    "wrong", [{"maximum_epsilon": -1}, {"maximum_tpr": 1.1}, {"confidence": 0.5}, {"minimum_canaries": 19}, {"delta": 0.0}, {"unknown": 1}]
)
def test_a_policy_that_limits_nothing_or_the_impossible_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LeakPolicy(**wrong)


def test_members_read_the_limits_in_words() -> None:
    words = policy_words(LeakPolicy(maximum_epsilon=1.5, minimum_canaries=300))
    assert "300 canaries" in words
    assert "epsilon above 1.5" in words
    assert "no release without a waiver" in words
    assert "a release is allowed" in policy_words(LeakPolicy(allow_insufficient=True))


def test_each_limit_decides_by_itself() -> None:
    numbers = judge(plan_of(), SEED, lines_of(leak=1.5, extracted=10))["numbers"]
    low = LeakPolicy(maximum_epsilon=0.1, maximum_extraction=0.01, maximum_tpr=0.01)
    assert {name for name, verdict in criteria_of(numbers, low).items() if verdict == "FAIL"} == {"epsilon", "extraction", "tpr"}
    high = LeakPolicy(maximum_epsilon=3.4, maximum_extraction=1.0, maximum_tpr=1.0)
    assert set(criteria_of(numbers, high).values()) == {"PASS"}
