"""Whether a run kept to its plan, as far as its record, its adapter's settings and the log can show it."""

from __future__ import annotations

import math
from typing import Any

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan
from governance_hooks.state.runs import Run
from governance_hooks.statement import CLOCK_SKEW_S, shift
from model_card.records import Source

__all__ = ["check_adapter_config", "check_run"]

_GRACE_S = 600
"""A run stops at the step boundary after its time is over; so much may be beyond it, seconds."""


_USUAL: dict[str, Any] = {
    "bias": "none",
    "inference_mode": True,
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "peft_type": "LORA",
    "qalora_group_size": 16,
    "task_type": "CAUSAL_LM",
}
"""Settings of PEFT's LoRA that are on, or a name, without changing what was voted. `peft_version` is compared with the plan's libraries."""


def _require(condition: bool, what: str, *, value: object, allowed: object) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=str(allowed), next="do not use these files")


def check_adapter_config(plan: Plan, data: bytes) -> None:
    """Check that the adapter's settings are those of the voted plan and nothing besides; raise BadInput naming the first that is not."""
    config = loads(data, floats=True, source="adapter_config.json")
    if not isinstance(config, dict):
        raise BadInput("adapter_config.json is no object of settings", next="do not use these files")
    lora, dora = plan.training.lora, plan.training.method == "dora"
    if lora is None:
        raise BadInput("members voted for no adapter", value=plan.training.method, allowed="lora, dora or qlora", next="do not use these files")
    wanted = _USUAL | {
        "base_model_name_or_path": plan.base.name,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_dora": dora,
    }
    modules, version = config.pop("target_modules", None), config.pop("peft_version", None)
    _require(
        version in (None, plan.code.packages.get("peft")),
        "adapter_config.json: peft_version is not as voted",
        value=version,
        allowed=plan.code.packages.get("peft"),
    )
    for name, found in config.items():
        # A setting we do not name is harmless only if it is off: PEFT has more of them with every version.
        allowed = wanted.get(name)
        _require(
            found == allowed or (name not in wanted and found in (None, False, [], {})),
            f"adapter_config.json: {name} is not as voted",
            value=found,
            allowed=allowed,
        )
    missing = sorted(({"base_model_name_or_path", "peft_type", "r", "lora_alpha"} | ({"use_dora"} if dora else set())) - set(config))
    _require(not missing, "adapter_config.json does not say", value=missing, allowed="the voted settings")
    if isinstance(lora.target_modules, list):
        _require(
            sorted(modules or []) == sorted(lora.target_modules),
            "adapter_config.json: target_modules is not as voted",
            value=modules,
            allowed=lora.target_modules,
        )
    else:
        _require(
            modules is None or (isinstance(modules, list) and "lm_head" not in modules),
            "adapter_config.json: target_modules is not as voted",
            value=modules,
            allowed="linear layers, not the head",
        )


def check_run(plan: Plan, record: Source, run: Run, *, uses: int, ended: str) -> None:
    """Check a run record against the plan's limits and libraries, and against what the log says of the run.

    Args:
        plan: the voted plan.
        record: run.json.
        run: the run as the log knows it.
        uses: starts the vote allows.
        ended: instant of the signed end in the log, RFC 3339 UTC.
    """
    limits, starts = plan.limits, len(run.starts)
    _require(starts <= limits.max_starts == uses, "the run was started more often than members voted", value=starts, allowed=limits.max_starts)
    _require(
        record.get("starts") is None or 1 <= record.get("starts") <= starts,
        "run.json counts other starts than the log",
        value=record.get("starts"),
        allowed=starts,
    )
    places = limits.sites
    strange = sorted({site or "a machine of the cooperative" for site in run.sites if places is not None and site not in places})
    _require(not strange, "the run was started where members did not vote for", value=strange, allowed=places)
    _, device_s = run.used_seconds()
    budget = limits.max_device_minutes
    _require(
        budget is None or device_s <= budget * 60 + _GRACE_S * limits.max_devices,
        "the run used more device time than members voted",
        value=device_s,
        allowed=budget and budget * 60,
    )
    wall = record.get("wall_s")
    _require(
        type(wall) is int and 0 <= wall <= limits.max_minutes * 60 + _GRACE_S,
        "the run took longer than members voted",
        value=wall,
        allowed=limits.max_minutes * 60,
    )
    first, last = record.get("started"), record.get("ended")
    earliest, latest = shift(run.started[0], -CLOCK_SKEW_S), shift(ended, CLOCK_SKEW_S)
    _require(earliest <= first <= last <= latest, "run.json dates the run outside of what the log says", value=[first, last], allowed=f"{earliest} to {latest}")
    steps, total = record.get("steps"), record.get("total_steps")
    _require(steps is None or total is None or 0 < steps <= total, "run.json counts more steps than there are", value=steps, allowed=total)
    segments, energy = record.get("segments"), record.get("energy")
    _require(
        record.get("starts") is None or [one["start"] for one in segments] == list(range(1, record.get("starts") + 1)),
        "run.json lists other segments than starts",
        value=[one["start"] for one in segments],
        allowed=record.get("starts"),
    )
    measured = [one["energy"]["kwh"] for one in segments if one["energy"] is not None]
    _require(
        (energy is None) == (not measured) and (energy is None or math.isclose(energy["kwh"], math.fsum(measured), rel_tol=1e-9)),
        "run.json states another energy than its segments add up to",
        value=energy and energy["kwh"],
        allowed=math.fsum(measured),
    )
    used = record.get("packages")
    _require(isinstance(used, dict) and bool(used), "run.json names no libraries", value=used, allowed="the versions that ran")
    odd = {name: version for name, version in used.items() if plan.code.packages.get(name, version) != version}
    _require(not odd, "the run used other library versions than members voted", value=odd, allowed=plan.code.packages)
    _require(record.get("trained_records") > 0, "run.json says it trained on nothing", value=record.get("trained_records"), allowed="1 or more")
