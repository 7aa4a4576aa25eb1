"""Mix languages: as evenly as possible without repeating a small one too often.

UniMax (Chung et al. 2023, arXiv 2304.09151): every language gets an equal part of the budget, but at most so many epochs of what it
has; what a capped language leaves is shared by the others. With a temperature, parts are in proportion to size ** (1 / temperature)
instead (Devlin et al. 2019); the cap holds as well, and a rising temperature ends at UniMax. Exact: whole numbers and fractions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from governance_hooks.errors import BadInput

__all__ = ["UNIFORM", "Share", "mix"]

UNIFORM: Final = 0
"""The temperature that stands for infinity."""

_SCALE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Share:
    """One language's part of the mix."""

    language: str
    size: int
    """What there is: rows, characters or tokens."""
    budget: int
    """What of the budget it gets, in the same unit."""
    epochs: Fraction
    """How often it is seen on average: budget / size."""
    weight: Fraction
    """Part of the whole mix."""


def mix(sizes: Mapping[str, int], budget: int, *, max_epochs: int = 4, temperature_tenths: int = UNIFORM) -> list[Share]:
    """Share a budget between languages; the order of `sizes` decides nothing.

    Args:
        sizes: language -> rows, characters or tokens there are.
        budget: how much to train on, in the same unit. What all caps together do not allow stays unused.
        max_epochs: how often a language may be repeated; Muennighoff et al. 2023 (arXiv 2305.16264) saw little loss up to 4.
        temperature_tenths: UNIFORM for UniMax; else ten times the temperature, 10 for parts in proportion to size.

    Returns:
        shares by language code; the budgets add up to min(budget, all sizes * max_epochs).

    Raises:
        BadInput: nothing to mix, or a number is out of range.
    """
    if not sizes or any(size < 1 for size in sizes.values()):
        raise BadInput("sizes to mix", value=dict(sizes), allowed="at least one language, each 1 or more")
    if budget < 1 or max_epochs < 1:
        raise BadInput("budget and max_epochs", value=(budget, max_epochs), allowed="1 or more")
    if temperature_tenths != UNIFORM and not 10 <= temperature_tenths <= 200:
        raise BadInput("temperature_tenths", value=temperature_tenths, allowed=f"{UNIFORM} (uniform), or 10 to 200")

    pulls = {language: 1 if temperature_tenths == UNIFORM else _power(size, Fraction(10, temperature_tenths)) for language, size in sizes.items()}
    parts: dict[str, Fraction] = {}
    left, pull = Fraction(min(budget, sum(sizes.values()) * max_epochs)), sum(pulls.values())
    total = int(left)
    # Languages that reach their cap first come first; each takes its part of what is left, or its cap.
    for language in sorted(sizes, key=lambda language: (Fraction(sizes[language], pulls[language]), language)):
        parts[language] = min(left * pulls[language] / pull, Fraction(sizes[language] * max_epochs))
        left -= parts[language]
        pull -= pulls[language]
    whole = {language: int(part) for language, part in parts.items()}
    # Largest remainders get the units that rounding down left over; a capped part is whole, so none passes its cap.
    for language in sorted(parts, key=lambda language: (whole[language] - parts[language], language))[: total - sum(whole.values())]:
        whole[language] += 1
    return [Share(name, sizes[name], whole[name], Fraction(whole[name], sizes[name]), Fraction(whole[name], total)) for name in sorted(sizes)]


def _power(size: int, exponent: Fraction) -> int:
    """Return floor(2^64 * size ** exponent), by bisection on whole numbers."""
    target = size**exponent.numerator * _SCALE**exponent.denominator
    low, high = 0, size * _SCALE + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**exponent.denominator <= target else (low, middle)
    return low
