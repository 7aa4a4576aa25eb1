"""Krippendorff's alpha for ordinal ratings: how much reviewers agree beyond chance, exactly.

Krippendorff, Content Analysis, 2nd edition 2004, chapter 11: alpha = 1 - observed / expected disagreement, over pairable ratings,
with the ordinal distance delta(c, k) = (sum of the ratings from c to k, less half of those at c and at k) squared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

__all__ = ["alpha"]


def alpha(units: Iterable[Sequence[int]]) -> Fraction | None:
    """Return alpha of the scores each unit got: 1 is agreement, 0 what chance gives, negative worse than chance.

    Units of fewer than two scores say nothing and are left out. None if nothing remains or every remaining score is the same, since
    chance then agrees as well.
    """
    pairable = [Counter(scores) for scores in units if len(scores) > 1]
    totals: Counter[int] = sum(pairable, Counter())
    values = sorted(totals)
    if len(values) < 2:
        return None
    below = {value: sum(totals[lower] for lower in values if lower < value) for value in values}

    def distance(one: int, other: int) -> int:
        """Return four times the ordinal distance, a whole number; the factor cancels out."""
        low, high = sorted((one, other))
        return (2 * (below[high] + totals[high] - below[low]) - totals[low] - totals[high]) ** 2

    pairs = [(one, other) for one in values for other in values if one < other]
    observed = sum((Fraction(unit[one] * unit[other] * distance(one, other), unit.total() - 1) for unit in pairable for one, other in pairs), Fraction(0))
    expected = Fraction(sum(totals[one] * totals[other] * distance(one, other) for one, other in pairs), totals.total() - 1)
    return 1 - observed / expected
