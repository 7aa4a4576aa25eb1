"""Flex attention's kernel has no backward pass on a CPU; its mask, which is what keeps samples apart, has: here it is applied in plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from governance_hooks.training import Training
from tests.train.test_isolation import stays_within_samples
from train.isolation import LeakingAttention, prove_gradients
from train.model import AdaptedModel, load_model

KERNEL = "transformers.integrations.flex_attention.compile_friendly_flex_attention"
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


def allowed(mask: BlockMask, query: Tensor) -> Tensor:
    """Which token may look at which, asked of the mask that flex attention is handed, token by token."""
    rows, tokens = query.shape[0], query.shape[2]
    row, place = torch.arange(rows), torch.arange(tokens)
    may: Tensor = mask.mask_mod(row[:, None, None], torch.zeros((), dtype=torch.long), place[None, :, None], place[None, None, :])
    return may.expand(rows, tokens, tokens)


def plain(query: Tensor, key: Tensor, value: Tensor, training: bool = False, *, block_mask: BlockMask, scale: float, **_: Any) -> Tensor:
    """What the kernel computes, with a gradient."""
    times = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(times, dim=1).transpose(-1, -2) * scale
    shares = scores.masked_fill(~allowed(block_mask, query)[:, None], float("-inf")).softmax(dim=-1)
    return shares @ value.repeat_interleave(times, dim=1)


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks made without the compiler: the same ones, half a minute sooner."""
    monkeypatch.setattr("transformers.masking_utils.create_block_mask", lambda *given, _compile=False, **named: create_block_mask(*given, **named))


def load(base: Path, method: str) -> AdaptedModel:
    model = load_model(base, Training(precision="32-true", method=method)).eval()
    model.causal.set_attn_implementation("flex_attention")
    return model


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_no_gradient_flows_through_the_mask_of_flex_attention(base: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    model = load(base, method)
    ids, positions = torch.arange(10, 50).reshape(2, 20), torch.tensor([[*range(12), *range(8)], [*range(9), *range(11)]])
    monkeypatch.setattr(KERNEL, lambda query, key, value, training=False, **options: flex_attention(query, key, value, **options))
    with torch.no_grad():
        kernel = model.hidden(ids, positions)
        monkeypatch.setattr(KERNEL, plain)
        torch.testing.assert_close(model.hidden(ids, positions), kernel, rtol=1e-5, atol=1e-5)  # torch's own kernel gives the same
    stays_within_samples(model)


def test_a_mask_that_knows_no_samples_is_found_by_the_gradient(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def causal(query: Tensor, key: Tensor, value: Tensor, training: bool = False, *, block_mask: BlockMask, scale: float, **_: Any) -> Tensor:
        block_mask.mask_mod = lambda b, h, q, k: q >= k
        return plain(query, key, value, block_mask=block_mask, scale=scale)

    model = load(base, "lora")
    monkeypatch.setattr(KERNEL, causal)
    with pytest.raises(LeakingAttention):
        prove_gradients(model, 280)
