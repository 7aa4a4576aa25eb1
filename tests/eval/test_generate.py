"""Answers made several at a time are those made one at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from data_pipeline.task_data import read_task
from eval.answers import prompt_tokens
from eval.generate import BATCH, TOKENS_EACH, before_and_after, greedy
from eval.harness import ask
from eval.report import partial_of
from eval.weights import Weights, load_weights
from governance_hooks.errors import BadInput
from tests.eval.test_tasks import items_of, measured, task_of, voted

QUESTIONS = [
    "sol?",
    "mis on meri ja kus ta on, kui keegi ei vaata?",
    "pan",
    "¿Qué es el sol y por qué calienta tanto en verano?",
    "casa de la flor?",
    "luz",
    "x",
]


@pytest.fixture(scope="module")
def loaded(_run: Any) -> tuple[Weights, Any]:
    return load_weights(_run.base, _run.run_dir / "adapter", "adapter")


@pytest.fixture
def prompts(loaded: tuple[Weights, Any]) -> list[list[int]]:
    found = [prompt_tokens(loaded[1], question) for question in QUESTIONS]
    assert len({len(tokens) for tokens in found}) > 4
    return found


@pytest.mark.parametrize("batch", [2, 3, 7, 64])
def test_batched_answers_are_those_of_each_prompt_alone(loaded: tuple[Weights, Any], prompts: list[list[int]], batch: int) -> None:
    weights, tokenizer = loaded
    alone = [greedy(weights.tuned, tokenizer, [tokens], max_new_tokens=24)[0] for tokens in prompts]
    assert len(set(alone)) > 4
    assert greedy(weights.tuned, tokenizer, prompts, max_new_tokens=24, batch=batch) == alone
    with weights.before() as model:
        before = [greedy(model, tokenizer, [tokens], max_new_tokens=24)[0] for tokens in prompts]
    assert before != alone
    assert before_and_after(weights, tokenizer, prompts, max_new_tokens=24, batch=batch) == list(zip(before, alone, strict=True))


@pytest.mark.parametrize("pad", ["<|pad|>", None, "e"])
def test_an_answer_ends_where_it_ends_alone_while_others_go_on(loaded: tuple[Weights, Any], prompts: list[list[int]], pad: str | None) -> None:
    """Whatever stands behind its end, also where the padding is no special token, is not part of it."""
    weights, tokenizer = loaded[0], copy.deepcopy(loaded[1])
    tokenizer.pad_token = pad
    with torch.inference_mode():
        made = weights.tuned.generate(input_ids=torch.tensor([prompts[0]]), max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
    fourth = made[0, len(prompts[0]) + 3].item()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(fourth)
    alone = [greedy(weights.tuned, tokenizer, [tokens], max_new_tokens=24)[0] for tokens in prompts]
    assert len(alone[0]) <= 4 < max(map(len, alone))
    assert greedy(weights.tuned, tokenizer, prompts, max_new_tokens=24, batch=7) == alone


def test_the_longest_prompts_go_first_and_each_batch_is_reported(
    loaded: tuple[Weights, Any], prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, tokenizer = loaded
    seen: list[tuple[int, ...]] = []
    original = weights.tuned.generate

    def watched(**inputs: Any) -> Any:
        seen.append(tuple(inputs["attention_mask"].sum(dim=1).tolist()))
        return original(**inputs)

    monkeypatch.setattr(weights.tuned, "generate", watched)
    told: list[tuple[str, int, int]] = []
    greedy(weights.tuned, tokenizer, prompts, max_new_tokens=2, batch=3, progress=lambda *one: told.append(one), label="x")
    assert [length for one in seen for length in one] == sorted((len(tokens) for tokens in prompts), reverse=True)
    assert [len(one) for one in seen] == [3, 3, 1]
    assert told == [("x", 3, 7), ("x", 6, 7), ("x", 7, 7)]
    seen.clear()
    longer = [tokens * (2 * TOKENS_EACH // len(tokens) + 1) for tokens in prompts[:3]]
    greedy(weights.tuned, tokenizer, [*longer, *prompts], max_new_tokens=2, batch=4)
    assert [len(one) for one in seen] == [1, 1, 1, 4, 3]  # two of these would be too wide for a batch of four


def test_no_prompt_has_no_answer(loaded: tuple[Weights, Any]) -> None:
    assert greedy(loaded[0].tuned, loaded[1], [], max_new_tokens=2) == []


@pytest.mark.parametrize("kind", ["exact_match", "multiple_choice"])
def test_the_harness_scores_the_same_in_any_batch(loaded: tuple[Weights, Any], tmp_path: Path, kind: str) -> None:
    task = task_of(kind, tmp_path)
    assert task.data is not None
    questions = read_task(tmp_path / task.data.sha256.removeprefix("sha256:"), task)
    alone = ask(loaded[0].tuned, loaded[1], task, questions, batch=1)
    assert len(questions) > 4
    assert ask(loaded[0].tuned, loaded[1], task, questions, batch=5) == alone


def test_settings_in_the_base_folder_do_not_decide_what_is_answered(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, tokenizer = load_weights(run.base, run.run_dir / "adapter", "adapter")
    task = task_of("exact_match", tmp_path)
    assert task.data is not None
    questions = read_task(tmp_path / task.data.sha256.removeprefix("sha256:"), task)
    made: list[list[list[int]]] = []
    original = weights.tuned.generate

    def watched(**inputs: Any) -> torch.Tensor:
        answered: torch.Tensor = original(**inputs)
        made.append(answered.tolist())
        return answered

    monkeypatch.setattr(weights.tuned, "generate", watched)
    prompt = prompt_tokens(tokenizer, QUESTIONS[0])

    def answers() -> list[list[list[int]]]:
        made.clear()
        ask(weights.tuned, tokenizer, task, questions)
        greedy(weights.tuned, tokenizer, [prompt], max_new_tokens=8)
        return list(made)

    plain, left_alone = answers(), original(input_ids=torch.tensor([prompt]), max_new_tokens=8, do_sample=False).tolist()
    for model in (weights.tuned, weights.tuned.get_base_model()):
        model.generation_config.repetition_penalty = 9.0
        model.generation_config.suppress_tokens = list(range(3, 200))
    assert original(input_ids=torch.tensor([prompt]), max_new_tokens=8, do_sample=False).tolist() != left_alone
    assert len(plain) == 2
    assert answers() == plain
    assert weights.tuned.generation_config.repetition_penalty == 9.0  # as it was, for whoever uses the model next


def test_the_report_says_in_what_batches_it_was_measured_and_no_result_differs(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "open", "over_refusal", "multiple_choice")
    whole = measured(own_run, data)
    assert whole["batch"] == BATCH
    kept = {name: items_of(own_run, name) for name in ("open", "over-refusal", "multiple-choice")}
    assert (measured(own_run, data, batch=1) | {"batch": BATCH, "wall_s": 0}) == whole | {"wall_s": 0}
    assert {name: items_of(own_run, name) for name in kept} == kept


def test_an_evaluation_that_was_killed_goes_on_in_the_batches_it_began_with(own_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import eval.measure as measuring

    _, data = voted(own_run, tmp_path, "open", "over_refusal")
    original = measuring._scores

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    def dies_at_the_second(task: Any, *rest: Any) -> Any:
        return (dies if task.kind == "over_refusal" else original)(task, *rest)

    monkeypatch.setattr(measuring, "_scores", dies)
    with pytest.raises(KeyboardInterrupt):
        measured(own_run, data, batch=5)
    monkeypatch.setattr(measuring, "_scores", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):  # no answer was made yet: a smaller batch may be tried, for instance because memory was too small
        measured(own_run, data, batch=2)
    assert partial_of(own_run.run_dir)[0].read("batch") == b"2"
    with pytest.raises(BadInput, match="began with another batch size"):
        measured(own_run, data, batch=5)
    monkeypatch.setattr(measuring, "_scores", original)
    assert measured(own_run, data)["batch"] == 2
