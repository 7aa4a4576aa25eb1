from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from data_pipeline.candidate import Candidate
from data_pipeline.stages.code import is_code, prose, words
from data_pipeline.stages.language_id import LanguageIdParameters, language_id, relatives
from data_pipeline.stages.script import expected_scripts, letters_by_script

Row = Callable[..., Candidate]

SPANISH = ("¿Cuál es la capital de Francia y cuántos habitantes tiene?", "La capital de Francia es París y tiene unos dos millones de habitantes.")
ENGLISH = ("What is the capital of France and how many people live there?", "The capital of France is Paris, where about two million people live.")
HINDI = ("फ्रांस की राजधानी क्या है और वहाँ कितने लोग रहते हैं?", "फ्रांस की राजधानी पेरिस है और वहाँ बीस लाख लोग रहते हैं।")


def marks(row: Row, inputs: str, targets: str, language: str, **parameters: int) -> tuple[str, ...]:
    kept, excluded = language_id([row("r", inputs, targets, language=language)], LanguageIdParameters(**parameters))
    assert excluded == []
    return kept[0].marks


@pytest.mark.parametrize(("text", "language"), [(SPANISH, "spa"), (ENGLISH, "eng"), (HINDI, "hin")])
def test_a_text_in_its_declared_language_has_no_mark(row: Row, text: tuple[str, str], language: str) -> None:
    assert marks(row, *text, language) == ()


@pytest.mark.parametrize(
    ("text", "language", "mark"),
    [
        (ENGLISH, "spa", "language_doubt:eng"),
        (SPANISH, "eng", "language_doubt:spa"),
        (ENGLISH, "hin", "script_doubt:Latn"),
        (HINDI, "eng", "script_doubt:Deva"),
        (("Aap kaise hain, sab theek hai?", "Haan ji, main bilkul theek hoon."), "hin", "script_doubt:Latn"),
        (("नमस्ते", "राम राम"), "hin", "language_unjudged:short"),
        (ENGLISH, "sun", "language_unjudged:unknown"),
        (("docker run -it --rm", "`ls`"), "eng", "language_unjudged:short"),
    ],
)
def test_a_doubt_is_marked_and_never_drops(row: Row, text: tuple[str, str], language: str, mark: str) -> None:
    assert marks(row, *text, language) == (mark,)


def test_the_margin_and_the_length_are_voted(row: Row) -> None:
    assert marks(row, *ENGLISH, "spa", min_margin=100_000) == ()
    assert marks(row, *ENGLISH, "spa", min_letters=1_000) == ("language_unjudged:short",)


@pytest.mark.parametrize(
    ("declared", "read_as"),
    [
        ("zsm", "ind"),
        ("jav", "ind"),
        ("nob", "dan"),
        ("nob", "nno"),
        ("cmn", "zho"),
        ("yue", "zho"),
        ("mar", "hin"),
        ("bos", "srp"),
        ("arb", "ara"),
        ("prs", "fas"),
    ],
)
def test_close_languages_count_as_one(declared: str, read_as: str) -> None:
    assert read_as in relatives(declared)


def test_far_languages_do_not() -> None:
    assert "eng" not in relatives("spa")
    assert relatives("sun") == frozenset()  # close to Javanese, but the model never saw it: nothing to judge by


def test_the_order_of_the_rows_decides_nothing(row: Row) -> None:
    rows = [
        row(str(n), *text, language=language) for n, (text, language) in enumerate([(ENGLISH, "spa"), (HINDI, "hin"), (SPANISH, "spa"), (ENGLISH, "hin")] * 3)
    ]
    shuffled = random.Random(1).sample(rows, len(rows))
    by_record = {kept.record: kept.marks for kept in language_id(rows, LanguageIdParameters())[0]}
    assert {kept.record: kept.marks for kept in language_id(shuffled, LanguageIdParameters())[0]} == by_record


# Scripts


@pytest.mark.parametrize(
    ("language", "scripts"),
    [
        ("jpn", {"Hira", "Kana", "Hani"}),
        ("kor", {"Hang", "Hani"}),
        ("srp", {"Cyrl", "Latn"}),
        ("cmn", {"Hani", "Bopo"}),
        ("hin", {"Deva"}),
        ("arb", {"Arab"}),
        ("eng", {"Latn"}),
    ],
)
def test_scripts_of_a_language_come_from_likely_subtags(language: str, scripts: set[str]) -> None:
    assert expected_scripts(language) == scripts


def test_letters_are_counted_by_script() -> None:
    assert letters_by_script("Ｈi, 世界! में ок カﾅ 12") == {"Latn": 2, "Hani": 2, "Deva": 1, "Cyrl": 2, "Kana": 2}


# Code and prose


@pytest.mark.parametrize("text", ["tar {{[-x|--extract]}} -f {{file}}", "for (let i = 0; i < 9; i++) { f(i); }", "cat *.txt | grep -v x > y"])
def test_code_is_told_by_its_symbols(text: str) -> None:
    assert is_code(text)
    assert prose(text) == ""


@pytest.mark.parametrize("text", ["", "   ", "Was ist das?", "这是什么？", "السلام عليكم", "C'est l'été, n'est-ce pas ?"])
def test_prose_is_no_code(text: str) -> None:
    assert not is_code(text)
    assert prose(text) == " ".join(text.split())


def test_code_within_prose_is_left_out() -> None:
    assert words("此命令为 `bun remove` 的别名 --force {{path/to/file one}} file.txt v12_3 well-known 1つ") == "此命令为 的别名 file.txt well-known 1つ"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("unit", ["a", "`", "{{", "{{a", "-", " -", "a_", "{{}}"])
def test_hostile_text_of_100_kb_is_read_in_linear_time(row: Row, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert len(language_id([row("r", text, text)], LanguageIdParameters())[0]) == 1
