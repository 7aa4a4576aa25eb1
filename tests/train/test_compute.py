"""Arithmetic, time and energy, and the words for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from governance_hooks.plan import Limits, Plan, read_plan
from governance_hooks.training import Lora, Training
from tests.train.test_memory import EIGHT_B
from train.estimate.compute import cost, flops, utilization
from train.estimate.hardware import HARDWARE
from train.estimate.shape import read_shape
from train.estimate.size import Size
from train.explain import choices, cost_words, everyday, hours_words, limit_words
from train.model import load_model
from train.plan import describe

RUN = Size(steps=10, planned_steps=10, tokens=80_000, supervised=30_000, sequences=40, filled=0.98)


def counted(call: Callable[[], torch.Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        call().backward()
    return counter.get_total_flops()


def test_operations_of_lora_are_those_torch_counts_in_a_real_step(base: Path) -> None:
    training = Training(sequence_tokens=128, attention="eager", lora=Lora(rank=8))
    model = load_model(base, training)
    ids = torch.randint(3, 200, (2, 128), generator=torch.Generator().manual_seed(0))
    labels = torch.full_like(ids, -100)
    labels[:, 100:] = ids[:, 100:]
    real = counted(lambda: model(ids, torch.arange(128).expand(2, -1), labels).sum())
    size = Size(steps=1, planned_steps=1, tokens=256, supervised=56, sequences=2, filled=1.0)
    # A little less is computed: the input of the first block needs no gradient, which shows in a model of two blocks.
    assert real <= flops(read_shape(base), training, size) == pytest.approx(real, rel=0.08)


def test_operations_of_full_training_are_those_torch_counts_in_a_real_step(base: Path) -> None:
    training = Training(sequence_tokens=128, method="full")
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    ids = torch.randint(3, 200, (2, 128), generator=torch.Generator().manual_seed(0))
    size = Size(steps=1, planned_steps=1, tokens=256, supervised=256, sequences=2, filled=1.0)
    assert flops(read_shape(base), training, size) == pytest.approx(counted(lambda: model(ids).logits.sum()), rel=0.01)


def test_lora_costs_two_thirds_of_full_training_and_recomputing_a_third_more() -> None:
    def matrices(training: Training) -> float:
        """Attention and logits aside."""
        return flops(replace(EIGHT_B, heads=0, vocabulary=0), training, RUN) / (RUN.sequences * training.sequence_tokens * EIGHT_B.matrices)

    assert matrices(Training(method="full")) == pytest.approx(6)
    assert matrices(Training(method="lora", lora=Lora(rank=1))) == pytest.approx(4, rel=0.01)
    assert matrices(Training(method="full", gradient_checkpointing=True)) == pytest.approx(8)


def test_the_published_lora_run_lies_in_the_range() -> None:
    # NeMo Automodel, docs/performance-summary.mdx: Llama3-8B, LoRA, one H100, 4,096 tokens a sequence, 12,473 tokens/s.
    training = Training(precision="bf16-true", sequence_tokens=4096)
    tokens = 4096 * 1000
    size = Size(steps=1000, planned_steps=1000, tokens=tokens, supervised=tokens, sequences=1000, filled=1.0)
    fast, slow = cost(flops(EIGHT_B, training, size), EIGHT_B, training, HARDWARE["h100"], 1).hours
    assert fast <= tokens / 12_473 / 3600 * 1.05
    assert tokens / 12_473 / 3600 <= slow


def test_more_devices_take_less_time_and_as_much_energy_and_the_building_comes_on_top() -> None:
    training, hardware = Training(precision="bf16-true"), HARDWARE["h100"]
    one, eight, hot = (cost(1e18, EIGHT_B, training, hardware, devices, pue=pue) for devices, pue in ((1, 1.0), (8, 1.0), (8, 1.5)))
    assert one.hours[0] == pytest.approx(8 * eight.hours[0])
    assert one.kwh is not None
    assert eight.kwh == pytest.approx(one.kwh)
    assert hot.kwh == pytest.approx([1.5 * value for value in one.kwh])
    assert one.hours[0] < one.hours[1]


def test_float32_is_not_sold_at_the_rate_of_bfloat16() -> None:
    slow, fast = (cost(1e18, EIGHT_B, Training(precision=precision), HARDWARE["a100-80"], 1).hours[0] for precision in ("32-true", "bf16-true"))
    assert slow == pytest.approx(fast * 16)


def test_small_models_and_cpus_have_ranges_of_their_own() -> None:
    assert utilization(EIGHT_B, HARDWARE["h100"]) == (0.25, 0.45)
    assert utilization(replace(EIGHT_B, parameters=600_000_000), HARDWARE["h100"])[1] < 0.2
    assert utilization(EIGHT_B, HARDWARE["cpu-core"])[1] > 0.5
    assert cost(1e18, EIGHT_B, Training(), HARDWARE["cpu-core"], 1).kwh is None


def test_energy_is_told_as_something_people_know() -> None:
    assert everyday(0.001) == "less than boiling a cup of water"
    assert everyday(0.93) == "like boiling 10 litres of water"
    assert everyday(18) == "like driving an electric car 100 km"
    assert hours_words((0.0001, 0.0002)) == "under 1 s"
    assert hours_words((0.0001, 0.0004)) == "0.36 to 1.4 s"
    assert hours_words((0.05, 0.1)) == "3 to 6 min"
    assert hours_words((30, 120)) == "30 to 120 h"


def changed(plan: Plan, limits: Limits | None = None, **training: object) -> Plan:
    document = plan.training.model_dump() | training
    return plan.model_copy(update={"training": Training.model_validate(document), "limits": limits or plan.limits})


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, ["an addition (LoRA, rank 4) to village/tiny", "stays unchanged", "from examples", "on one device"]),
        ({"method": "dora"}, ["DoRA", "stays unchanged"]),
        ({"method": "full", "lora": None}, ["every weight of village/tiny", "a whole model"]),
        ({"method": "qlora", "precision": "bf16-true"}, ["QLoRA", "rounded to 4 bits"]),
        ({"objective": "dpo"}, ["by preference (DPO)"]),
        ({"strategy": "ddp"}, ["on up to 4 devices", "a copy of the model"]),
        ({"strategy": "fsdp2"}, ["a part of the model"]),
        ({"strategy": "zero3", "offload": True}, ["a part of the model", "some of it in main memory"]),
    ],
)
def test_members_read_what_each_choice_means(plan_of: Callable[..., bytes], training: dict[str, object], words: list[str]) -> None:
    limits = Limits(max_devices=4) if training.get("strategy") else None
    said = "\n".join(choices(changed(read_plan(plan_of(lora=Lora(rank=4, alpha=8))), limits, **training)))
    for word in words:
        assert word in said


def test_members_read_the_most_energy_the_limits_allow(plan_of: Callable[..., bytes]) -> None:
    plan = changed(read_plan(plan_of()), Limits(max_minutes=120, max_devices=8))
    assert "16.0 device-hours" in limit_words(plan)
    assert "11.2 kWh: like driving an electric car 62 km" in limit_words(plan)
    assert "450 W" in limit_words(plan, HARDWARE["rtx4090"])
    assert "device-hours" in describe(plan_of())


def test_a_cost_says_that_it_is_an_estimate() -> None:
    spent = cost(1e18, EIGHT_B, Training(precision="bf16-true"), HARDWARE["h100"], 8)
    text = cost_words(spent, HARDWARE["h100"], 8)
    assert text.startswith("Estimate, not measured: ")
    assert re.search(r"to .* min on 8 x NVIDIA H100 .* (Wh|kWh) at full power", text)
