"""Shapley values in pure Python and whole numbers: exact over all coalitions, or over orders in which the players join.

A coalition is a bit mask over the players in sorted order. Values are vectors of whole numbers, one entry for each unit the game is
the sum of (a held-out answer, a seed): the Shapley value is linear, so the value of any weighting of the units is the same weighting of
their values. That makes thousands of bootstrap resamples cheap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import factorial

__all__ = ["exact_values", "largest_remainder", "orders", "prefixes", "royalty_shares", "sampled_values", "without_truncation"]

Vector = Sequence[int]


def exact_values(values: Mapping[int, Vector], players: int) -> tuple[list[list[int]], int]:
    """Return each player's value for each unit, times the divisor, and the divisor (Shapley 1953).

    Args:
        values: coalition mask -> value of the coalition by unit, for all 2^players masks.
        players: how many there are.
    """
    total = factorial(players)
    weights = [factorial(size) * factorial(players - size - 1) for size in range(players)]
    units = len(values[0])
    out = []
    for player in range(players):
        sums = [0] * units
        for mask in range(1 << players):
            if mask >> player & 1:
                continue
            weight, before, after = weights[mask.bit_count()], values[mask], values[mask | 1 << player]
            sums = [known + weight * (b - a) for known, a, b in zip(sums, before, after, strict=True)]
        out.append(sums)
    return out, total


def orders(players: int, count: int, seed: str) -> list[tuple[int, ...]]:
    """Return orders in which players join, each followed by its reverse (antithetic sampling: Lomeli et al. 2019); they follow from the seed alone."""
    found: list[tuple[int, ...]] = []
    while len(found) < count:
        number = len(found) // 2
        keys = [hashlib.sha256(f"coop.order/v1:{seed}:{number}:{player}".encode()).digest() for player in range(players)]
        order = tuple(sorted(range(players), key=keys.__getitem__))
        found += [order, order[::-1]]
    return found[:count]


def prefixes(order: Sequence[int]) -> list[int]:
    """Return the masks of the coalitions an order grows through, the empty one first."""
    masks = [0]
    for player in order:
        masks.append(masks[-1] | 1 << player)
    return masks


def without_truncation(worth: Mapping[int, Fraction], order: Sequence[int], whole: int, permille: int) -> tuple[list[int], int | None]:
    """Return the masks of an order up to where the rest adds next to nothing, and the next mask that must be valued first, or None.

    An order ends once its coalition is worth as much as all players, but for `permille` thousandths of that (Ghorbani and Zou 2019,
    arXiv 1904.02868); players after that add nothing. The mask of all players must be in `worth`.
    """
    seen: list[int] = []
    for mask in prefixes(order):
        if mask not in worth:
            return seen, mask
        seen.append(mask)
        if abs(worth[whole] - worth[mask]) * 1000 <= permille * abs(worth[whole]):
            break
    return seen, None


def sampled_values(values: Mapping[int, Vector], chains: Sequence[Sequence[int]], players: int) -> tuple[list[list[int]], int]:
    """Return what each player adds by unit, summed over chains of growing coalitions, and the number of chains as divisor."""
    units = len(values[0])
    out = [[0] * units for _ in range(players)]
    for chain in chains:
        for before, after in pairwise(chain):
            player = (before ^ after).bit_length() - 1
            out[player] = [known + b - a for known, a, b in zip(out[player], values[before], values[after], strict=True)]
    return out, len(chains)


def royalty_shares(values: Sequence[Fraction]) -> list[Fraction] | None:
    """Return the values with negatives clipped, as parts of 1 (Shapley royalty share, arXiv 2404.13964); None where nothing is left to share."""
    clipped = [max(value, Fraction(0)) for value in values]
    total = sum(clipped, Fraction(0))
    return [value / total for value in clipped] if total else None


def largest_remainder(amount: int, weights: Mapping[str, int | Fraction]) -> dict[str, int]:
    """Divide a whole amount in proportion to weights into whole parts that add up to it, none below 0 (Hamilton's method).

    Of equal remainders the earlier name gets the odd unit, so the order in which the weights come decides nothing. Raises ValueError for a negative
    amount or weight, or where all weights are 0.
    """
    total = sum((Fraction(weight) for weight in weights.values()), Fraction(0))
    if amount < 0 or total <= 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError("an amount of 0 or more is divided by weights of 0 or more that are not all 0")
    exact = {name: amount * Fraction(weight) / total for name, weight in sorted(weights.items())}
    parts = {name: int(value) for name, value in exact.items()}
    odd = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in odd[: amount - sum(parts.values())]:
        parts[name] += 1
    return parts
