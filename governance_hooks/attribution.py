"""How the credit for a run is shared among guilds: the section of the plan that fixes it before anybody knows who gains by it.

A guild is a language, or a language and a kind of work. Who is in it follows from the build alone, so nobody can found one to
gain by it (Shapley values reward splitting: arXiv 2505.19013; docs/adr/0033).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from governance_hooks.fields import Digest, Strict

__all__ = ["EXACT", "MIXED", "UTILITIES", "Attribution", "AttributionPolicy", "Guild", "GuildName", "Utility"]

EXACT: Final = 6
"""Up to so many guilds every coalition is trained; above, permutations are sampled."""

MIXED: Final = "mixed"
"""The guild of those whose own would have too few members."""

GuildName = Annotated[str, StringConstraints(pattern=r"^(mixed|[a-z]{3}(\.(original|edit|translation))?)$")]
"""A language, with a kind of work where guilds go by both, or `mixed`."""

Utility = Literal["languages", "tokens", "accuracy"]
UTILITIES: Final[tuple[Utility, ...]] = ("languages", "tokens", "accuracy")
"""languages: log-likelihood gained per token of the held-out answers, mean over languages. tokens: the same over all answers together
(the royalty share of arXiv 2404.13964). accuracy: tokens of the answers foreseen, mean over languages."""


class AttributionPolicy(Strict):
    """How shares are computed; members vote on it with the plan."""

    guilds: Literal["language", "language-kind"] = "language"
    """language-kind parts originals, edits of others' texts and translations."""
    minimum_members: Annotated[int, Field(ge=1, le=1000)] = 3
    """A guild of fewer contributors is put into `mixed`: a share of one person's work would be that person's."""
    utility: Utility = "languages"
    """What a coalition is worth; the two others are stated beside it. This choice decides the shares."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1, max_length=8)] = Field(default=[0])
    """Each coalition is trained once with each: order of the rows, and start of the adapter."""
    permutations: Annotated[int, Field(ge=2, le=4096)] = 64
    """With more than six guilds: orders in which they join, in pairs of an order and its reverse."""
    truncation_permille: Annotated[int, Field(ge=0, le=200)] = 10
    """With more than six guilds: an order ends where the coalition is worth as much as all, but for so many thousandths."""
    heldout_rows_per_language: Annotated[int, Field(gt=0, le=100_000)] = 64
    """Answers each coalition is measured on."""
    confidence_percent: Annotated[int, Field(ge=51, le=99)] = 95
    resamples: Annotated[int, Field(ge=200, le=20_000)] = 1000
    """Bootstrap resamples of contributors, seeds and orders for each interval."""
    max_minutes: Annotated[int, Field(gt=0)] = 60
    """Wall time of all coalitions' trainings together; it is part of what members approve."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> AttributionPolicy:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds are distinct: one twice would count its noise twice")
        return self


class Guild(Strict):
    """A guild when it was frozen."""

    records: Annotated[int, Field(gt=0)]
    """Training rows, near copies counted once."""
    members: Annotated[int, Field(gt=0)]
    """Distinct authors of them."""


class Attribution(AttributionPolicy):
    """The policy, and the guilds as they stand."""

    assignment: Digest
    """Of the list of training rows with their guilds."""
    players: Annotated[dict[GuildName, Guild], Field(min_length=2, max_length=32)]
    collapsed: Annotated[int, Field(ge=0)] = 0
    """Training rows that are near copies of another: no coalition is trained on them."""

    @property
    def exact(self) -> bool:
        """Whether every coalition is trained."""
        return len(self.players) <= EXACT
