"""A base larger than the memory it is given is evaluated from its files, to the same byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from eval.answers import heldout_answers, prompt_tokens
from eval.generate import greedy
from eval.heldout import compare
from eval.placement import Room, fits, load_in_places, room_on
from eval.weights import load_weights
from governance_hooks.errors import BadInput

TINY = 259 * 64 * 4
"""Bytes of the embedding of the tiny base."""
BLOCK = 160_000
"""A little more than one of its blocks takes with an adapter: room for that at work, and for none that stays."""


def measured(run: Any, **changes: Any) -> tuple[list[dict[str, Any]], str, Any]:
    weights, tokenizer = load_weights(run.base, run.run_dir / "adapter", "adapter", **changes)
    answers, _ = heldout_answers(run.build, tokenizer, longest=256)
    return (
        compare(weights, answers),
        greedy(weights.tuned, tokenizer, [prompt_tokens(tokenizer, one) for one in ("sol?", "mis on meri?")], max_new_tokens=8),
        weights.tuned,
    )


def test_with_room_for_the_embedding_alone_the_results_are_the_same_to_the_byte(run: Any) -> None:
    wanted, answer, whole = measured(run)
    found, again, placed = measured(run, memory=TINY + BLOCK)
    assert not any(parameter.is_meta for parameter in whole.parameters())
    on_disk = [name for name, parameter in placed.named_parameters() if parameter.is_meta]
    assert {name.split(".")[4] for name in on_disk} == {"0", "1", "weight"}  # both blocks with their adapters, and the last norm
    assert (found, again) == (wanted, answer)


def test_a_base_in_several_files_and_half_precision_and_a_dora_adapter_are_the_same_too(run: Any, tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(run.base, base)
    (base / "model.safetensors").unlink()
    torch.manual_seed(4)
    model = LlamaForCausalLM.from_pretrained(run.base, dtype=torch.bfloat16)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 8)  # a head of its own, which goes to the files too
    model.save_pretrained(base, max_shard_size="60KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    tuned = get_peft_model(model, LoraConfig(r=4, use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    tuned.save_pretrained(adapter)
    results = []
    for memory in (None, TINY + BLOCK):
        weights, tokenizer = load_weights(base, adapter, "adapter", memory=memory)
        answers, _ = heldout_answers(run.build, tokenizer, longest=256)
        results.append(compare(weights, answers))
        assert any(parameter.is_meta for parameter in weights.tuned.parameters()) == (memory is not None)
    assert results[0] == results[1]


def test_two_whole_models_share_the_memory(full_run: Any) -> None:
    folder = full_run.run_dir / "model"
    rows = []
    for memory in (None, 2 * (TINY + BLOCK)):
        weights, tokenizer = load_weights(full_run.base, folder, "model", memory=memory)
        answers, _ = heldout_answers(full_run.build, tokenizer, longest=256)
        rows.append(compare(weights, answers))
        for model in (weights.tuned, weights.base):
            assert any(parameter.is_meta for parameter in model.parameters()) == (memory is not None)
    assert rows[0] == rows[1]


def test_less_room_than_the_embedding_takes_is_refused(run: Any) -> None:
    with pytest.raises(BadInput, match="too little room for the embedding"):
        load_weights(run.base, run.run_dir / "adapter", "adapter", memory=TINY - 1)


def test_a_limit_above_what_is_free_changes_nothing(run: Any) -> None:
    free = room_on("cpu", None)
    assert room_on("cpu", 10**15).bytes["cpu"] <= 1.2 * free.bytes["cpu"]
    assert set(free.bytes) == {"cpu"}
    assert fits(run.base, free)
    assert not fits(run.base, Room({"cpu": 1000}, "cpu"))


def test_a_weight_the_folder_lacks_is_refused(run: Any, tmp_path: Path) -> None:
    shutil.copytree(run.base, tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_bytes())
    (tmp_path / "base/config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(BadInput, match=r"model\.layers\.2\.\S+ is not in"):
        load_in_places(tmp_path / "base", None, Room({"cpu": TINY + BLOCK}, "cpu"))


@pytest.mark.parametrize("index", ['{"weight_map": {"a": "../a.safetensors"}}', '{"weight_map": {"a": "a.bin"}}', "[]", "{"])
def test_an_index_that_names_other_files_is_refused(run: Any, tmp_path: Path, index: str) -> None:
    (tmp_path / "config.json").write_bytes((run.base / "config.json").read_bytes())
    with pytest.raises(BadInput, match=r"weights|safetensors file of this folder"):
        load_in_places(tmp_path, None, Room({"cpu": 10**9}, "cpu"))
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BadInput, match=r"weights|safetensors file of this folder"):
        load_in_places(tmp_path, None, Room({"cpu": 10**9}, "cpu"))


def test_a_config_that_describes_a_larger_model_than_memory_is_built_without_it(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    config = LlamaConfig(hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, vocab_size=128256)  # 270 GB in float32
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(tmp_path / "big")
    (tmp_path / "big/model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(BadInput, match="too little room for the embedding"):
        load_in_places(tmp_path / "big", None, Room({"cpu": 10**9}, "cpu"))
