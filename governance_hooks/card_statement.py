"""What members say on a card in their own words: the log holds who said it, about what and when; the text is named by its digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from pydantic import StringConstraints, model_validator

from governance_hooks.fields import Digest, Slug, Strict

__all__ = ["ABSENT", "FIELDS", "REQUIRED", "CardStatement", "CardStatementMade", "Tag"]

CardField = Literal[
    "intended_use", "out_of_scope_use", "limits", "bias_and_risks", "recommendations", "contact", "provider", "funding", "legal_measures", "summary", "dissent"
]  # fmt: skip
FIELDS: Final[tuple[CardField, ...]] = get_args(CardField)
REQUIRED: Final[tuple[CardField, ...]] = ("intended_use", "out_of_scope_use", "limits", "bias_and_risks", "contact")
"""What only a person can say and no release should leave open: a text, or a signed word why there is none."""

Absence = Literal["not-known", "not-discussed", "declined"]
ABSENT: Final[tuple[Absence, ...]] = get_args(Absence)

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}(-[A-Z][a-z]{3})?$")]
"""ISO 639-3, with a script (ISO 15924) where one language is written in several: a BCP 47 tag."""


class CardStatement(Strict):
    """The author says something on the card of a run, or says that nothing is said; the last one of an author about a field in a language stands."""

    run: Slug
    field: CardField
    language: Tag
    text: Digest | None
    """Of the text's UTF-8 bytes; of a dissent, the digest the author's own ballot gives as its reason. Null: see `absent`."""
    absent: Absence | None = None
    """Why there is no text; null beside a null text takes back what the author said."""
    translates: Digest | None = None
    """Of the English summary this summary is a translation of."""

    @model_validator(mode="after")
    def _one_thing(self) -> CardStatement:
        if self.text is not None and self.absent is not None:
            raise ValueError("a statement gives a text or says why there is none, not both")
        if self.translates is not None and (self.field != "summary" or self.text is None):
            raise ValueError("translates is for the text of a summary")
        if self.field == "summary" and self.text is not None and (self.translates is None or self.language == "eng"):
            raise ValueError("a summary is a translation: it names the English one, which is rendered and never written")
        if self.field in ("summary", "dissent") and self.absent is not None:
            raise ValueError(f"nobody owes a {self.field}: leave it out, or take it back")
        return self


@dataclass(frozen=True, slots=True)
class CardStatementMade:
    """A card statement in the log."""

    id: str
    author: str
    reviewers: tuple[str, ...]
    """Other members who signed it too."""
    run: str
    field: str
    language: str
    text: str | None
    absent: str | None
    translates: str | None
    issued: str
    position: int
