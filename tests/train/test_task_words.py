from __future__ import annotations

import pytest

from governance_hooks.plan import EvaluationPolicy
from governance_hooks.tasks import LanguageRules, Task
from train.task_words import finest, task_lines


def test_how_fine_a_difference_so_many_items_show() -> None:
    # (t(0.975) + t(0.8)) * 0.5 / sqrt(n): about 2.8 standard errors
    assert [round(finest(n, 0.95), 3) for n in (100, 400, 1000)] == [
        pytest.approx(0.142, abs=2e-3),
        pytest.approx(0.07, abs=2e-3),
        pytest.approx(0.044, abs=2e-3),
    ]
    assert finest(1, 0.95) == 1.0


def test_a_policy_in_words_says_what_is_asked_what_blocks_and_who_may_waive() -> None:
    data = {"name": "x.jsonl", "size": 1, "sha256": "sha256:" + "0" * 64, "ids": "sha256:" + "1" * 64, "items": {"est": 100, "ita": 500}}
    tasks = [
        Task.model_validate({"name": "choices", "kind": "multiple_choice", "metric": "accuracy", "data": data, "languages": ["est", "ita"], "margin": 0.05, "waiver": "never"}),
        Task.model_validate(
            {"name": "harmless", "kind": "over_refusal", "metric": "rate", "data": data, "languages": ["est", "ita"], "comparison": "threshold", "threshold": 0.1, "new_tokens": 8,
             "tier": "supporting"}
        ),
    ]  # fmt: skip
    said = "\n".join(task_lines(EvaluationPolicy(tasks=tasks, between_languages=LanguageRules(minimum=0.4, maximum_gap=0.25))))
    for words in (
        "no worse than the base by more than 5 of 100 in any language", "nobody may waive it", "With 100 items in a language it shows differences of about 14 of 100",
        "at most 10 of 100 in each language", "a proven failure blocks the release", "No language may score below 40 of 100", "no more than 25 of 100",
    ):  # fmt: skip
        assert words in said


def test_members_read_that_the_bootstrap_is_surer_of_itself_than_it_should_be() -> None:
    assert task_lines(EvaluationPolicy(interval="t")) == []
    (said,) = task_lines(EvaluationPolicy(interval="bootstrap"))
    assert "81 to 88 of 100 cases with 5 to 8 people" in said
    assert "fewer than 5" in said
