"""Cross-entropy over the supervised tokens only, in nats, summed; the caller divides once per optimizer step.

Logits are computed only where a label exists: with short answers that is a small part of the vocabulary-sized work. Dividing the
sum by the count over the whole step makes the gradient independent of how samples are spread over sequences and forward passes
(the mean of means is not: huggingface/transformers issue 34242).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from governance_hooks.errors import CoopError
from train.data import IGNORE

__all__ = ["require_finite", "supervised_nll"]


def supervised_nll(hidden_BTH: Tensor, labels_BT: Tensor, head: nn.Module) -> Tensor:
    """Return the negative log-likelihood in nats of each supervised token, float32, shape [number of supervised tokens].

    Token t is predicted from position t-1 of its row, so column 0 of `labels_BT` is never used.
    """
    targets_BT = labels_BT[:, 1:]
    keep_BT = targets_BT != IGNORE
    logits_NV = head(hidden_BTH[:, :-1][keep_BT]).float()
    return functional.cross_entropy(logits_NV, targets_BT[keep_BT], reduction="none")


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
