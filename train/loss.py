"""Cross-entropy over the supervised tokens only, in nats, summed; the caller divides once per optimizer step.

Logits are computed only where a target exists: with short answers that is a small part of the vocabulary-sized work. Dividing the
sum by the count over the whole step makes the gradient independent of how samples are spread over sequences and forward passes
(the mean of means is not: huggingface/transformers issue 34242).

Where there are more supervised tokens than a chunk holds, logits exist for one chunk at a time:

- The head is frozen (every adapter): the gradient by a token's hidden state is its likelihood's own, times what comes back. So it is
  computed in the forward pass, while the chunk's logits are there, and nothing is computed twice (the idea of Liger, arXiv 2410.10989).
- The head is trained (full): logits are computed again in the backward pass, a third matrix product instead of N x V kept numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from governance_hooks.errors import CoopError
from train.layout import IGNORE

__all__ = ["require_finite", "supervised_nll"]


def _nll(hidden_NH: Tensor, targets_N: Tensor, head: nn.Module) -> Tensor:
    return functional.cross_entropy(head(hidden_NH).float(), targets_N, reduction="none")


def _chunks(hidden_NH: Tensor, targets_N: Tensor, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(hidden_NH, tokens), torch.split(targets_N, tokens), strict=True)


class _FrozenHead(torch.autograd.Function):
    """Chunked cross-entropy whose gradient by the hidden states is made in the forward pass; weights of the head get none."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, targets_N: Tensor, head: nn.Module, chunk_tokens: int) -> Tensor:
        values, gradients = [], []
        for hidden, targets in _chunks(hidden_NH, targets_N, chunk_tokens):
            with torch.enable_grad():
                leaf = hidden.detach().requires_grad_()
                nll = _nll(leaf, targets, head)
                gradients.append(torch.autograd.grad(nll.sum(), leaf)[0])
            values.append(nll.detach())
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, None, None, None]:
        (by_token_NH,) = ctx.saved_tensors
        return (by_token_NH * gradient_N[:, None]).to(by_token_NH.dtype), None, None, None


def supervised_nll(hidden_BTH: Tensor, targets_BT: Tensor, head: nn.Module, *, chunk_tokens: int) -> Tensor:
    """Return the negative log-likelihood in nats of each supervised token, float32, shape [number of supervised tokens].

    A target is the token that its own position has to predict, the next one of its sample. At most `chunk_tokens` rows of logits exist at a time.
    """
    keep_BT = targets_BT != IGNORE
    hidden_NH, targets_N = hidden_BTH[keep_BT], targets_BT[keep_BT]
    if len(targets_N) <= chunk_tokens:
        return _nll(hidden_NH, targets_N, head)
    trained = any(parameter.requires_grad for parameter in head.parameters())
    if torch.is_grad_enabled() and not trained and hidden_NH.requires_grad:
        values: Tensor = _FrozenHead.apply(hidden_NH, targets_N, head, chunk_tokens)  # type: ignore[no-untyped-call]  # torch gives it no types
        return values
    return torch.cat(
        [
            checkpoint(_nll, hidden, targets, head, use_reentrant=False, preserve_rng_state=False)
            for hidden, targets in _chunks(hidden_NH, targets_N, chunk_tokens)
        ]
    )


def require_finite(value: float, name: str, step: int) -> float:
    """Return `value`, or raise CoopError: a step with NaN or infinity must never reach the weights."""
    if not torch.isfinite(torch.tensor(value)):
        raise CoopError(
            f"the {name} of optimizer step {step} is not finite",
            value=value,
            allowed="a finite number",
            next="lower training.learning_rate, or set training.precision: 32-true, and plan again; the last checkpoint is intact",
        )
    return value
