from __future__ import annotations

import math
from typing import Any

import pytest

from data_pipeline.task_data import Question
from eval.contamination import Overlap
from eval.preference import Judgement, canonical_sheet, make_sheet, preference_rows, read_judgement, strengths, tuned_first
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput

KEY = bytes(range(32))
QUESTIONS = [Question(f"q-{i}", "est", f"q-{i}", f"Kus on {i}?") for i in range(40)]
ANSWERS = {one.item: (f"base {one.item}", f"tuned {one.item}") for one in QUESTIONS}
SEEN = {one.item: Overlap() for one in QUESTIONS}


def sheet_of(judge: str) -> bytes:
    return canonical_sheet(make_sheet("run-1", "pairs", judge, QUESTIONS, ANSWERS, KEY))


def choose(judge: str, better: Any) -> bytes:
    """Return what a judge sends back who sees only the sheet."""
    sheet = loads(sheet_of(judge))
    choices = {pair["pair"]: better(pair) for pair in sheet["pairs"]}
    return dumps({"format": "coop.judgement/v1", "run": "run-1", "task": "pairs", "judge": judge, "sheet": sha256(sheet_of(judge)), "choices": choices})


def likes_tuned(pair: dict[str, str]) -> str:
    return "a" if pair["a"].startswith("tuned") else "b"


def test_a_sheet_does_not_say_which_answer_is_whose() -> None:
    sheet = loads(sheet_of("m-1"))
    first = sum(pair["a"].startswith("tuned") for pair in sheet["pairs"])
    assert 10 < first < 30
    assert sheet["commitment"] == sha256(KEY)
    assert KEY.hex().encode() not in sheet_of("m-1")
    assert [pair["pair"] for pair in sheet["pairs"]] != sorted(pair["pair"] for pair in sheet["pairs"])
    assert any(tuned_first(KEY, "m-1", one.item) != tuned_first(KEY, "m-2", one.item) for one in QUESTIONS)


def judgements(*better: Any) -> list[Judgement]:
    return [read_judgement(choose(f"m-{number}", one), sheet=sheet_of(f"m-{number}"), source="x") for number, one in enumerate(better, 1)]


def test_choices_of_a_blind_judge_come_out_as_the_answers_they_liked() -> None:
    rows = preference_rows(judgements(likes_tuned, lambda pair: "tie"), QUESTIONS, SEEN, KEY)
    by_judge: dict[str, set[float]] = {}
    for row in rows:
        by_judge.setdefault(row["cluster"], set()).add(row["tuned"])
        assert row["base"] == 1 - row["tuned"]
    assert sorted(map(sorted, by_judge.values())) == [[0.5], [1.0]]
    assert by_judge.keys() == {"judge-001", "judge-002"}  # no member's id
    blind = preference_rows(judgements(lambda pair: "a"), QUESTIONS, SEEN, KEY)
    assert 0.25 < sum(row["tuned"] for row in blind) / 40 < 0.75


def test_bradley_terry_of_two_is_the_share_of_wins() -> None:
    rows = preference_rows(judgements(likes_tuned, lambda pair: "a", lambda pair: "tie" if pair["pair"] < "q-2" else "b"), QUESTIONS, SEEN, KEY)
    share = sum(row["tuned"] for row in rows) / len(rows)
    made = strengths(rows)
    assert made["tuned_beats_base"] == pytest.approx(share, abs=1e-3)
    assert made["low"] <= made["tuned_beats_base"] <= made["high"]
    assert math.log(made["tuned_beats_base"] / (1 - made["tuned_beats_base"])) == pytest.approx(math.log(share / (1 - share)), abs=1e-2)
    assert strengths(rows) == made


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"run": "run-2"}, "another run"), ({"task": "other"}, "another task"), ({"judge": "m-2"}, "another judge"), ({"sheet": sha256(b"x")}, "another sheet"),
        ({"choices": {"q-99": "a"}}, "not on the sheet"), ({"choices": {"q-1": "both"}}, "choices"), ({"choices": {}}, "choices"), ({"note": "x"}, "unknown field"),
    ],
    ids=str,
)  # fmt: skip
def test_choices_of_another_sheet_or_form_are_refused(change: dict[str, Any], match: str) -> None:
    document = loads(choose("m-1", likes_tuned)) | change
    with pytest.raises(BadInput, match=match):
        read_judgement(dumps(document), sheet=sheet_of("m-1"), source="judgement")


def test_a_judge_counts_once() -> None:
    with pytest.raises(BadInput, match="twice"):
        preference_rows(judgements(likes_tuned) * 2, QUESTIONS, SEEN, KEY)
