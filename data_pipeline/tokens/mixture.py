"""What the mix of a plan means for each language, in tokens: a table and a drawing members see before the vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from data_pipeline.language import language_name
from data_pipeline.stages.mix import UNIFORM, mix
from governance_hooks.plan import CANARY_LANGUAGE, Mix, TokenCounts

__all__ = ["MixRow", "canary_passes", "mix_lines", "mixture"]


@dataclass(frozen=True, slots=True)
class MixRow:
    """One language in the mix."""

    language: str
    rows: int
    tokens: int
    """What there is to train on."""
    budget: int
    """Tokens of it that are read, repetitions counted."""
    now: Fraction
    """Its share of what there is."""
    share: Fraction
    """Its share of what is read."""
    capped: bool
    """Whether more would be read if more repetitions were allowed."""

    @property
    def epochs(self) -> Fraction:
        """How often a row of it is read on average."""
        return Fraction(self.budget, self.tokens)


def mixture(counts: Mapping[str, TokenCounts], wanted: Mix, *, epochs: int) -> list[MixRow]:
    """Return the mix by language code, exact; a language without a row that fits is not in it, and canaries are none.

    Args:
        counts: training rows by language, as the plan holds them.
        wanted: the plan's mix.
        epochs: `training.epochs`; all tokens there are, so many times, are the budget where the mix names none.
    """
    sizes = {language: count.tokens for language, count in sorted(counts.items()) if count.rows and language != CANARY_LANGUAGE}
    total = sum(sizes.values())
    if wanted.max_epochs is None:  # natural
        budgets, cap = {language: size * epochs for language, size in sizes.items()}, None
    else:
        cap = wanted.max_epochs
        tenths = UNIFORM if wanted.temperature_tenths is None else wanted.temperature_tenths
        shares = mix(sizes, wanted.budget_tokens or total * epochs, max_epochs=cap, temperature_tenths=tenths)
        budgets = {share.language: share.budget for share in shares}
    read = sum(budgets.values())
    return [
        MixRow(
            language,
            counts[language].rows,
            size,
            budgets[language],
            Fraction(size, total),
            Fraction(budgets[language], read),
            cap is not None and budgets[language] == size * cap,
        )
        for language, size in sizes.items()
    ]


def canary_passes(wanted: Mix, *, epochs: int) -> int:
    """Return how often a run reads each canary: once an epoch where the mix has epochs, else once."""
    return epochs if wanted.strategy == "natural" else 1


def mix_lines(rows: Sequence[MixRow], *, counted: str = "rows") -> list[str]:
    """Return the mix as lines of a table; `counted` is what its counts count."""
    names = {row.language: f"{language_name(row.language)} ({row.language})" for row in rows}
    width = max(map(len, names.values()), default=0)
    lines = [f"{'language':<{width}}  {counted:>8}  {'tokens':>11}  {'now':>6}  {'in mix':>6}  {'epochs':>6}"]
    for row in sorted(rows, key=lambda row: (-row.tokens, row.language)):
        numbers = f"{row.rows:>8}  {row.tokens:>11}  {float(row.now):>6.1%}  {float(row.share):>6.1%}  {float(row.epochs):>6.2f}"
        lines.append(f"{names[row.language]:<{width}}  {numbers}{'  capped' if row.capped else ''}")
    return lines
