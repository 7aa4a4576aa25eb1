"""A model whose weights stay in their files: each is read when its layer computes, and let go after it.

What it answers is that of the model in memory, bit for bit: the same layers compute on the same numbers. Memory is that of the largest weight in
float32 (of most models the embeddings) and of the activations; the price is that every text reads the file again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import cpu_offload, init_empty_weights
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from governance_hooks.errors import CoopError
from train.console import quiet_libraries
from train.export.shards import Weight

__all__ = ["Weights", "folder_weights", "streamed"]


class Weights(Mapping[str, Tensor]):
    """Weights by the name transformers has for them, read anew whenever one is asked for."""

    def __init__(self, read: Mapping[str, Callable[[], Tensor]], *, tied: bool) -> None:
        """Take how each is read; with `tied` embeddings the output projection is read as they are."""
        self._read = dict(read)
        if tied:
            self._read.setdefault("lm_head.weight", self._read["model.embed_tokens.weight"])

    def __getitem__(self, name: str) -> Tensor:
        return self._read[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


def folder_weights(folder: Path, weights: Mapping[str, Weight], *, tied: bool) -> Weights:
    """Return the weights of a model folder, in float32."""

    def read(weight: Weight) -> Tensor:
        with safe_open(folder / weight.shard, framework="pt") as file:
            tensor: Tensor = file.get_tensor(weight.name).to(torch.float32)
        return tensor

    return Weights({name: partial(read, weight) for name, weight in weights.items()}, tied=tied)


def streamed(folder: Path, weights: Weights, **settings: Any) -> Any:
    """Return the model of a local folder's config over `weights`, in float32, computed the plain way on the CPU; no code of the folder runs.

    Args:
        folder: where config.json, or the file `settings` names, lies.
        weights: of all its layers.
        settings: for transformers' config, such as gguf_file.

    Raises:
        CoopError: the config cannot be read, or is of a model with other weights.
    """
    try:
        with quiet_libraries(), init_empty_weights(include_buffers=False):
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CoopError(f"transformers cannot read the config of what was written: {error}") from error
    if odd := sorted({name for name, _ in model.named_parameters(remove_duplicate=False)} ^ set(weights)):
        raise CoopError("the model of this config has other weights than were written", value=odd[:3])
    return cpu_offload(model, torch.device("cpu"), state_dict=weights)
