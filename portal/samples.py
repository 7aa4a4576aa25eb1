"""Texts that everybody may read: of voted datasets, to the letter, with leave of every author, while enough members of the language give it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from data_pipeline.manifest import LEDGER, read_build, read_ledger
from data_pipeline.record import Record, content
from governance_hooks.consent import shows
from governance_hooks.errors import CoopError
from governance_hooks.ledger import LedgerRow
from governance_hooks.register import Register
from portal.datasets import FEW, Dataset
from portal.service import Service

__all__ = ["Sample", "authorship", "candidates", "samples_of"]

SHOWN: Final = 6
_LEDGER_BYTES: Final = 64 << 20
"""Of a build with a longer ledger no samples are shown: it is read in whole when its page is first asked for."""
_ROWS: Final = 20_000
"""Rows of a language that are looked at, in an order nobody chose."""
_FETCHED: Final = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """A text as the dataset has it. Who wrote it is not told, nor which record it is: the ledger would lead from there to a pseudonym."""

    inputs: str
    targets: str
    licence: str


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What is kept of a ledger."""

    train: dict[str, list[LedgerRow]]
    """Lines of texts to train on, by language."""
    alone: int
    """Texts of one author."""
    together: int


@lru_cache(maxsize=4)
def _ledger(folder: Path, digest: str) -> _Ledger | None:
    """Return what is needed of a ledger; None where it is too long or not the one the manifest names.

    The order of the lines is that of a hash with the dataset's digest, so neither the operator nor a contributor chooses who comes first.
    """
    try:
        if (folder / LEDGER).stat().st_size > _LEDGER_BYTES:
            return None
        build = read_build(folder)
        if build.digest != digest:
            return None
        rows = read_ledger(build)
    except (CoopError, OSError):
        return None
    found: dict[str, list[LedgerRow]] = {}
    for row in rows:
        if row.split == "train":  # what is held out would no longer measure anything
            found.setdefault(row.language, []).append(row)
    for language, some in found.items():
        found[language] = sorted(some, key=lambda row: hashlib.sha256(f"{digest} {row.record}".encode()).digest())[:_ROWS]
    alone = sum(len(row.authors) == 1 for row in rows)
    return _Ledger(found, alone, len(rows) - alone)


def authorship(dataset: Dataset) -> tuple[int, int] | None:
    """Return how many texts of a dataset one member wrote and how many several, each making another's better; None if its ledger is not here."""
    read = None if dataset.folder is None else _ledger(dataset.folder, dataset.digest)
    return None if read is None else (read.alone, read.together)


def candidates(dataset: Dataset, language: str) -> list[LedgerRow]:
    """Return the ledger's lines of a dataset's texts in a language; do not hold the register, for a long ledger takes a while the first time."""
    read = None if dataset.folder is None else _ledger(dataset.folder, dataset.digest)
    return [] if read is None else read.train.get(language, [])


def samples_of(service: Service, register: Register, rows: list[LedgerRow]) -> list[Sample]:
    """Return those of the `candidates` that may be shown now, at most one of a member; hold the register.

    A text is shown if every author of it allows that at this moment, it was not erased, and it is what the dataset has, byte for byte
    (where a rule replaced something in it, an address for example, it is not). None is shown unless texts of FEW members are.
    """
    now = service.clock()
    free = [row for row in rows if all(_allows(register, one, row, now) for one in row.authors)]
    chosen, seen = list[LedgerRow](), set[str]()
    for row in free:
        if seen.isdisjoint(row.authors):
            chosen.append(row)
            seen.update(row.authors)
    # The first of a member may be gone or changed by a rule: then another of theirs is as good.
    first = {row.record for row in chosen}
    wanted = [*chosen, *(row for row in free if row.record not in first)][:_FETCHED]
    records = {one.record: one for one in service.house.contributions().some([row.record for row in wanted])}
    found, writers = list[Sample](), set[str]()
    for row in wanted:
        record = records.get(row.record)
        if record is not None and _same(record, row) and writers.isdisjoint(row.authors):
            found.append(Sample(record.inputs, record.targets, record.licence))
            writers.update(row.authors)
    return found[:SHOWN] if len(writers) >= FEW else []


def _allows(register: Register, author: str, row: LedgerRow, now: str) -> bool:
    return any(grant.withdrawn is None and shows(grant.consent, language=row.language, batch=row.batch, at=now) for grant in register.grants.get(author, []))


def _same(record: Record, row: LedgerRow) -> bool:
    return (
        record.erased_at is None
        and record.statement == row.batch
        and record.authors == tuple(row.authors)
        and not record.history
        and content(record.salt, record.record, record.inputs, record.targets, record.language) == row.content
    )
