"""Private tables of the portal, for SQLite and PostgreSQL alike. Times are RFC 3339 UTC, tokens are kept as their SHA-256 only."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

__all__ = ["accounts", "basket", "drafted", "enrolments", "links", "metadata", "outbox", "received", "remarks", "scores", "sessions"]

metadata = MetaData()

accounts = Table(
    "portal_accounts",
    metadata,
    Column("account", String, primary_key=True),
    Column("mail", String, nullable=False, unique=True),
    Column("language", String, nullable=False),
    # The pseudonym in the log; null until it is proven with a key of that member, or until they are admitted.
    Column("member", String, nullable=True, unique=True),
    Column("asks_as", String, nullable=True),  # the pseudonym somebody asks to be admitted as
    Column("notices", Boolean, nullable=False),  # whether they want mail about votes
    Column("created", String, nullable=False),
)

sessions = Table(
    "portal_sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("account", String, nullable=False, index=True),
    Column("expires", String, nullable=False),
    Column("standing", String, nullable=True),  # what the account was when this name of the session was given; null before the first visit
)

links = Table(
    "portal_links",
    metadata,
    Column("hash", String, primary_key=True),
    Column("mail", String, nullable=False),
    Column("language", String, nullable=False),
    Column("next", String, nullable=False),
    Column("expires", String, nullable=False),
)

drafted = Table(
    "portal_drafted",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False, index=True),
    Column("author", String, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # the canonical bytes that are signed
    Column("signatures", JSON, nullable=False),
    Column("after", JSON, nullable=False),  # what to do once it is in the log, for example which batch it seals; the salt of a declined request
    Column("created", String, nullable=False),
    Column("statement", String, nullable=True),  # the digest, once it is in the log
    Column("state", String, nullable=False),  # open, logged
)

enrolments = Table(
    "portal_enrolments",
    metadata,
    Column("id", String, primary_key=True),
    Column("challenge", LargeBinary, nullable=False),
    Column("member", String, nullable=False),
    Column("purpose", String, nullable=False),  # join, add, replace, recover
    Column("detail", String, nullable=False),  # replace: the key line that goes
    Column("expires", String, nullable=False),
    Column("session", String, nullable=True),  # the hash of the session that asked for it
)

basket = Table(
    "portal_basket",
    metadata,
    Column("id", String, primary_key=True),  # chosen by the page or the browser's outbox
    Column("account", String, nullable=False, index=True),
    Column("inputs", Text, nullable=False),
    Column("targets", Text, nullable=False),
    Column("language", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("licence", String, nullable=False),
    Column("parent", String, nullable=True),
    Column("created", String, nullable=False),
)

received = Table(  # texts that came, by id and content together, so that sending one twice gives it once
    "portal_received",
    metadata,
    Column("account", String, primary_key=True),
    Column("mark", String, primary_key=True),
    Column("created", String, nullable=False, index=True),
)

scores = Table(
    "portal_scores",
    metadata,
    Column("account", String, primary_key=True),
    Column("record", String, primary_key=True),
    Column("score", Integer, nullable=False),
    Column("flags", String, nullable=False),
    Column("created", String, nullable=False),
)

remarks = Table(
    "portal_remarks",
    metadata,
    Column("id", String, primary_key=True),
    Column("proposal", String, nullable=False, index=True),
    Column("member", String, nullable=False),
    Column("stance", String, nullable=False),  # for, against, question
    Column("text", Text, nullable=False),
    Column("created", String, nullable=False),
)

outbox = Table(
    "portal_outbox",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("event", String, nullable=False),  # what it is about: the same event is mailed to an address once
    Column("mail", String, nullable=False),
    Column("language", String, nullable=False),
    Column("template", String, nullable=False),
    Column("values", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", String, nullable=False),
    Column("sent", String, nullable=True),
    Column("error", String, nullable=True),
    UniqueConstraint("event", "mail"),
    Index("portal_outbox_due", "sent", "due"),
    Index("portal_outbox_mail", "mail"),
)
