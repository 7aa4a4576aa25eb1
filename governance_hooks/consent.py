"""Consent: who may use what, for what, under which licence, how long (W3C DPV 2.3 terms, ISO/IEC TS 27560)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from governance_hooks.fields import Digest, Instant, Language, Strict

__all__ = ["LICENCES", "PROCESSING", "PUBLIC", "PURPOSES", "RECIPIENTS", "Consent", "Scope", "Use", "permits"]

PURPOSES: dict[str, str | None] = {
    "dpv:ResearchAndDevelopment": None,
    "dpv:ScientificResearch": "dpv:ResearchAndDevelopment",
    "dpv:AcademicResearch": "dpv:ScientificResearch",
    "dpv:NonCommercialResearch": "dpv:ResearchAndDevelopment",
    "dpv:CommercialResearch": "dpv:ResearchAndDevelopment",
    "dpv:ServiceProvision": None,
}
"""Purpose -> broader purpose. Consent to the broader one covers the narrower, never the reverse."""

PROCESSING = ("ai:ModelFineTuning", "coop:ModelEvaluation")
"""In DPV training is a processing operation, not a purpose."""

PUBLIC = "coop:PublicViaReleasedWeights"
RECIPIENTS = ("coop:Members", PUBLIC)
LICENCES = ("Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0")
"""Licences of the resulting weights a member can agree to."""

Purpose = Literal[
    "dpv:ResearchAndDevelopment",
    "dpv:ScientificResearch",
    "dpv:AcademicResearch",
    "dpv:NonCommercialResearch",
    "dpv:CommercialResearch",
    "dpv:ServiceProvision",
]
Processing = Literal["ai:ModelFineTuning", "coop:ModelEvaluation"]
Recipient = Literal["coop:Members", "coop:PublicViaReleasedWeights"]
Licence = Literal["Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"]


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


def _covered(purpose: str, allowed: list[Purpose]) -> bool:
    wider: str | None = purpose
    while wider is not None:
        if wider in allowed:
            return True
        wider = PURPOSES[wider]
    return False


def permits(consent: Consent, use: Use, *, language: str, batch: str, at: str) -> bool:
    """Tell whether the consent allows this use of a record of `language` from `batch` at the instant `at` (RFC 3339 UTC)."""
    return (
        _covered(use.purpose, consent.purposes)
        and set(use.processing) <= set(consent.processing)
        and set(use.recipients) <= set(consent.recipients)
        and use.licence in consent.licences
        and (consent.scope.languages is None or language in consent.scope.languages)
        and (consent.scope.batches is None or batch in consent.scope.batches)
        and (consent.expires is None or at < consent.expires)
    )
