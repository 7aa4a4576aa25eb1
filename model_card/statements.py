"""The files of a card's human statements: a text each, the statement in the log that names it, and the vote that chose it, if one did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import StringConstraints, ValidationError

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.card_statement import CardStatementMade
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Strict
from governance_hooks.motions import Consult
from governance_hooks.plan import explain_validation
from governance_hooks.register import Register

__all__ = ["MAX_STATEMENTS", "MAX_TEXT", "StatementFile", "chosen_by", "read_statements", "statement_path", "statements_of", "text_digest"]

MAX_TEXT: Final = 20_000
"""Longest text of one statement, characters: a card is read."""
MAX_STATEMENTS: Final = 500

_PATH = re.compile(r"statements/([0-9a-f]{64})\.json")


class StatementFile(Strict):
    """`statements/ID.json`."""

    statement: Digest
    approved: Digest | None
    """The consultation in which members chose this text."""
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)] | None = None
    """Absent where the statement says why there is none."""
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Of a published dissent: the ballot's reason is salted."""


def statement_path(identifier: str) -> str:
    """Return where the file of a statement lies in a run or a release."""
    return f"statements/{identifier.removeprefix('sha256:')}.json"


def text_digest(file: StatementFile) -> str | None:
    """Return the digest under which the log names the text of a file."""
    if file.text is None:
        return None
    return sha256(file.text.encode()) if file.salt is None else sha256(dumps({"salt": file.salt, "text": file.text}))


def read_statements(files: Mapping[str, bytes]) -> dict[str, StatementFile]:
    """Return the statement files of a folder by statement; raise BadInput for one that is malformed or lies under another name."""
    found: dict[str, StatementFile] = {}
    for path in sorted(path for path in files if path.startswith("statements/")):
        name = _PATH.fullmatch(path)
        if name is None:
            raise BadInput("this is no file of a statement", value=path, allowed="statements/<64 hex>.json")
        loads(files[path], source=path)
        try:
            file = StatementFile.model_validate_json(files[path])
        except ValidationError as error:
            raise explain_validation(error, StatementFile, path) from error
        if file.statement != f"sha256:{name[1]}":
            raise BadInput(f"{path} holds another statement than its name says", value=file.statement)
        found[file.statement] = file
    if len(found) > MAX_STATEMENTS:
        raise BadInput("too many statements for one card", value=len(found), allowed=f"{MAX_STATEMENTS}")
    return found


def chosen_by(register: Register, text: str, consultation: str | None = None) -> str | None:
    """Return the closed consultation whose only winner is this text; the first, or the one asked for if it is one."""
    for proposal in register.proposals.values():
        motion, winners = proposal.motion, proposal.winners
        asked = consultation in (None, proposal.id) and isinstance(motion, Consult) and winners is not None and len(winners) == 1
        if asked and motion.options[winners[0]] == text:  # type: ignore[union-attr, index]
            return proposal.id
    return None


def _checked(register: Register, run: str, file: StatementFile) -> CardStatementMade:
    made = register.card_statements.get(file.statement)
    path = statement_path(file.statement)
    if made is None or made.run != run:
        raise BadInput(f"{path}: the log knows no such statement about this run", value=file.statement, next="coop card statement")
    if text_digest(file) != made.text:
        raise BadInput(f"{path}: this is not the text its author signed", value=text_digest(file), allowed=made.text or "no text")
    if made.text is None and made.absent is None:
        raise BadInput(f"{path}: its author took this back", value=file.statement, next="leave the file out")
    if file.approved is not None and (made.text is None or chosen_by(register, made.text, file.approved) is None):
        raise BadInput(f"{path}: members did not choose this text there", value=file.approved, allowed="a closed consultation this text alone won")
    return made


def statements_of(register: Register, run: str, files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return what the log says about the statements whose files are here: it never changes, so a longer log gives the same.

    Raises:
        BadInput: a file whose text nobody signed, which is about another run, or was taken back.
    """
    found = {}
    for identifier, file in sorted(read_statements(files).items()):
        made = _checked(register, run, file)
        found[identifier] = {
            "field": made.field,
            "language": made.language,
            "author": made.author,
            "issued": made.issued,
            "text": made.text,
            "absent": made.absent,
            "translates": made.translates,
            "reviewers": len(made.reviewers),
            "approved": file.approved,
        }
    return found
