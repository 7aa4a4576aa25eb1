from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from governance_hooks.training import Lora, Training
from train import lora_product
from train.lora_product import fuse
from train.model import AdaptedModel, load_model


def gradients(model: AdaptedModel, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    chance = torch.Generator().manual_seed(seed)
    for name, parameter in model.trainable().items():
        if "lora_B" in name:  # zero at the start, and then A has no gradient
            parameter.data = torch.randn(parameter.shape, generator=chance).mul_(0.02).to(parameter.dtype)
    ids = torch.randint(280, (2, 24), generator=chance)
    loss = model(ids, torch.arange(24).expand(2, -1), ids).sum()
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.trainable().items() if parameter.grad is not None}


def both(base: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> tuple[AdaptedModel, AdaptedModel]:
    training = Training.model_validate({"lora": Lora(rank=4, alpha=8).model_dump()} | changes)
    ours = load_model(base, training)
    monkeypatch.setattr("train.model.fuse", lambda _model: 0)
    return ours, load_model(base, training)


def test_the_product_is_what_peft_computes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = both(base, monkeypatch)
    (loss, found), (reference, expected) = gradients(ours), gradients(plain)
    torch.testing.assert_close(loss, reference, rtol=1e-6, atol=0)
    assert found.keys() == expected.keys() == ours.trainable().keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("wide", [False, True])
def test_in_bfloat16_it_is_no_further_from_float32_than_peft(base: Path, monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    monkeypatch.setattr(lora_product, "resolve_precision", lambda: "32-true" if wide else "bf16-true")
    ours, plain = both(base, monkeypatch, precision="bf16-true")
    exact = load_model(base, Training(lora=Lora(rank=4, alpha=8)))
    for (_, to), (_, of) in zip(exact.trainable().items(), plain.trainable().items(), strict=True):
        to.data = of.data.float()
    truth, found, theirs = gradients(exact)[1], gradients(ours)[1], gradients(plain)[1]

    def distance(one: dict[str, Tensor]) -> float:
        return sum(float((one[name].float() - truth[name]).norm() / truth[name].norm()) for name in truth) / len(truth)

    assert all(gradient.dtype == torch.bfloat16 for gradient in found.values())
    assert distance(found) <= 1.1 * distance(theirs)


def test_an_adapter_that_is_switched_off_adds_nothing(base: Path) -> None:
    model = load_model(base, Training(lora=Lora(rank=4, alpha=8)))
    before, positions = torch.arange(10, 30)[None], torch.arange(20)[None]
    start = model.hidden(before, positions)
    gradients(model)
    assert not torch.equal(model.hidden(before, positions), start)
    assert model.peft is not None
    with model.peft.disable_adapter():
        torch.testing.assert_close(model.hidden(before, positions), start)


@pytest.mark.parametrize("changes", [{"method": "dora"}, {"lora": {"dropout": 0.1}}])
def test_layers_it_does_not_compute_stay_as_they_are(base: Path, changes: dict[str, object]) -> None:
    model = load_model(base, Training.model_validate(changes))
    assert model.peft is not None
    assert fuse(model.peft) == 0
