"""A comparison of two releases finds what left where it shows, and nothing where it does not; what was touched is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from governance_hooks.canaries import canaries
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.leak_differential import judge_differential, judge_pairs, members_between
from governance_hooks.leak_policy import DifferentialPolicy, LeakPolicy
from governance_hooks.ledger import LedgerRow
from governance_hooks.plan import Plan
from tests.leaky import OUTPUTS, plan_of

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
BEFORE = plan_of(200, seed=OLD)
MEMBERS = {"previous": 30, "now": 26, "left": 6, "joined": 2}


def bytes_of(plan: Plan) -> bytes:
    return dumps(plan.model_dump(mode="json"))


def now_of(seed: bytes = NEW, **changes: Any) -> Plan:
    policy = LeakPolicy(differential=DifferentialPolicy(**({"previous": sha256(bytes_of(BEFORE))} | changes)))
    return plan_of(200, seed=seed, policy=policy)


def losses_of(shown: float, *, seed: bytes = OLD, draw: random.Random | None = None) -> list[list[float]]:
    """Return losses before and after; what left is expected `shown` standard deviations less than before."""
    chance = draw or random.Random(5)
    pairs = []
    for one in canaries(seed, 200):
        before = chance.gauss(100, 10)
        pairs.append([round(before, 6), round(before + chance.gauss(0, 2) + 2 * shown * one.included, 6)])
    return pairs


def record_of(now: Plan, losses: list[list[float]], *, members: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    told = members or MEMBERS
    return {
        "format": "coop.leak-differential/v1",
        "run": "run-2",
        "plan": sha256(bytes_of(now)),
        "weights": OUTPUTS,
        "previous": {"run": "run-1", "plan": json.loads(bytes_of(BEFORE)), "weights": OUTPUTS},
        "seed": OLD.hex(),
        "losses": losses,
        "members": told,
        **judge_pairs(now, BEFORE, OLD, losses, told),
    } | changes


def judge(now: Plan, record: dict[str, Any]) -> dict[str, Any]:
    return judge_differential(now, dumps(record), plan_digest=sha256(bytes_of(now)), weights=OUTPUTS)


def test_what_left_is_found_where_the_two_show_it_and_not_where_they_do_not() -> None:
    now = now_of()
    hidden, shown = judge(now, record_of(now, losses_of(0.0))), judge(now, record_of(now, losses_of(3.0)))
    assert (hidden["verdict"], hidden["passed"]) == ("PASS", True)
    assert hidden["numbers"]["permutation"]["p"] > 0.05
    assert (shown["verdict"], shown["passed"]) == ("FAIL", False)
    assert shown["criteria"] == {"left_told_apart": "FAIL", "members_left": "PASS"}
    assert shown["numbers"]["auc"]["low"] > 0.9
    assert shown["numbers"]["permutation"]["p"] < 0.002
    assert shown["numbers"]["tpr"]["value"] > 0.2


def test_the_permutation_null_rejects_as_often_as_it_says() -> None:
    draw, now = random.Random(2), plan_of(200, seed=NEW)
    small = sum(judge_pairs(now, BEFORE, OLD, losses_of(0.0, draw=draw), MEMBERS)["numbers"]["permutation"]["p"] <= 0.1 for _ in range(60))
    assert small <= 13  # of Binomial(60, 0.1) more has a probability below 0.003


def test_few_members_leaving_are_refused_or_flagged_as_was_voted() -> None:
    few = {"previous": 30, "now": 28, "left": 2, "joined": 0}
    strict, lenient = now_of(minimum_left=5), now_of(minimum_left=5, refuse_small=False)
    refused = judge(strict, record_of(strict, losses_of(0.0), members=few))
    assert (refused["criteria"]["members_left"], refused["flags"], refused["passed"]) == ("FAIL", ["few-left"], False)
    flagged = judge(lenient, record_of(lenient, losses_of(0.0), members=few))
    assert (flagged["criteria"]["members_left"], flagged["flags"], flagged["passed"]) == ("PASS", ["few-left"], True)
    nobody = judge(strict, record_of(strict, losses_of(0.0), members={"previous": 30, "now": 30, "left": 0, "joined": 0}))
    assert (nobody["flags"], nobody["passed"]) == ([], True)


def test_without_a_limit_there_are_numbers_and_no_verdict() -> None:
    now = plan_of(200, seed=NEW)
    judged = judge(now, record_of(now, losses_of(1.0)))
    assert (judged["verdict"], judged["passed"], judged["criteria"]) == (None, None, {})


def test_the_same_canaries_in_both_cannot_stand_for_what_left() -> None:
    with pytest.raises(BadInput, match="none of them left"):
        judge_pairs(now_of(seed=OLD), BEFORE, OLD, losses_of(0.0), MEMBERS)


def test_a_release_before_without_canaries_is_told() -> None:
    document = json.loads(bytes_of(BEFORE))
    document["canaries"] = None
    del document["tokens"]["languages"]["zxx"]
    with pytest.raises(BadInput, match="no canaries"):
        judge_pairs(now_of(), Plan.model_validate(document), OLD, losses_of(0.0), MEMBERS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"plan": digest("another")}, "another run's weights"),
        ({"weights": [OUTPUTS[0] | {"size": 65}]}, "another run's weights"),
        ({"seed": NEW.hex()}, "not the one the plan before commits to"),
        ({"losses": losses_of(3.0)[:-1]}, "every canary once"),
        ({"losses": losses_of(0.0)}, "does not follow"),
        ({"losses": [[1.0]] * 200}, "losses"),
        ({"losses": [[-1.0, 1.0]] * 200}, "losses"),
        ({"members": MEMBERS | {"left": 31}}, "do not add up"),
        ({"members": MEMBERS | {"left": 0}}, "do not add up"),
        ({"verdict": "PASS"}, "does not follow"),
        ({"passed": True}, "does not follow"),
        ({"criteria": {}}, "does not follow"),
        ({"flags": ["few-left"]}, "does not follow"),
        ({"numbers": {}}, "does not follow"),
        ({"note": "fine"}, "unknown field note"),
    ],
)
def test_a_record_that_was_touched_is_refused(changes: dict[str, Any], why: str) -> None:
    now = now_of()
    record = record_of(now, losses_of(3.0))
    assert record["passed"] is False
    with pytest.raises(BadInput, match=why):
        judge(now, record | changes)


def test_nan_is_refused() -> None:
    now = now_of()
    data = dumps(record_of(now, losses_of(0.0)))
    start = data.index(b'"losses":[[') + len(b'"losses":[[')
    harmed = data[:start] + b"NaN" + data[data.index(b",", start) :]
    with pytest.raises(BadInput):
        judge_differential(now, harmed, plan_digest=sha256(bytes_of(now)), weights=OUTPUTS)


def test_a_comparison_with_a_release_that_was_not_voted_is_refused() -> None:
    now = now_of(previous=digest("a gentler release"))
    with pytest.raises(BadInput, match="another release than was voted"):
        judge(now, record_of(now, losses_of(0.0)))


def row(author: str, split: str) -> LedgerRow:
    return LedgerRow(
        record=f"r-{author}-{split}", commitment=digest("c"), content=digest("t"), authors=[author], consents=[digest("s")], batch=digest("b"),
        language="spa", split=split,
    )  # fmt: skip


def test_members_are_counted_by_what_was_trained_on() -> None:
    before = [row("m-1", "train"), row("m-2", "train"), row("m-3", "heldout")]
    now = [row("m-2", "train"), row("m-1", "heldout"), row("m-4", "train")]
    assert members_between(before, now) == {"previous": 2, "now": 2, "left": 1, "joined": 1}
