from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config

from governance_hooks.training import Lora, Training
from train.full_attention import attends_to_all
from train.isolation import prove_head, prove_isolation
from train.model import AdaptedModel, load_model
from train.sample_attention import SAMPLES


def load(base: Path, attention: str) -> AdaptedModel:
    return load_model(base, Training(attention=attention, lora=Lora(rank=4, alpha=8))).eval()


def test_samples_score_as_under_a_mask_and_gradients_agree(base: Path) -> None:
    ours, masked = load(base, "sdpa"), load(base, "eager")
    assert ours.causal.config._attn_implementation == SAMPLES
    ids = torch.randint(280, (2, 40), generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[*range(12), *range(20), *range(8)], [*range(40)]])
    one, other = (model(ids, positions, ids) for model in (ours, masked))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    one.sum().backward()
    other.sum().backward()
    for name, parameter in masked.trainable().items():
        if parameter.grad is not None and parameter.grad.abs().max() > 0:
            found = ours.trainable()[name].grad
            torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-5 * float(parameter.grad.abs().max()))


def test_it_passes_the_proofs_of_isolation(base: Path) -> None:
    model = load(base, "sdpa")
    assert model.causal.config._attn_implementation == SAMPLES
    prove_isolation(model.hidden, 280, dtype=torch.float32)
    prove_head(model, 280)


def test_positions_of_one_step_are_not_taken_for_those_of_the_next(base: Path) -> None:
    model, ids = load(base, "sdpa"), torch.arange(10, 30)[None]
    whole = model.hidden(ids, torch.arange(20)[None])
    parted = model.hidden(ids, torch.tensor([[*range(12), *range(8)]]))
    assert torch.equal(whole[:, :12], parted[:, :12]) or torch.allclose(whole[:, :12], parted[:, :12], atol=1e-5)
    assert not torch.allclose(whole[:, 12:], parted[:, 12:], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        (LlamaConfig(), True),
        (Qwen2Config(), True),
        (Qwen2Config(use_sliding_window=True, sliding_window=64), False),
        (MistralConfig(sliding_window=64), False),
        (MistralConfig(sliding_window=None), True),
    ],
)
def test_models_with_windows_keep_their_masks(config: PretrainedConfig, whole: bool) -> None:
    assert attends_to_all(config.to_dict()) is whole
