"""Counts of samples, tokens and rows that do not fit, by language and side."""

from __future__ import annotations

from collections.abc import Mapping

from data_pipeline.split import Split
from data_pipeline.tokens.description import Counts
from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import BadInput
from governance_hooks.plan import CANARY_LANGUAGE, TokenCounts

__all__ = ["Tally", "check_too_long"]


class Tally:
    """Counts while samples go by."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Split], list[int]] = {}

    def _of(self, language: str, split: Split) -> list[int]:
        return self._counts.setdefault((language, split), [0, 0, 0, 0])

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        counts = self._of(sample.language, sample.split)
        counts[0] += 1
        counts[1] += len(sample.ids)
        counts[2] += sample.supervised

    def leave_out(self, language: str, split: Split) -> None:
        """Count a row that does not fit."""
        self._of(language, split)[3] += 1

    def counts(self) -> dict[str, Counts]:
        """Return what was counted so far, by language code."""

        def side(language: str, split: Split) -> TokenCounts:
            rows, tokens, supervised, too_long = self._counts.get((language, split), (0, 0, 0, 0))
            return TokenCounts(rows=rows, tokens=tokens, supervised=supervised, too_long=too_long)

        return {language: Counts(train=side(language, "train"), heldout=side(language, "heldout")) for language in sorted({name for name, _ in self._counts})}


def check_too_long(counts: Mapping[str, TokenCounts], limit: float, sequence_tokens: int) -> None:
    """Raise BadInput if more than `limit` of a language's training rows do not fit, or if no member's row is left to learn from."""
    for language, count in sorted(counts.items()):
        total = count.rows + count.too_long
        if count.too_long > limit * total:
            raise BadInput(
                f"{count.too_long} of {total} training rows in {language!r} are longer than training.sequence_tokens",
                value=sequence_tokens,
                allowed=f"at most {limit:.0%} left out per language (training.max_dropped_fraction)",
                next="raise training.sequence_tokens in the config and plan again",
            )
    if not any(count.rows for language, count in counts.items() if language != CANARY_LANGUAGE):
        raise BadInput("no training row is left to learn from", next="raise training.sequence_tokens, or build with more records")
