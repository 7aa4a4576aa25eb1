"""The batches behind a build: every commitment of each, so that a row is seen to be one its member signed for.

A member signs the Merkle root over the salted commitments of a batch. The file holds one canonical line a batch, with all its
commitments in batch order; those of rows that are not in the build tell nothing without their salts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from governance_hooks import merkle
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Strict
from governance_hooks.ledger import LedgerRow
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence

if TYPE_CHECKING:
    from governance_hooks.register import Register

__all__ = ["Batches", "batch_root", "batches_bytes", "check_batches", "parse_batches", "read_batches"]

Batches = Mapping[str, Sequence[str]]
"""Contribution statement -> the commitments of its batch, in batch order."""


class BatchRow(Strict):
    """One line of the file."""

    batch: Digest
    commitments: Annotated[list[Digest], Field(min_length=1)]


def batch_root(commitments: Sequence[str]) -> str:
    """Return the Merkle root over commitments in batch order; a leaf is the ASCII text `sha256:<hex>`."""
    return "sha256:" + merkle.root([merkle.leaf_hash(value.encode()) for value in commitments]).hex()


def batches_bytes(batches: Batches) -> bytes:
    """Return the file bytes: canonical lines, sorted by batch."""
    return b"".join(dumps({"batch": batch, "commitments": list(batches[batch])}) + b"\n" for batch in sorted(batches))


def parse_batches(data: bytes, *, source: str = "batches") -> dict[str, list[str]]:
    """Return the batches of file bytes; raise BadInput naming the line for anything malformed or out of order."""
    if data and not data.endswith(b"\n"):
        raise BadInput(f"{source}: the last line is cut off")
    found: dict[str, list[str]] = {}
    previous = ""
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        loads(line, source=f"{source}, line {number}")
        try:
            row = BatchRow.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{source}, line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error
        if row.batch <= previous:
            raise BadInput(f"{source}, line {number}: batches are sorted and distinct", value=row.batch)
        found[row.batch], previous = row.commitments, row.batch
    return found


def read_batches(path: Path) -> dict[str, list[str]]:
    """Return the batches of a file; raise BadInput if it cannot be read."""
    try:
        return parse_batches(path.read_bytes(), source=str(path))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def check_batches(register: Register, rows: Sequence[LedgerRow], batches: Batches) -> str:
    """Check that members signed for exactly these records: each row's commitment is one of its batch, once, of its contributor, and no more
    rows of a language than they signed for.

    Raises:
        StepFailed: names the batch or the record.
    """
    todo = "build again from the log"
    named = {row.batch for row in rows}
    for batch in sorted(named - register.contributions.keys()):
        raise StepFailed(f"rows of the ledger name a batch the log does not know: {batch[:19]}", todo=todo)
    if batches.keys() != named:
        raise StepFailed("the file of batches does not list exactly the batches of the ledger", todo=todo)
    for batch, commitments in batches.items():
        given = register.contributions[batch]
        if given.records != len(commitments) or given.root != batch_root(commitments):
            raise StepFailed(f"the commitments of batch {batch[:19]} do not make the root its member signed", todo=todo)
    for (batch, language), count in Counter((row.batch, row.language) for row in rows).items():
        signed = register.contributions[batch].languages.get(language, 0)
        if count > signed:
            raise StepFailed(f"{count} texts in {language} name batch {batch[:19]}, for which its member signed {signed}", todo=todo)
    unused = {batch: set(commitments) for batch, commitments in batches.items()}
    for row in rows:
        if row.commitment not in unused[row.batch]:
            raise StepFailed(f"text {row.record} is not one its member signed for in batch {row.batch[:19]}, or stands here twice", todo=todo)
        unused[row.batch].remove(row.commitment)
        if register.contributions[row.batch].author not in row.authors:
            raise StepFailed(f"text {row.record} leaves out the member who contributed it", todo=todo)
    return Sentence("{records} texts signed for in {count} batches", records=len(rows), count=len(batches))
