"""What of a model folder a GGUF file can say: its config, the names its weights have there, and which have their rows in another order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf

from governance_hooks.errors import BadInput
from train.export.shards import Weight

__all__ = ["ARCHITECTURES", "BLOCK", "Source", "Type", "heads_of", "names_of", "read_config", "type_of"]

Type = Literal["f16", "q8_0"]
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""model_type of transformers -> architecture of GGUF."""
BLOCK = 32
"""Q8_0 has one scale for so many numbers of a row."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model folder and what its records say of it."""

    folder: Path
    name: str
    licence: str
    digest: str
    """Of the inventory of its files."""
    base: str | None = None


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json if every setting in it is one the file can say; raise BadInput naming the first that is not."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        kind = config["model_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BadInput(f"{folder / 'config.json'} is no config of a model") from error
    if kind not in ARCHITECTURES:
        raise BadInput(f"{folder}: no GGUF for this architecture", value=kind, allowed=", ".join(ARCHITECTURES), next="publish the safetensors alone")
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
    for what, found, allowed in (
        ("rope scaling", scaling, None),
        ("sliding_window", config.get("sliding_window") if config.get("use_sliding_window", kind == "mistral") else None, None),
        ("attention_bias", config.get("attention_bias", False), False),
        ("mlp_bias", config.get("mlp_bias", False), False),
        ("hidden_act", config.get("hidden_act", "silu"), "silu"),
        ("partial_rotary_factor", config.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)), 1.0),
    ):
        if found != allowed:
            raise BadInput(
                f"{folder / 'config.json'}: this export cannot say {what} in GGUF", value=found, allowed=str(allowed), next="publish the safetensors alone"
            )
    return {**config, "rope_theta": rope.get("rope_theta") or config.get("rope_theta", 10000.0)}


def names_of(weights: dict[str, Weight], config: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return {name of a weight: its name in GGUF}; the head of tied embeddings is left out, as the embeddings are it."""
    known = gguf.get_tensor_name_map(
        {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[ARCHITECTURES[config["model_type"]]], config["num_hidden_layers"]
    )
    names = {
        name: known.get_name(name, try_suffixes=(".weight", ".bias"))
        for name in weights
        if not (config.get("tie_word_embeddings") and name == "lm_head.weight")
    }
    odd = sorted(name for name, found in names.items() if found is None or len(weights[name].shape) not in (1, 2))
    if odd:
        raise BadInput(f"{folder} holds a weight this export does not know", value=odd[0], allowed="those of a plain decoder of Llama, Mistral or Qwen2")
    return {name: str(found) for name, found in names.items()}


def heads_of(names: dict[str, str], config: dict[str, Any]) -> dict[str, int]:
    """Return {name of a rotary projection: its heads}, for those whose rows GGUF has in another order."""
    if config["model_type"] == "qwen2":
        return {}
    heads = config["num_attention_heads"]
    known = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    return {name: known[projection] for name in names if (projection := name.split(".")[-2]) in known}


def type_of(weight: Weight, kind: Type) -> gguf.GGMLQuantizationType:
    """Return the type a weight has in a file of kind f16 or q8_0."""
    if len(weight.shape) == 1:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.Q8_0 if kind == "q8_0" and weight.shape[-1] % BLOCK == 0 else gguf.GGMLQuantizationType.F16
