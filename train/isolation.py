"""Proves on the loaded model that packed samples do not see each other; training is refused otherwise.

Leaks are silent: the loss still falls (huggingface/transformers PR 46634, axolotl PR 3796). Three checks on the model, precision and
attention backend of the run:

1. Changing sample A, packed before B, must not change one bit of B. Same shapes, so there is no rounding to excuse.
2. B packed behind A must score as B alone does, within rounding: catches positions that do not restart.
3. Hidden states times head must be the logits the model itself gives: catches models that scale or cap their logits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from governance_hooks.errors import CoopError
from train.model import AdaptedModel

__all__ = ["TOLERANCES", "Forward", "LeakingAttention", "prove_head", "prove_isolation"]

Forward = Callable[[Tensor, Tensor], Tensor]
"""(ids_BT, positions_BT) -> hidden or logits [B, T, *]."""

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Largest mean difference, as a share of the root mean square of B's outputs, that rounding may cause; SmolLM2 showed 3e-7 and 4e-3."""


class LeakingAttention(CoopError):
    """The attention backend lets packed samples see each other, or moves their positions."""


def _difference(one: Tensor, other: Tensor) -> float:
    scale = one.float().pow(2).mean().sqrt()
    return float((one.float() - other.float()).abs().mean() / scale)


@torch.no_grad()
def prove_isolation(forward: Forward, vocabulary: int, *, dtype: torch.dtype, device: torch.device | str = "cpu", length: int = 24) -> float:
    """Return the relative difference between B alone and B packed; raise LeakingAttention if samples are not isolated."""
    chance = torch.Generator().manual_seed(0)

    def tokens() -> Tensor:
        return torch.randint(vocabulary, (1, length), generator=chance)

    a, other_a, b = tokens(), tokens(), tokens()
    alone = torch.arange(length)[None]
    packed = torch.cat([alone, alone, alone[:, : length // 2]], dim=1)  # A, B, and the positions of a padded tail
    tail = torch.zeros_like(alone[:, : length // 2])

    def b_behind(first: Tensor) -> Tensor:
        # Two rows: some backends take another path for a single one.
        ids = torch.cat([first, b, tail], dim=1).expand(2, -1)
        return forward(ids.to(device), packed.expand(2, -1).to(device))[:, length : 2 * length]

    next_step = "set training.attention to another backend and plan again"
    reference = b_behind(a)
    if not torch.equal(reference, b_behind(other_a)):
        raise LeakingAttention(
            "the attention lets a packed sample see the one before it", value=_difference(reference, b_behind(other_a)), allowed="exactly 0", next=next_step
        )
    difference = _difference(forward(b.to(device), alone.to(device)), reference[:1])
    if not difference <= TOLERANCES[dtype]:
        raise LeakingAttention(
            "a packed sample scores differently from the same sample alone", value=difference, allowed=f"at most {TOLERANCES[dtype]} in {dtype}", next=next_step
        )
    return difference


@torch.no_grad()
def prove_head(model: AdaptedModel, vocabulary: int, *, device: torch.device | str = "cpu") -> None:
    """Raise CoopError if head(hidden states) differs from the logits of the model's own forward pass."""
    ids = torch.randint(vocabulary, (1, 16), generator=torch.Generator().manual_seed(1)).to(device)
    positions = torch.arange(16, device=device)[None]
    own = model.head(model.hidden(ids, positions))
    theirs = model.peft(input_ids=ids, position_ids=positions, use_cache=False).logits
    difference = _difference(theirs, own)
    if not difference <= TOLERANCES[own.dtype]:
        raise CoopError(
            "this model changes its logits after the output projection (scaling or capping), which the loss here would miss",
            value=difference,
            allowed="plain output projections",
        )
