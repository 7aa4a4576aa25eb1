"""Whether a run kept to its plan, as far as its record, its adapter's settings and the log can show it."""

from __future__ import annotations

import json
from typing import Any

from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan
from model_card.records import Source

__all__ = ["check_adapter_config", "check_run"]

_GRACE_S = 600
"""A run stops at the step boundary after its time is over; so much may be beyond it, seconds."""


def _require(condition: bool, what: str, *, value: object, allowed: object) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=str(allowed), next="do not use these files")


def check_adapter_config(plan: Plan, data: bytes) -> None:
    """Check that the adapter's settings are those of the voted plan; raise BadInput naming the first that is not."""
    config: dict[str, Any] = json.loads(data)
    lora = plan.training.lora
    wanted = {
        "base_model_name_or_path": plan.base.name,
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
    }
    for name, value in wanted.items():
        found = config.get(name) or value if value in (None, False) else config.get(name)
        _require(found == value, f"adapter_config.json: {name} is not as voted", value=found, allowed=value)
    if isinstance(lora.target_modules, list):
        found = sorted(config.get("target_modules") or [])
        _require(found == sorted(lora.target_modules), "adapter_config.json: target_modules is not as voted", value=found, allowed=lora.target_modules)


def check_run(plan: Plan, record: Source, *, starts: int, uses: int) -> None:
    """Check a run record against the plan's limits and libraries, and against the log's count of starts."""
    limits = plan.limits
    _require(starts <= limits.max_starts == uses, "the run was started more often than members voted", value=starts, allowed=limits.max_starts)
    wall = record.get("wall_s")
    _require(
        isinstance(wall, int) and 0 <= wall <= limits.max_minutes * 60 + _GRACE_S,
        "the run took longer than members voted",
        value=wall,
        allowed=limits.max_minutes * 60,
    )
    started, ended = record.get("started"), record.get("ended")
    _require(started <= ended, "the run ended before it started", value=ended, allowed=f"after {started}")
    used = record.get("packages") or {}
    odd = {name: version for name, version in used.items() if plan.code.packages.get(name, version) != version}
    _require(not odd, "the run used other library versions than members voted", value=odd, allowed=plan.code.packages)
