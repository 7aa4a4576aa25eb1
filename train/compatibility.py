"""Whether a base can be trained as a config says, as far as its files tell: members should not vote on what the first start refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.estimate.shape import read_shape

__all__ = ["require_compatible"]


def require_compatible(base: Path, training: Training) -> None:
    """Raise BadInput if the base cannot attend over such sequences, has none of the layers that get an adapter, or is quantized already.

    No weight is read and no torch loaded. What only the loaded model shows is refused when a run starts (`train.prepare`).
    """
    try:
        config: Any = json.loads((base / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{base / 'config.json'} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise BadInput(f"{base / 'config.json'} is not a JSON object")
    if config.get("quantization_config"):
        raise BadInput("the base is quantized already", value=str(base), allowed="weights in float32, float16 or bfloat16")
    longest = config.get("max_position_embeddings")
    if type(longest) is int and training.sequence_tokens > longest:
        raise BadInput(
            "training.sequence_tokens is more than the base can attend over", value=training.sequence_tokens, allowed=f"at most {longest}",
            next="lower it in the config and plan again",
        )  # fmt: skip
    try:
        shape = read_shape(base)
    except BadInput:
        return  # of a kind whose layers are not known here
    shape.adapted(training)
