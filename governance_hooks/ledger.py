"""The ledger of a build: one text-free line a record, with the consents it stands on; publishable.

A line has exactly one form, which one regular expression says: a million of them are read in seconds, and what repeats (authors, consents,
batches) is kept once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from governance_hooks.canonical import digest_of_texts, dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.ownership import OwnershipTree

__all__ = ["LedgerRow", "content_digest", "count_languages", "ledger_bytes", "ledger_root", "parse_ledger", "read_ledger"]

_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_LINE: Final = re.compile(
    rf'\{{"authors":\["({_ID}(?:","{_ID})*)"\],"batch":"({_DIGEST})","commitment":"({_DIGEST})","consents":\["({_DIGEST}(?:","{_DIGEST})*)"\],'
    rf'"content":"({_DIGEST})","language":"([a-z]{{3}})","record":"({_ID})","split":"(train|heldout)"\}}'
)
_FIELDS: Final = ("authors", "batch", "commitment", "consents", "content", "language", "record", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One record of a build: who wrote it, on which consents it stands, where it came from; `line` refuses what `parse_ledger` would."""

    record: str
    commitment: str
    """Salted commitment to the text as contributed."""
    content: str
    """Salted digest of the normalised text that training reads."""
    authors: Sequence[str]
    """Every author in the record's ancestry, sorted."""
    consents: Sequence[str]
    """The consent statement of each author, in the order of `authors`."""
    batch: str
    language: str
    """ISO 639-3."""
    split: str
    """train or heldout."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {name: list(value) if name in ("authors", "consents") else value for name in _FIELDS for value in [getattr(self, name)]}

    def line(self) -> bytes:
        """Return the canonical bytes; raise ValueError for a row that could not be read back."""
        data = dumps(self.as_dict())
        if not _LINE.fullmatch(data.decode()) or len(self.authors) != len(self.consents):
            raise ValueError(f"no line of a ledger: {data.decode()[:200]}")
        return data


def content_digest(salt: str, record: str, inputs: str, targets: str, language: str, history: Sequence[Sequence[str]] = ()) -> str:
    """Return the digest that binds a build's normalised row to its ledger line."""
    turns = [list(turn) for turn in history]
    return digest_of_texts({"salt": salt, "record": record, "history": turns, "inputs": inputs, "targets": targets, "language": language})


def ledger_bytes(rows: Sequence[LedgerRow]) -> bytes:
    """Return the file bytes: canonical lines in the order given."""
    return b"".join(row.line() + b"\n" for row in rows)


def ledger_root(rows: Sequence[LedgerRow]) -> str:
    """Return the root that identifies the rows of a ledger and who owns them (see governance_hooks.ownership)."""
    return OwnershipTree.of_lines([row.authors for row in rows], [row.line() for row in rows]).root


def parse_ledger(data: bytes, *, source: str = "ledger") -> tuple[list[LedgerRow], str]:
    """Return rows and root of ledger bytes; raise BadInput naming the line for anything malformed or out of order."""
    if data and not data.endswith(b"\n"):
        raise BadInput(f"{source}: the last line is cut off")
    lines = data.split(b"\n")[:-1]
    rows: list[LedgerRow] = []
    lists: dict[str, tuple[str, ...]] = {}
    texts: dict[str, str] = {}
    previous = ""
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line.decode(errors="replace"))
        if found is None:
            raise _malformed(line, f"{source}, line {number}")
        authors, batch, commitment, consents, content, language, record, split = found.groups()
        writers = lists.get(authors) or lists.setdefault(authors, tuple(authors.split('","')))
        grants = lists.get(consents) or lists.setdefault(consents, tuple(consents.split('","')))
        if len(grants) != len(writers) or any(one >= other for one, other in pairwise(writers)):
            raise BadInput(f"{source}, line {number}: authors are sorted and distinct, each with one consent", value=record)
        if record <= previous:
            raise BadInput(f"{source}, line {number}: records are sorted and distinct", value=record)
        previous = record
        rows.append(
            LedgerRow(
                record=record,
                commitment=commitment,
                content=content,
                authors=writers,
                consents=grants,
                batch=texts.setdefault(batch, batch),
                language=texts.setdefault(language, language),
                split=texts.setdefault(split, split),
            )
        )
    return rows, OwnershipTree.of_lines([row.authors for row in rows], lines).root


def _malformed(line: bytes, where: str) -> BadInput:
    """Say what is wrong with a line that has not its one form; loads raises BadInput itself for what is not canonical JSON."""
    value = loads(line, source=where)
    if not isinstance(value, dict) or sorted(value) != sorted(_FIELDS):
        return BadInput(f"{where}: not the fields of a ledger line", value=sorted(value) if isinstance(value, dict) else value, allowed=", ".join(_FIELDS))
    for name in _FIELDS:
        pattern = {"language": "[a-z]{3}", "record": _ID, "authors": _ID, "split": "train|heldout"}.get(name, _DIGEST)
        several = name in ("authors", "consents")
        said = value[name] if several else [value[name]]
        if not isinstance(said, list) or not said or not all(isinstance(one, str) and re.fullmatch(pattern, one) for one in said):
            return BadInput(f"{where}: {name}: not of its form", value=value[name], allowed=pattern)
    return BadInput(f"{where}: not a ledger line", value=line.decode(errors="replace"))


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
