"""What a member gave: records, batches, languages, ratings, and what of it was erased or is not sealed yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from data_pipeline.store import ContributionStore

__all__ = ["Given", "GivenBatch", "given"]


@dataclass(frozen=True, slots=True)
class GivenBatch:
    """Records given in one act."""

    batch: str
    """Id in the store."""
    statement: str | None
    """The statement that sealed it; None until then, and no build reads it."""
    created_at: str
    records: int
    erased: int
    languages: dict[str, int]
    """ISO 639-3 -> records, erased ones too, as the member signed."""


@dataclass(frozen=True, slots=True)
class Given:
    """All a store holds of a member."""

    member: str
    records: int
    """Erased ones left out."""
    edits: int
    """Of them, edits of other records."""
    erased: int
    unsealed: int
    """Of the records, those no statement has sealed yet."""
    languages: dict[str, int]
    """ISO 639-3 -> records."""
    batches: tuple[GivenBatch, ...]
    ratings: int
    """Ratings given that are sealed and stand."""
    rated: int
    """Own records others have rated."""
    ratings_received: int
    mean_permille: int | None
    """Mean score received, 1000 to 5000; None where fewer than two members rated, since it would tell what one of them thinks."""


def given(store: ContributionStore, member: str) -> Given:
    """Return what a member gave, and what ratings came back; who rated is not told."""
    records = store.records(member=member)
    erased = Counter(record.batch for record in records if record.erased_at is not None)
    standing = {record.record: record for record in records if record.erased_at is None}
    mine, received, reviewers = 0, dict[tuple[str, str], tuple[str, int]](), set[str]()
    for rating in store.reviews.ratings():
        mine += rating.reviewer == member
        if rating.record in standing and rating.reviewer != member:
            key = (rating.record, rating.reviewer)
            received[key] = max(received.get(key, ("", 0)), (rating.at, rating.score))
            reviewers.add(rating.reviewer)
    scores = [score for _, score in received.values()]
    return Given(
        member=member,
        records=len(standing),
        edits=sum(bool(record.parents) for record in standing.values()),
        erased=erased.total(),
        unsealed=sum(record.statement is None for record in standing.values()),
        languages=dict(sorted(Counter(record.language for record in standing.values()).items())),
        batches=tuple(
            GivenBatch(batch.batch, batch.statement, batch.created_at, batch.records, erased[batch.batch], batch.languages)
            for batch in store.batches(member=member)
        ),
        ratings=mine,
        rated=len({record for record, _ in received}),
        ratings_received=len(scores),
        mean_permille=sum(scores) * 1000 // len(scores) if len(reviewers) > 1 else None,
    )
