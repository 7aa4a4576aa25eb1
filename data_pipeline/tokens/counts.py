"""Counts of samples, tokens and rows that do not fit, by language and side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from data_pipeline.split import Split
from data_pipeline.tokens.description import Counts
from data_pipeline.tokens.preferences import Preference
from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import BadInput
from governance_hooks.plan import CANARY_LANGUAGE, TokenCounts

__all__ = ["Tally", "check_too_long", "fitting"]


class Tally:
    """Counts while samples go by."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Split], list[int]] = {}

    def _of(self, language: str, split: Split) -> list[int]:
        return self._counts.setdefault((language, split), [0, 0, 0, 0])

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        self.take(sample.language, sample.split, len(sample.ids), sample.supervised)

    def take(self, language: str, split: Split, tokens: int, supervised: int) -> None:
        """Count a sample or pair of so many tokens."""
        counts = self._of(language, split)
        counts[0] += 1
        counts[1] += tokens
        counts[2] += supervised

    def leave_out(self, language: str, split: Split) -> None:
        """Count a row that does not fit."""
        self._of(language, split)[3] += 1

    def counts(self) -> dict[str, Counts]:
        """Return what was counted so far, by language code."""

        def side(language: str, split: Split) -> TokenCounts:
            rows, tokens, supervised, too_long = self._counts.get((language, split), (0, 0, 0, 0))
            return TokenCounts(rows=rows, tokens=tokens, supervised=supervised, too_long=too_long)

        return {language: Counts(train=side(language, "train"), heldout=side(language, "heldout")) for language in sorted({name for name, _ in self._counts})}


def fitting(preferences: Iterable[Preference], sizes: Mapping[str, tuple[int, int]], sequence_tokens: int) -> tuple[list[Preference], dict[str, Counts]]:
    """Return the pairs of which both answers together fit into a sequence, and the counts of all.

    Args:
        preferences: the pairs.
        sizes: tokens and learned tokens of each record that fits by itself.
        sequence_tokens: length of a sequence.
    """
    tally, kept = Tally(), list[Preference]()
    for one in preferences:
        both = [sizes[record] for record in (one.chosen, one.rejected) if record in sizes]
        tokens, supervised = (sum(size[part] for size in both) for part in (0, 1))
        if len(both) < 2 or tokens > sequence_tokens:
            tally.leave_out(one.language, one.split)
        else:
            kept.append(one)
            tally.take(one.language, one.split, tokens, supervised)
    return kept, tally.counts()


def check_too_long(counts: Mapping[str, TokenCounts], limit: float, sequence_tokens: int, *, what: Literal["rows", "pairs"] = "rows") -> None:
    """Raise BadInput if more than `limit` of a language's training rows (or pairs) do not fit, or if no member's row is left to learn from."""
    for language, count in sorted(counts.items()):
        total = count.rows + count.too_long
        if count.too_long > limit * total:
            raise BadInput(
                f"{count.too_long} of {total} training {what} in {language!r} are longer than training.sequence_tokens",
                value=sequence_tokens,
                allowed=f"at most {limit:.0%} left out per language (training.max_dropped_fraction)",
                next="raise training.sequence_tokens in the config and plan again",
            )
    if not any(count.rows for language, count in counts.items() if language != CANARY_LANGUAGE):
        more = "more texts" if what == "rows" else "edits beside what they replaced, or with ratings"
        raise BadInput(f"no training {what[:-1]} is left to learn from", next=f"raise training.sequence_tokens, or build with {more}")
