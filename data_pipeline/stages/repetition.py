"""Leave out rows that say nothing or say it over and over: echoes, near-empty texts, repeated lines, repeated runs of characters.

After the repetition filters of Gopher (Rae et al. 2021, arXiv 2112.11446, table A1), but counted in characters: their words and
English stop words mean nothing in Thai, Chinese or Tamil. Thresholds lie well above code, verse and command lines of real
contributors, because a row dropped here is a member's work.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.deduplicate import folded
from data_pipeline.stages.grams import key
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters, PerMille

__all__ = ["RULE", "SIZE", "RepetitionParameters", "repeated_grams_permille", "repeated_lines_permille", "repetition"]

RULE: Final = "repetition/v1"
SIZE: Final = 8
"""Characters of the runs that are counted."""

_SPACES = re.compile(r"\s+")


class RepetitionParameters(Parameters):
    """Thresholds; a text at the threshold stays."""

    min_prompt: Annotated[int, Field(ge=1)] = 1
    """Fewest visible characters of a prompt. Two would drop only sound rows of the corpora tried: a Chinese word, a command of one letter."""
    min_answer: Annotated[int, Field(ge=1)] = 1
    """Fewest visible characters of an answer; one can be a right answer."""
    echo_from: Annotated[int, Field(ge=0)] = 12
    """An answer that is the prompt again, in fewer letters, marks and digits than this, is only marked `echo`: "Good morning" answers "Good morning"."""
    judged_from: Annotated[int, Field(ge=SIZE)] = 40
    """A shorter prompt or answer is not judged for repetition."""
    max_repeated_lines_permille: PerMille = 500
    """Share of the text in lines that stood there before."""
    max_repeated_grams_permille: PerMille = 600
    """Share of the runs of 8 characters that stood there before."""


def repeated_lines_permille(text: str) -> int:
    """Return how many of a thousand characters stand in a line that occurred before, outer blanks and empty lines aside; rounded down."""
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    total = sum(map(len, lines))
    return 1000 * (total - sum(map(len, set(lines)))) // total if total else 0


def repeated_grams_permille(text: str) -> int:
    """Return how many of a thousand runs of 8 characters occurred before, white space made one blank; rounded down."""
    text = _SPACES.sub(" ", text)
    total = len(text) - SIZE + 1
    return 1000 * (total - len({text[start : start + SIZE] for start in range(total)})) // total if total > 0 else 0


def repetition(rows: Sequence[Candidate], parameters: RepetitionParameters, evidence: Evidence = NO_EVIDENCE) -> tuple[list[Candidate], list[Exclusion]]:
    """Leave out rows whose answer is their prompt, that show too few characters, or that repeat themselves."""
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for row in rows:
        found = next(_problems(row, parameters), None)
        if found is None:
            kept.append(row.marked("echo") if _echo(row) else row)
        else:
            excluded.append(Exclusion(row.record, *found))
    return kept, excluded


def _problems(row: Candidate, parameters: RepetitionParameters) -> Iterator[tuple[str, str]]:
    if _echo(row) and len(key(row.inputs)) >= parameters.echo_from:
        yield "echo", "the answer is the prompt again"
    for name, text, least in (("prompt", row.inputs, parameters.min_prompt), ("answer", row.targets, parameters.min_answer)):
        visible = _visible(text, least)
        if visible < least:
            yield "too_short", f"the {name} shows {visible} characters, {least} are the least"
        if len(text) < parameters.judged_from:
            continue
        if (lines := repeated_lines_permille(text)) > parameters.max_repeated_lines_permille:
            yield "repeated_lines", f"{lines} of 1000 characters of the {name} are lines said before, {parameters.max_repeated_lines_permille} allowed"
        if (grams := repeated_grams_permille(text)) > parameters.max_repeated_grams_permille:
            yield (
                "repeated_text",
                f"{grams} of 1000 places in the {name} repeat {SIZE} characters said before, {parameters.max_repeated_grams_permille} allowed",
            )


def _echo(row: Candidate) -> bool:
    return folded(row.inputs) == folded(row.targets)


def _visible(text: str, enough: int) -> int:
    """Count visible characters, up to `enough`."""
    count = 0
    for character in text:
        count += unicodedata.category(character)[0] not in "ZC"
        if count == enough:
            break
    return count
