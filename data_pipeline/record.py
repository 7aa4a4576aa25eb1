"""One contributed prompt and answer: as handed in (Draft) and as kept (Record).

All text is hostile until proven text: `problems` is the one list of what no record may contain. Importers ask it per
line, and the store asks it again, so that no other way in (a form, a script) is more lenient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from data_pipeline.language import allowed_languages, is_language, parse_tag
from data_pipeline.text import MAX_TEXT_BYTES, Problem, is_blank, text_problems
from governance_hooks.canaries import PREFIX
from governance_hooks.canonical import digest_of_texts
from governance_hooks.errors import BadInput
from governance_hooks.ledger import content_digest
from governance_hooks.sentence import Sentence

__all__ = [
    "ANNOTATION_TYPES",
    "IDENTIFIER",
    "MAX_HISTORY_BYTES",
    "MAX_TEXT_BYTES",
    "MAX_TURNS",
    "NO_LICENCE",
    "Draft",
    "History",
    "Problem",
    "Record",
    "as_draft",
    "commitment",
    "content",
    "instant",
    "is_blank",
    "problems",
]

ANNOTATION_TYPES: Final = ("original-annotations", "re-annotations")
"""Aya's two kinds: a new pair, or an edit of another pair (arXiv 2402.06619)."""

MAX_TURNS: Final = 64
"""Most earlier turns, pairs of prompt and answer, one record may carry."""

MAX_HISTORY_BYTES: Final = 4 * MAX_TEXT_BYTES
"""Most text of all earlier turns of one record, in UTF-8 bytes."""

NO_LICENCE: Final = "NOASSERTION"
"""What SPDX writes where nobody stated a licence."""

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Record and member ids: they stand in a public ledger, so no blanks, no @, no scripts that look alike."""

History = tuple[tuple[str, str], ...]
"""Earlier turns of a conversation as (prompt, answer), oldest first."""

_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt and answer as handed in, before it has an id, a salt or authors."""

    inputs: str
    targets: str
    language: str
    """ISO 639-3."""
    annotation_type: str = "original-annotations"
    user_id: str | None = None
    """The contributor as the source names them; provenance only, never the member who answers for the row."""
    parents: tuple[str, ...] = ()
    """Ids of the records this one edits or builds on."""
    licence: str = NO_LICENCE
    """SPDX identifier of the text."""
    record_id: str | None = None
    """The id in the source; kept if given, so that edits can name it."""
    written_at: str | None = None
    """When the source says it was written, RFC 3339 UTC; a claim, used for no decision."""
    line: int = 0
    """Line or ordinal in the source file, from 1; 0 if there was no file."""
    history: History = field(default=(), repr=False)
    """Turns before `inputs`; context only: what this record teaches is `targets`."""
    tag: str = ""
    """Canonical BCP 47 tag (RFC 5646), if the contributor said more than `language` does: hi-Latn, pt-BR, zh-Hant."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored draft. Text and salt of an erased record are empty; the row stays as a tombstone."""

    record: str
    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    language: str
    annotation_type: str
    user_id: str | None
    parents: tuple[str, ...]
    licence: str
    written_at: str | None
    line: int
    batch: str
    """Id of the batch in this store."""
    position: int
    """Place in the batch, from 0."""
    statement: str | None
    """Digest of the coop.contribution statement that sealed the batch; None until then."""
    member: str
    authors: tuple[str, ...]
    """The contributing member and every author of every ancestor, sorted."""
    salt: str = field(repr=False)
    """32 hex characters; without it nobody can test a guess at the text against the commitment."""
    commitment: str
    created_at: str
    """When the store took it, RFC 3339 UTC: the order that decides between duplicates, out of the member's hands."""
    erased_at: str | None
    history: History = field(default=(), repr=False)
    """Turns before `inputs`, oldest first; empty once erased."""
    tag: str = ""
    """Canonical BCP 47 tag as declared; empty if it says no more than `language`."""


def as_draft(record: Record) -> Draft:
    """Return what was handed in as this record, with the id it has."""
    return Draft(
        inputs=record.inputs,
        targets=record.targets,
        language=record.language,
        annotation_type=record.annotation_type,
        user_id=record.user_id,
        parents=record.parents,
        licence=record.licence,
        record_id=record.record,
        written_at=record.written_at,
        line=record.line,
        history=record.history,
        tag=record.tag,
    )


def commitment(salt: str, record: str, draft: Draft | Record) -> str:
    """Return the digest a member signs for one record: salted text as contributed, with its earlier turns, language tag and parents."""
    return digest_of_texts(
        {
            "salt": salt,
            "record": record,
            "history": _turns(draft.history),
            "inputs": draft.inputs,
            "targets": draft.targets,
            "language": draft.language,
            "tag": draft.tag,
            "parents": list(draft.parents),
        }
    )


def content(salt: str, record: str, inputs: str, targets: str, language: str, history: Sequence[Sequence[str]] = ()) -> str:
    """Return the digest that binds a build's normalised row to its ledger line."""
    return content_digest(salt, record, inputs, targets, language, history)


def _turns(history: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(turn) for turn in history]


def instant(text: str) -> str | None:
    """Return an RFC 3339 time in UTC to the second (`2026-11-22T13:00:00Z`), or None if it is none."""
    if len(text) > 40 or "T" not in text.upper():
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return None
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 1 else None
    except (ValueError, OverflowError):
        return None


def _history_problems(history: History, max_text_bytes: int) -> Iterator[Problem]:
    if len(history) > MAX_TURNS:
        yield Problem("history has too many turns", len(history), f"at most {MAX_TURNS} earlier turns")
        return
    for number, (prompt, answer) in enumerate(history, start=1):
        yield from text_problems(f"history, turn {number}, prompt", prompt, max_text_bytes)
        yield from text_problems(f"history, turn {number}, answer", answer, max_text_bytes)
    size = sum(len(text.encode(errors="replace")) for turn in history for text in turn)
    if size > MAX_HISTORY_BYTES:
        yield Problem("history is too long", f"{size} bytes", f"at most {MAX_HISTORY_BYTES} bytes of UTF-8 in all")


def _tag_problems(language: str, tag: str) -> Iterator[Problem]:
    try:
        meant = parse_tag(tag)
    except BadInput as error:
        yield Problem("unknown language tag", tag, error.allowed)
        return
    if meant != (language, tag):
        yield Problem("the language tag does not agree with the language code, or is not canonical", tag, f"{meant[1] or 'no tag'} with {meant[0]}")


def problems(draft: Draft, *, max_text_bytes: int = MAX_TEXT_BYTES) -> list[Problem]:
    """Return everything that forbids storing a draft; an empty list means it may be stored."""
    found = [*text_problems(Sentence("inputs"), draft.inputs, max_text_bytes), *text_problems(Sentence("targets"), draft.targets, max_text_bytes)]
    found += _history_problems(draft.history, max_text_bytes)
    if not is_language(draft.language):
        found.append(Problem(Sentence("unknown language code"), draft.language, allowed_languages(draft.language)))
    elif draft.tag:
        found += _tag_problems(draft.language, draft.tag)
    if draft.annotation_type not in ANNOTATION_TYPES:
        found.append(Problem("unknown annotation_type", draft.annotation_type, " or ".join(ANNOTATION_TYPES)))
    for name, value in [("record_id", draft.record_id), *(("parents", parent) for parent in draft.parents)]:
        if value is not None and not IDENTIFIER.fullmatch(value):
            found.append(Problem(f"{name} is not an identifier", value, "1 to 128 of A-Z a-z 0-9 . _ : -, beginning with a letter or digit"))
    if draft.record_id is not None and draft.record_id.startswith(PREFIX):
        found.append(Problem("record_id is that of a canary", draft.record_id, f"an id that does not begin with {PREFIX}"))
    if draft.user_id is not None and (len(draft.user_id) > 128 or not draft.user_id.isprintable() or not draft.user_id):
        found.append(Problem("user_id is not printable", draft.user_id, "1 to 128 printable characters"))
    if not _LICENCE.fullmatch(draft.licence):
        found.append(
            Problem(
                Sentence("licence is not an SPDX identifier"),
                draft.licence,
                Sentence("for example {first} or {second}", first="CC-BY-4.0", second="Apache-2.0"),
            )
        )
    if draft.written_at is not None and instant(draft.written_at) != draft.written_at:
        found.append(Problem("written_at is not a time in UTC", draft.written_at, "RFC 3339, for example 2026-11-22T13:00:00Z"))
    return found
