"""What canaries say about how much weights give away: every number of the leak test from the measured lines, exact and the same everywhere.

A guesser who knows the canaries but not the coins ranks them by how far the tuned loss of each lies below what its base loss lets expect, says
"in" of the k farthest, "out" of the k nearest and abstains from the rest. How often it is right bounds epsilon from below (Steinke, Nasr, Jagielski
2023, arXiv 2305.08846). Scores are whole numbers; ties go by index, which says nothing of the coin.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from governance_hooks.errors import BadInput
from governance_hooks.leak_bounds import auc_interval, epsilon_ceiling, epsilon_lower_bound, exact_interval, fewest_above_chance

__all__ = ["SHUFFLES", "Measured", "area", "audit", "calibrated", "leak_numbers", "recognised"]

FEWEST: Final = 5
"""Guesses of each kind in the smallest set; each next one has twice as many."""
SHUFFLES: Final = 200
"""Times the coins are dealt anew to see that the audit finds nothing where nothing is."""
FALSE_ALARMS: Final = 100
"""One in so many lines that were not in may be taken for one that was."""
_DECIMALS: Final = 4
_CONTROL: Final = Decimal("0.999")
"""Confidence of the control at least: at 95% a sound test would be refused by chance in some of a hundred runs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One canary as measured; losses in micro-nats, summed over the tokens of its answer."""

    included: bool
    tokens: int
    base: int
    tuned: int
    base_min_k: int
    tuned_min_k: int
    matched: int
    """Tokens at the beginning of the answer that greedy decoding of the tuned weights gives after the prompt."""
    tail: int
    """Tokens at the end of the answer that it gives after all before them."""


def leak_numbers(rows: Sequence[Measured], *, confidence: float, delta: float, salt: bytes) -> dict[str, Any]:
    """Return all numbers of the test.

    Args:
        rows: the canaries in the order of their index.
        confidence: of bounds and intervals.
        delta: of the second bound on epsilon.
        salt: what the dealing of shuffled coins follows from.

    Raises:
        BadInput: the coin put all canaries on one side.
    """
    coins = [row.included for row in rows]
    ins, outs = sum(coins), len(coins) - sum(coins)
    if not ins or not outs:
        raise BadInput("all canaries are on one side, so there is nothing to compare", value=f"{ins} in, {outs} out", next="plan with more canaries")
    scores = calibrated([row.base for row in rows], [row.tuned for row in rows])
    level, exact_delta = Decimal(repr(confidence)), Decimal(repr(delta))
    found = audit(scores, coins, level)
    return {
        "made": len(rows),
        "included": ins,
        "confidence": confidence,
        "epsilon": found | {"delta": delta, "with_delta": _bound(found["sets"], level, len(rows), delta=exact_delta), "ceiling": _ceiling(len(rows), level)},
        "control": {"base": audit([-row.base for row in rows], coins, max(level, _CONTROL)), "shuffled": _shuffled(scores, coins, level, salt)},
        "auc": {
            name: area(ranked, coins, confidence=confidence)
            for name, ranked in (
                ("calibrated", scores),
                ("gain", [row.base - row.tuned for row in rows]),
                ("loss", [-row.tuned for row in rows]),
                ("min_k", [row.tuned_min_k - row.base_min_k for row in rows]),
                ("base", [-row.base for row in rows]),
            )
        },
        "tpr": recognised(scores, coins, level),
        "exposure": _exposure(scores, coins),
        "extraction": _extraction(rows, level),
    }


def calibrated(reference: Sequence[int], losses: Sequence[int]) -> list[int]:
    """Return by how much each loss lies below the line fitted (least squares) through all pairs of reference and loss, up to a factor and a constant.

    The line knows no coins, so the score is one a guesser may use. The plain difference supposes that a line that was hard before stays as much
    harder; where training changed that, it adds noise, and the loss alone is better. The fit is whichever of the two the weights call for.
    """
    count, total = len(losses), sum(reference)
    spread = count * sum(value * value for value in reference) - total * total
    joint = count * sum(value * loss for value, loss in zip(reference, losses, strict=True)) - total * sum(losses)
    if not spread:
        return [-loss for loss in losses]
    return [joint * value - spread * loss for value, loss in zip(reference, losses, strict=True)]


def _set_sizes(count: int) -> list[int]:
    """Return how many canaries the guesser calls in, and as many out, in each set of guesses."""
    sizes, size = [], FEWEST
    while 2 * size <= count:
        sizes.append(size)
        size *= 2
    return sizes


def _error(level: Decimal, sets: int) -> Decimal:
    return (1 - level) / max(sets, 1)  # Bonferroni: the best of several sets is picked


def _right(order: Sequence[int], coins: Sequence[bool], size: int) -> int:
    return sum(coins[number] for number in order[:size]) + sum(not coins[number] for number in order[-size:])


def _ranked(scores: Sequence[int]) -> list[int]:
    return sorted(range(len(scores)), key=lambda number: (-scores[number], number))


def audit(scores: Sequence[int], coins: Sequence[bool], level: Decimal) -> dict[str, Any]:
    """Return the lower bound on epsilon (delta 0), and how many guesses of each set were right."""
    order, sizes = _ranked(scores), _set_sizes(len(scores))
    sets = [{"guesses": 2 * size, "right": _right(order, coins, size)} for size in sizes]
    return {"lower_bound": _bound(sets, level, len(scores)), "sets": sets}


def _bound(sets: Sequence[dict[str, int]], level: Decimal, canaries: int, *, delta: Decimal = Decimal(0)) -> float:
    error = _error(level, len(sets))
    return max((epsilon_lower_bound(one["right"], one["guesses"], error=error, delta=delta, canaries=canaries) for one in sets), default=0.0)


def _ceiling(canaries: int, level: Decimal) -> float:
    """Return what the largest set would show if every guess were right."""
    sizes = _set_sizes(canaries)
    return epsilon_ceiling(2 * sizes[-1], error=_error(level, len(sizes)), canaries=canaries) if sizes else 0.0


def _shuffled(scores: Sequence[int], coins: Sequence[bool], level: Decimal, salt: bytes) -> dict[str, Any]:
    """Deal the same coins anew and audit; count how often the bound is above zero, which happens in 1 - confidence of the deals at most."""
    order, sizes = _ranked(scores), _set_sizes(len(scores))
    needed = [fewest_above_chance(2 * size, _error(level, len(sizes))) for size in sizes]
    draw = random.Random(int.from_bytes(hashlib.sha256(b"coop.leak/v1 shuffle\0" + salt).digest())).random  # noqa: S311 - a reproducible statistic
    dealt, above = list(coins), 0
    for _ in range(SHUFFLES):
        for last in range(len(dealt) - 1, 0, -1):
            other = int(draw() * (last + 1))
            dealt[last], dealt[other] = dealt[other], dealt[last]
        above += any(_right(order, dealt, size) >= fewest for size, fewest in zip(sizes, needed, strict=True))
    return {"of": SHUFFLES, "above_zero": above}


def area(scores: Sequence[int], coins: Sequence[bool], *, confidence: float) -> dict[str, float]:
    """Return the chance that a canary that was in scores higher than one that was not, ties counted half, with its interval."""
    outs = sorted(score for score, coin in zip(scores, coins, strict=True) if not coin)
    ins = [score for score, coin in zip(scores, coins, strict=True) if coin]
    halves = sum(bisect_left(outs, score) + bisect_right(outs, score) for score in ins)
    exact = halves / (2 * len(ins) * len(outs))
    low, high = auc_interval(exact, len(ins), len(outs), confidence=confidence)
    return {"value": round(exact, _DECIMALS), "low": low, "high": high}


def _share(hits: int, of: int, level: Decimal) -> dict[str, Any]:
    low, high = exact_interval(hits, of, confidence=level)
    return {"count": hits, "of": of, "value": round(hits / of, _DECIMALS), "low": low, "high": high}


def recognised(scores: Sequence[int], coins: Sequence[bool], level: Decimal) -> dict[str, Any]:
    """Return the true positive rate at 1% false positives (Carlini et al. 2022, arXiv 2112.03570)."""
    outs = sorted((score for score, coin in zip(scores, coins, strict=True) if not coin), reverse=True)
    alarms = len(outs) // FALSE_ALARMS
    threshold = outs[alarms]
    hits = sum(score > threshold for score, coin in zip(scores, coins, strict=True) if coin)
    false = _share(sum(score > threshold for score in outs), len(outs), level)
    return _share(hits, sum(coins), level) | {"false_alarms": false["count"], "others": len(outs), "false_alarms_high": false["high"]}


def _exposure(scores: Sequence[int], coins: Sequence[bool]) -> dict[str, float]:
    """Return mean exposure in bits (Carlini et al. 2019, arXiv 1802.08232): log2 of how far up a canary ranks among those that were not in."""
    outs = sorted(score for score, coin in zip(scores, coins, strict=True) if not coin)
    count = len(outs)
    bits: dict[bool, list[float]] = {True: [], False: []}
    for score, coin in zip(scores, coins, strict=True):
        rank = 1 + count - bisect_right(outs, score)
        bits[coin].append(math.log2((count + coin) / rank))  # one that was not in is ranked among the others like it
    return {
        "included": round(math.fsum(bits[True]) / len(bits[True]), _DECIMALS),
        "others": round(math.fsum(bits[False]) / len(bits[False]), _DECIMALS),
        "largest": round(max(bits[True]), _DECIMALS),
        "ceiling": round(math.log2(count + 1), _DECIMALS),
    }


def _extraction(rows: Sequence[Measured], level: Decimal) -> dict[str, Any]:
    """Return how many answers greedy decoding repeats word for word, after the prompt and after the prompt and the first half of the answer."""
    ins, outs = [row for row in rows if row.included], [row for row in rows if not row.included]
    return {
        "whole": _share(sum(row.matched == row.tokens for row in ins), len(ins), level),
        "half": _share(sum(row.tail >= row.tokens - row.tokens // 2 for row in ins), len(ins), level),
        "others": _share(sum(row.matched == row.tokens for row in outs), len(outs), level),
    }
