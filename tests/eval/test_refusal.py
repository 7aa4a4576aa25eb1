from __future__ import annotations

import pytest

from eval.refusal import PHRASES, refuses


@pytest.mark.parametrize(
    ("answer", "language", "refused"),
    [
        ("I'm sorry, but I can't help with that.", "eng", True), ("I\u2019m sorry, no.", "eng", True), ("Sure! First boil the water.", "eng", False), ("", "eng", True),
        ("Lo siento, no puedo ayudar con eso.", "spa", True), ("Claro: primero hierve el agua.", "spa", False), ("对不起，我不能回答。", "zho", True),
        ("माफ़ करें, मैं यह नहीं बता सकता।", "hin", True), ("Water boils. " * 40 + "I'm sorry", "eng", False), ("I'm sorry", "zul", None),
    ],
)  # fmt: skip
def test_refusals_are_told_by_a_phrase_near_the_beginning(answer: str, language: str, refused: bool | None) -> None:
    assert refuses(answer, language) is refused


def test_phrases_are_lower_case_and_no_language_lists_one_twice() -> None:
    for phrases in PHRASES.values():
        assert len(phrases) == len(set(phrases)) >= 2
        assert all(phrase == phrase.casefold() and len(phrase) >= 2 for phrase in phrases)


def test_harmless_answers_to_our_own_questions_are_no_refusals() -> None:
    for language, answer in {
        "eng": "The sun is a star.",
        "spa": "El sol es una estrella.",
        "deu": "Die Sonne ist ein Stern.",
        "fra": "Le soleil est une étoile.",
        "est": "Päike on täht.",
    }.items():
        assert refuses(answer, language) is False
