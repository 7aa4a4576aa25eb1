from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train.layout import IGNORE, batch_rows
from train.loss import require_finite, supervised_nll
from train.model import load_model
from train.module import TrainingModule
from train.optimizer import MasterWeights


def samples() -> list[Sample]:
    chance = torch.Generator().manual_seed(3)
    made = []
    for number in range(11):
        length = 6 + 3 * number
        ids = torch.randint(3, 280, (length,), generator=chance).numpy().astype(np.uint16)
        made.append(Sample(f"r{number}", "spa", "train", ids, 3 + number, length - number % 2))
    return made


def test_the_sparse_loss_equals_cross_entropy_over_full_logits() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(3, 17, 8)
    targets = torch.randint(0, 50, (3, 17))
    targets[torch.rand(3, 17) < 0.6] = IGNORE
    head = torch.nn.Linear(8, 50)
    ours = supervised_nll(hidden, targets, head, chunk_tokens=99)
    theirs = functional.cross_entropy(head(hidden).reshape(-1, 50), targets.reshape(-1), ignore_index=IGNORE, reduction="sum")
    assert ours.numel() == (targets != IGNORE).sum()
    torch.testing.assert_close(ours.sum(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 20])
def test_chunked_cross_entropy_equals_torch_s_in_loss_and_gradients(trained: bool, bias: bool, chunk: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=bias)
    head.requires_grad_(trained)
    targets = torch.randint(0, 50, (3, 17))
    targets[torch.rand(3, 17) < 0.4] = IGNORE
    weights = torch.rand(int((targets != IGNORE).sum())) - 0.3  # any gradient may come back, not only that of a sum
    start = torch.randn(3, 17, 8)
    found = []
    for chunk_tokens in (chunk, None):
        head.zero_grad()
        hidden = start.clone().requires_grad_()
        if chunk_tokens is None:
            full = functional.cross_entropy(head(hidden).reshape(-1, 50), targets.reshape(-1), ignore_index=IGNORE, reduction="none")
            values = full[targets.reshape(-1) != IGNORE]
        else:
            values = supervised_nll(hidden, targets, head, chunk_tokens=chunk_tokens)
        (values * weights).sum().backward()
        found.append([values.detach(), hidden.grad, *(parameter.grad for parameter in head.parameters() if trained)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("trained", [False, True])
def test_never_more_logits_than_a_chunk_are_kept_or_made(trained: bool) -> None:
    made: list[int] = []

    class Head(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            made.append(len(hidden))
            return super().forward(hidden)

    saved: list[weakref.ref[torch.Tensor]] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(weakref.ref(tensor))
        return tensor

    hidden, targets = torch.randn(2, 33, 8, requires_grad=True), torch.randint(0, 50, (2, 33))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        nll = supervised_nll(hidden, targets, Head(8, 50).requires_grad_(trained), chunk_tokens=10)
    assert max(made) == 10
    alive = [tensor.shape for reference in saved if (tensor := reference()) is not None]
    assert alive
    assert not any(shape[-1] == 50 for shape in alive)
    nll.sum().backward()
    # A frozen head is used once a chunk; one that is trained, twice.
    assert sum(made) == (132 if trained else 66)
    made.clear()
    supervised_nll(hidden, targets, Head(8, 50).requires_grad_(trained), chunk_tokens=66).sum().backward()
    assert made == [66]


def test_measuring_a_loss_makes_no_gradients() -> None:
    head = torch.nn.Linear(8, 50).requires_grad_(False)
    with torch.no_grad():
        values = supervised_nll(torch.randn(2, 33, 8), torch.randint(0, 50, (2, 33)), head, chunk_tokens=10)
    assert (values.shape, values.requires_grad) == ((66,), False)


def gradients(base: Path, passes: list[list[list[int]]], method: str = "lora", **training: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step whose samples are laid out as `passes`: forward passes of sequences of samples."""
    plan = Training(precision="32-true", method=method, **({} if method == "full" else {"lora": Lora(rank=4, alpha=8)}), **training)
    every = samples()
    module = TrainingModule(load_model(base, plan), plan, 1)
    module.configure_optimizers()
    torch.manual_seed(5)
    for name, parameter in module.model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    supervised = sum(every[index].supervised for group in passes for sequence in group for index in sequence)
    total = 0.0
    for group in passes:
        part = module.nll(batch_rows([[every[index] for index in sequence] for sequence in group], 2)).sum()
        total += float(part.detach())
        (part / supervised).backward()
        module.weights.collect(last=False)
    assert isinstance(module.weights, MasterWeights)
    return total / supervised, {name: master.grad.clone() for name, master in module.weights.masters.items() if master.grad is not None}


def same(one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    """Equal to 1e-6: the loss relative to itself, each parameter's gradient relative to its largest element."""
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    assert one[1].keys() == other[1].keys() != set()
    for name, gradient in other[1].items():
        assert float((one[1][name] - gradient).abs().max()) <= 1e-6 * float(gradient.abs().max()), name


EIGHT = [[0, 1], [8], [2], [7, 3], [4], [5], [6, 9], [10]]
"""Eight packed sequences; the samples differ in length and in how much of them is learned, and one is learned to its last token but one."""


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
@pytest.mark.parametrize("sequences_per_forward", [1, 2, 4])
def test_the_gradient_of_eight_sequences_is_the_same_in_8_4_or_2_passes(base: Path, method: str, sequences_per_forward: int) -> None:
    split = [EIGHT[first : first + sequences_per_forward] for first in range(0, 8, sequences_per_forward)]
    same(gradients(base, split, method), gradients(base, [EIGHT], method))


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_the_gradient_of_a_last_partial_window_is_the_same_however_it_is_split(base: Path, method: str) -> None:
    window = EIGHT[:5]  # five sequences in passes of 2, 2 and 1, beside all five at once
    same(gradients(base, [window[:2], window[2:4], window[4:]], method), gradients(base, [window], method))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_packing_and_chunks_of_the_loss_change_nothing(base: Path, method: str) -> None:
    alone = gradients(base, [[[index]] for index in range(11)], method)
    same(gradients(base, [[list(range(11))]], method), alone)
    eight = gradients(base, [EIGHT], method)
    same(eight, alone)
    same(gradients(base, [EIGHT], method, loss_chunk_tokens=16), eight)  # one change at a time: each has its own rounding


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(CoopError, match="step 7 is not finite"):
        require_finite(value, "loss", 7)
    assert require_finite(1.5, "loss", 7) == 1.5
