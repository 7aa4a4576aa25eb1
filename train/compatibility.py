"""Whether a base can be trained as a config says, and by so many processes, before anything is loaded: what cannot begin should cost neither a vote nor a start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.estimate.shape import read_shape
from train.full_attention import MODELS, attends_to_all

__all__ = ["require_compatible", "require_processes"]


def require_compatible(base: Path, training: Training) -> None:
    """Raise BadInput if the base cannot attend over such sequences, or to prefixes that are shared, has none of the layers that get an adapter, or is quantized already.

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
    if training.prefix_sharing and not attends_to_all(config):
        raise BadInput(
            "training.prefix_sharing is for models in which every layer attends to the whole sample", value=config.get("model_type"),
            allowed=f"{', '.join(MODELS)} without a sliding window", next="leave prefix_sharing out",
        )  # fmt: skip
    try:
        shape = read_shape(base)
    except BadInput:
        return  # of a kind whose layers are not known here
    shape.adapted(training)


def require_processes(training: Training, size: int) -> None:
    """Raise BadInput if the plan's strategy cannot use so many processes, or some of them would never have a sequence to read."""
    if training.strategy == "single" and size > 1:
        raise BadInput("a plan with strategy single runs in one process", value=size, allowed="1", next="plan with training.strategy: ddp or fsdp2")
    if training.sequences_per_step < size:
        raise BadInput(
            "more processes than sequences in an optimizer step: some would idle", value=size,
            allowed=f"at most training.sequences_per_step = {training.sequences_per_step}",
        )  # fmt: skip
