from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.verdict import interval, judge

FAST = EvaluationPolicy(resamples=200)


def rows_of(differences: list[float], *, language: str = "spa", clusters: int = 10, tokens: int = 10, base: float = 30.0) -> list[dict[str, Any]]:
    return [
        {
            "item": f"{language}{i:05d}",
            "language": language,
            "cluster": f"m{i % clusters}",
            "tokens": tokens,
            "base": base,
            "tuned": round(base + d * tokens, 6),
        }
        for i, d in enumerate(differences)
    ]


def noisy(mean: float, n: int = 60, seed: int = 1, spread: float = 0.3) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(mean, spread) for _ in range(n)]


def test_interval_agrees_with_scipy_bootstrap_of_the_same_ratio() -> None:
    draw = np.random.default_rng(3)
    tokens = draw.integers(3, 60, size=80)
    micro = (draw.normal(-0.1, 0.5, size=80) * tokens * 1e6).round().astype(int)
    low, high = interval([(int(d), int(t)) for d, t in zip(micro, tokens, strict=True)], confidence=0.95, resamples=20_000, seed=5)
    oracle = stats.bootstrap(
        (micro.astype(float), tokens.astype(float)),
        lambda d, t, axis=-1: d.sum(axis=axis) / t.sum(axis=axis) / 1e6,
        paired=True, vectorized=True, method="percentile", n_resamples=20_000, rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    width = oracle.high - oracle.low
    assert abs(low - oracle.low) < 0.03 * width
    assert abs(high - oracle.high) < 0.03 * width


def test_means_are_token_weighted_ratios() -> None:
    rows = rows_of(noisy(-0.2))
    for i, row in enumerate(rows):
        row["tokens"] = 5 + i
    judged = judge(rows, FAST)["languages"]["spa"]
    tokens = np.array([r["tokens"] for r in rows])
    assert judged["base"] == pytest.approx(np.average([r["base"] / r["tokens"] for r in rows], weights=tokens), abs=1e-6)
    assert judged["difference"] == pytest.approx(sum(r["tuned"] - r["base"] for r in rows) / tokens.sum(), abs=1e-6)


def test_contributors_are_resampled_so_their_likeness_widens_the_interval() -> None:
    draw = random.Random(4)
    shared = [draw.gauss(0, 0.5) for _ in range(12)]
    differences = [shared[i % 12] + draw.gauss(0, 0.05) for i in range(240)]
    clustered = judge(rows_of(differences, clusters=12), FAST)["languages"]["spa"]
    alone = judge(rows_of(differences, clusters=240), FAST)["languages"]["spa"]
    assert clustered["clusters"] == 12
    assert clustered["high"] - clustered["low"] > 3 * (alone["high"] - alone["low"])


def test_few_contributors_fall_back_to_items() -> None:
    judged = judge(rows_of(noisy(0.0), clusters=4), FAST)["languages"]["spa"]
    assert (judged["clusters"], judged["resampled"]) == (4, "items")
    assert judge(rows_of(noisy(0.0), clusters=5), FAST)["languages"]["spa"]["resampled"] == "clusters"


@pytest.mark.parametrize(
    ("mean", "verdict", "improved"), [(-1.0, "PASS", True), (1.0, "FAIL", False), (0.0, "INSUFFICIENT", False)], ids=["better", "worse", "unclear"]
)
def test_each_verdict_occurs(mean: float, verdict: str, improved: bool) -> None:
    judged = judge(rows_of(noisy(mean)), FAST)["languages"]["spa"]
    assert (judged["verdict"], judged["improved"]) == (verdict, improved)


def test_a_margin_turns_a_small_proven_loss_into_a_pass_that_is_not_an_improvement() -> None:
    rows = rows_of(noisy(0.1, spread=0.05))
    assert judge(rows, FAST)["passed"] is False
    judged = judge(rows, FAST.model_copy(update={"margin": 0.3}))
    assert judged["passed"] is True
    assert judged["languages"]["spa"]["improved"] is False
    assert judged["worse"] == ["spa"]


def test_one_failing_language_blocks_the_release() -> None:
    assert judge(rows_of(noisy(-1, 400)), FAST)["passed"] is True
    judged = judge(rows_of(noisy(-1, 400)) + rows_of(noisy(1), language="est"), FAST)
    assert judged["languages"]["est"]["verdict"] == "FAIL"
    assert judged["overall"]["verdict"] == "PASS"
    assert judged["passed"] is False


def test_too_few_items_state_no_interval_and_block_where_the_policy_says_so() -> None:
    rows = rows_of(noisy(-1)) + rows_of([-3.0] * 7, language="est")
    judged = judge(rows, FAST)
    assert judged["languages"]["est"] | {"low": None, "high": None, "verdict": "INSUFFICIENT", "improved": False} == judged["languages"]["est"]
    assert judged["unproven"] == ["est"]
    assert judged["passed"] is True
    assert judge(rows, FAST.model_copy(update={"allow_insufficient": False}))["passed"] is False


def test_a_trained_language_without_heldout_rows_is_named_insufficient() -> None:
    judged = judge(rows_of(noisy(-1)), FAST, languages=["spa", "kin"])
    assert judged["languages"]["kin"]["items"] == 0
    assert judged["languages"]["kin"]["verdict"] == "INSUFFICIENT"
    assert judge(rows_of(noisy(-1)), FAST.model_copy(update={"allow_insufficient": False}), languages=["spa", "kin"])["passed"] is False


def test_nothing_measured_never_passes() -> None:
    assert judge([], FAST)["passed"] is False
    assert judge([], FAST, languages=["spa"])["passed"] is False
    assert judge(rows_of([-1.0] * 3), FAST)["passed"] is False  # only INSUFFICIENT languages: no PASS, no release


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_the_rows_changes_nothing(draw: random.Random) -> None:
    rows = rows_of(noisy(0.05, 20), clusters=6) + rows_of(noisy(0.05, 12), language="est", clusters=2)
    shuffled = list(rows)
    draw.shuffle(shuffled)
    assert dumps(judge(shuffled, FAST)) == dumps(judge(rows, FAST))


def test_the_result_is_pinned_for_every_machine() -> None:
    judged = judge(rows_of([-0.3, 0.1, -0.2, 0.05, -0.4, 0.0, -0.1, 0.2, -0.25, -0.15], clusters=10), EvaluationPolicy())
    assert judged["overall"]["difference"] == -0.105
    assert (judged["languages"]["spa"]["low"], judged["languages"]["spa"]["high"]) == (-0.210125, 0.01)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    draw = random.Random(20261122)
    inside = 0
    for trial in range(200):
        pairs = []
        for _ in range(40):
            tokens, effect = draw.randint(20, 60), draw.gauss(-0.1, 0.3)
            pairs.append((round(effect * tokens * 1e6), tokens))
        low, high = interval(pairs, confidence=0.95, resamples=200, seed=trial)
        inside += low <= -0.1 <= high
    assert 178 <= inside <= 199  # 200 trials at 0.95: mean 190, sd 3.1; the percentile method under-covers a little at 40 units


@pytest.mark.parametrize(
    "change",
    [{"tokens": 0}, {"tokens": True}, {"tokens": 1.5}, {"base": -1.0}, {"tuned": float("nan")}, {"tuned": "3"}, {"language": "es"}, {"item": 5}, {"extra": 1}],
    ids=repr,
)
def test_malformed_rows_are_refused_with_their_line(change: dict[str, Any]) -> None:
    rows = rows_of(noisy(0.0, 10))
    rows[3] |= change
    with pytest.raises(BadInput, match="line 4"):
        judge(rows, FAST)


def test_an_item_counted_twice_is_refused() -> None:
    rows = rows_of(noisy(0.0, 10))
    with pytest.raises(BadInput, match="twice"):
        judge([*rows, rows[0]], FAST)


def test_with_interval_t_the_interval_is_the_jackknife_of_the_ratio_over_contributors() -> None:
    draw = random.Random(8)
    rows = rows_of(noisy(-0.1, 60), clusters=9)
    for row in rows:
        row["tokens"] = draw.randint(3, 40)
        row["tuned"] = round(row["base"] + draw.gauss(-0.1, 0.3) * row["tokens"], 6)
    judged = judge(rows, FAST.model_copy(update={"interval": "t"}))["languages"]["spa"]
    parts = [
        (sum(r["tuned"] - r["base"] for r in rows if r["cluster"] == c), sum(r["tokens"] for r in rows if r["cluster"] == c))
        for c in sorted({r["cluster"] for r in rows})
    ]
    d, t = np.array(parts).T
    left_out = (d.sum() - d) / (t.sum() - t)
    error = np.sqrt(8 / 9 * ((left_out - d.sum() / t.sum()) ** 2).sum())
    half = stats.t.ppf(0.975, int(t.sum() ** 2 // (t**2).sum()) - 1) * error
    assert judged["low"] == pytest.approx(d.sum() / t.sum() - half, abs=2e-6)
    assert judged["high"] == pytest.approx(d.sum() / t.sum() + half, abs=2e-6)
    assert judged["resampled"] == "none"


def test_with_interval_t_few_contributors_or_no_variation_state_nothing() -> None:
    policy = FAST.model_copy(update={"interval": "t"})
    for rows in (rows_of(noisy(-1.0), clusters=4), rows_of([-1.0] * 60)):
        judged = judge(rows, policy)["languages"]["spa"]
        assert (judged["low"], judged["verdict"]) == (None, "INSUFFICIENT")
    assert judge(rows_of(noisy(-1.0), clusters=5), policy)["languages"]["spa"]["verdict"] == "PASS"
    assert judge(rows_of(noisy(1.0), clusters=5), policy)["languages"]["spa"]["verdict"] == "FAIL"
