"""Which answer is preferred over which: read off the rows of a build and their ratings, before anything is tokenised.

    an edit            over what it replaced         if both answer the same prompt after the same turns
    a rated answer     over the worst rated one      if their mean ratings are at least so far apart

Both records stand in the build, on the same side of the split and in the same language, so every author of both has consented. A record
is preferred in one pair at most, which is named by it; it may be the worse one of many. Where reviewers rate an edit clearly below what
it replaced, the edit is not preferred. Ratings by an author of either record do not count, and a mean needs as many reviewers as the
build's recipe asks of a reviewed row.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, cast

from data_pipeline.manifest import REVIEWS, Build, read_ledger
from data_pipeline.parquet import StoredRow, checked_rows
from data_pipeline.split import Split
from data_pipeline.stages.review import counted
from data_pipeline.stages.stage import Rating
from governance_hooks.canonical import dumps
from governance_hooks.errors import CoopError
from governance_hooks.fields import Identifier, Language, Strict
from governance_hooks.inventory import sha256_file
from governance_hooks.plan import PairCounts
from governance_hooks.reviews import ShownRating, read_reviews

__all__ = ["RULE", "Found", "Preference", "find_preferences"]

RULE: Final = "prefer_edits_then_ratings/v1"


class Preference(Strict):
    """One answer preferred over another to the same prompt; a line of preferences.jsonl."""

    chosen: Identifier
    rejected: Identifier
    language: Language
    split: Split
    because: Literal["edit", "rating"]

    @property
    def place(self) -> tuple[bool, str]:
        """The key by which the lines are sorted: training side first, then the preferred record."""
        return self.split == "heldout", self.chosen


@dataclass(frozen=True, slots=True)
class Found:
    """All preferences of a build, in the order of their places, and what became of the training rows of each language."""

    preferences: list[Preference]
    counts: dict[str, PairCounts]


@dataclass(frozen=True, slots=True)
class _Row:
    record: str
    language: str
    split: Split
    authors: tuple[str, ...]
    parents: tuple[str, ...]
    question: bytes
    """Digest of language, side, history and prompt: what two answers must share to be a pair."""


def find_preferences(build: Build, minimum_rating_gap: float) -> Found:
    """Return what the rows of a build prefer over what; every row is checked against its ledger line while it is read.

    Args:
        build: the build.
        minimum_rating_gap: two answers to one prompt are a pair if their mean ratings are at least so far apart.

    Raises:
        CoopError: rows or ratings are not those of the manifest, or an edit lacks an author of what it rests on.
    """
    rows = {row.line.record: _row(row) for row in checked_rows(build.records, read_ledger(build))}
    ratings = _Ratings(build, Fraction(str(minimum_rating_gap)))
    worst = _worst_rated(rows, ratings)
    tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)
    preferences: list[Preference] = []
    paired: set[str] = set()
    for row in rows.values():
        rejected, outcome = _replaced(row, rows, ratings)
        because: Literal["edit", "rating"] = "edit"
        if rejected is None and (worse := worst.get(row.question)) is not None and ratings.better(row, worse):
            rejected, because = worse, "rating"
        if row.split == "train":
            tallies[row.language].update(rows=1, **({outcome: 1} if outcome else {}), **({because + "s": 1} if rejected is not None else {}))
        if rejected is not None:
            preferences.append(Preference(chosen=row.record, rejected=rejected.record, language=row.language, split=row.split, because=because))
            paired |= {row.record, rejected.record}
    for row in rows.values():
        if row.split == "train" and row.record not in paired:
            tallies[row.language]["unpaired"] += 1
    counts = {language: PairCounts(**{name: tally[name] for name in PairCounts.model_fields}) for language, tally in sorted(tallies.items())}
    return Found(sorted(preferences, key=lambda one: one.place), counts)


def _row(row: StoredRow) -> _Row:
    line = row.line
    question = hashlib.sha256(dumps([line.language, line.split, row.inputs, *map(list, row.history)])).digest()[:16]
    return _Row(line.record, line.language, cast("Split", line.split), tuple(line.authors), row.parents, question)


def _replaced(row: _Row, rows: Mapping[str, _Row], ratings: _Ratings) -> tuple[_Row | None, str]:
    """Return what an edit is preferred over, or nothing and why; a row that is no edit has no reason either."""
    outcome = ""
    for parent in row.parents:
        replaced = rows.get(parent)
        if replaced is None:
            outcome = outcome or "absent"
            continue
        if not set(replaced.authors) <= set(row.authors):
            raise CoopError(f"text {row.record} is an edit of {parent} without one of its authors", value=list(row.authors), next="build again")
        if replaced.question != row.question:
            outcome = "other_prompt"
        elif ratings.better(replaced, row):
            outcome = "rated_lower"
        else:
            return replaced, ""
    return None, outcome


def _worst_rated(rows: Mapping[str, _Row], ratings: _Ratings) -> dict[bytes, _Row]:
    """Return the worst rated answer to each question, of equals the first."""
    worst: dict[bytes, tuple[Fraction, str]] = {}
    for record in ratings.records:
        if (row := rows.get(record)) is not None and (mean := ratings.mean(row, row.authors)) is not None:
            worst[row.question] = min(worst.get(row.question, (mean, record)), (mean, record))
    return {question: rows[record] for question, (_, record) in worst.items()}


class _Ratings:
    """The ratings beside a build; that their reviewers signed them is the check of whoever has the log."""

    def __init__(self, build: Build, gap: Fraction) -> None:
        named = next(entry["sha256"] for entry in build.manifest["files"] if entry["path"] == REVIEWS)
        if not build.reviews.is_file() or sha256_file(build.reviews) != named:
            raise CoopError(f"{build.reviews} is not the file the manifest names", allowed=named, next="build it again")
        self._gap, self._reviewers = gap, build.manifest["stages"].get("review", {}).get("min_reviewers", 1)
        self._by_record: defaultdict[str, list[Rating]] = defaultdict(list)
        for line in read_reviews(build.reviews):
            if isinstance(line, ShownRating):
                self._by_record[line.record].append(Rating(line.record, line.reviewer, line.score, line.at))

    @property
    def records(self) -> list[str]:
        """The rated records, sorted."""
        return sorted(self._by_record)

    def mean(self, row: _Row, without: Sequence[str]) -> Fraction | None:
        """Return the mean rating of a row without those by some members; None if too few are left."""
        scores = counted(row.record, without, self._by_record.get(row.record, ())).values()
        return Fraction(sum(scores), len(scores)) if len(scores) >= self._reviewers else None

    def better(self, one: _Row, other: _Row) -> bool:
        """Tell whether one answer is rated better than another by the gap at least, by members who wrote neither."""
        if one.record == other.record:
            return False
        means = [self.mean(row, (*one.authors, *other.authors)) for row in (one, other)]
        return means[0] is not None and means[1] is not None and means[0] - means[1] >= self._gap
