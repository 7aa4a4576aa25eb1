"""A frozen linear layer and its low-rank addition as one product, forward and backward.

PEFT computes W x, A x, B A x, scales it and adds: three passes over the outputs, and two gradients of the inputs to be added. Here the addition
is accumulated by the product that makes it (addmm), and nothing but the inputs is kept for the backward pass.

Where a CPU multiplies bfloat16 slower than float32 (train.config), inputs and weights are widened for the product and the result is
rounded once: storage, memory and gradients stay bfloat16, sums are no less exact.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn import functional

from train.config import resolve_precision

__all__ = ["fuse", "multiplies_wide"]


def multiplies_wide(kind: torch.dtype) -> bool:
    """Tell whether this machine computes products of a type faster in float32."""
    return kind == torch.bfloat16 and resolve_precision() == "32-true"


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, wide: bool) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale, ctx.wide = scale, wide
        kind = x.dtype
        flat = x.reshape(-1, x.shape[-1])
        if wide:
            flat, weight, a, b = flat.float(), weight.float(), a.float(), b.float()
            bias = None if bias is None else bias.float()
        out = functional.linear(flat, weight, bias)
        out.addmm_(functional.linear(flat, a), b.t(), alpha=scale)
        return out.to(kind).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        kind, shape = x.dtype, x.shape
        flat, gradient = x.reshape(-1, shape[-1]), gradients[0].reshape(-1, gradients[0].shape[-1])
        if ctx.wide:
            flat, weight, a, b, gradient = flat.float(), weight.float(), a.float(), b.float(), gradient.float()
        low = (gradient @ b).mul_(ctx.scale)
        of_b = (gradient.t() @ functional.linear(flat, a)).mul_(ctx.scale)
        of_a = low.t() @ flat
        of_x = (gradient @ weight).addmm_(low, a).to(kind).view(shape) if ctx.needs_input_grad[0] else None
        return of_x, None, None, of_a.to(kind), of_b.to(kind), None, None


def _forward(layer: Linear, own: Any, wide: bool, x: Tensor, *args: Any, **options: Any) -> Tensor:
    adapters = layer.active_adapters
    if layer.disable_adapters or layer.merged or len(adapters) != 1 or args or options:
        plain: Tensor = own(x, *args, **options)
        return plain
    name = adapters[0]
    base, a, b = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    product: Tensor = _LoraProduct.apply(x, base.weight, base.bias, a, b, layer.scaling[name], wide and x.device.type == "cpu")  # type: ignore[no-untyped-call]
    return product


def fuse(model: PeftModel) -> int:
    """Replace the forward pass of each plain LoRA layer; return how many there were. Layers with dropout, DoRA or 4-bit weights stay as they are."""
    found = 0
    for layer in model.modules():
        if type(layer) is not Linear or layer.lora_variant or len(layer.lora_A) != 1:
            continue
        name = next(iter(layer.lora_A))
        weight = layer.base_layer.weight
        if type(layer.lora_dropout[name]) is not torch.nn.Identity or weight.requires_grad or layer.lora_B[name].bias is not None:
            continue
        wide = multiplies_wide(weight.dtype)
        layer.forward = partial(_forward, layer, layer.forward, wide)
        found += 1
    return found
