from __future__ import annotations

from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.contamination import CHARACTERS, WORDS, Overlap, overlaps, units

QUESTION = "A farmer has seventeen sheep and all but nine of them run away into the green hills so how many are left"
CHINESE = "珍妮特的鸭子每天下十六颗蛋她每天早上早餐时吃三颗并且每天用四颗为朋友做松饼"


def test_an_item_pasted_into_a_longer_text_is_found_in_other_case_and_punctuation() -> None:
    [found] = overlaps([QUESTION], ["Hello! Please help me: " + QUESTION.upper().replace(" ", ", ") + "?? Thanks."])
    assert found == Overlap(1000, len(QUESTION.split()))


def test_twelve_words_in_common_are_chance_and_thirteen_are_not() -> None:
    words = QUESTION.split()
    for count, expected in ((12, Overlap()), (13, Overlap(1000 * 13 // len(words), 13))):
        assert overlaps([QUESTION], ["other " + " ".join(words[3 : 3 + count]) + " words"]) == [expected]


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    assert units(CHINESE)[1] is True
    assert overlaps([CHINESE], ["前言。" + CHINESE[:10] + "，" + CHINESE[10:25] + "结尾"])[0].longest == 25
    assert overlaps([CHINESE], [CHINESE[:19]]) == [Overlap()]


def test_marks_of_indic_scripts_stay_in_their_words() -> None:
    assert units("पानी क्या है?")[0] == ["पानी", "क्या", "है"]


def test_short_items_count_from_eight_words_and_shorter_ones_never() -> None:
    eight, seven = "one two three four five six seven eight", "one two three four five six seven"
    assert overlaps([eight, seven], [f"so {eight} it is"]) == [Overlap(1000, 8), Overlap()]


def test_the_longest_run_is_over_all_texts_and_shares_are_joined() -> None:
    words = QUESTION.split()
    [found] = overlaps([QUESTION], [" ".join(words[:14]), " ".join(words[5:])])
    assert found == Overlap(1000, len(words) - 5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ab"), min_size=13, max_size=40), st.lists(st.sampled_from("ab"), max_size=60))
def test_the_longest_run_is_that_of_difflib_wherever_it_counts(item: list[str], text: list[str]) -> None:
    [found] = overlaps([" ".join(item)], [" ".join(text)])
    longest = SequenceMatcher(None, item, text, autojunk=False).find_longest_match().size
    assert found.longest == (longest if longest >= WORDS[0] else 0)
    assert (found.overlap > 0) == (longest >= WORDS[0])


@pytest.mark.parametrize("text", ["", " ", "\u200b", "!?"])
def test_texts_without_a_word_overlap_nothing(text: str) -> None:
    assert overlaps([text], [text, QUESTION]) == [Overlap()]
    assert CHARACTERS[1] < CHARACTERS[0]
