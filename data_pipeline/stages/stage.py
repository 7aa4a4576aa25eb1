"""What every quality stage has: a rule name, whole-number parameters members can vote on, and one signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from data_pipeline.candidate import Candidate, Exclusion

__all__ = ["NO_EVIDENCE", "Evidence", "Item", "Parameters", "PerMille", "Rating", "Stage", "Suite", "priority"]

PerMille = Annotated[int, Field(ge=0, le=1000)]


class Parameters(BaseModel):
    """Whole numbers only, so that a manifest holds them exactly; an unknown name or a value out of range is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Rating:
    """A member's score of a record."""

    record: str
    reviewer: str
    """Member id."""
    score: int
    """1 (unusable) to 5 (excellent)."""
    at: str
    """RFC 3339 UTC; of several ratings by one reviewer the latest counts."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of an evaluation suite, with whatever text of it a training row must not hold."""

    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Suite:
    """An evaluation suite as one file or list gave it."""

    name: str
    digest: str
    """SHA-256 of the file, or of the canonical list."""
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stages know beside the rows; the manifest must name it by digest, because it changes what is kept."""

    ratings: tuple[Rating, ...] = ()
    suites: tuple[Suite, ...] = ()
    parents: tuple[Candidate, ...] = ()
    """Rows that are not at hand and came as far, of which some at hand are edits."""


NO_EVIDENCE: Final = Evidence()

Run = Callable[[Sequence[Candidate], Any, Evidence], tuple[list[Candidate], list[Exclusion]]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as the table lists it."""

    rule: str
    """Versioned name for the manifest; another behaviour is another version."""
    run: Run
    """(rows, parameters, evidence) -> (rows that stay, exclusions of the others). Pure; the order of the rows decides nothing."""
    parameters: type[Parameters]
    effect: Literal["drops", "marks", "rewrites"]
    """The most it does to a row. A stage that drops or rewrites may also mark."""
    joint: bool = False
    """Whether a row's fate depends on rows that are not its parents; a stage that is not joint may be run on any part of the rows."""


def priority(row: Candidate) -> tuple[str, str]:
    """Return the sort key under which the earlier of two like rows stays: time of storing, then record id."""
    return row.source.created_at, row.record
