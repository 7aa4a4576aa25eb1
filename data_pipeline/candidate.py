"""A record on its way into a build, and the reason why one was left out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from data_pipeline.record import Record

__all__ = ["Candidate", "Exclusion"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record every author of which consents, with its text as far as the rules have brought it."""

    source: Record
    consents: tuple[str, ...]
    """Digests of the consent statements in force, one per author, in the order of the authors."""
    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    marks: tuple[str, ...] = ()
    """What a stage noticed without leaving the row out, for its authors and the steward; sorted."""
    credited: tuple[str, ...] = ()
    """Members other than the authors whose near copies this row stands for; sorted."""
    history: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Turns before `inputs`, oldest first: context, not taught."""

    @property
    def record(self) -> str:
        """The record's id."""
        return self.source.record

    @property
    def language(self) -> str:
        """ISO 639-3."""
        return self.source.language

    @property
    def prompt(self) -> str:
        """All that comes before the answer: earlier turns and `inputs`, a line end between them."""
        return "\n".join([*(text for turn in self.history for text in turn), self.inputs]) if self.history else self.inputs

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of the row in order: earlier turns, prompt, answer."""
        return (*(text for turn in self.history for text in turn), self.inputs, self.targets)

    def crediting(self, copy: Candidate) -> Candidate:
        """Return the candidate with the authors of a copy credited, but for its own authors."""
        credited = {*self.credited, *copy.source.authors, *copy.credited} - set(self.source.authors)
        return replace(self, credited=tuple(sorted(credited)))

    def marked(self, *marks: str) -> Candidate:
        """Return the candidate with further marks."""
        return replace(self, marks=tuple(sorted({*self.marks, *marks}))) if marks else self


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a stored record is not in a build, in words its author can read."""

    record: str
    reason: str
    """One of: unsealed, erased, no_consent, empty, too_long, duplicate, or a reason of `data_pipeline.stages`."""
    detail: str
