"""Proves on the loaded model that packed samples do not see each other; training is refused otherwise.

Leaks are silent: the loss still falls (huggingface/transformers PR 46634, axolotl PR 3796). Four checks on the model, precision and
attention backend of the run:

1. Changing sample A, packed before B, must not change one bit of B. Same shapes, so there is no rounding to excuse.
2. B packed behind A must score as B alone does, within rounding: catches positions that do not restart.
3. The gradient of B by each token of A and of the padded tail must be exactly 0: backward kernels are other code than forward ones.
4. Hidden states times head must be the logits the model itself gives: catches models that scale or cap their logits.

With `prefix_sharing` 1 to 3 are proved twice: of samples that begin at 0, and of a B that shares the first half of A (`train.row_paths`). Of A only
what is its own may then be changed without B noticing, and the gradient of B has to reach the shared half.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from governance_hooks.errors import CoopError
from train.model import AdaptedModel

__all__ = ["TOLERANCES", "Forward", "LeakingAttention", "prove_gradients", "prove_head", "prove_isolation"]

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
def prove_isolation(forward: Forward, vocabulary: int, *, dtype: torch.dtype, device: torch.device | str = "cpu", length: int = 24, shared: int = 0) -> float:
    """Return the relative difference between B alone and B packed; raise LeakingAttention if samples are not isolated.

    B shares its first `shared` tokens with A, and in the packed row they stand only there.
    """
    chance = torch.Generator().manual_seed(0)

    def tokens() -> Tensor:
        return torch.randint(vocabulary, (1, length), generator=chance)

    a, other_a, b = tokens(), tokens(), tokens()
    other_a[:, :shared] = b[:, :shared] = a[:, :shared]
    alone = torch.arange(length)[None]
    packed = torch.cat([alone, alone[:, shared:], alone[:, : length // 2]], dim=1)  # A, B, and the positions of a padded tail
    tail = torch.zeros_like(alone[:, : length // 2])

    def b_behind(first: Tensor) -> Tensor:
        # Two rows: some backends take another path for a single one.
        ids = torch.cat([first, b[:, shared:], tail], dim=1).expand(2, -1)
        return forward(ids.to(device), packed.expand(2, -1).to(device))[:, length : 2 * length - shared]

    next_step = "set training.attention to another backend and plan again"
    # All passes first, then the verdict: processes that hold a shard each make as many, whatever one of them finds.
    reference, changed, by_itself = b_behind(a), b_behind(other_a), forward(b.to(device), alone.to(device))[:, shared:]
    if not torch.equal(reference, changed):
        raise LeakingAttention(
            "the attention lets a packed sample see the one before it", value=_difference(reference, changed), allowed="exactly 0", next=next_step
        )
    difference = _difference(by_itself, reference[:1])
    if not difference <= TOLERANCES[dtype]:
        raise LeakingAttention(
            "a packed sample scores differently from the same sample alone", value=difference, allowed=f"at most {TOLERANCES[dtype]} in {dtype}", next=next_step
        )
    return difference


def prove_gradients(model: AdaptedModel, vocabulary: int, *, device: torch.device | str = "cpu", length: int = 24, shared: int = 0) -> None:
    """Raise LeakingAttention unless the gradient of a packed sample by its neighbours is exactly 0, and by its own tokens, and those it shares, is not."""
    alone = torch.arange(length)
    positions_BT = torch.cat([alone, alone[shared:], alone[: length // 2]]).expand(2, -1).to(device)  # A, B, and a padded tail
    ids_BT = torch.randint(vocabulary, (1, positions_BT.shape[1]), generator=torch.Generator().manual_seed(2)).expand(2, -1).to(device)
    embedded: list[Tensor] = []

    def watch(_module: object, _args: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.causal.get_input_embeddings().register_forward_hook(watch)
    try:
        with torch.enable_grad():
            b = model.states(ids_BT, positions_BT)[:, length : 2 * length - shared]
            gradient_BTH = torch.autograd.grad(b.float().pow(2).sum(), embedded)[0].view(*ids_BT.shape, -1)
    finally:
        handle.remove()
    largest_T = gradient_BTH.abs().amax(dim=(0, 2))
    others = float(torch.cat([largest_T[shared:length], largest_T[2 * length - shared :]]).max())
    if others != 0 or not float(torch.cat([largest_T[:shared], largest_T[length : 2 * length - shared]]).min()) > 0:
        raise LeakingAttention(
            "the gradient of a packed sample reaches its neighbours, or misses its own tokens",
            value=others,
            allowed="exactly 0 outside, more inside",
            next="set training.attention to another backend and plan again",
        )


@torch.no_grad()
def prove_head(model: AdaptedModel, vocabulary: int, *, device: torch.device | str = "cpu") -> None:
    """Raise CoopError if head(hidden states) differs from the logits of the model's own forward pass."""
    ids = torch.randint(vocabulary, (1, 16), generator=torch.Generator().manual_seed(1)).to(device)
    positions = torch.arange(16, device=device)[None]
    own, theirs = model.both_logits(ids, positions)
    difference = _difference(theirs, own)
    if not difference <= TOLERANCES[own.dtype]:
        raise CoopError(
            "this model changes its logits after the output projection (scaling or capping), which the loss here would miss",
            value=difference,
            allowed="plain output projections",
        )
