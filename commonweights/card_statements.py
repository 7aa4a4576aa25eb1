"""Members' own words for a card: which of their statements stand, and the files that carry the texts beside a run and into its release."""

from __future__ import annotations

import json
from pathlib import Path

from commonweights.texts import read_text
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.card_statement import CardStatementMade
from governance_hooks.errors import BadInput
from governance_hooks.register import Register
from model_card.statements import MAX_TEXT, chosen_by, statement_path

__all__ = ["read_words", "standing_statements", "write_statements"]


def standing_statements(register: Register, run: str) -> list[CardStatementMade]:
    """Return the statements about a run that stand, in the order of the log: each author's last about a field in a language, unless it takes it back."""
    last = {(one.author, one.field, one.language): one for one in register.card_statements.values() if one.run == run}
    return sorted((one for one in last.values() if one.text is not None or one.absent is not None), key=lambda one: one.position)


def read_words(path: Path) -> bytes:
    """Return the text of a file as it will be signed; raise BadInput for one that is no text, empty or too long."""
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text") from error
    if not text.strip() or len(text) > MAX_TEXT:
        raise BadInput(f"{path}: a statement has some words, and not too many", value=len(text), allowed=f"1 to {MAX_TEXT} characters")
    return data


def _reason(space: Workspace, digest: str) -> dict[str, str] | None:
    """Return salt and text of a ballot's reason that its author publishes, or None if it is not kept here."""
    path = space.root / "private" / "reasons" / f"{digest[7:]}.json"
    data = path.read_bytes() if path.is_file() else b""
    kept: dict[str, str] | None = json.loads(data) if sha256(data) == digest else None
    return kept


def _file(space: Workspace, made: CardStatementMade) -> bytes | None:
    """Return the bytes of a statement's file, or None where its text is not in this folder."""
    body: dict[str, str | None] = {"statement": made.id, "approved": None}
    if made.text is None:
        return dumps(body)
    if made.field == "dissent":
        kept = _reason(space, made.text)
        return None if kept is None else dumps(body | kept)
    data = read_text(space, made.text)
    return None if data is None else dumps(body | {"approved": chosen_by(space.coop.register, made.text), "text": data.decode()})


def write_statements(space: Workspace, run: str) -> list[str]:
    """Write the file of every statement about a run that stands, remove those of others, and return the ids of those whose text is not in this folder."""
    folder, missing, wanted = space.run(run), [], {}
    if (folder / "statements").is_symlink():  # at a site the folder is the job user's, and the writer may write where they may not
        raise BadInput(f"{folder / 'statements'} is a link", next="remove it")
    for made in standing_statements(space.coop.register, run):
        data = _file(space, made)
        if data is None:
            missing.append(made.id)
        else:
            wanted[folder / statement_path(made.id)] = data
    for path in (folder / "statements").glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, data in wanted.items():
        write_bytes(path, data)
    return missing
