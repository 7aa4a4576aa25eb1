"""Tables of the contribution store, for SQLite and PostgreSQL alike.

Lists of ids are kept as text with blanks between, since ids hold none: a build reads a million rows, and parses JSON only for
those with earlier turns.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Column, ForeignKey, Integer, MetaData, SmallInteger, String, Table, Text

__all__ = ["FORMAT", "batches", "metadata", "ratings", "records", "reviews", "store"]

FORMAT: Final = "coop.contributions/v2"

_ID = String().with_variant(String(collation="C"), "postgresql")  # sorted by bytes, as Python sorts them

metadata = MetaData()

store = Table("store", metadata, Column("format", String, primary_key=True))

batches = Table(
    "batches",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("batch", _ID, nullable=False, unique=True),
    Column("member", _ID, nullable=False, index=True),
    Column("created_at", String, nullable=False),
    # Digest of the drafts: makes a repeated add idempotent. Cleared when a record is erased, for it is a hash of unsalted text.
    Column("drafts", String, nullable=True, index=True),
    Column("records", Integer, nullable=False),
    Column("root", String, nullable=False),
    Column("languages", JSON, nullable=False),
    Column("statement", String, nullable=True, unique=True),
)

records = Table(
    "records",
    metadata,
    Column("record", _ID, primary_key=True),
    Column("batch", _ID, ForeignKey("batches.batch"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("targets", Text, nullable=False),
    Column("history", Text, nullable=False),
    Column("language", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("annotation_type", String, nullable=False),
    Column("user_id", String, nullable=True),
    Column("parents", Text, nullable=False),
    Column("licence", String, nullable=False),
    Column("written_at", String, nullable=True),
    Column("line", Integer, nullable=False),
    Column("authors", Text, nullable=False),
    Column("salt", String, nullable=False),
    Column("commitment", String, nullable=False),
    Column("erased_at", String, nullable=True),
)

reviews = Table(
    "reviews",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("review", _ID, nullable=False, unique=True),
    Column("reviewer", _ID, nullable=False, index=True),
    Column("created_at", String, nullable=False),
    Column("drafts", String, nullable=True, index=True),
    Column("ratings", Integer, nullable=False),
    Column("root", String, nullable=False),
    Column("statement", String, nullable=True, unique=True),
)

ratings = Table(
    "ratings",
    metadata,
    Column("review", _ID, ForeignKey("reviews.review"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("record", _ID, nullable=False, index=True),
    Column("score", SmallInteger, nullable=False),
    Column("flags", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("salt", String, nullable=False),
    Column("commitment", String, nullable=False),
    Column("erased_at", String, nullable=True),
)
