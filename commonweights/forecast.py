"""What a plan is likely to cost, as numbers for programs and as tables for people; nothing here loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_pipeline.language import language_name
from data_pipeline.manifest import read_build, read_ledger
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan
from governance_hooks.verdict import MINIMUM_CLUSTERS
from train.estimate.compute import cost, flops, utilization
from train.estimate.hardware import GIB, HARDWARE, Hardware
from train.estimate.memory import MOST_SEQUENCES, STRATEGIES, Layout, largest_forward, memory
from train.estimate.shape import Shape, read_shape
from train.estimate.size import Size
from train.explain import cost_words, energy_words, hours_words

__all__ = ["cannot_pass", "cost_line", "dry_run_text", "forecast", "forecast_text"]

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "runtime")


def _layouts(plan: Plan, devices: int) -> list[Layout]:
    """Return the ways this plan's method can be spread over so many devices, its own among them."""
    own = Layout(plan.training.strategy, plan.training.offload)
    fitting = [one for one in STRATEGIES if (one.strategy == "single" or devices > 1 or one.offload) and not (one.strategy == "single" and devices > 1)]
    if plan.training.method == "qlora":
        fitting = [one for one in fitting if one.strategy in ("single", "ddp")]
    return fitting if own in fitting else [own, *fitting]


def forecast(plan: Plan, base: Path, size: Size, *, devices: int, hardware: Hardware | None = None, pue: float = 1.0) -> dict[str, Any]:
    """Return memory by strategy, arithmetic, hours and energy of a plan on `devices` devices; `why` alone if the base is of no known kind."""
    try:
        shape = read_shape(base)
        trained = shape.trainable(plan.training)
    except BadInput as error:
        return {"devices": devices, "why": error.what}
    training, operations = plan.training, flops(shape, plan.training, size)
    own = Layout(training.strategy, training.offload)
    strategies = []
    for layout in _layouts(plan, devices):
        found = memory(shape, training, layout, devices)
        row: dict[str, Any] = {"strategy": layout.name, "planned": layout == own} | {
            part: getattr(found, part) for part in (*PARTS, "peak", "host", "loading", "loading_host")
        }
        if hardware is not None and hardware.memory is not None:
            row["largest_forward"] = largest_forward(shape, training, layout, devices, hardware.memory)
        strategies.append(row)
    return {
        "devices": devices,
        "pue": pue,
        "parameters": shape.parameters,
        "trained": trained,
        "flops": operations,
        "memory": strategies,
        "hardware": [_on(one, shape, plan, own, devices, operations, pue) for one in ([hardware] if hardware is not None else HARDWARE.values())],
    }


def _on(one: Hardware, shape: Shape, plan: Plan, own: Layout, devices: int, operations: float, pue: float) -> dict[str, Any]:
    spent = cost(operations, shape, plan.training, one, devices, pue=pue)
    return {
        "name": one.name,
        "title": one.title,
        "memory": one.memory,
        "source": one.source,
        "utilization": utilization(shape, one),
        "largest_forward": None if one.memory is None else largest_forward(shape, plan.training, own, devices, one.memory),
        "hours": spent.hours,
        "kwh": spent.kwh,
    }


def cannot_pass(plan: Plan, build: Path) -> list[str]:
    """Return a warning for each language that has too few rows kept aside, or too few people behind them, to pass whatever comes out."""
    policy, rows = plan.evaluation, [row for row in read_ledger(read_build(build)) if row.split == "heldout"]
    warned = []
    for language in sorted(plan.build.languages):
        here = [row.authors[0] for row in rows if row.language == language]
        few = f"only {len(here)} rows are kept aside, of {policy.minimum_items}" if len(here) < policy.minimum_items else ""
        if not few and policy.interval == "t" and len(set(here)) < MINIMUM_CLUSTERS:
            few = f"the rows kept aside come from too few people: {len(set(here))}, of the {MINIMUM_CLUSTERS} that interval t needs"
        if few:
            warned.append(f"  {language_name(language)} ({language}): {few}")
    if not warned:
        return []
    outcome = "may be released all the same, and is named" if policy.allow_insufficient else "BLOCKS THE RELEASE, unless members waive it"
    return [f"WATCH: {len(warned)} of {len(plan.build.languages)} languages cannot pass this policy, whatever the run does; each {outcome}:", *warned]


def cost_line(plan: Plan, base: Path, size: Size, hardware: Hardware, devices: int, pue: float = 1.0) -> str | None:
    """Return in words how long a plan takes on named hardware, or None if the base is of no known kind."""
    try:
        shape = read_shape(base)
        return cost_words(cost(flops(shape, plan.training, size), shape, plan.training, hardware, devices, pue=pue), hardware, devices)
    except BadInput:
        return None


def _fits(largest: int | None) -> str:
    if largest is None:
        return "-"
    return f"{largest}+" if largest == MOST_SEQUENCES else f"{largest} a pass" if largest else "no"


def _loading(rows: list[dict[str, Any]]) -> list[str]:
    """Return what loading the base takes, strategies with the same figures together, and which ones need more for it than for a step."""
    alike: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        alike.setdefault((round(row["loading"] / GIB, 2), round(row["loading_host"] / GIB, 2)), []).append(row["strategy"])
    told = [f"  {', '.join(names)}: {device:.2f}" + (f", and {host:.2f} of main memory" if host else "") for (device, host), names in alike.items()]
    over = [row["strategy"] for row in rows if row["loading"] > sum(row[part] for part in PARTS[:-1])]
    return ["while the base is loaded, each process:", *told, *([f"  which is the peak of {', '.join(over)}"] if over else [])]


def forecast_text(found: dict[str, Any], plan: Plan) -> str:
    """Return a forecast as two tables of at most 100 columns, with what they assume."""
    if "why" in found:
        return f"MEMORY, TIME AND ENERGY\nNo estimate: {found['why']}"
    training, devices, named = plan.training, found["devices"], len(found["hardware"]) == 1
    each = f"one device of {devices}" if devices > 1 else "the device"
    widths = {part: max(len(part) + 2, 9) for part in PARTS}
    lines = [
        f"MEMORY of {each}, in GiB: an estimate for forward passes of {training.sequences_per_forward} x {training.sequence_tokens} tokens",
        f"{found['parameters']:,} weights, of which {found['trained']:,} are trained" if training.lora is None else
        f"{found['parameters']:,} weights in the base; {found['trained']:,} are added and trained",
        "",
        f"{'strategy':<15}" + "".join(f"{part:>{width}}" for part, width in widths.items()) + f"{'peak':>8}" + (f"{'fits':>13}" if named else ""),
    ]  # fmt: skip
    for row in found["memory"]:
        mark = "* " if row["planned"] else "  "
        cells = "".join(f"{row[part] / GIB:>{width}.2f}" for part, width in widths.items()) + f"{row['peak'] / GIB:>8.1f}"
        lines.append(f"{mark}{row['strategy']:<13}{cells}" + (f"{_fits(row.get('largest_forward')):>13}" if named else ""))
    lines += ["* what the plan says (training.strategy)", *_loading(found["memory"])]
    largest = found["hardware"][0]["largest_forward"] if named else None
    if largest is not None and largest < training.sequences_per_forward:
        lower = f"set training.sequences_per_forward to {largest} or less" if largest else "use gradient_checkpointing, bf16-true, or another strategy above"
        lines.append(f"DOES NOT FIT {found['hardware'][0]['title']}: {lower}")
    if any(row["host"] for row in found["memory"]):
        lines.append(
            "offload keeps in main memory: " + ", ".join(f"{row['strategy']} {row['host'] / GIB:.1f}" for row in found["memory"] if row["host"]) + " a device"
        )
    lines += [
        "",
        f"TIME AND ENERGY on {devices} device{'s' * (devices != 1)}: an estimate, {found['flops']:.2g} floating-point operations",
        "",
        f"{'hardware':<9}{'fits':>12}{'share of peak':>14}{'time':>17}{'energy':>20}  device",
    ]
    for row in found["hardware"]:
        low, high = row["utilization"]
        energy = "-" if row["kwh"] is None else energy_words(row["kwh"])
        lines.append(
            f"{row['name']:<9}{_fits(row['largest_forward']):>12}{f'{low:.0%} to {high:.0%}':>14}{hours_words(row['hours']):>17}{energy:>20}  {row['title']}"
        )
    around = "the devices alone" if found["pue"] == 1 else f"the devices, times {found['pue']:g} for cooling"
    lines += [
        "fits: sequences in the largest forward pass of the planned strategy.",
        "Time: of the optimizer steps, without loading, validation and checkpoints.",
        f"Energy: {around}, at full power. How all this is estimated: docs/train.md",
    ]
    return "\n".join(lines)


def dry_run_text(found: dict[str, Any]) -> str:
    """Return what a dry run found, a line a kind of process."""
    devices, shares = found["devices"], found["shares"]
    lines = [f"DRY RUN of {devices} process{'es' * (devices != 1)} without a GPU"]
    alike: dict[tuple[Any, ...], list[int]] = {}
    for rank, share in enumerate(shares):
        held = (found["parameter_bytes"][rank], found["trained_bytes"][rank]) if found["ran"] else ()
        alike.setdefault((share, found["passes"][rank], *held), []).append(rank)
    for (share, passes, *sizes), ranks in alike.items():
        who = f"process {ranks[0]}" if len(ranks) == 1 else f"processes {', '.join(map(str, ranks))}" if len(ranks) < 9 else f"{len(ranks)} processes"
        bytes_held = f"; {sizes[0] / GIB:.3f} GiB of weights, {sizes[1] / GIB:.3f} GiB of them trained" if sizes else ""
        lines.append(f"  {who}: {share} sequence{'s' * (share != 1)} a step in {passes} pass{'es' * (passes != 1)}{bytes_held}")
    if found["ran"]:
        lines.append(
            f"  one step ran on fake tensors: forward, backward, AdamW; a forward pass keeps {found['activation_bytes'] / GIB:.2f} GiB for the backward pass"
        )
    else:
        lines.append(f"  no step ran: {found['why']}")
    return "\n".join(lines)
