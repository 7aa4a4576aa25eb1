"""Which models attend to the whole sample in every layer, told from config.json: only of those train.sample_attention and prefix sharing compute the attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MODELS", "attends_to_all"]

MODELS: Final = ("llama", "mistral", "qwen2", "qwen3")
"""transformers' names of the models whose attention is known: causal, without caps on the scores, windowed only where the config says so."""


def attends_to_all(config: Mapping[str, Any]) -> bool:
    """Tell whether every layer of a model attends causally to the whole sample: no window, no chunks."""
    kind = config.get("model_type")
    window = config.get("sliding_window", 4096 if kind == "mistral" else None)  # transformers' default
    windowed = window is not None and config.get("use_sliding_window", kind == "mistral")
    return kind in MODELS and not windowed and set(config.get("layer_types") or []) <= {"full_attention"}
