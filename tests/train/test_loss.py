from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train.data import IGNORE, StepBatch, batch_rows
from train.loss import require_finite, supervised_nll
from train.model import load_model
from train.module import TrainingModule
from train.optimizer import MasterWeights


def samples() -> list[Sample]:
    chance = torch.Generator().manual_seed(3)
    made = []
    for number in range(9):
        length = 6 + 3 * number
        ids = torch.randint(3, 280, (length,), generator=chance).numpy().astype(np.uint16)
        made.append(Sample(f"r{number}", "spa", "train", ids, 3 + number, length))
    return made


def test_the_sparse_loss_equals_cross_entropy_over_full_logits() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(3, 17, 8)
    labels = torch.randint(0, 50, (3, 17))
    labels[torch.rand(3, 17) < 0.6] = IGNORE
    head = torch.nn.Linear(8, 50)
    ours = supervised_nll(hidden, labels, head)
    theirs = functional.cross_entropy(head(hidden)[:, :-1].reshape(-1, 50), labels[:, 1:].reshape(-1), ignore_index=IGNORE, reduction="sum")
    assert ours.numel() == (labels[:, 1:] != IGNORE).sum()
    torch.testing.assert_close(ours.sum(), theirs, rtol=1e-6, atol=1e-6)


def gradients(base: Path, groups: list[list[list[int]]]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step whose samples are laid out as `groups`: forward passes of sequences of samples."""
    training = Training(precision="32-true", lora=Lora(rank=4, alpha=8))
    every = samples()
    module = TrainingModule(load_model(base, training), training, 1)
    module.configure_optimizers()
    torch.manual_seed(5)
    for name, parameter in module.model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    passes = [batch_rows([[every[index] for index in sequence] for sequence in group], 2) for group in groups]
    batch = StepBatch(1, 0, passes, [], {"spa": (0, sum(sample.supervised for sample in every))})
    total = 0.0
    for forwarded in batch.passes:
        part = module.nll(forwarded).sum()
        total += float(part.detach())
        (part / batch.supervised).backward()
        module.weights.collect(last=False)
    assert isinstance(module.weights, MasterWeights)
    return total / batch.supervised, {name: master.grad.clone() for name, master in module.weights.masters.items() if master.grad is not None}


@pytest.mark.parametrize(
    "groups",
    [
        [[[0, 1, 2, 3, 4, 5, 6, 7, 8]]],
        [[[8], [7, 0]], [[1, 2, 3, 4]], [[6], [5]]],
        [[[index] for index in range(9)]],
    ],
)
def test_loss_and_gradient_do_not_depend_on_how_samples_are_spread(base: Path, groups: list[list[list[int]]]) -> None:
    reference_loss, reference = gradients(base, [[[index]] for index in range(9)])
    loss, found = gradients(base, groups)
    assert loss == pytest.approx(reference_loss, rel=1e-6)
    assert found.keys() == reference.keys()
    for name, gradient in reference.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(CoopError, match="step 7 is not finite"):
        require_finite(value, "loss", 7)
    assert require_finite(1.5, "loss", 7) == 1.5
