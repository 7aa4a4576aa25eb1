"""How decoder blocks are computed: Liger's kernels, activations computed again in the backward pass, torch.compile."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from governance_hooks.errors import BadInput
from governance_hooks.training import Training

__all__ = ["apply_kernels", "prepare_blocks", "require_kernels"]


def require_kernels(training: Training) -> None:
    """Raise BadInput if the plan asks for Liger's kernels and this machine cannot run them; they are imported on a GPU only."""
    if training.kernels == "torch":
        return
    otherwise = "set training.kernels: torch and plan again"
    if not torch.cuda.is_available():
        raise BadInput("training.kernels liger runs on a GPU only", value="no GPU", allowed="an NVIDIA GPU", next=otherwise)
    if importlib.util.find_spec("liger_kernel") is None:
        raise BadInput("training.kernels liger needs a package that is not installed", allowed="liger-kernel", next="pip install liger-kernel")


def apply_kernels(model: PreTrainedModel, training: Training) -> None:
    """Put Liger's norms, rotary embeddings and activations into a loaded model; the loss stays ours.

    Raises BadInput if Liger has none for this architecture (its own function would do nothing, and say so to the log only).
    """
    if training.kernels == "torch":
        return
    from liger_kernel.transformers import monkey_patch

    known = monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN
    if model.config.model_type not in known:
        raise BadInput(
            "training.kernels liger has no kernels for this model",
            value=model.config.model_type,
            allowed=", ".join(sorted(known)),
            next="set training.kernels: torch and plan again",
        )
    monkey_patch._apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)


def _recompute(block: nn.Module) -> None:
    """Keep only the inputs of a block for the backward pass; dropout draws the same numbers again."""
    forward = block.forward

    def recomputed(*args: Any, **kwargs: Any) -> Any:
        # `forward`, not the call: hooks (FSDP2's) stay outside and run once. Non-reentrant, so inputs need no gradient (frozen embeddings).
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=True, **kwargs) if block.training else forward(*args, **kwargs)

    block.forward = recomputed


def prepare_blocks(blocks: Sequence[nn.Module], training: Training) -> None:
    """Switch on gradient checkpointing and compilation, block by block, as the plan says."""
    for block in blocks:
        if training.gradient_checkpointing:
            _recompute(block)
        if training.compile:
            # In place, so parameters keep their names. Blocks are alike, so one compilation serves all; widths of packed rows differ by step.
            block.compile(dynamic=True)
