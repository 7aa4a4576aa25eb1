"""Exact bounds behind the leak test: binomial tails in decimal arithmetic, so that everybody's machine gives the same digits.

`decimal` rounds `exp` correctly on every platform, which the C library's `exp` does not promise. Bounds are stated on a grid and rounded
outwards: a bound on epsilon in hundredths, downwards; an interval in ten-thousandths, away from the estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache
from math import comb
from statistics import NormalDist

__all__ = ["auc_interval", "epsilon_ceiling", "epsilon_lower_bound", "exact_interval", "fewest_above_chance", "p_value"]

_ARITHMETIC = Context(prec=40, Emin=-999_999, Emax=999_999)
_ONE, _ZERO = Decimal(1), Decimal(0)
_NEGLIGIBLE = Decimal("1e-45")
_LARGEST_EPSILON = 2000
"""In hundredths: with 100,000 guesses, all right, the bound is below 10."""


@lru_cache(maxsize=4096)
def _ways(trials: int, successes: int) -> Decimal:
    return _ARITHMETIC.create_decimal(comb(trials, successes))


def _mass(successes: int, trials: int, chance: Decimal) -> Decimal:
    """Return P[Binomial(trials, chance) = successes] for a chance strictly between 0 and 1."""
    c = _ARITHMETIC
    return c.multiply(_ways(trials, successes), c.multiply(c.power(chance, successes), c.power(c.subtract(_ONE, chance), trials - successes)))


def _upper_tail(successes: int, trials: int, chance: Decimal) -> Decimal:
    """Return P[Binomial(trials, chance) >= successes]."""
    c = _ARITHMETIC
    if successes <= 0:
        return _ONE
    if successes > trials or chance == 0:
        return _ZERO
    if chance == 1:
        return _ONE
    odds = c.divide(chance, c.subtract(_ONE, chance))
    mass = total = _mass(successes, trials, chance)
    for count in range(successes, trials):
        step = c.divide(c.multiply(odds, Decimal(trials - count)), Decimal(count + 1))
        mass = c.multiply(mass, step)
        total = c.add(total, mass)
        if step < 1 and mass < c.multiply(total, _NEGLIGIBLE):
            break
    return min(total, _ONE)


def p_value(right: int, guesses: int, *, epsilon: Decimal, delta: Decimal = _ZERO, canaries: int) -> Decimal:
    """Return how likely so many right guesses are at most if training is (epsilon, delta) private (Steinke, Nasr, Jagielski 2023, theorem 5.2).

    Args:
        right: guesses that were right.
        guesses: guesses made; the guesser abstains from the other canaries.
        epsilon, delta: the privacy that is put to the test.
        canaries: all of them, guessed or not.
    """
    c = _ARITHMETIC
    chance = c.divide(_ONE, c.add(_ONE, c.exp(-epsilon)))
    beta = _upper_tail(right, guesses, chance)
    if delta == 0 or right == 0:
        return beta
    steepest = below = _ZERO
    mass = _mass(right - 1, guesses, chance)
    odds = c.divide(c.subtract(_ONE, chance), chance)
    for distance in range(1, right + 1):
        below = c.add(below, mass)
        steepest = max(steepest, c.divide(below, Decimal(distance)))
        if c.divide(_ONE, Decimal(distance)) <= steepest:  # `below` is a probability: no later ratio is larger
            break
        count = right - distance
        mass = c.divide(c.multiply(mass, c.multiply(odds, Decimal(count))), Decimal(guesses - count + 1))
    return min(_ONE, c.add(beta, c.multiply(steepest, c.multiply(delta, Decimal(2 * canaries)))))


def _last(holds: Callable[[int], bool], end: int) -> int:
    """Return the largest whole number from 0 to `end` for which a monotone condition holds; it must hold for 0."""
    low, high = 0, end + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def epsilon_lower_bound(right: int, guesses: int, *, error: Decimal, delta: Decimal = _ZERO, canaries: int) -> float:
    """Return the largest epsilon, in whole hundredths, that so many right guesses refute with so small an error; 0 if they refute none."""

    def refuted(hundredths: int) -> bool:
        return p_value(right, guesses, epsilon=Decimal(hundredths).scaleb(-2), delta=delta, canaries=canaries) <= error

    if not refuted(0):
        return 0.0
    return _last(refuted, _LARGEST_EPSILON) / 100


def epsilon_ceiling(guesses: int, *, error: Decimal, canaries: int) -> float:
    """Return the bound that right guesses alone would give: no audit with so many guesses can find more."""
    return epsilon_lower_bound(guesses, guesses, error=error, canaries=canaries)


@lru_cache(maxsize=256)
def fewest_above_chance(guesses: int, error: Decimal) -> int:
    """Return the fewest right guesses that coin tossing reaches with no more than this probability; one more than all if there is none."""
    half = Decimal("0.5")
    return guesses + 1 - _last(lambda wrong: wrong == 0 or _upper_tail(guesses + 1 - wrong, guesses, half) <= error, guesses + 1)


def exact_interval(hits: int, trials: int, *, confidence: Decimal) -> tuple[float, float]:
    """Return the interval of a share by Clopper and Pearson (1934), rounded outwards to ten-thousandths; (0, 1) of no trials."""
    grid, tail = 10_000, _ARITHMETIC.divide(_ARITHMETIC.subtract(_ONE, confidence), Decimal(2))

    def chance(share: int) -> Decimal:
        return Decimal(share).scaleb(-4)

    low = _last(lambda share: _upper_tail(hits, trials, chance(share)) <= tail, grid) if hits else 0
    # P[X <= hits] of a share is P[X >= trials - hits] of the rest.
    missed = trials - hits
    rest = _last(lambda share: _upper_tail(missed, trials, chance(share)) <= tail, grid) if missed else 0
    return low / grid, (grid - rest) / grid


def auc_interval(auc: float, ins: int, outs: int, *, confidence: float) -> tuple[float, float]:
    """Return a score interval of an area under the curve (Newcombe 2006, method 5, over the variance of Hanley and McNeil 1982), ten-thousandths.

    It does not shrink to nothing at 0 or 1, as Wald's does.
    """
    grid, z2 = 10_000, NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    typical = (ins + outs) / 2 - 1

    def far(area: float) -> bool:
        variance = area * (1 - area) / (ins * outs) * (1 + typical * (1 - area) / (2 - area) + typical * area / (1 + area))
        return (area - auc) ** 2 > z2 * variance

    middle = round(auc * grid)
    low = _last(lambda share: share == 0 or (share <= middle and far(share / grid)), middle)
    rest = _last(lambda share: share == 0 or (share <= grid - middle and far(1 - share / grid)), grid - middle)
    return low / grid, (grid - rest) / grid
