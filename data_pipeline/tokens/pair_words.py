"""What training on pairs means, in the plain words members vote on."""

from __future__ import annotations

from collections.abc import Mapping

from data_pipeline.language import language_name
from governance_hooks.plan import PairCounts
from governance_hooks.training import Training

__all__ = ["pair_lines", "pair_words"]


def pair_lines(pairs: Mapping[str, PairCounts]) -> list[str]:
    """Return one line a language: its pairs, and the rows that are in none."""
    lines = []
    for code, count in sorted(pairs.items()):
        because = [
            f"{number} edit{'s' * (number != 1)} {why}"
            for number, why in (
                (count.other_prompt, "changed the prompt too"),
                (count.absent, "replaced something that is not in the dataset"),
                (count.rated_lower, "rated below what they replaced"),
            )
            if number
        ]
        lines.append(
            f"{language_name(code)} ({code}): {count.edits} pairs by edits, {count.ratings} by ratings; {count.unpaired} rows are in none"
            + (f" ({', '.join(because)})" if because else "")
        )
    return lines


def pair_words(pairs: Mapping[str, PairCounts], training: Training) -> list[str]:
    """Return what is preferred over what, how often, and what is not used, one line a thought."""
    edits, ratings, unpaired = (sum(getattr(count, name) for count in pairs.values()) for name in ("edits", "ratings", "unpaired"))
    return [
        f"How it learns: by preference (DPO). An edit is preferred over what it replaced: {edits} pairs. Of two answers to one prompt, the one that members "
        f"rated better by {training.minimum_rating_gap:g} or more is preferred: {ratings} pairs.",
        "What an edit replaced is used as the worse answer, so its author's consent is needed too. No answer is copied for its own sake.",
        f"Rows that are in no pair are not trained on: {unpaired}.",
        *(f"  {line}" for line in pair_lines(pairs)),
    ]
