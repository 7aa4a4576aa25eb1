"""A build by language: rows, members, lengths, marks, what was left out and why, how far reviewers agree; without numbers about few people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median

from data_pipeline.croissant import FEW
from data_pipeline.manifest import Build, read_ledger
from data_pipeline.parquet import checked_rows
from data_pipeline.stages.agreement import alpha
from data_pipeline.stages.stage import Rating
from data_pipeline.store import ContributionStore
from data_pipeline.verify import read_exclusions

__all__ = ["FEW", "Insight", "insights"]


@dataclass(frozen=True, slots=True)
class Insight:
    """One language. None where fewer than FEW members stand behind a number, or where there is nothing to say."""

    language: str
    """ISO 639-3."""
    rows: int
    """Rows of the build; the public ledger tells it anyway."""
    members: int | None
    """Distinct authors."""
    largest_permille: int | None
    """Share of the rows that rest on the member with the most of them, of 1000."""
    median_characters: int | None
    """Median of prompt, answer and earlier turns together, in characters."""
    marks: dict[str, int | None]
    """Mark up to its colon -> rows."""
    left_out: dict[str, int | None]
    """Reason -> stored records."""
    alpha_permille: int | None
    """Krippendorff's ordinal alpha of the ratings that count, of rows and of what was rated too low, of 1000; asks for FEW reviewers too."""


@dataclass(slots=True)
class _Count:
    rows: int = 0
    members: set[str] = field(default_factory=set)

    def add(self, authors: Iterable[str]) -> None:
        self.rows += 1
        self.members.update(authors)

    def told(self) -> int | None:
        return self.rows if len(self.members) >= FEW else None


def insights(build: Build, store: ContributionStore) -> list[Insight]:
    """Return one line a language, those with most rows first.

    Args:
        build: with its private files.
        store: knows the language of what was left out, and the ratings.

    Raises:
        CoopError: a file of the build is not what its manifest names.
    """
    lines = read_ledger(build)
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    lengths: dict[str, list[int]] = defaultdict(list)
    marks: dict[str, dict[str, _Count]] = defaultdict(lambda: defaultdict(_Count))
    authors_of: dict[str, tuple[str, Sequence[str]]] = {line.record: (line.language, line.authors) for line in lines}
    for row in checked_rows(build.records, lines):
        line = row.line
        rows[line.language].update(line.authors)
        lengths[line.language].append(len(row.inputs) + len(row.targets) + sum(len(text) for turn in row.history for text in turn))
        for mark in {mark.partition(":")[0] for mark in row.marks}:
            marks[line.language][mark].add(line.authors)
    left, rated_low = _left_out(build, store)
    # Rows alone would not do: what reviewers agree is bad is not among them, and their agreement would look smaller than it is.
    agreed = _agreement(authors_of | rated_low, store.reviews.ratings())
    found = []
    for language in sorted({*rows, *left}, key=lambda code: (-len(lengths[code]), code)):
        counts, total = rows[language], len(lengths[language])
        enough = len(counts) >= FEW
        found.append(
            Insight(
                language=language,
                rows=total,
                members=len(counts) if enough else None,
                largest_permille=max(counts.values()) * 1000 // total if enough else None,
                median_characters=int(median(lengths[language])) if enough else None,
                marks={mark: count.told() for mark, count in sorted(marks[language].items())},
                left_out={reason: count.told() for reason, count in sorted(left[language].items())},
                alpha_permille=agreed.get(language),
            )
        )
    return found


def _left_out(build: Build, store: ContributionStore) -> tuple[dict[str, dict[str, _Count]], dict[str, tuple[str, Sequence[str]]]]:
    """Return counts by language and reason, and language and authors of the records that were rated too low."""
    exclusions, rated_low = read_exclusions(build), dict[str, tuple[str, Sequence[str]]]()
    left: dict[str, dict[str, _Count]] = defaultdict(lambda: defaultdict(_Count))
    for page in store.pages():
        for record in page:
            if record.record in exclusions:
                reason = exclusions[record.record][0]
                left[record.language][reason].add(record.authors)
                if reason == "rated_low":
                    rated_low[record.record] = (record.language, record.authors)
    return left, rated_low


def _agreement(authors_of: Mapping[str, tuple[str, Sequence[str]]], ratings: Iterable[Rating]) -> dict[str, int | None]:
    """Return alpha by language, over the latest rating of each reviewer of a row who is no author of it."""
    latest: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for rating in ratings:
        language, authors = authors_of.get(rating.record, ("", []))
        if language and rating.reviewer not in authors:
            scores = latest[rating.record]
            before = scores.get(rating.reviewer, ("", 0))
            # Of ratings at the same time the lowest counts, as in the stage `review`.
            scores[rating.reviewer] = max(before, (rating.at, rating.score), key=lambda one: (one[0], -one[1]))
    units: dict[str, list[list[int]]] = defaultdict(list)
    reviewers: dict[str, set[str]] = defaultdict(set)
    for record, scores in latest.items():
        language = authors_of[record][0]
        units[language].append([score for _, score in scores.values()])
        reviewers[language].update(scores)
    return {language: _permille(alpha(units[language])) for language in units if len(reviewers[language]) >= FEW}


def _permille(value: Fraction | None) -> int | None:
    return None if value is None else int(value * 1000)
