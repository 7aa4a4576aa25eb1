from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.candidate import Candidate
from data_pipeline.stages.decontamination import DecontaminationParameters, decontaminate, index, read_suite, suite
from data_pipeline.stages.grams import key
from data_pipeline.stages.stage import Evidence, Item
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

Row = Callable[..., Candidate]

QUESTION = "A farmer sells 16 eggs a day at the market for two coins each. How many coins does she earn in a week?"
CHINESE = "农夫每天在市场上以每个两枚硬币的价格卖出十六个鸡蛋，她一周能赚多少枚硬币？"
SUITE = suite("sums", [Item("1", QUESTION), Item("2", CHINESE)])
LEAD = "Good morning, dear assistant! Before my coffee I would like to know something. "


def left_out(row: Row, text: str, *suites: object, permille: int = 500) -> list[str]:
    evidence = Evidence(suites=suites or (SUITE,))  # type: ignore[arg-type]
    _, excluded = decontaminate([row("r", text, "I will think about it.")], DecontaminationParameters(containment_permille=permille), evidence)
    return [f"{e.reason} {e.detail}" for e in excluded]


@pytest.mark.parametrize(
    "text", [QUESTION, QUESTION.upper().replace(" ", "  ") + "!!!", LEAD + QUESTION, QUESTION.replace("eggs", "apples"), QUESTION[: int(len(QUESTION) * 0.7)]]
)
def test_a_row_that_holds_an_item_is_left_out_by_name(row: Row, text: str) -> None:
    (reason,) = left_out(row, text)
    assert reason.startswith("evaluation_item holds ")
    assert reason.endswith(" of 1000 of item 1 of sums, 500 is too much")


def test_an_item_in_chinese_is_found_by_shorter_runs(row: Row) -> None:
    assert "item 2 of sums" in left_out(row, CHINESE.replace("鸡蛋", "苹果"))[0]


@pytest.mark.parametrize("text", ["How many eggs does a hen lay in a week?", "农夫卖鸡蛋。", QUESTION[: len(QUESTION) // 3], ""])
def test_a_row_on_the_same_subject_stays(row: Row, text: str) -> None:
    assert left_out(row, text) == []


def test_the_share_is_voted(row: Row) -> None:
    part = QUESTION[: int(len(QUESTION) * 0.7)]
    assert left_out(row, part, permille=900) == []
    assert left_out(row, part, permille=300) != []


def test_the_answer_is_searched_as_well(row: Row) -> None:
    _, excluded = decontaminate([row("r", "Give me a sum.", QUESTION)], DecontaminationParameters(), Evidence(suites=(SUITE,)))
    assert len(excluded) == 1


def test_without_a_suite_all_rows_stay(row: Row) -> None:
    rows = [row("a", QUESTION), row("b")]
    assert decontaminate(rows, DecontaminationParameters()) == (rows, [])


def test_an_item_too_short_to_be_told_from_chance_is_named(row: Row) -> None:
    short = suite("short", [Item("yes", "Yes or no?")])
    assert index([short]).unindexed == (("short", "yes"),)
    assert left_out(row, "Yes or no?", short) == []


@given(st.permutations([SUITE, suite("other", [Item("x", QUESTION)]), replace(SUITE, name="third")]))
def test_the_order_of_suites_decides_nothing(suites: list[object]) -> None:
    known = index(suites)  # type: ignore[arg-type]
    assert [(name, item) for name, item, _ in known.items] == [("other", "x"), ("sums", "1"), ("sums", "2"), ("third", "1"), ("third", "2")]


def test_marks_count_and_punctuation_does_not() -> None:
    assert key("Où, में क्या?! (Ｘ)") == key("où में  क्या x")
    assert key("में") != key("म")


# Suites


def test_a_suite_is_read_with_the_digest_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"item": item.item, "text": item.text}) + "\n" for item in SUITE.items), encoding="utf-8")
    assert read_suite(path, "sums") == replace(SUITE, digest=sha256(path.read_bytes()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        '{"item":"1","text":2}\n',
        '{"item":"1","text":"a","more":"b"}\n',
        "[]\n",
        "nonsense\n",
        "[" * 100_000,
        '{"item":"1","text":"a"}\n{"item":"1","text":"b"}\n',
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput):
        read_suite(path, "bad")


def test_a_missing_or_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_suite(tmp_path / "none.jsonl", "none")
    path = tmp_path / "huge.jsonl"
    path.write_text('{"item":"1","text":"a"}\n', encoding="utf-8")
    monkeypatch.setattr("data_pipeline.stages.decontamination.MAX_SUITE_BYTES", 10)
    with pytest.raises(BadInput, match="too large"):
        read_suite(path, "huge")
