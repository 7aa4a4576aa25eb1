from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax

from eval.answers import heldout_answers, prompt_tokens
from eval.heldout import Answer, answer_losses, batches, compare
from eval.weights import Weights
from governance_hooks.errors import BadInput


def some_answers(count: int = 23, longest: int = 90) -> list[Answer]:
    draw = random.Random(5)
    answers = []
    for i in range(count):
        n = draw.randint(4, longest)
        start = draw.randint(1, n - 2)
        answers.append(
            Answer(f"r{i:02d}", "spa", f"m{i % 3}", tuple(draw.randrange(3, 259) for _ in range(n)), tuple(start <= p < n - (i % 2) for p in range(n)))
        )
    return answers


@pytest.fixture(scope="module")
def model(run: Any) -> Any:
    return run.model()


@torch.inference_mode()
def by_hand(model: Any, answer: Answer) -> float:
    """The definition: one row alone, all logits, summed negative log-likelihood of the supervised tokens."""
    logits = model(input_ids=torch.tensor([answer.tokens])).logits[0].double()
    return float(-sum(log_softmax(logits[i - 1], dim=-1)[answer.tokens[i]] for i in range(1, len(answer.tokens)) if answer.supervised[i]))


@pytest.mark.parametrize("tokens", [1, 128, 1024, 10_000])
def test_batched_losses_equal_those_of_single_rows_by_definition(model: Any, tokens: int) -> None:
    answers = some_answers()
    losses = answer_losses(model, answers, tokens=tokens)
    for answer in answers:
        assert losses[answer.item] == pytest.approx(by_hand(model, answer), rel=1e-5)


def test_order_of_the_records_changes_nothing(model: Any) -> None:
    answers = some_answers()
    assert answer_losses(model, answers) == answer_losses(model, answers[::-1])


def test_two_measurements_give_the_same_numbers(model: Any) -> None:
    assert compare(Weights(model), some_answers()) == compare(Weights(model), some_answers())


def test_base_is_the_model_without_the_adapter(run: Any, model: Any) -> None:
    answers = some_answers(5)
    rows = compare(Weights(model), answers)
    alone = answer_losses(model.get_base_model(), answers)  # the adapter is active inside: it must equal tuned, not base
    for row in rows:
        assert row["tuned"] == pytest.approx(alone[row["item"]], rel=1e-6)
    from transformers import LlamaForCausalLM

    bare = answer_losses(LlamaForCausalLM.from_pretrained(run.base), answers)
    for row in rows:
        assert row["base"] == pytest.approx(bare[row["item"]], rel=1e-5)
        assert abs(row["base"] - row["tuned"]) > 1e-3


def test_a_model_of_its_own_is_compared_with_the_base_beside_it(run: Any, model: Any) -> None:
    from transformers import LlamaForCausalLM

    answers, base = some_answers(5), LlamaForCausalLM.from_pretrained(run.base)
    adapted = compare(Weights(model), answers)
    merged = compare(Weights(run.model().merge_and_unload(), base), answers)
    for one, other in zip(merged, adapted, strict=True):
        assert (one["tuned"], one["base"]) == pytest.approx((other["tuned"], other["base"]), rel=1e-4)
        assert abs(one["base"] - one["tuned"]) > 1e-3


def test_rows_are_sorted_and_name_language_contributor_and_tokens(model: Any) -> None:
    answers = some_answers()
    rows = compare(Weights(model), answers[::-1])
    assert [row["item"] for row in rows] == sorted(answer.item for answer in answers)
    for row, answer in zip(rows, answers, strict=True):
        assert (row["language"], row["cluster"], row["tokens"]) == ("spa", answer.cluster, sum(answer.supervised[1:]))


def test_batches_hold_every_record_once_within_the_bound() -> None:
    answers = some_answers(60)
    made = list(batches(answers, tokens=200))
    assert sorted(a.item for batch in made for a in batch) == sorted(a.item for a in answers)
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(len(a.tokens) for a in batch) <= 200


def test_an_answer_without_a_token_is_refused(model: Any) -> None:
    with pytest.raises(BadInput, match="no token to predict"):
        answer_losses(model, [Answer("r", "spa", "m", (5, 6, 7), (True, False, False))])


def test_diverged_weights_are_refused(run: Any) -> None:
    broken = run.model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(BadInput, match="not finite"):
        answer_losses(broken, some_answers(2))


def test_progress_ends_at_the_total(model: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    compare(Weights(model), some_answers(), progress=lambda *step: seen.append(step))
    assert {label for label, _, _ in seen} == {"held-out loss, base", "held-out loss, tuned"}
    assert [step[1] for step in seen if step[0].endswith("base")][-1] == 23


def test_every_heldout_record_is_measured_or_named_as_skipped(run: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.base)
    answers, skipped = heldout_answers(run.build, tokenizer, longest=512)
    assert skipped == []
    middle = sorted(len(answer.tokens) for answer in answers)[len(answers) // 2]
    fewer, left_out = heldout_answers(run.build, tokenizer, longest=middle)
    assert fewer
    assert left_out
    assert max(len(answer.tokens) for answer in fewer) <= middle
    assert sorted([*(a.item for a in fewer), *(s["item"] for s in left_out)]) == sorted(a.item for a in answers)
    assert {entry["reason"] for entry in left_out} == {"too_long"}


def test_only_the_answer_and_its_end_are_supervised(run: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.base)
    answers, _ = heldout_answers(run.build, tokenizer, longest=512)
    for answer in answers:
        learned = tokenizer.decode([t for t, s in zip(answer.tokens, answer.supervised, strict=True) if s])
        whole = tokenizer.decode(answer.tokens)
        assert whole.endswith(f"<|im_start|>assistant\n{learned}\n")
        assert learned.endswith("<|im_end|>")


def test_a_question_ends_where_the_answer_starts(run: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.base)
    assert tokenizer.decode(prompt_tokens(tokenizer, "¿Sol?")) == "<|im_start|>user\n¿Sol?<|im_end|>\n<|im_start|>assistant\n"
