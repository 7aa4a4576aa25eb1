from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from governance_hooks.training import Training
from train.optimizer import MasterWeights, learning_rate


def test_updates_too_small_for_bfloat16_add_up_in_the_master() -> None:
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    weights = MasterWeights({"w": parameter}, Training(learning_rate=1e-3, precision="bf16-true"))
    for step in range(20):
        parameter.grad = torch.ones_like(parameter)
        weights.collect(last=True)
        weights.step(step, 1e-3, weights.optimizer.step)  # a rate below half the spacing of bfloat16 at 1
    assert parameter.detach().float() == pytest.approx(torch.full((4,), 0.98), abs=4e-3)


def test_gradients_of_several_passes_add_up_in_float32() -> None:
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    weights = MasterWeights({"w": parameter}, Training())
    for value in (1.0, 2**-9, 2**-9):
        parameter.grad = torch.full_like(parameter, value)
        weights.collect(last=False)
    assert float(weights.masters["w"].grad) == 1 + 2**-8  # bfloat16 would have kept 1
    assert parameter.grad is None


def test_a_float32_model_has_no_second_copy() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    assert MasterWeights({"w": parameter}, Training()).masters["w"] is parameter


def test_state_goes_through_named_tensors_and_back() -> None:
    def stepped(weights: MasterWeights, times: int) -> None:
        for number in range(times):
            weights.parameters["w"].grad = torch.tensor([1.0, -2.0 * number], dtype=torch.bfloat16)
            weights.collect(last=True)
            weights.step(number, 0.01, weights.optimizer.step)

    def fresh() -> MasterWeights:
        return MasterWeights({"w": nn.Parameter(torch.tensor([0.5, -0.25], dtype=torch.bfloat16))}, Training(learning_rate=0.01))

    one = fresh()
    stepped(one, 3)
    two = fresh()
    two.load_state(one.state())
    stepped(one, 3)
    stepped(two, 3)
    assert {name: tensor.tolist() for name, tensor in one.state().items()} == {name: tensor.tolist() for name, tensor in two.state().items()}
    with pytest.raises(KeyError):
        MasterWeights({"other": nn.Parameter(torch.zeros(2))}, Training()).load_state(one.state())


def test_the_rate_rises_linearly_then_falls_and_never_reaches_zero() -> None:
    training = Training(learning_rate=1e-3, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, training) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([1e-4 * step for step in range(1, 11)])
    assert max(rates) == rates[9] == rates[10] == 1e-3
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rates[-1] > 0
    assert learning_rate(1, 1, Training(warmup_fraction=0.0)) > 0
    assert learning_rate(1, 1, Training(warmup_fraction=0.5)) > 0
