from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.candidate import Candidate
from data_pipeline.stages.repetition import RepetitionParameters, repeated_grams_permille, repeated_lines_permille, repetition

Row = Callable[..., Candidate]

CODE = "class Node:\n    def __init__(self):\n        self.children = {}\n        self.end = False\n\n    def insert(self, word):\n        return False\n"
VERSE = "Row, row, row your boat\nGently down the stream\nMerrily, merrily, merrily, merrily\nLife is but a dream"


@pytest.mark.parametrize(
    ("inputs", "targets", "reason"),
    [
        ("Please say it again.", "PLEASE SAY IT AGAIN.", "echo"),
        ("ｐlease say it again.", "Please say it again.", "echo"),
        ("What?", "the same line here\n" * 6, "repeated_lines"),
        ("What?", "spam and eggs " * 20, "repeated_text"),
        ("哈" * 60, "什么？", "repeated_text"),
        ("ครับ" * 30, "อะไร", "repeated_text"),
        ("!" * 100, "What?", "repeated_text"),
    ],
)
def test_what_says_nothing_or_repeats_itself_is_left_out_with_its_reason(row: Row, inputs: str, targets: str, reason: str) -> None:
    kept, excluded = repetition([row("r", inputs, targets)], RepetitionParameters())
    assert (kept, [exclusion.reason for exclusion in excluded]) == ([], [reason])


def test_voted_lengths_block(row: Row) -> None:
    rows = [row("a", "槍", "有些人喜歡槍。"), row("b", "How many?", "5")]
    assert repetition(rows, RepetitionParameters())[1] == []
    excluded = repetition(rows, RepetitionParameters(min_prompt=2, min_answer=2))[1]
    assert [(e.record, e.reason, e.detail) for e in excluded] == [
        ("a", "too_short", "the prompt shows 1 characters, 2 are the least"),
        ("b", "too_short", "the answer shows 1 characters, 2 are the least"),
    ]


def test_a_greeting_that_answers_itself_is_marked_until_members_vote_otherwise(row: Row) -> None:
    greeting = row("r", "Good day!", "Good day!")
    kept, excluded = repetition([greeting], RepetitionParameters())
    assert ([r.marks for r in kept], excluded) == ([("echo",)], [])
    assert repetition([greeting], RepetitionParameters(echo_from=0))[1][0].reason == "echo"


def test_invisible_characters_do_not_make_a_text_longer(row: Row) -> None:
    assert repetition([row("r", "a\u200b\u200d \n", "yes")], RepetitionParameters(min_prompt=2))[1][0].reason == "too_short"


@pytest.mark.parametrize("text", [CODE, VERSE, "हिन्दी में क्या है और कैसे लिखा जाता है?" * 2, "{{path/to/file1 path/to/file2 path/to/file3 ...}}"])
def test_code_verse_and_placeholders_stay(row: Row, text: str) -> None:
    assert repetition([row("r", "What?", text)], RepetitionParameters())[1] == []


@given(st.text(max_size=200))
def test_shares_are_per_mille_of_the_text_and_nothing_repeats_in_an_empty_one(text: str) -> None:
    assert 0 <= repeated_lines_permille(text) <= 1000
    assert 0 <= repeated_grams_permille(text) <= 1000


@given(st.text(min_size=20, max_size=60), st.integers(2, 6))
def test_saying_it_again_never_lowers_the_share(text: str, times: int) -> None:
    assert repeated_grams_permille(text * times) <= repeated_grams_permille(text * (times + 1))


def test_almost_no_real_row_is_left_out_for_repetition(real_rows: list[Candidate]) -> None:
    reasons = [exclusion.reason for exclusion in repetition(real_rows, RepetitionParameters())[1]]
    assert [reason for reason in reasons if reason != "echo"] == []
