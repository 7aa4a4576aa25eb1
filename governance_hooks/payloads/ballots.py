"""Payloads of ballots, of the answers to consultations, and of the counts that close a vote."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from governance_hooks.fields import Count, Digest, Strict

__all__ = ["Ballot", "Close", "ConsultationClose", "OpinionCount", "Opinions", "Preference"]


class Ballot(Strict):
    """The author's vote; the one with the highest sequence before the close counts."""

    proposal: Digest
    choice: Literal["for", "against", "abstain"]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class Preference(Strict):
    """The author's answer to a consultation: options approved of, sorted, or options in order, best first."""

    proposal: Digest
    options: Annotated[list[Annotated[int, Field(ge=0, lt=64)]], Field(max_length=64)]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class Opinions(Strict):
    """The author's answer to a consultation of statements: one word for each, in their order."""

    proposal: Digest
    answers: Annotated[list[Literal["agree", "disagree", "pass"]], Field(min_length=2, max_length=64)]
    sequence: Annotated[int, Field(ge=1)]
    reason: Digest | None


class OpinionCount(Strict):
    """How many agreed with one statement, disagreed with it, and passed it over."""

    agree: Count
    disagree: Count
    passed: Count


class Close(Strict):
    """The count of a proposal; refused by everyone who counts differently."""

    proposal: Digest
    votes_for: Count
    votes_against: Count
    votes_abstain: Count
    outcome: Literal["approved", "rejected"]


class ConsultationClose(Strict):
    """The result of a consultation; refused by everyone who counts differently."""

    proposal: Digest
    cast: Count
    quorate: bool
    winners: list[Count]
    """Options no other is preferred to, sorted; empty when nobody voted, and of statements: none of them wins."""
    opinions: list[OpinionCount] = Field(default_factory=list)
    """Of a consultation of statements, the count of each; absent of any other."""
