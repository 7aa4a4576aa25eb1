"""What a tokenised artefact is: the document whose digest a plan names, and the file tokens.json that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from data_pipeline.split import Split
from governance_hooks.canonical import digest, loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.fields import Digest, Identifier, Language, Strict
from governance_hooks.plan import CANARY_LANGUAGE, Canaries, PairCounts, TokenCounts, explain_validation

__all__ = [
    "ARROW",
    "FORMAT",
    "LEFT_OUT",
    "PREFERENCES",
    "RULES",
    "TOKENS",
    "Counts",
    "Description",
    "LeftOut",
    "Pairs",
    "Recipe",
    "TokensFile",
    "read_tokens_file",
]

FORMAT: Final = "coop.tokens/v1"
TOKENS: Final = "tokens.json"
ARROW: Final = "tokens.arrow"
LEFT_OUT: Final = "left_out.jsonl"
PREFERENCES: Final = "preferences.jsonl"

RULES: Final = ("learn_last_answer/v1", "leave_out_too_long/v1")
"""Which tokens are learned, and what becomes of a row that does not fit."""

Count = Annotated[int, Field(ge=0)]


class Counts(Strict):
    """One language, both sides of the split."""

    train: TokenCounts
    heldout: TokenCounts


class LeftOut(Strict):
    """A row that does not fit into a sequence; a line of left_out.jsonl."""

    record: Identifier
    language: Language
    split: Split
    tokens: Annotated[int, Field(gt=0)]


class Recipe(Strict):
    """What an artefact is made from; the same recipe gives the same samples under the same versions of the libraries."""

    build: Digest
    """SHA-256 of the build's manifest."""
    tokenizer: Digest
    """Of the files of the base folder that are not weights, the chat template among them."""
    rules: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/v[1-9][0-9]*$")]]
    sequence_tokens: Annotated[int, Field(ge=32)]
    """The longest sample."""
    canaries: Canaries | None = None
    """What stands among the training samples beside the rows of the build."""
    minimum_rating_gap: Annotated[float, Field(gt=0)] | None = None
    """Of pairs of rows for objective dpo: the least difference of two mean ratings; null where each row is trained on by itself."""

    @model_validator(mode="after")
    def _canaries_are_no_pairs(self) -> Recipe:
        if self.canaries is not None and self.minimum_rating_gap is not None:
            raise ValueError("a canary has no better or worse answer")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical recipe; names the folder."""
        return digest(self.model_dump())


class Pairs(Strict):
    """The rows in pairs, for objective dpo."""

    preferences: Digest
    """SHA-256 of preferences.jsonl: preferred and other record, language, split and reason of each pair, those that do not fit too."""
    languages: dict[Language, Counts]
    """Pairs, not rows."""
    found: dict[Language, PairCounts]
    """How the training rows of each language became pairs."""


class Description(Strict):
    """Everything that identifies an artefact, free of file formats and library versions."""

    recipe: Recipe
    template: Digest
    """SHA-256 of the chat template's source."""
    vocabulary: Annotated[int, Field(gt=0)]
    """Tokens the tokenizer knows."""
    languages: dict[Language, Counts]
    samples: Annotated[int, Field(gt=0)]
    root: Digest
    """Merkle root (RFC 6962) over the samples, training rows first, each side in the order of record ids."""
    left_out: Digest
    """SHA-256 of left_out.jsonl: record, language, split and length of each row that does not fit."""
    pairs: Pairs | None = None
    """What is trained on if the recipe has a rating gap."""

    @model_validator(mode="after")
    def _pairs_follow_the_recipe(self) -> Description:
        if (self.pairs is None) != (self.recipe.minimum_rating_gap is None):
            raise ValueError("pairs are there if the recipe has a minimum_rating_gap, and only then")
        return self

    @model_validator(mode="after")
    def _canaries_are_trained_on_only(self) -> Description:
        found, wanted = self.languages.get(CANARY_LANGUAGE), self.recipe.canaries
        if found is not None and (wanted is None or found.heldout.rows or found.heldout.too_long or found.train.too_long or found.train.rows > wanted.count):
            raise ValueError(f"the samples in {CANARY_LANGUAGE} are not canaries of the recipe")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical description; the identity of the artefact, which a plan names."""
        return digest(self.model_dump())


class Arrow(Strict):
    """The bytes of tokens.arrow, which depend on what wrote them."""

    sha256: Digest
    size: Count
    writer: str


class TokensFile(Strict):
    """All fields of tokens.json; an unknown one is refused."""

    format: Literal["coop.tokens/v1"] = FORMAT
    digest: Digest
    description: Description
    arrow: Arrow
    libraries: dict[str, str]
    """Versions that made the samples; no part of the identity, since the root tells whether they made others."""


def read_tokens_file(folder: Path) -> TokensFile:
    """Read tokens.json strictly.

    Raises:
        BadInput: not there, bytes that are not canonical, an unknown or wrong field.
        CoopError: the digest is not that of the description.
    """
    path = folder / TOKENS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", next="coop tokens make") from error
    loads(data, floats=True, source=str(path))
    try:
        found = TokensFile.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, TokensFile, str(path)) from error
    if found.digest != found.description.digest:
        raise CoopError(
            f"{path}: the digest is not that of the description", value=found.digest, allowed=found.description.digest, next="make the tokens again"
        )
    return found
