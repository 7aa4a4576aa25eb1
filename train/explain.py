"""What a plan's choices mean, in the plain words members vote on."""

from __future__ import annotations

from governance_hooks.plan import EvaluationPolicy, Plan
from governance_hooks.training import Training
from governance_hooks.verdict import MINIMUM_CLUSTERS
from train.estimate.compute import Cost
from train.estimate.hardware import HARDWARE, Hardware

__all__ = ["choices", "cost_words", "energy_words", "enough_words", "everyday", "hours_words", "limit_words", "span"]

LITRE_KWH = 0.093
"""To bring one litre of water from 20 to 100 degrees: 4.19 kJ/(kg K) x 80 K."""
KM_KWH = 0.18
"""An electric car's use a kilometre: an assumption."""


def choices(plan: Plan) -> list[str]:
    """Return what is trained, how it learns and on how many devices, one line each."""
    return [f"What is trained: {_method(plan)}", f"How it learns: {_objective(plan.training)}", f"Where: {_strategy(plan)}"]


def _method(plan: Plan) -> str:
    training, base = plan.training, f"{plan.base.name}, which is under {plan.base.licence}"
    if training.lora is None:
        return f"every weight of {base}. The result is a whole model as large as that one, not an addition to it."
    stays = " and stays unchanged."
    rank = f"rank {training.lora.rank}"
    if training.method == "dora":
        return f"an addition (DoRA: LoRA with the length of each change learned apart, {rank}) to {base}{stays}"
    if training.method == "qlora":
        return f"an addition (QLoRA, {rank}) to {base}{stays} While it is trained, that model is rounded to 4 bits a weight to save memory."
    return f"an addition (LoRA, {rank}) to {base}{stays}"


def _objective(training: Training) -> str:
    if training.objective == "dpo":
        return "by preference (DPO), from pairs of answers."
    return "from examples: the answers are learned, the prompts are only read."


def _strategy(plan: Plan) -> str:
    count = plan.limits.max_devices
    if plan.training.strategy == "single" or count == 1:
        return "on one device (a GPU, or a CPU)."
    how = {
        "ddp": "each holds a copy of the model and reads a part of the rows",
        "fsdp2": "each holds a part of the model and reads a part of the rows",
        "zero2": "each holds the model, and a part of what training needs beside it",
        "zero3": "each holds a part of the model and reads a part of the rows",
    }[plan.training.strategy]
    return f"on up to {count} devices (GPUs) at a time; {how}{', some of it in main memory' * plan.training.offload}. The result is the same but for rounding."


def enough_words(policy: EvaluationPolicy) -> str:
    """Return what the held-out loss must show, and what a language needs to be able to show it."""
    people = f" from at least {MINIMUM_CLUSTERS} people" if policy.interval == "t" else ""
    unproven = "may be released all the same, and is named" if policy.allow_insufficient else "blocks the release"
    return (
        f"When is it good enough: per language, no loss on the rows kept aside above the base's by more than {policy.margin:g} nats per token, at {policy.confidence:.0%} confidence. "
        f"To show that, a language needs at least {policy.minimum_items} rows kept aside{people}; one in which it is not shown {unproven}. At least one must pass."
    )


def everyday(kwh: float) -> str:
    """Return an amount of energy as something people know."""
    litres = kwh / LITRE_KWH
    if litres < 0.25:
        return "less than boiling a cup of water"
    if kwh < 10:
        return f"like boiling {litres:.2g} litres of water" if litres < 10 else f"like boiling {litres:.0f} litres of water"
    return f"like driving an electric car {kwh / KM_KWH:,.0f} km"


def limit_words(plan: Plan, hardware: Hardware | None = None) -> str:
    """Return the most energy the plan's limits allow on a device; an H100 unless another is named or its power is unknown."""
    device = hardware if hardware is not None and hardware.watts is not None else HARDWARE["h100"]
    assert device.watts is not None
    hours = plan.limits.minutes_on(plan.limits.max_devices) / 60
    kwh = hours * plan.limits.max_devices * device.watts / 1000
    return (
        f"At most that is {hours * plan.limits.max_devices:,.1f} device-hours. Were each device an {device.title} at its full {device.watts} W all the time, "
        f"{kwh:,.1f} kWh: {everyday(kwh)}. Computers around it and cooling come on top."
    )


def span(low: float, high: float, unit: str = "") -> str:
    """Return a range with two significant digits."""

    def short(value: float) -> str:
        return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"

    return (short(low) if short(low) == short(high) else f"{short(low)} to {short(high)}") + unit


def hours_words(hours: tuple[float, float]) -> str:
    """Return a range of hours in the unit that reads best."""
    if hours[1] * 3600 < 1:
        return "under 1 s"
    for factor, unit in ((1, " h"), (60, " min")):
        if hours[1] * factor >= 2:
            return span(hours[0] * factor, hours[1] * factor, unit)
    return span(hours[0] * 3600, hours[1] * 3600, " s")


def energy_words(kwh: tuple[float, float]) -> str:
    """Return a range of energy in the unit that reads best."""
    if kwh[1] * 1000 < 0.01:
        return "under 0.01 Wh"
    return span(*kwh, " kWh") if kwh[1] >= 0.1 else span(kwh[0] * 1000, kwh[1] * 1000, " Wh")


def cost_words(spent: Cost, hardware: Hardware, devices: int) -> str:
    """Return how long a run is likely to take and what it needs, and that this is an estimate."""
    text = f"Estimate, not measured: {hours_words(spent.hours)} on {devices} x {hardware.title}"
    if spent.kwh is None:
        return text + "."
    return f"{text}, and {energy_words(spent.kwh)} at full power, the upper figure being {everyday(spent.kwh[1])}."
