"""Root mean square norm (arXiv 1910.07467) as one operator for CPUs: half the passes over the activations, and only its inputs are kept.

The sums are float32 whatever the activations are, as in transformers; the weight is frozen, so it gets no gradient.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["fuse_norms"]

KINDS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"})
"""Norms of transformers that compute weight * (x / rms(x)); Gemma's adds one to the weight."""


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        scale: Tensor = torch.linalg.vecdot(wide, wide).unsqueeze(-1).div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        wide, gradient = x.float(), (gradients[0] * weight).float()
        along = torch.linalg.vecdot(gradient, wide).unsqueeze(-1).mul_(scale * scale).div_(x.shape[-1])
        return gradient.addcmul_(wide, along, value=-1).mul_(scale).to(x.dtype), None, None


def _forward(norm: nn.Module, own: Any, x: Tensor) -> Tensor:
    if x.device.type != "cpu" or norm.weight.requires_grad:
        plain: Tensor = own(x)
        return plain
    normed: Tensor = _RmsNorm.apply(x, norm.weight, norm.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


def fuse_norms(model: nn.Module) -> int:
    """Replace the forward pass of each frozen norm of a known kind; return how many there were."""
    found = [module for module in model.modules() if type(module).__name__ in KINDS]
    for norm in found:
        norm.forward = partial(_forward, norm, norm.forward)
    return len(found)
