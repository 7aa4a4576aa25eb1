"""The ledger of a build: one text-free line a record, with the consents it stands on; publishable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Identifier, Language, Strict
from governance_hooks.ownership import OwnershipTree

__all__ = ["LedgerRow", "count_languages", "ledger_bytes", "ledger_root", "parse_ledger", "read_ledger"]


class LedgerRow(Strict):
    """One record of a build: who wrote it, on which consents it stands, where it came from."""

    record: Identifier
    commitment: Digest
    """Salted commitment to the text as contributed."""
    content: Digest
    """Salted digest of the normalised text that training reads."""
    authors: Annotated[list[Identifier], Field(min_length=1)]
    """Every author in the record's ancestry, sorted."""
    consents: list[Digest]
    """The consent statement of each author, in the order of `authors`."""
    batch: Digest
    language: Language
    split: Literal["train", "heldout"]


def ledger_bytes(rows: Sequence[LedgerRow]) -> bytes:
    """Return the file bytes: canonical lines in the order given."""
    return b"".join(dumps(row.model_dump()) + b"\n" for row in rows)


def ledger_root(rows: Sequence[LedgerRow]) -> str:
    """Return the root that identifies the rows of a ledger and who owns them (see governance_hooks.ownership)."""
    return OwnershipTree.of_lines([row.authors for row in rows], [dumps(row.model_dump()) for row in rows]).root


def parse_ledger(data: bytes, *, source: str = "ledger") -> tuple[list[LedgerRow], str]:
    """Return rows and root of ledger bytes; raise BadInput naming the line for anything malformed or out of order."""
    if data and not data.endswith(b"\n"):
        raise BadInput(f"{source}: the last line is cut off")
    lines = data.split(b"\n")[:-1]
    rows: list[LedgerRow] = []
    for number, line in enumerate(lines, 1):
        loads(line, source=f"{source}, line {number}")
        try:
            row = LedgerRow.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{source}, line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error
        if len(row.consents) != len(row.authors) or row.authors != sorted(set(row.authors)):
            raise BadInput(f"{source}, line {number}: authors are sorted and distinct, each with one consent", value=row.record)
        if rows and row.record <= rows[-1].record:
            raise BadInput(f"{source}, line {number}: records are sorted and distinct", value=row.record)
        rows.append(row)
    return rows, OwnershipTree.of_lines([row.authors for row in rows], lines).root


def read_ledger(path: Path) -> tuple[list[LedgerRow], str]:
    """Return rows and root of a ledger file."""
    try:
        return parse_ledger(path.read_bytes(), source=str(path))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def count_languages(rows: Sequence[LedgerRow]) -> dict[str, dict[str, int]]:
    """Return {language: {"train": rows, "heldout": rows, "members": distinct authors}}, languages sorted."""
    counts = Counter((row.language, row.split) for row in rows)
    members: dict[str, set[str]] = {}
    for row in rows:
        members.setdefault(row.language, set()).update(row.authors)
    return {code: {"train": counts[code, "train"], "heldout": counts[code, "heldout"], "members": len(members[code])} for code in sorted(members)}
