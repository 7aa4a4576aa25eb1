"""Model FLOPs utilisation (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): the arithmetic a step needs, over what the devices could do in its time.

    a weight of a trained matrix      6 FLOPs a token: forward, gradient of the input, gradient of the weight
    a weight of a frozen matrix       4 FLOPs a token: its own gradient is never computed (LoRA, DoRA)
    attention                         6 * layers * width * context a token: twice the causal half, thrice with the backward pass

The head counts for supervised tokens only, since logits exist only there; the context is the mean sample, since packed samples do not see each
other. Padding, recomputation and tokens that were not computed count nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from governance_hooks.training import Training
from train.estimate.hardware import HARDWARE
from train.model import AdaptedModel
from train.optimizer import numbers_in

__all__ = ["ModelFlops", "peak_flops"]


def peak_flops(name: str, training: Training) -> float | None:
    """Return the dense bfloat16 FLOP/s of a device, or None where a share of it would mislead.

    Quantised weights: "MFU is based on BF16 peak FLOPS which is misleading when quantization is active, so we skip it in that case"
    (pytorch/torchtitan, components/metrics.py). float32: the peak depends on whether tensor cores are allowed. MIG slices are a part of a device.
    """
    if training.method == "qlora" or training.precision != "bf16-true" or "MIG" in name:
        return None
    return next((one.flops(training.precision) for one in HARDWARE.values() if one.device is not None and one.device in name), None)


@dataclass(frozen=True, slots=True)
class ModelFlops:
    """The arithmetic of a model's optimizer step."""

    every_token: int
    """FLOPs a token in the matrices of all layers."""
    supervised_token: int
    """FLOPs a supervised token in the head."""
    attention: int
    """FLOPs a token and token of context."""

    @classmethod
    def of(cls, model: AdaptedModel, training: Training) -> ModelFlops | None:
        """Count a model's matrices; None where a token does not pass each of them once (experts), or an objective adds passes (dpo)."""
        config: Any = next(module.config for module in model.blocks[0].modules() if hasattr(module, "config"))
        if training.objective != "sft" or any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
            return None
        every = sum(_flops(parameter) for block in model.blocks for parameter in block.parameters() if parameter.ndim == 2)
        width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        return cls(every, sum(map(_flops, model.head.parameters())), 6 * len(model.blocks) * width)

    def step(self, *, tokens: int, supervised: int, context: float) -> float:
        """Return the FLOPs of an optimizer step over all devices that computed so many tokens, in samples of `context` tokens."""
        return self.every_token * tokens + self.supervised_token * supervised + self.attention * tokens * context


def _flops(parameter: nn.Parameter) -> int:
    # Shards of ZeRO-3 say their whole size in ds_numel; those of FSDP2 in numel.
    return numbers_in(parameter) * (6 if parameter.requires_grad else 4)
