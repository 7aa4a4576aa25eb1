"""The bounds of the leak test are those of scipy and of the paper's own code, rounded the safe way."""

from __future__ import annotations

import math
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from governance_hooks.leak_bounds import auc_interval, epsilon_ceiling, epsilon_lower_bound, exact_interval, fewest_above_chance, p_value


def papers_p_value(m: int, r: int, v: int, eps: float, delta: float) -> float:
    """Return the p-value by the listing in Steinke, Nasr, Jagielski 2023, appendix D."""
    q = 1 / (1 + math.exp(-eps))
    tail = binom.sf(v - 1, r, q)
    alpha = total = 0.0
    for i in range(1, v + 1):
        total += binom.pmf(v - i, r, q)
        if total > i * alpha:
            alpha = total / i
    return float(min(tail + alpha * delta * 2 * m, 1))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.data())
def test_the_p_value_is_the_papers(guesses: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, guesses))
    canaries = guesses + data.draw(st.integers(0, 500))
    epsilon, delta = data.draw(st.integers(0, 800)) / 100, data.draw(st.sampled_from([0.0, 1e-6, 1e-3, 0.05]))
    found = p_value(right, guesses, epsilon=Decimal(repr(epsilon)), delta=Decimal(repr(delta)), canaries=canaries)
    assert float(found) == pytest.approx(papers_p_value(canaries, guesses, right, epsilon, delta), rel=1e-7, abs=1e-13)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.data())
def test_the_epsilon_bound_is_the_last_hundredth_that_is_refuted(guesses: int, data: st.DataObject) -> None:
    right, error = data.draw(st.integers(0, guesses)), Decimal("0.01")
    bound = epsilon_lower_bound(right, guesses, error=error, canaries=guesses)
    if bound > 0:
        assert papers_p_value(guesses, guesses, right, bound, 0) <= 0.01 + 1e-12
    else:
        assert papers_p_value(guesses, guesses, right, 0.01, 0) > 0.01 - 1e-12
    assert papers_p_value(guesses, guesses, right, bound + 0.01, 0) > 0.01 - 1e-12
    assert bound <= epsilon_ceiling(guesses, error=error, canaries=guesses)


def test_guesses_no_better_than_chance_bound_nothing_and_delta_only_lowers_a_bound() -> None:
    assert epsilon_lower_bound(50, 100, error=Decimal("0.05"), canaries=200) == 0
    assert epsilon_lower_bound(0, 0, error=Decimal("0.05"), canaries=200) == 0
    pure = epsilon_lower_bound(90, 100, error=Decimal("0.05"), canaries=200)
    bounds = [epsilon_lower_bound(90, 100, error=Decimal("0.05"), delta=Decimal(delta), canaries=200) for delta in ("1e-9", "1e-5", "1e-3", "0.01")]
    assert pure == 1.63
    assert [pure, *bounds] == sorted([pure, *bounds], reverse=True)
    assert bounds[-1] < bounds[0]


def test_a_hundred_thousand_guesses_are_bounded_too() -> None:
    assert 9 < epsilon_lower_bound(100_000, 100_000, error=Decimal("0.003"), canaries=100_000) < 12
    assert 0.2 < epsilon_lower_bound(45_000, 80_000, error=Decimal("0.003"), delta=Decimal("1e-6"), canaries=100_000) < 0.26


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.data())
def test_the_fewest_right_guesses_above_chance_are_scipys(guesses: int, data: st.DataObject) -> None:
    error = data.draw(st.sampled_from(["0.05", "0.01", "0.0071"]))
    fewest = fewest_above_chance(guesses, Decimal(error))
    assert fewest > guesses or binom.sf(fewest - 1, guesses, 0.5) <= float(error)
    assert binom.sf(fewest - 2, guesses, 0.5) > float(error)
    assert (epsilon_lower_bound(min(fewest, guesses), guesses, error=Decimal(error), canaries=guesses) > 0) <= (fewest <= guesses)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), st.data())
def test_the_exact_interval_is_scipys_rounded_outwards(trials: int, data: st.DataObject) -> None:
    hits, confidence = data.draw(st.integers(0, trials)), data.draw(st.sampled_from([0.9, 0.95, 0.99]))
    low, high = exact_interval(hits, trials, confidence=Decimal(repr(confidence)))
    tail = (1 - confidence) / 2
    exact_low = beta.ppf(tail, hits, trials - hits + 1) if hits else 0.0
    exact_high = beta.ppf(1 - tail, hits + 1, trials - hits) if hits < trials else 1.0
    assert exact_low - 1e-4 - 1e-9 <= low <= exact_low + 1e-9
    assert exact_high - 1e-9 <= high <= exact_high + 1e-4 + 1e-9


def test_of_no_trials_nothing_is_known() -> None:
    assert exact_interval(0, 0, confidence=Decimal("0.95")) == (0.0, 1.0)


@pytest.mark.parametrize(("shift", "n"), [(0.0, 60), (1.0, 60), (2.5, 60), (0.7, 25)])
def test_the_interval_of_an_area_covers_the_truth_as_stated(shift: float, n: int) -> None:
    draw, truth, covered = random.Random(int(10 * shift) + n), 0.5 * (1 + math.erf(shift / 2)), 0
    for _ in range(300):
        ins, outs = [draw.gauss(shift, 1) for _ in range(n)], [draw.gauss(0, 1) for _ in range(n)]
        low, high = auc_interval(sum(a > b for a in ins for b in outs) / n**2, n, n, confidence=0.95)
        covered += low <= truth <= high
    assert covered >= 0.92 * 300


def test_the_interval_of_an_area_never_shrinks_to_nothing() -> None:
    assert auc_interval(1.0, 100, 100, confidence=0.95)[0] < 0.99
    assert auc_interval(0.0, 100, 100, confidence=0.95)[1] > 0.01
