"""Compute and energy of a run: what was measured, what is estimated and how, and every start, failed ones too."""

from __future__ import annotations

from typing import Any, Final

from model_card.records import CardRecords, Field, estimated, not_applicable, not_collected

__all__ = ["EU_THRESHOLD_FLOP", "compute_of", "energy_of"]

EU_THRESHOLD_FLOP: Final = 1e23
"""What the Commission's guidelines of July 2025 take for a general-purpose model whose original training compute is not known."""

_NOT_ADVICE = "This is a computation, not legal advice."


def _flops(records: CardRecords) -> Field:
    run, plan = records.run, records.plan.training
    tokens, parameters = run.field("tokens"), run.field("parameters")
    counts = run.get("tokens")
    if not isinstance(counts, dict) or not isinstance(run.get("parameters"), int) or not counts:
        return not_collected("the record of the run does not say how many tokens passed")
    read = sum(row["input"] for row in counts.values() if isinstance(row, dict) and isinstance(row.get("input"), int))
    factor = 6 if plan.method == "full" else 4
    method = (
        f"{factor + 2 * plan.gradient_checkpointing} x parameters x tokens read: 2 forward, {factor - 2} backward"
        + ("" if factor == 6 else " (gradients pass through the frozen weights; those of the adapter itself are left out)")
        + (", 2 to compute activations again" if plan.gradient_checkpointing else "")
        + " (Kaplan et al. 2020, arXiv 2001.08361); attention, evaluation and steps lost in failed starts are not in it"
    )
    return estimated(float((factor + 2 * plan.gradient_checkpointing) * run.get("parameters") * read), method, tokens, parameters)


def _with_failed(records: CardRecords, flops: Field) -> Field:
    """Return the estimate over all starts: the compute of failed ones is taken in proportion to their time."""
    segments = records.run.get("segments")
    if "estimated" not in flops or not isinstance(segments, list):
        return not_collected("the record of the run does not list its starts")
    known = [one["seconds"] for one in segments if one["seconds"] is not None]
    lost = [one["seconds"] for one in segments if one["seconds"] is not None and one["status"] == "failed"]
    silent = sum(one["seconds"] is None for one in segments)
    useful = sum(known) - sum(lost)
    if useful <= 0:
        return not_collected("no start has a measured time that counts")
    method = f"the run's estimate x time of all starts / time of those that did not fail; {silent} killed start(s) left no time and are not in it"
    return estimated(flops["estimated"] * sum(known) / useful, method, records.run.field("segments"))


def _ratio(flops: Field) -> Field:
    if "estimated" not in flops:
        return not_collected("the compute of the run is not known")
    method = (
        f"compute of this run / (1e23 FLOP / 3): above 1 a modified model counts as a new general-purpose model where the compute of the original is not known "
        f"(Commission guidelines of 18 July 2025). {_NOT_ADVICE}"
    )
    return {"estimated": flops["estimated"] / (EU_THRESHOLD_FLOP / 3), "method": method, "from": flops["from"]}


def compute_of(records: CardRecords) -> dict[str, Any]:
    """Return the compute section: time, hardware and FLOP of this run with all its starts, and the other runs the log knew when it ended."""
    run, log = records.run, records.log
    flops = _flops(records)
    runs = log.get("runs")
    same = [name for name, other in runs.items() if other["plan"] == records.plan_source.sha256] if isinstance(runs, dict) else []
    return {
        "flop": flops,
        "flop_with_failed_starts": _with_failed(records, flops),
        "eu_one_third_ratio": _ratio(flops),
        "starts": run.field("starts"),
        "segments": run.field("segments"),
        "device_processes": run.field("processes"),
        "other_runs": log.field("runs", missing="no log was given to the card"),
        "other_runs_of_this_plan": estimated(same, "runs in the log with the same plan digest", log.field("runs")) if isinstance(runs, dict) else not_collected("no log was given to the card"),
        "water": not_collected("no meter and no factor for the place where it ran"),
        "cost": not_collected("the cooperative's books are not among the public records"),
    }  # fmt: skip


def energy_of(records: CardRecords) -> dict[str, Any]:
    """Return the energy section: kilowatt-hours and CO2 equivalents of all starts that were measured, labelled as the estimate it is."""
    run = records.run
    found = run.get("energy")
    missing = "nothing measured it; device and wall time are stated instead"
    if not isinstance(found, dict):
        return {"total": not_collected(missing), "kwh": not_collected(missing), "co2e_kg": not_collected(missing)}
    methods = found.get("method")
    told = ", ".join(map(str, methods)) if isinstance(methods, list) else "the meter named in run.json#/energy"
    kwh, carbon = run.field("energy", "kwh"), run.field("energy", "co2e_kg", missing="nobody said in which country it ran (coop train --country)")
    silent = found.get("segments_unmeasured")
    note = f"{told}; {silent} start(s) left no measurement and are not in it"
    return {
        "total": run.field("energy"),
        "kwh": estimated(kwh["value"], note, kwh),
        "co2e_kg": estimated(carbon["value"], note, carbon) if "value" in carbon else carbon,
        "measured": not_applicable("an estimate is never called a measurement here, whatever made it"),
    }
