"""How the weights were trained, in the README: hardware, compute, energy, every start, and where all of it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from model_card.hostile import code
from model_card.renderers.words import amount, number, show, table, value_of

__all__ = ["compute_used", "energy_used", "every_start", "hardware_used", "provenance"]

_COUNTS: Final = ("steps", "trained_records", "trainable_parameters")


def hardware_used(card: Mapping[str, Any]) -> str:
    """Return what the last start ran on."""
    found = value_of(card["run"]["hardware"])
    if found is None:
        return f"Hardware: {show(card['run']['hardware'])}."
    devices = [f"{one['name']} ({one['memory_bytes'] / 2**30:.0f} GiB)" for one in found["devices"]]
    names = ", ".join(f"{devices.count(name)} x {code(name)}" for name in sorted(set(devices)))
    versions = "; ".join(f"{name} {code(found[key])}" for name, key in (("driver", "driver"), ("CUDA", "cuda")) if found.get(key))
    cores = f"{code(found['cpus'])} core{'s' * (found['cpus'] != 1)}"
    parts = [names, f"{code(found['cpu'])}, {cores}, {code(round(found['memory_bytes'] / 2**30))} GiB", versions]
    return f"Hardware of the last start: {'; '.join(part for part in parts if part)}."


def compute_used(card: Mapping[str, Any]) -> str:
    """Return the compute of the run, as estimated, and of those before it."""
    compute = card["compute"]
    flop, ratio = value_of(compute["flop"]), value_of(compute["eu_one_third_ratio"])
    parts = [f"Compute, **estimated**: {code(amount(flop))} FLOP." if flop is not None else f"Compute: {show(compute['flop'])}."]
    if ratio is not None:
        parts.append(
            f"That is {code(amount(ratio))} of the compute from which a modified model counts as a new one in the EU (a computation, not legal advice)."
        )
    runs = value_of(compute["other_runs"], {})
    if runs:
        failed = sum(sum(other["ends"].get(status, 0) for status in ("failed", "halted")) for other in runs.values())
        parts.append(
            f"Other runs of this cooperative before it: {code(len(runs))}, with {code(failed)} failed or halted start(s); their own energy is on their own cards."
        )
    return " ".join(parts)


def energy_used(card: Mapping[str, Any]) -> str:
    """Return the energy of the run, as estimated."""
    kwh, carbon = value_of(card["energy"]["kwh"]), value_of(card["energy"]["co2e_kg"])
    if kwh is None:
        return f"Energy: {show(card['energy']['kwh'])}."
    told = f", {code(amount(carbon))} kg CO2 equivalents" if carbon is not None else ""
    return f"Energy, **estimated**: {code(amount(kwh))} kWh{told}. Method: {code(card['energy']['kwh']['method'])}."


def every_start(card: Mapping[str, Any]) -> str:
    """Return the table of all starts of the run."""
    rows = []
    for one in value_of(card["run"]["segments"], []):
        steps = "-" if one["from_step"] is None or one["to_step"] is None else f"{one['from_step']} to {one['to_step']}"
        outcome = one["status"] + (f" ({one['cause']})" if one["cause"] else "")
        rows.append([code(one["start"]), code(one["started"]), code(outcome), code(steps), "-" if one["seconds"] is None else code(round(one["seconds"]))])
    return table(["Start", "At", "How it ended", "Steps", "Seconds"], rows) if rows else show(card["run"]["segments"])


def provenance(card: Mapping[str, Any]) -> str:
    """Return the table of what the weights were made from, and by which run."""
    rows = [
        ["Cooperative (digest of its founding statement)", show(card["coop"])],
        ["Plan members voted on", show(card["plan"])],
        ["Dataset build", show(card["data"]["manifest"])],
        ["Base weights", f"{show(card['base']['name'])}, {show(card['base']['licence'])}, {show(card['base']['digest'])}"],
    ]
    rows += [[label, number(card["run"][name]) if name in _COUNTS else show(card["run"][name])] for name, label in (("run", "Run"), ("started", "Started"), ("ended", "Ended"), ("wall_s", "Seconds"), ("device", "Device"),
                                                                  ("steps", "Optimizer steps"), ("trained_records", "Records trained on"), ("trainable_parameters", "Trained parameters"),
                                                                  ("packages", "Packages"), ("environment", "All packages (digest of the list)"))]  # fmt: skip
    return table(["What", "Value"], rows)
