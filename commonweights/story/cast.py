"""Who plays: nine members, what they give and how they vote.

`chatterbot-corpus` names no contributors, so the demo spreads its files over its own members, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CAST", "LANGUAGES", "QUICK_LANGUAGES", "SAID", "Person"]


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

QUICK_LANGUAGES = ("spa", "ita")
"""Of both every consenting member gave some answers, and ten steps show: of fewer than five people no interval is stated."""

SAID = (
    ("Amina", "intended_use", "To try out, on one machine and in a few minutes, how a cooperative trains and releases a model. Ask it simple questions in the languages of the table."),
    ("Beatriz", "out_of_scope_use", "Anything that matters: advice on health, law or money, and anything about a real person. It was made to show the way, not to be relied on."),
    ("Chandra", "limits", "It is small, it saw a few hundred short answers, and it makes things up. Outside the languages of the table it is the English model it was made from."),
    ("Dmitri", "bias_and_risks", "The answers come from a public collection of small talk, with the jokes and the blind spots of whoever wrote it. Nobody has gone through all of them."),
    ("Esperanza", "contact", "The cooperative of this demo is played by one computer. Questions about the software go to whoever gave it to you."),
    ("Farah", "legal_measures", "Rules took out copies and broken texts; which ones stands in the manifest. Nobody checked every text by eye."),
)  # fmt: skip
"""What members say on the card: person, field, words."""
