"""Admit records into a build: as their members signed them, sealed, not erased, and consented to by every author; then cleaned text of a fair length.

Each stage is a pure function from rows to (rows, exclusions) under a versioned rule name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from data_pipeline.batch import Batch, batch_root
from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.normalise import normalise
from data_pipeline.record import Record, commitment, is_blank
from governance_hooks.canonical import is_digest
from governance_hooks.errors import CoopError

__all__ = ["CONSENT_RULE", "LENGTH_RULE", "ConsentLookup", "clean", "consented", "require_signed", "require_unchanged"]

ConsentLookup = Callable[[str, str, str], str | None]
"""(member, language, batch statement) -> digest of the consent statement in force for the build's use, or None."""

CONSENT_RULE: Final = "every_author_consents/v1"
LENGTH_RULE: Final = "max_characters/v1"

_RESTORE: Final = "restore the store from a backup"


def require_unchanged(records: Iterable[Record], parents: Mapping[str, Sequence[str]]) -> None:
    """Check that stored text is what was committed to, and that nobody was dropped from the authors of an edit.

    Args:
        records: any stored records.
        parents: the authors of every record they build on.

    Raises:
        CoopError: names the record that was changed after it was taken in.
    """
    for record in records:
        if record.erased_at is None and commitment(record.salt, record.record, record) != record.commitment:
            raise CoopError(f"text {record.record} is not what its member committed to: the store was changed", next=_RESTORE)
        inherited = (author for parent in record.parents for author in parents.get(parent, ()))
        if record.authors != tuple(sorted({record.member, *inherited})):
            raise CoopError(f"text {record.record} does not name every author of its ancestry: the store was changed", next=_RESTORE)


def require_signed(batches: Iterable[Batch], commitments: Mapping[str, Sequence[str]]) -> None:
    """Check that the stored commitments, in batch order, make the root each member signed.

    Raises:
        CoopError: names the batch. That a batch's root is the one in the log is the gate's check.
    """
    for batch in batches:
        if batch_root(commitments.get(batch.batch, [])) != batch.root:
            raise CoopError(f"the texts of batch {batch.batch} do not make the root {batch.member} signed", next=_RESTORE)


def consented(records: Iterable[Record], consent_for: ConsentLookup) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep records that are sealed, not erased, and consented to by every author for their language and batch.

    The batch asked for is always the record's own, also for the authors of its ancestors, because that is what the public
    ledger shows and the gate re-checks. Each (author, language, batch) is looked up once.

    Raises:
        CoopError: the lookup returned something that is no digest.
    """
    known: dict[tuple[str, str, str], str | None] = {}
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for record in records:
        if record.erased_at is not None:
            excluded.append(Exclusion(record.record, "erased", f"at {record.erased_at}"))
            continue
        if record.statement is None:
            excluded.append(Exclusion(record.record, "unsealed", "its batch has no statement in the log yet"))
            continue
        consents: list[str] = []
        missing: list[str] = []
        for author in record.authors:
            key = (author, record.language, record.statement)
            if key not in known:
                known[key] = consent_for(*key)
            consent = known[key]
            if consent is None:
                missing.append(author)
            elif is_digest(consent):
                consents.append(consent)
            else:
                raise CoopError("the consent lookup returned no digest", value=consent, allowed="sha256:<64 hex> or None")
        if missing:
            excluded.append(Exclusion(record.record, "no_consent", f"of {', '.join(missing)}"))
        else:
            kept.append(Candidate(record, tuple(consents), record.inputs, record.targets, history=record.history))
    return kept, excluded


def clean(candidates: Iterable[Candidate], *, max_characters: int) -> tuple[list[Candidate], list[Exclusion]]:
    """Normalise prompt, answer and earlier turns; leave out what is then empty or has more than `max_characters` in all."""
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for candidate in candidates:
        history = tuple((normalise(prompt), normalise(answer)) for prompt, answer in candidate.history)
        row = replace(candidate, inputs=normalise(candidate.inputs), targets=normalise(candidate.targets), history=history)
        length = sum(map(len, row.texts))
        if is_blank(row.inputs) or is_blank(row.targets):
            excluded.append(Exclusion(row.record, "empty", "no visible character in the prompt or the answer"))
        elif length > max_characters:
            excluded.append(Exclusion(row.record, "too_long", f"{length} characters, {max_characters} allowed"))
        else:
            kept.append(row)
    return kept, excluded
