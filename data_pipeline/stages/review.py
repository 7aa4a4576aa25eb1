"""Keep what members' peers found good: enough ratings by others, a high enough mean, and edits that changed something.

After Aya's release rules (Singh et al. 2024, arXiv 2402.06619): there an edit counts from 5 characters of Levenshtein distance, prompt and
answer together, which members may vote for. Unlike there, a row cannot be waved through by its own authors: ratings by anybody in its ancestry are not counted,
and each reviewer counts once, with the latest rating.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.stages.agreement import alpha
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters, Rating
from governance_hooks.errors import BadInput

__all__ = ["RULE", "ReviewParameters", "agreement", "counted", "distance_below", "review"]

RULE: Final = "review/v1"


class ReviewParameters(Parameters):
    """What members ask of a reviewed row."""

    min_reviewers: Annotated[int, Field(ge=1)] = 2
    """Distinct reviewers who are no authors of the row or of its ancestry."""
    min_mean_permille: Annotated[int, Field(ge=1000, le=5000)] = 3000
    """Least mean of the scores 1 to 5, in thousandths."""
    min_edit: Annotated[int, Field(ge=0)] = 0
    """Fewest changed characters for an edit to count beside its parent. Aya's 5 left out 499 real edits, and of 50 read 12 had mended a mistake."""
    drop_unreviewed: Annotated[int, Field(ge=0, le=1)] = 0
    """1 leaves out rows with too few reviewers; 0 marks them `unreviewed`."""


def counted(record: str, authors: Container[str], ratings: Sequence[Rating]) -> dict[str, int]:
    """Return {reviewer: score} of the ratings of one record that count; of one reviewer's ratings at the same time the lowest.

    Raises:
        BadInput: a score is not 1 to 5.
    """
    latest: dict[str, Rating] = {}
    for rating in sorted(ratings, key=lambda rating: (rating.at, -rating.score)):
        if type(rating.score) is not int or not 1 <= rating.score <= 5:
            raise BadInput(f"rating of text {rating.record}", value=rating.score, allowed="1 to 5")
        if rating.record == record and rating.reviewer not in authors:
            latest[rating.reviewer] = rating
    return {reviewer: latest[reviewer].score for reviewer in sorted(latest)}


def review(rows: Sequence[Candidate], parameters: ReviewParameters, evidence: Evidence = NO_EVIDENCE) -> tuple[list[Candidate], list[Exclusion]]:
    """Leave out rows rated too low and edits that changed too little; leave out or mark rows too few have reviewed."""
    ratings = _by_record(evidence)
    by_record = {row.record: row for row in (*evidence.parents, *rows)}
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for row in rows:
        scores = counted(row.record, row.source.authors, ratings.get(row.record, [])).values()
        parent = next(
            (by_record[parent] for parent in row.source.parents if parent in by_record and _too_close(row, by_record[parent], parameters.min_edit)), None
        )
        if parent is not None:
            excluded.append(Exclusion(row.record, "small_edit", f"of {parent.record}: fewer than {parameters.min_edit} characters changed"))
        elif len(scores) < parameters.min_reviewers:
            if parameters.drop_unreviewed:
                excluded.append(Exclusion(row.record, "unreviewed", f"{len(scores)} reviewers other than its authors, {parameters.min_reviewers} needed"))
            else:
                kept.append(row.marked("unreviewed"))
        elif sum(scores) * 1000 < parameters.min_mean_permille * len(scores):
            detail = f"mean score {sum(scores) * 1000 // len(scores)} thousandths by {len(scores)} reviewers, {parameters.min_mean_permille} needed"
            excluded.append(Exclusion(row.record, "rated_low", detail))
        else:
            kept.append(row)
    return kept, excluded


def agreement(rows: Sequence[Candidate], evidence: Evidence) -> dict[str, Fraction | None]:
    """Return Krippendorff's ordinal alpha of the ratings that count, by language; None where it says nothing."""
    ratings = _by_record(evidence)
    units: dict[str, list[list[int]]] = defaultdict(list)
    for row in rows:
        units[row.language].append(list(counted(row.record, row.source.authors, ratings.get(row.record, [])).values()))
    return {language: alpha(units[language]) for language in sorted(units)}


def distance_below(pairs: Sequence[tuple[str, str]], limit: int) -> bool:
    """Tell whether the Levenshtein distances of pairs of texts add up to less than `limit`, in time proportional to length times limit."""
    left = limit
    for one, other in pairs:
        left -= _distance(one, other, left)
        if left <= 0:
            return False
    return True


def _by_record(evidence: Evidence) -> dict[str, list[Rating]]:
    ratings: dict[str, list[Rating]] = defaultdict(list)
    for rating in evidence.ratings:
        ratings[rating.record].append(rating)
    return ratings


def _too_close(row: Candidate, parent: Candidate, limit: int) -> bool:
    return distance_below([(row.inputs, parent.inputs), (row.targets, parent.targets)], limit)


def _distance(one: str, other: str, limit: int) -> int:
    """Return the Levenshtein distance, or `limit` if it is not below it: only the diagonal band that can stay below is computed (Ukkonen 1985)."""
    if one == other:
        return 0
    if abs(len(one) - len(other)) >= limit:
        return limit
    previous = {column: column for column in range(min(limit, len(other)) + 1)}
    for row, character in enumerate(one, start=1):
        current: dict[int, int] = {}
        for column in range(max(0, row - limit), min(len(other), row + limit) + 1):
            if column == 0:
                current[column] = row
                continue
            steps = (
                previous.get(column, limit) + 1,
                current.get(column - 1, limit) + 1,
                previous.get(column - 1, limit) + (character != other[column - 1]),
            )
            current[column] = min(steps)
        if min(current.values()) >= limit:
            return limit
        previous = current
    return min(previous.get(len(other), limit), limit)
