"""Tables of the contribution store (SQLAlchemy Core) and the SQLite settings that make an acknowledged write durable."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, Engine, ForeignKey, Integer, MetaData, String, Table, Text, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from governance_hooks.errors import BadInput

__all__ = ["FORMAT", "batches", "engine_for", "metadata", "records", "store"]

FORMAT: Final = "coop.contributions/v2"

metadata = MetaData()

store = Table("store", metadata, Column("format", String, primary_key=True))

batches = Table(
    "batches",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("batch", String, nullable=False, unique=True),
    Column("member", String, nullable=False, index=True),
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
    Column("record", String, primary_key=True),
    Column("batch", String, ForeignKey("batches.batch"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("targets", Text, nullable=False),
    Column("history", JSON, nullable=False),
    Column("language", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("annotation_type", String, nullable=False),
    Column("user_id", String, nullable=True),
    Column("parents", JSON, nullable=False),
    Column("licence", String, nullable=False),
    Column("written_at", String, nullable=True),
    Column("line", Integer, nullable=False),
    Column("authors", JSON, nullable=False),
    Column("salt", String, nullable=False),
    Column("commitment", String, nullable=False),
    Column("erased_at", String, nullable=True),
)


def _url(location: str | Path) -> URL:
    if isinstance(location, Path) or "://" not in location:
        return URL.create("sqlite", database=str(location))
    try:
        return make_url(location)
    except ArgumentError as error:
        raise BadInput("the contribution store's address is not a database URL", value=location, allowed="a file path, or an SQLAlchemy URL") from error


def engine_for(location: str | Path) -> Engine:
    """Return an engine for a file path or a database URL; raise BadInput if the driver is missing."""
    url = _url(location)
    if url.get_backend_name() == "sqlite" and url.database:
        folder = Path(url.database).parent
        if not folder.is_dir():
            raise BadInput(f"the folder {folder} of the contribution store does not exist", next="coop init")
        with suppress(OSError):  # texts and salts: nobody else's to read; an error here comes back, in full words, when SQLite opens the file
            os.close(os.open(url.database, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        engine = create_engine(url)
    except (ImportError, ArgumentError) as error:
        raise BadInput(f"no database driver for {url.get_backend_name()}: {error}", allowed="sqlite, or a database whose driver is installed") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _settings)
        event.listen(engine, "begin", _begin)
    return engine


def _settings(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver would start a transaction too late to lock
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("coop_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
