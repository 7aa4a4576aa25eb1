"""Where the records of one part come from: the store, or a file cut from it for machines that may not open the store.

StoreRange ── write ──► PageFile        both yield the same pages
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy.engine import URL

from data_pipeline.record import Record
from data_pipeline.stages.stage import Rating
from data_pipeline.store import ContributionStore
from governance_hooks.errors import CoopError

__all__ = ["PAGE", "Page", "PageFile", "Source", "StoreRange"]

PAGE: Final = 4096
"""Records in memory at a time."""

_NAMES: Final = tuple(field.name for field in fields(Record))
_values = attrgetter(*_NAMES)
_rating = attrgetter(*(field.name for field in fields(Rating)))
_TUPLES: Final = tuple(_NAMES.index(name) for name in ("parents", "authors"))
_HISTORY: Final = _NAMES.index("history")
_UNUSED: Final = tuple((_NAMES.index(name), value) for name, value in (("user_id", None), ("written_at", None), ("line", 0)))
"""What no rule of a build reads stays in the store."""


@dataclass(frozen=True, slots=True)
class Page:
    """Neighbouring records, and what the store knows beside them."""

    records: list[Record]
    stored: int
    """Records of the store the page stands for: also those no statement that counts brought."""
    authors: dict[str, tuple[str, ...]]
    """The authors of every record they build on."""
    others: list[Record]
    """The records they build on that are not among them."""
    ratings: list[Rating]


class Source(Protocol):
    """The records of one part."""

    def pages(self) -> Iterator[Page]:
        """Yield them in the order of their ids."""
        ...


@dataclass(frozen=True, slots=True)
class StoreRange:
    """The records of a store with ids from `low` to below `high`."""

    location: str | Path | URL
    low: str
    high: str | None
    signed: frozenset[str] | None
    """The statements of contributions and reviews that count as in the log; None takes the store's word."""
    review: bool
    """Whether ratings, and the records an edit builds on, are asked for."""

    def pages(self) -> Iterator[Page]:
        """Yield the records as they stand at one moment."""
        with ContributionStore(self.location) as store:
            for found in store.pages(self.low, self.high, PAGE):
                records = self._counting(found)
                here, parents = {record.record for record in records}, {parent for record in records for parent in record.parents}
                others = self._counting(store.some(parents - here)) if self.review else []
                yield Page(records, len(found), store.authors(parents), others, list(self._ratings(store, records, here)))

    def _counting(self, records: list[Record]) -> list[Record]:
        return records if self.signed is None else [record for record in records if record.statement in self.signed]

    def _ratings(self, store: ContributionStore, records: Sequence[Record], here: set[str]) -> Iterator[Rating]:
        if records and self.review:
            # No id goes on with a character below "-", so this is the range up to the last.
            for rating in store.reviews.ratings(records[0].record, records[-1].record + "!"):
                if rating.record in here and (self.signed is None or rating.statement in self.signed):
                    yield rating

    def write(self, path: Path) -> PageFile:
        """Write the pages to a file, one a line; it holds members' texts."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for page in self.pages():
                line = json.dumps(
                    {
                        "records": [_plain(record) for record in page.records],
                        "stored": page.stored,
                        "authors": page.authors,
                        "others": [_plain(record) for record in page.others],
                        "ratings": [_rating(rating) for rating in page.ratings],
                    },
                    ensure_ascii=False,
                    separators=(",", ":"),
                ).encode()
                digest.update(line + b"\n")
                file.write(line + b"\n")
        return PageFile(path, "sha256:" + digest.hexdigest())


@dataclass(frozen=True, slots=True)
class PageFile:
    """The records of a range as a file holds them."""

    path: Path
    sha256: str

    def pages(self) -> Iterator[Page]:
        """Yield the pages of the bytes that were hashed.

        Raises:
            CoopError: the file cannot be read, or is another than was written.
        """
        try:
            data = self.path.read_bytes()  # whole, so that what is hashed is what is read; a part is some megabytes
        except OSError as error:
            raise CoopError(f"{self.path} cannot be read: {error.strerror}", next="build the dataset again") from error
        found = "sha256:" + hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise CoopError(f"{self.path} is not the file the dataset was cut into", value=found, allowed=self.sha256, next="build the dataset again")
        for line in BytesIO(data):
            page = json.loads(line)
            yield Page(
                [_record(values) for values in page["records"]],
                page["stored"],
                {record: tuple(names) for record, names in page["authors"].items()},
                [_record(values) for values in page["others"]],
                [Rating(*values) for values in page["ratings"]],
            )


def _plain(record: Record) -> list[Any]:
    values = list(_values(record))
    for place, value in _UNUSED:
        values[place] = value
    return values


def _record(values: list[Any]) -> Record:
    for place in _TUPLES:
        values[place] = tuple(values[place])
    values[_HISTORY] = tuple((prompt, answer) for prompt, answer in values[_HISTORY])
    return Record(*values)
