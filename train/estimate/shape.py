"""Shapes of a base model, from its config.json and the headers of its safetensors files: no weight is read, no torch is loaded."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from governance_hooks.errors import BadInput
from governance_hooks.training import Training

__all__ = ["Shape", "read_shape"]

HEADER_LIMIT: Final = 100_000_000
"""Bytes; the format's own limit (huggingface/safetensors, README)."""
BLOCK: Final = re.compile(r"\.(\d+)\.")
UNKNOWN: Final = ("num_experts", "num_local_experts", "n_routed_experts", "ssm_state_size", "state_size")
"""Keys of models whose blocks are no plain attention and MLP."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder: L equal blocks of attention with grouped queries (arXiv 2305.13245) and a gated MLP (arXiv 2002.05202)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    norms_queries: bool
    """Whether queries and keys are normalised, as in Qwen3."""
    parameters: int
    """Of the whole model; a tied output projection counts once."""
    linears: dict[str, tuple[int, int]]
    """Rows and columns of each weight matrix inside the blocks, by name."""
    embeddings: int
    """Elements of the token embedding."""
    head: int
    """Elements of the output projection; 0 if it is the embedding."""

    @property
    def matrices(self) -> int:
        """Return the elements every token is multiplied with: all matrices inside the blocks."""
        return sum(rows * columns for rows, columns in self.linears.values())

    @property
    def block(self) -> int:
        """Return the elements of one block, norms and biases included."""
        return (self.parameters - self.embeddings - self.head) // self.layers

    def adapted(self, training: Training) -> dict[str, tuple[int, int]]:
        """Return the matrices that get an adapter, by peft's rule: the name, or its end, is in the list.

        Raises BadInput if a name in the list is that of none.
        """
        if training.lora is None:
            return {}
        wanted = training.lora.target_modules
        if wanted == "all-linear":
            return self.linears
        modules = {name: name.removesuffix(".weight") for name in self.linears}
        for one in wanted:
            if not any(module == one or module.endswith(f".{one}") for module in modules.values()):
                known = sorted({module.rpartition(".")[2] for module in modules.values()})
                raise BadInput("training.lora.target_modules names no linear layer of this base", value=one, allowed="all-linear, or of " + ", ".join(known))
        return {name: self.linears[name] for name, module in modules.items() if any(module == one or module.endswith(f".{one}") for one in wanted)}

    def trainable(self, training: Training) -> int:
        """Return how many numbers are trained: all, or rank x (rows + columns) of each adapted matrix, and with dora its rows."""
        if training.lora is None:
            return self.parameters
        extra = int(training.method == "dora")
        return sum(training.lora.rank * (rows + columns) + extra * rows for rows, columns in self.adapted(training).values())


def _headers(folder: Path) -> dict[str, list[int]]:
    """Return {tensor: shape} over all weight files of a base folder."""
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    found: dict[str, list[int]] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                if size > HEADER_LIMIT:
                    raise BadInput(f"{path}: its header is too long to be one", value=size, allowed=f"at most {HEADER_LIMIT} bytes")
                header = json.loads(file.read(size))
            tensors = {str(name): [_count(number) for number in entry["shape"]] for name, entry in header.items() if name != "__metadata__"}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(f"{path} is no safetensors file") from error
        found |= tensors
    if not found:
        raise BadInput(f"{folder} holds no safetensors file")
    return found


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**40:
        raise ValueError(f"no size of a tensor: {value!r}")
    return value


def read_shape(folder: Path) -> Shape:
    """Read the shapes of a base folder.

    Raises BadInput for files that cannot be read and for models of another kind: no estimate is better than a wrong one.
    """
    tensors, source = _headers(folder), folder / "config.json"
    try:
        config = json.loads(source.read_bytes())
        odd = [key for key in UNKNOWN if config.get(key)]
        layers, hidden, heads = (_count(config[key]) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
        kv_heads, head_dim = _count(config.get("num_key_value_heads") or heads), _count(config.get("head_dim") or hidden // heads)
        intermediate, vocabulary = _count(config["intermediate_size"]), _count(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{source} does not describe a decoder this estimate knows", allowed="Llama, Mistral, Qwen2, Qwen3 and models built like them"
        ) from error
    if odd:
        raise BadInput(f"{source}: no estimate for mixtures of experts or state-space models", value=odd)
    blocks = {name: match.group(1) for name in sorted(tensors) if (match := BLOCK.search(name))}
    linears = {name: (shape[0], shape[1]) for name in blocks if len(shape := tensors[name]) == 2 and name.endswith(".weight")}
    if not linears or len(set(blocks.values())) != layers:
        raise BadInput(f"{folder}: the weights have other blocks than config.json says", value=layers)
    head = sum(math.prod(tensors[name]) for name in tensors if name == "lm_head.weight")
    tied = bool(config.get("tie_word_embeddings", not head))
    stored = sum(math.prod(shape) for shape in tensors.values())
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=intermediate,
        vocabulary=vocabulary,
        norms_queries=any(name.endswith("q_norm.weight") for name in blocks),
        parameters=stored - (head if tied else 0),
        linears=linears,
        embeddings=vocabulary * hidden,
        head=0 if tied else head,
    )
