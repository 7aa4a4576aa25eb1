"""Who plays: nine members, what they give and how they vote.

`chatterbot-corpus` names no contributors, so the demo spreads its files over its own members, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CAST", "LANGUAGES", "QUICK_LANGUAGES", "Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the demo: name, whether they found it, and their ballot on the run."""

    name: str
    founder: bool = False
    choice: str = "for"
    reason: str | None = None
    consents: bool = True
    withdraws: bool = False


CAST = (
    Person("Amina", founder=True),
    Person("Beatriz", founder=True),
    Person("Chandra", founder=True),
    Person("Dmitri"),
    Person("Esperanza"),
    Person("Farah", choice="abstain"),
    Person("Giulia", choice="against", reason="I would rather wait until more of us have checked the Persian answers."),
    Person("Hana", withdraws=True),
    Person("Iman", consents=False),
)

LANGUAGES = ("spa", "ita", "por", "fra", "ind", "fas", "hin", "eng")
"""ISO 639-3 codes of the demo's build; the last is what the base model knows best."""

QUICK_LANGUAGES = ("spa", "ind")
