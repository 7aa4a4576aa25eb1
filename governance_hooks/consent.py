"""Consent: who may use what, for what, under which licence, how long and how often (W3C DPV 2.3 terms, ISO/IEC TS 27560)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from governance_hooks.fields import Digest, Instant, Language, Strict
from governance_hooks.vocabulary import PURPOSES, covers

__all__ = ["Consent", "Form", "Licence", "Outside", "Outsider", "Purpose", "Scope", "Use", "permits", "shows"]


def _known(purpose: str) -> str:
    if purpose not in PURPOSES:
        raise ValueError(f"no purpose of ours, known: {', '.join(PURPOSES)}")
    return purpose


Purpose = Annotated[str, AfterValidator(_known)]
Processing = Literal["ai:ModelFineTuning", "coop:ModelEvaluation"]
Recipient = Literal["coop:Members", "coop:PublicViaReleasedWeights"]
Licence = Literal["Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"]


Outsider = Literal["dpv:AcademicScientificOrganisation", "dpv:ForProfitOrganisation", "dpv:GovernmentalOrganisation", "dpv:NonProfitOrganisation"]
Form = Literal["aggregate", "extract"]


class Use(Strict):
    """What somebody wants to do with members' records."""

    purpose: Purpose
    processing: Annotated[list[Processing], Field(min_length=1)]
    recipients: Annotated[list[Recipient], Field(min_length=1)]
    licence: Licence


class Scope(Strict):
    """Which of the member's records a consent covers; null means all."""

    languages: list[Language] | None = None
    batches: list[Digest] | None = None


class Outside(Strict):
    """What goes to organisations outside, each time by a vote of the members; a consent without it lets nothing out."""

    recipients: Annotated[list[Outsider], Field(min_length=1)]
    forms: Annotated[list[Form], Field(min_length=1)]
    """aggregate: counts only. extract: the texts."""


class Consent(Strict):
    """The payload of a consent statement: everything a member allows in one act."""

    purposes: Annotated[list[Purpose], Field(min_length=1)]
    processing: Annotated[list[Processing], Field(min_length=1)]
    recipients: Annotated[list[Recipient], Field(min_length=1)]
    licences: Annotated[list[Licence], Field(min_length=1)]
    scope: Scope
    expires: Instant | None
    """RFC 3339 UTC; after it the consent is not in force."""
    occurrences: Annotated[int, Field(ge=1)] | None = None
    """Distinct approved runs it may serve (dpv:FixedOccurrencesDuration), restarts not counted again; null: as many as members approve."""
    notice: Digest
    """Digest of the plain-words text the member was shown."""
    notice_language: Language = "eng"
    """Language of that text."""
    outside: Outside | None = None
    """What may go to organisations outside; null for nothing."""
    publish: Literal["samples"] | None = None
    """samples: some of the texts, without the author's name, on pages everybody reads; null for none. Leave to train gives no such leave."""


def permits(consent: Consent, use: Use, *, language: str, batch: str, at: str) -> bool:
    """Tell whether the consent allows this use of a record of `language` from `batch` at the instant `at` (RFC 3339 UTC).

    How many runs a limited one has left is the log's to say: see `rules.consents`.
    """
    return (
        any(covers(allowed, use.purpose) for allowed in consent.purposes)
        and set(use.processing) <= set(consent.processing)
        and set(use.recipients) <= set(consent.recipients)
        and use.licence in consent.licences
        and (consent.scope.languages is None or language in consent.scope.languages)
        and (consent.scope.batches is None or batch in consent.scope.batches)
        and (consent.expires is None or at < consent.expires)
    )


def shows(consent: Consent, *, language: str, batch: str, at: str) -> bool:
    """Tell whether the consent lets a record of `language` from `batch` be shown to everybody at the instant `at` (RFC 3339 UTC).

    One that is limited to a number of runs shows nothing: a page is no run.
    """
    return (
        consent.publish == "samples"
        and consent.occurrences is None
        and (consent.scope.languages is None or language in consent.scope.languages)
        and (consent.scope.batches is None or batch in consent.scope.batches)
        and (consent.expires is None or at < consent.expires)
    )
