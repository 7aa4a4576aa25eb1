"""Holds a merged folder against base with adapter: tensor by tensor from the files, and where a whole model fits into memory, by what they answer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import get_max_memory
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from governance_hooks.errors import BadInput, CoopError
from train.console import quiet_libraries
from train.export.adapter import Adapter
from train.export.arithmetic import merge_rows
from train.export.parity import BF16, EXACT, F16, continuations, reference, require, require_kept, same_answers
from train.export.shards import Weight, blocks
from train.export.tensors import compare_tensors
from train.export.texts import fixed_texts, heldout_texts, prompt_ids

__all__ = ["check_merged", "load_causal", "load_tokenizer"]

Progress = Callable[[str, int, int], None]
_SHARE = 0.8
"""So much of what is free a model may take; the rest is for activations and logits."""
_ROUNDED = {"F32": EXACT, "BF16": BF16, "F16": F16}


def free_memory() -> int:
    """Return the bytes of main memory that a model may be read into."""
    return int(get_max_memory()["cpu"])


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a local folder; no code of the folder runs."""
    with quiet_libraries():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_causal(folder: Path, **settings: Any) -> Any:
    """Return the model of a local folder in float32, computed the plain way; no code of the folder runs."""
    with quiet_libraries():
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True, trust_remote_code=False, **settings
        ).eval()


def _merge_unrounded(model: Any, base: Path, adapter: Adapter, weights: dict[str, Weight]) -> None:
    """Replace the base weights under the adapter by merged ones in float32: the rule without its last rounding."""
    modules = dict(model.get_base_model().named_modules())
    for name in adapter.modules:
        weight, low = weights[f"{name}.weight"], adapter.load(name)
        target = modules[name].base_layer.weight.data
        with safe_open(base / weight.shard, framework="pt") as file:
            source = file.get_slice(weight.name)
            for first, stop in blocks(weight):
                target[first:stop] = merge_rows(source[first:stop], low, first, torch.float32)


def check_merged(
    base: Path, adapter: Adapter, merged: Path, weights: dict[str, Weight], *, build: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Return the parity record of a merged folder: adapter over base against the merge before rounding, the folder as transformers loads it, and the base.

    First every tensor is compared from the files. Then, if the model has room in what memory is free, all are computed in float32, so a
    difference is one of the weights; one model is in memory at a time. Without that room `texts` is "none" and nothing was computed.

    Raises:
        CoopError: a tensor is not base plus adapter, a difference is beyond its bound, an answer differs where the choice was clear, or the folder does not load.
    """
    tensors = compare_tensors(base, adapter, merged, weights, progress=progress)
    needed, free = 4 * sum(prod(weight.shape) for weight in weights.values()), free_memory()
    if needed > _SHARE * free:
        return {"texts": "none", "tensors": tensors, "needed_bytes": needed, "free_bytes": free}
    tokenizer = load_tokenizer(merged)
    prompts = prompt_ids(tokenizer)
    if prompts != prompt_ids(load_tokenizer(base)):
        raise CoopError("the tokenizer of the merged folder reads other tokens than the base's")
    texts = heldout_texts(build, tokenizer) if build is not None else fixed_texts(tokenizer)
    with quiet_libraries():
        model: Any = PeftModel.from_pretrained(load_causal(base, use_safetensors=True), adapter.folder, is_trainable=False, local_files_only=True).eval()
    with reference(model, texts, merged.parent, "reading with the adapter", progress) as wanted:
        answers = continuations(model, prompts, tokenizer.eos_token_id)
        with model.disable_adapter():
            untouched = wanted.compare(model, "reading with the base alone", progress)
            _merge_unrounded(model, base, adapter, weights)
            unrounded = wanted.compare(model, "reading with the merge, unrounded", progress)
        require(unrounded, EXACT, "merge before rounding against base with adapter")
        del model
        gc.collect()
        try:
            loaded = load_causal(merged, use_safetensors=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CoopError(f"transformers cannot load the merged folder: {error}") from error
        rounded = wanted.compare(loaded, "reading with the merged folder", progress)
        kinds = {weights[f"{module}.weight"].dtype for module in adapter.modules}
        if len(kinds) != 1:
            raise BadInput("the base keeps the weights that change in several types", value=sorted(kinds), allowed="one type")
        require(rounded, _ROUNDED[kinds.pop()], "merged folder against base with adapter")
        require_kept(rounded, untouched)
        generated = same_answers(answers, continuations(loaded, prompts, tokenizer.eos_token_id), max_logit=rounded["max_logit"])
    texts_are = "heldout" if build is not None else "fixed"
    return {"texts": texts_are, "tensors": tensors, "unrounded": unrounded, "merged": rounded, "base": untouched, "answers": generated}
