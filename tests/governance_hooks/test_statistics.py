from __future__ import annotations

import random
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from governance_hooks import statistics
from governance_hooks.statistics import MICRO, Estimate, clopper_pearson, detectable, estimate, holm, korn_graubard, rounded, sign_flip, t_cdf, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 9, 30, 59, 200, 399, 400])
@pytest.mark.parametrize("probability", [0.6, 0.8, 0.9, 0.975, 0.995, 0.9995])
def test_student_quantiles_are_those_of_scipy(degrees: int, probability: float) -> None:
    assert float(t_quantile(probability, degrees)) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)
    assert float(t_cdf(Decimal("1.25"), degrees)) == pytest.approx(stats.t.cdf(1.25, degrees), rel=1e-12)


def test_more_degrees_than_the_table_give_a_slightly_wider_interval_never_a_narrower() -> None:
    assert stats.norm.ppf(0.975) < float(t_quantile(0.975, 10**6)) < 1.005 * stats.norm.ppf(0.975)


def clustered(seed: int, sizes: list[int], spread: float = 0.4) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    values, groups = [], []
    for group, size in enumerate(sizes):
        values += list(np.round(draw.normal(0.1 + draw.normal(0, spread), 0.5, size), 6))
        groups += [group] * size
    d, g = np.array(values), np.array(groups)
    units = [(int(sum(round(x * MICRO) for x in d[g == k])), int((g == k).sum())) for k in range(len(sizes))]
    return units, d, g


@pytest.mark.parametrize("count", [5, 12, 60])
def test_with_equal_clusters_the_error_is_the_clustered_one_of_statsmodels(count: int) -> None:
    units, d, g = clustered(count, [7] * count)
    fit = sm.OLS(d, np.ones(len(d))).fit(cov_type="cluster", cov_kwds={"groups": g}, use_t=True)
    # statsmodels multiplies by G/(G-1) * (n-1)/(n-k); with the mean alone the second factor is 1.
    made = estimate(units)
    assert float(made.mean) == pytest.approx(fit.params[0], abs=1e-12)
    assert float(made.error) == pytest.approx(fit.bse[0], rel=1e-9)
    low, high = fit.conf_int(0.05)[0]
    assert [float(end) for end in made.interval(0.95)] == pytest.approx([low, high], rel=1e-9)


def test_with_unequal_clusters_the_error_is_the_jackknife_and_not_below_the_usual_one() -> None:
    units, d, g = clustered(3, [1, 2, 3, 30, 4, 9, 5, 2])
    fit = sm.OLS(d, np.ones(len(d))).fit(cov_type="cluster", cov_kwds={"groups": g})
    left_out = np.array([d[g != k].mean() for k in range(8)])
    brute = np.sqrt(7 / 8 * ((left_out - d.mean()) ** 2).sum())
    assert float(estimate(units).error) == pytest.approx(brute, rel=1e-9)
    assert float(estimate(units).error) > fit.bse[0]


def test_the_cluster_bootstrap_of_scipy_agrees_where_clusters_are_many() -> None:
    units, d, g = clustered(9, [6] * 200)
    means = np.array([d[g == k].mean() for k in range(200)])
    oracle = stats.bootstrap((means,), np.mean, method="BCa", n_resamples=4000, rng=np.random.default_rng(1)).confidence_interval
    low, high = (float(end) for end in estimate(units).interval(0.95))
    assert low == pytest.approx(oracle.low, abs=0.1 * (high - low))
    assert high == pytest.approx(oracle.high, abs=0.1 * (high - low))


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (27, 30), (7, 250), (499, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_exact_intervals_are_those_of_scipy_rounded_outwards(k: int, n: int, confidence: float) -> None:
    oracle = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    low, high = clopper_pearson(k, n, confidence)
    assert oracle.low - 1e-6 <= low <= oracle.low + 1e-12
    assert oracle.high - 1e-12 <= high <= oracle.high + 1e-6


@pytest.mark.parametrize("off", [-(10**6), -1000, -3, 3, 1000, 10**6])
def test_where_the_search_for_an_exact_interval_begins_changes_no_digit(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floating point only says where to look: it may be wrong by anything."""
    near, cases = statistics._near, [(0, 1), (0, 9), (1, 2), (3, 7), (29, 30), (17, 400), (399, 400)]
    wanted = [statistics._upper(k, n, tail) for k, n in cases for tail in (Decimal("0.025"), Decimal("0.2"))]
    monkeypatch.setattr(statistics, "_near", lambda k, n, tail: near(k, n, tail) + off)
    assert [statistics._upper(k, n, tail) for k, n in cases for tail in (Decimal("0.025"), Decimal("0.2"))] == wanted


def test_no_failure_at_all_is_the_rule_of_three() -> None:
    for n in (30, 100, 1000):
        one_sided = clopper_pearson(0, n, 0.90)[1]  # its upper end leaves 5% above
        assert one_sided == pytest.approx(3 / n, rel=0.06)
        assert one_sided == pytest.approx(1 - 0.05 ** (1 / n), abs=2e-6)


def test_clustered_proportions_are_wider_and_without_variation_each_cluster_counts_once() -> None:
    same = [(10 * MICRO, 10)] * 12 + [(0, 10)] * 8  # all items of a cluster alike
    low, high = korn_graubard(120, 200, estimate(same), 0.95)
    plain = clopper_pearson(120, 200, 0.95)
    assert high - low > 2 * (plain[1] - plain[0])
    assert korn_graubard(0, 200, estimate([(0, 10)] * 20), 0.95) == clopper_pearson(0, 20, 0.95)
    assert korn_graubard(60, 100, estimate([(MICRO, 1)] * 60 + [(0, 1)] * 40), 0.95) == clopper_pearson(60, 100, 0.95)


def test_sign_flips_are_all_tried_when_few_and_agree_with_scipy_when_drawn() -> None:
    few = [5, -2, 7, 1, 4, -3, 6]
    exact = sum(abs(sum(s * x for s, x in zip(signs, few, strict=True))) >= 18 for signs in product((1, -1), repeat=7)) / 128
    assert sign_flip(few, resamples=200, seed=b"") == pytest.approx(exact, abs=1e-6)
    draw = random.Random(2)
    many = [draw.randint(-100, 130) for _ in range(41)]
    oracle = stats.permutation_test((np.array(many),), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1))
    assert sign_flip(many, resamples=20_000, seed=b"a") == pytest.approx(oracle.pvalue, abs=0.015)
    assert sign_flip(many, resamples=500, seed=b"a") == sign_flip(list(reversed(many)), resamples=500, seed=b"a")


def test_holm_is_that_of_statsmodels() -> None:
    draw = random.Random(4)
    for size in (1, 2, 7, 30):
        values = {f"l{i}": round(draw.random() ** 3, 6) for i in range(size)}
        oracle = multipletests(list(values.values()), method="holm")[1]
        assert [holm(values)[name] for name in values] == pytest.approx(list(oracle), abs=2e-6)
    assert holm({}) == {}


def test_what_can_be_found_is_found_in_four_of_five_experiments() -> None:
    draw = np.random.default_rng(7)
    error = 0.5 / 40**0.5
    effect = float(detectable(Estimate(Decimal(0), Decimal(str(error)), 40, 40, 39), 0.95))
    found = 0
    for _ in range(400):
        values = draw.normal(effect, 0.5, 40).round(6)
        low, _ = estimate([(round(x * MICRO), 1) for x in values]).interval(0.95)
        found += low > 0
    assert 0.73 <= found / 400 <= 0.87


def test_results_are_pinned_for_every_machine() -> None:
    made = estimate([(300_000, 3), (-120_000, 2), (70_000, 1), (10_000, 4), (250_000, 2)])
    low, high = made.interval(0.95)
    assert (rounded(made.mean), rounded(low), rounded(high)) == (0.0425, -0.066491, 0.151491)
    assert sign_flip([3, -1, 4, 1, -5, 9, 2, 6, -5, 3, 5, 8, 9, -7], resamples=999, seed=b"pi") == 0.134


def coverage(
    clusters: int, size: int, likeness: float, *, trials: int, seed: int, binary: bool, skewed: bool = False, bootstrap: bool = False
) -> dict[str, float]:
    """Return how often the clustered interval, one that takes items for independent, and where asked (it is slow) the percentile bootstrap hold the truth."""
    from governance_hooks.verdict import interval

    draw = np.random.default_rng(seed)
    held = {"clustered": 0, "naive": 0, "bootstrap": 0}
    truth = 0.0
    for trial in range(trials):
        sizes = draw.integers(1, 2 * size, clusters) if skewed else np.full(clusters, size)
        groups = np.repeat(np.arange(clusters), sizes)
        latent = np.sqrt(likeness) * draw.normal(size=clusters)[groups] + np.sqrt(1 - likeness) * draw.normal(size=len(groups))
        values = (latent > 0).astype(float) - (draw.random(len(groups)) < 0.5) if binary else latent
        units = [(round(float(values[groups == k].sum()) * MICRO), int((groups == k).sum())) for k in range(clusters)]
        low, high = (float(end) for end in estimate(units).interval(0.95))
        held["clustered"] += low <= truth <= high
        half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
        held["naive"] += abs(values.mean() - truth) <= half
        if bootstrap:
            low, high = interval(units, confidence=0.95, resamples=200, seed=trial)
            held["bootstrap"] += low <= truth <= high
    return {name: count / trials for name, count in held.items()}


def test_with_few_contributors_the_bootstrap_is_too_narrow_and_students_t_is_not() -> None:
    """Why new plans say `interval: t` (train/config.py)."""
    found = [coverage(clusters, 6, 0.35, trials=500, seed=clusters, binary=False, bootstrap=True) for clusters in (5, 6, 8)]
    assert sum(one["bootstrap"] for one in found) / len(found) < 0.89
    assert sum(one["clustered"] for one in found) / len(found) >= 0.93


def test_clustered_intervals_cover_where_those_of_independent_items_do_not() -> None:
    found = coverage(12, 8, 0.35, trials=2000, seed=20261129, binary=True)
    assert found["clustered"] >= 0.93
    assert found["naive"] < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False], ids=["right or wrong", "continuous"])
@pytest.mark.parametrize("skewed", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("clusters", [5, 8, 15, 40, 100])
def test_clustered_95_percent_intervals_cover_at_least_93_percent(clusters: int, skewed: bool, binary: bool) -> None:
    found = coverage(clusters, 6, 0.35, trials=1500, seed=clusters, binary=binary, skewed=skewed)
    assert found["clustered"] >= 0.93
    assert found["naive"] < 0.93


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("clusters", [8, 30, 100])
def test_clustered_proportions_cover_at_least_93_percent(clusters: int, share: float) -> None:
    draw = np.random.default_rng(int(1000 * share) + clusters)
    held, trials, size = 0, 1000, 6
    groups = np.repeat(np.arange(clusters), size)
    cut = stats.norm.ppf(share)
    for _ in range(trials):
        latent = np.sqrt(0.35) * draw.normal(size=clusters)[groups] + np.sqrt(0.65) * draw.normal(size=len(groups))
        hit = latent < cut
        units = [(int(hit[groups == k].sum()) * MICRO, size) for k in range(clusters)]
        low, high = korn_graubard(int(hit.sum()), len(hit), estimate(units), 0.95)
        held += low <= share <= high
    assert held / trials >= 0.93
