"""Ratings of records: given by a member in one act, signed for by a Merkle root, erasable one by one.

    drafts -> add -> (the reviewer signs the root, the log takes the statement) -> seal -> builds may count them

As with contributions the log is the only authority: the operator of the store can neither invent a rating nor change one, and whoever
has `governance_hooks.reviews`' file sees it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import Connection, Row, insert, select, update

from data_pipeline.database import StoreDatabase
from data_pipeline.intake import chunks, insert_rows
from data_pipeline.record import IDENTIFIER, instant
from data_pipeline.schema import ratings, records, reviews
from data_pipeline.stages.stage import Rating
from governance_hooks.batches import batch_root
from governance_hooks.canonical import digest, is_digest
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.reviews import FLAGS, HiddenRating, ReviewLine, ShownRating, rating_commitment

__all__ = ["RatingDraft", "Review", "Reviews", "StoredRating"]


@dataclass(frozen=True, slots=True)
class RatingDraft:
    """A rating as handed in."""

    record: str
    score: int
    """1 (unusable) to 5 (excellent)."""
    flags: tuple[str, ...] = ()
    """Words of `governance_hooks.reviews.FLAGS`."""
    line: int = 0
    """Line in the source file, from 1; 0 if there was no file."""


@dataclass(frozen=True, slots=True)
class StoredRating(Rating):
    """A sealed rating, with what proves it."""

    flags: tuple[str, ...]
    salt: str = field(repr=False)
    commitment: str
    statement: str
    """Digest of the coop.review statement that sealed it."""


@dataclass(frozen=True, slots=True)
class Review:
    """Ratings a member gave in one act."""

    review: str
    reviewer: str
    created_at: str
    ratings: int
    root: str
    """Merkle root over the commitments, in the order given."""
    statement: str | None
    """Digest of the coop.review statement; None until sealed."""

    def payload(self) -> dict[str, Any]:
        """Return the payload of the coop.review/v1 statement that seals these ratings."""
        return {"ratings": self.ratings, "root": self.root}

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return the review of a database row."""
        return cls(row.review, row.reviewer, row.created_at, row.ratings, row.root, row.statement)


class Reviews:
    """The ratings in a contribution store."""

    def __init__(self, database: StoreDatabase) -> None:
        self._database = database

    def add(self, reviewer: str, drafts: Sequence[RatingDraft], *, at: str) -> Review:
        """Store ratings of one reviewer in one transaction; the same ratings given again before the seal return the review that is there.

        Args:
            reviewer: member id.
            drafts: the ratings, in the order the reviewer signs for; of several of one record the last stands.
            at: when they are given, RFC 3339 UTC.

        Raises:
            BadInput: none, a score or flag that is none, a record twice, unknown, erased or one the reviewer is an author of; names the line.
        """
        if not IDENTIFIER.fullmatch(reviewer):
            raise BadInput("not a member id", value=reviewer, allowed="1 to 128 of A-Z a-z 0-9 . _ : -")
        if instant(at) != at:
            raise BadInput("not a time in UTC", value=at, allowed="RFC 3339, for example 2026-11-22T13:00:00Z")
        _require_sound(drafts)
        recognised_by = digest([reviewer, *([draft.record, draft.score, sorted(draft.flags)] for draft in drafts)])
        with self._database.transaction(write=True) as connection:
            same = (reviews.c.reviewer == reviewer) & (reviews.c.drafts == recognised_by) & reviews.c.statement.is_(None)
            twin = connection.execute(select(reviews).where(same)).first()
            if twin is not None:
                return Review.of(twin)
            _require_rateable(connection, reviewer, drafts)
            return _insert(connection, reviewer, drafts, recognised_by, at)

    def seal(self, review: str, statement: str) -> None:
        """Link a review to the log statement that carries its root; repeating the same seal changes nothing.

        Raises:
            BadInput: no such review, or no digest.
            CoopError: another statement sealed it, or the statement sealed another review.
        """
        if not is_digest(statement):
            raise BadInput("not the digest of a statement", value=statement, allowed="sha256:<64 hex>")
        with self._database.transaction(write=True) as connection:
            either = (reviews.c.review == review) | (reviews.c.statement == statement)
            known = {row.review: row.statement for row in connection.execute(select(reviews).where(either))}
            if review not in known:
                raise BadInput("no such review", value=review)
            if known[review] not in (None, statement) or len(known) > 1:
                raise CoopError(f"review {review} is sealed by another statement, or the statement seals another review", value=statement)
            connection.execute(update(reviews).where(reviews.c.review == review).values(statement=statement))

    def unsealed(self) -> list[Review]:
        """Return the reviews no log statement carries yet."""
        with self._database.transaction() as connection:
            return [Review.of(row) for row in connection.execute(select(reviews).where(reviews.c.statement.is_(None)).order_by(reviews.c.position))]

    def erase(self, reviewer: str, ids: Iterable[str], *, at: str) -> int:
        """Erase a reviewer's ratings of records for good and return how many; their commitments stay, so the log stays valid.

        Sealed or not, they count nowhere any more. See `ContributionStore.erase` for what a disk may still hold.
        """
        gone = {"record": "", "score": 0, "flags": "", "at": "", "salt": "", "erased_at": at}
        mine = select(reviews.c.review).where(reviews.c.reviewer == reviewer)
        erased = 0
        with self._database.transaction(write=True) as connection:
            for chunk in chunks(ids):
                hit = ratings.c.record.in_(chunk) & ratings.c.review.in_(mine)
                touched = select(ratings.c.review).where(hit)
                connection.execute(update(reviews).where(reviews.c.review.in_(touched)).values(drafts=None))
                erased += connection.execute(update(ratings).where(hit).values(**gone)).rowcount
        self._database.forget(ratings.name, reviews.name)
        return erased

    def ratings(self, low: str = "", high: str | None = None) -> Iterator[StoredRating]:
        """Yield the sealed ratings of records with ids from low to below high, in the order of record and commitment, as they stand at one moment."""
        r = ratings.c
        query = (
            select(r.record, reviews.c.reviewer, r.score, r.at, r.flags, r.salt, r.commitment, reviews.c.statement)
            .join_from(ratings, reviews, r.review == reviews.c.review)
            .where(reviews.c.statement.is_not(None), r.erased_at.is_(None), r.record >= low, *([r.record < high] if high is not None else []))
            .order_by(r.record, r.commitment)
        )
        with self._database.transaction() as connection:
            for record, reviewer, score, at, flags, salt, committed, statement in connection.execution_options(yield_per=4096).execute(query):
                yield StoredRating(record, reviewer, score, at, tuple(flags.split()), salt, committed, statement)

    def lines(self, shown: Callable[[str], bool]) -> Iterator[ReviewLine]:
        """Yield the lines of `governance_hooks.reviews`' file: all sealed reviews in which a rating of a record that `shown` says is to be shown stands.

        Ratings of other records, and erased ones, are only commitments.
        """
        r = ratings.c
        query = (
            select(reviews.c.statement, reviews.c.reviewer, r.record, r.score, r.flags, r.at, r.salt, r.commitment, r.erased_at)
            .join_from(ratings, reviews, r.review == reviews.c.review)
            .where(reviews.c.statement.is_not(None))
            .order_by(reviews.c.statement, r.position)
        )
        with self._database.transaction() as connection:
            together: list[ReviewLine] = []
            for statement, reviewer, record, score, flags, at, salt, committed, erased_at in connection.execution_options(yield_per=4096).execute(query):
                if together and together[0].statement != statement:
                    yield from _if_shown(together)
                    together = []
                together.append(
                    HiddenRating(commitment=committed, statement=statement)
                    if erased_at is not None or not shown(record)
                    else ShownRating(record=record, reviewer=reviewer, score=score, flags=flags.split(), at=at, salt=salt, statement=statement)
                )
            yield from _if_shown(together)


def _if_shown(together: list[ReviewLine]) -> list[ReviewLine]:
    return together if any(isinstance(line, ShownRating) for line in together) else []


def _require_sound(drafts: Sequence[RatingDraft]) -> None:
    if not drafts:
        raise BadInput("a review without ratings", next="coop rate RECORD --score 4")
    seen: set[str] = set()
    for number, draft in enumerate(drafts, start=1):
        where = _where(draft, number)
        if type(draft.score) is not int or not 1 <= draft.score <= 5:
            raise BadInput(f"{where}: not a score", value=draft.score, allowed="1 (unusable) to 5 (excellent)")
        for flag in draft.flags:
            if flag not in FLAGS:
                raise BadInput(f"{where}: unknown flag", value=flag, allowed=", ".join(FLAGS))
        if len(set(draft.flags)) != len(draft.flags):
            raise BadInput(f"{where}: a flag stands twice", value=draft.flags)
        if draft.record in seen:
            raise BadInput(f"{where}: this text is rated twice", value=draft.record, allowed="each text once")
        seen.add(draft.record)


def _where(draft: RatingDraft, number: int) -> str:
    return f"line {draft.line}" if draft.line else f"rating {number}"


def _require_rateable(connection: Connection, reviewer: str, drafts: Sequence[RatingDraft]) -> None:
    known: dict[str, tuple[str, str | None]] = {}
    for chunk in chunks(draft.record for draft in drafts):
        for row in connection.execute(select(records.c.record, records.c.authors, records.c.erased_at).where(records.c.record.in_(chunk))):
            known[row.record] = (row.authors, row.erased_at)
    for number, draft in enumerate(drafts, start=1):
        where = _where(draft, number)
        authors, erased_at = known.get(draft.record, (None, None))
        if authors is None:
            raise BadInput(f"{where}: no such text", value=draft.record, next="take the id from the text you were shown")
        if erased_at is not None:
            raise BadInput(f"{where}: this text was erased", value=draft.record)
        if reviewer in authors.split(" "):
            raise BadInput(f"{where}: you are an author of this text, or of what it builds on", value=draft.record, allowed="other members' texts")


def _insert(connection: Connection, reviewer: str, drafts: Sequence[RatingDraft], recognised_by: str, at: str) -> Review:
    review = secrets.token_hex(12)
    rows: list[tuple[object, ...]] = []
    for position, draft in enumerate(drafts):
        salt, flags = secrets.token_hex(16), sorted(draft.flags)
        committed = rating_commitment(salt, draft.record, reviewer, draft.score, flags, at)
        rows.append((review, position, draft.record, draft.score, " ".join(flags), at, salt, committed, None))
    root = batch_root([str(row[7]) for row in rows])
    values = {"review": review, "reviewer": reviewer, "created_at": at, "drafts": recognised_by, "ratings": len(rows), "root": root}
    connection.execute(insert(reviews).values(**values))
    insert_rows(connection, ratings, iter(rows))
    return Review(review, reviewer, at, len(rows), root, None)
