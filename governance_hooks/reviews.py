"""The signed ratings behind a build: whoever has the file sees that no rating was invented, changed or moved to another reviewer.

A reviewer signs the Merkle root over the salted commitments of the ratings they give in one act (`coop.review/v1`). The file holds one
canonical line a rating, those of one statement together and in the order that was signed, the statements sorted:

    {"at", "flags", "record", "reviewer", "salt", "score", "statement"}    a rating that is shown
    {"commitment", "statement"}                                           one that is not: erased, or of a record that is not in the build

It is read line by line; memory is that of one statement's digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from governance_hooks.batches import batch_root
from governance_hooks.canonical import digest_of_texts, dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Identifier, Instant, Strict
from governance_hooks.report import StepFailed

if TYPE_CHECKING:
    from governance_hooks.register import Register

__all__ = ["FLAGS", "Flag", "HiddenRating", "ReviewLine", "ShownRating", "check_reviews", "line_bytes", "rating_commitment", "read_reviews"]

Flag = Literal["harmful", "machine_made", "no_question", "shows_a_person", "spam", "wrong_language"]
FLAGS: Final[tuple[Flag, ...]] = ("harmful", "machine_made", "no_question", "shows_a_person", "spam", "wrong_language")
"""What a reviewer can say of a record beside its score. `no_question`: the prompt asks for nothing, as in a mere continuation of a text."""

_MAX_LINE = 4096


class ShownRating(Strict):
    """A rating, with the salt that lets anybody make its commitment."""

    record: Identifier
    reviewer: Identifier
    score: Annotated[int, Field(ge=1, le=5)]
    flags: list[Flag]
    """Sorted, each once."""
    at: Instant
    """When the reviewer says they gave it; of several by one reviewer the latest counts."""
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    statement: Digest

    def commitment(self) -> str:
        """Return the leaf its reviewer signed for."""
        return rating_commitment(self.salt, self.record, self.reviewer, self.score, self.flags, self.at)


class HiddenRating(Strict):
    """A rating of which nothing is shown."""

    commitment: Digest
    statement: Digest


ReviewLine = ShownRating | HiddenRating
_LINE: TypeAdapter[ReviewLine] = TypeAdapter(ReviewLine)


def rating_commitment(salt: str, record: str, reviewer: str, score: int, flags: Iterable[str], at: str) -> str:
    """Return the digest a reviewer signs for one rating."""
    return digest_of_texts({"salt": salt, "record": record, "reviewer": reviewer, "score": score, "flags": list(flags), "at": at})


def line_bytes(line: ReviewLine) -> bytes:
    """Return one line of the file."""
    return dumps(line.model_dump()) + b"\n"


def read_reviews(path: Path) -> Iterator[ReviewLine]:
    """Yield the lines of a file; raise BadInput naming the line for anything malformed."""
    try:
        with path.open("rb") as file:
            number = 0
            while data := file.readline(_MAX_LINE + 1):
                number += 1
                yield _parse(data, f"{path}, line {number}")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def _parse(data: bytes, where: str) -> ReviewLine:
    if not data.endswith(b"\n"):
        raise BadInput(f"{where}: the line is cut off or longer than {_MAX_LINE} bytes")
    loads(data[:-1], source=where)
    try:
        line = _LINE.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc'][1:]))}: {first['msg']}", value=first.get("input")) from error
    if isinstance(line, ShownRating) and line.flags != sorted(set(line.flags)):
        raise BadInput(f"{where}: flags are sorted and distinct", value=line.flags)
    return line


def check_reviews(register: Register, lines: Iterable[ReviewLine]) -> Iterator[ShownRating]:
    """Yield the ratings that are shown, once all lines of their statement make the root its reviewer signed.

    Raises:
        StepFailed: a statement the log does not know, a rating under another name than its signer's, one invented, changed, left out
            or counted twice; names the statement.
    """
    todo = "build again from the log"
    statement = ""
    commitments: list[str] = []
    shown: list[ShownRating] = []

    def signed() -> list[ShownRating]:
        given = register.reviews[statement]
        if given.ratings != len(commitments) or given.root != batch_root(commitments):
            raise StepFailed(f"the ratings of review {statement[:19]} do not make the root its reviewer signed", todo=todo)
        return shown

    for line in lines:
        if line.statement != statement:
            if statement:
                yield from signed()
            if line.statement < statement:
                raise StepFailed(f"the ratings of review {line.statement[:19]} do not stand together, sorted by statement", todo=todo)
            if line.statement not in register.reviews:
                raise StepFailed(f"a rating names a review the log does not know: {line.statement[:19]}", todo=todo)
            statement, commitments, shown = line.statement, [], []
        given = register.reviews[statement]
        if len(commitments) == given.ratings:  # before a line more is kept: memory is what the member signed for, whatever the file says
            raise StepFailed(f"review {statement[:19]} has more ratings than its reviewer signed", todo=todo)
        if isinstance(line, HiddenRating):
            commitments.append(line.commitment)
            continue
        if line.reviewer != given.author:
            raise StepFailed(f"a rating of text {line.record} stands under {line.reviewer}, but {given.author} signed review {statement[:19]}", todo=todo)
        commitments.append(line.commitment())
        shown.append(line)
    if statement:
        yield from signed()
