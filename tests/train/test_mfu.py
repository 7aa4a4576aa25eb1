from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance_hooks.training import Lora, Training
from train.mfu import ModelFlops, peak_flops
from train.model import load_model

BF16 = Training(precision="bf16-true")


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
    ],
)
def test_the_peak_is_that_of_the_device(name: str, peak: float) -> None:
    assert peak_flops(name, BF16) == peak


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("NVIDIA H100 80GB HBM3", Training(precision="bf16-true", method="qlora")),
        ("NVIDIA H100 80GB HBM3", Training(precision="32-true")),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", BF16),
        ("A device nobody knows", BF16),
        ("cpu", BF16),
    ],
)
def test_there_is_no_peak_where_a_share_of_it_would_mislead(name: str, training: Training) -> None:
    assert peak_flops(name, training) is None


def test_frozen_weights_count_four_and_trained_ones_six(base: Path) -> None:
    training = Training(lora=Lora(rank=4, alpha=8), sequence_tokens=64)
    model = load_model(base, training)
    config = model.peft.get_base_model().config
    found = ModelFlops.of(model, training)
    assert found is not None
    adapter = sum(parameter.numel() for parameter in model.trainable().values())
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    width = config.num_attention_heads * config.head_dim
    frozen = layers * (2 * hidden * width + 2 * hidden * config.num_key_value_heads * config.head_dim + 3 * hidden * inner)
    assert found.every_token == 4 * frozen + 6 * adapter
    assert found.supervised_token == 4 * config.vocab_size * hidden
    assert found.attention == 6 * layers * width
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    full = ModelFlops.of(model, training)
    assert full is not None
    assert full.every_token == 6 * (frozen + adapter)


def test_padding_counts_nothing_and_short_samples_attend_to_less() -> None:
    flops = ModelFlops(every_token=100, supervised_token=10, attention=2)
    assert flops.step(tokens=8, supervised=3, context=8) == 800 + 30 + 128
    assert flops.step(tokens=8, supervised=3, context=2) == 800 + 30 + 32


def test_models_of_experts_have_no_figure(base: Path) -> None:
    training = Training(lora=Lora(rank=4))
    model: Any = load_model(base, training)
    config = next(module.config for module in model.blocks[0].modules() if hasattr(module, "config"))
    config.num_local_experts = 8
    assert ModelFlops.of(model, training) is None
    del config.num_local_experts
    assert ModelFlops.of(model, SimpleNamespace(objective="dpo")) is None
