"""What members give: consents, batches of records and reviews, each with its log positions."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance_hooks.consent import Consent

__all__ = ["Contribution", "Grant", "Review"]


@dataclass(slots=True)
class Grant:
    """A consent with the log positions of giving and withdrawing."""

    id: str
    member: str
    consent: Consent
    given: int
    withdrawn: int | None = None
    used: dict[str, int] = field(default_factory=dict)
    """Run -> log position of the start that counted it; only of a consent whose `occurrences` are limited."""

    def stands(self, position: int) -> bool:
        """Tell whether it was given and not yet withdrawn in a log of `position` entries."""
        return self.given < position and (self.withdrawn is None or self.withdrawn >= position)

    def left(self, run: str | None, position: int) -> bool:
        """Tell whether it may serve a run (None: one that has not started) in a log of `position` entries; restarts are not counted again."""
        others = sum(counted < position and other != run for other, counted in self.used.items())
        return self.consent.occurrences is None or others < self.consent.occurrences


@dataclass(frozen=True, slots=True)
class Contribution:
    """A committed batch."""

    id: str
    author: str
    records: int
    root: str
    languages: dict[str, int]
    position: int


@dataclass(frozen=True, slots=True)
class Review:
    """Committed ratings of one reviewer."""

    id: str
    author: str
    ratings: int
    root: str
    position: int
