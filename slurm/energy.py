"""The energy of one start, as the run's own record tells it: a file of the user, so it is read as a hostile one, and never believed beyond what is possible."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from governance_hooks.errors import BadInput
from governance_hooks.site.clearance import Clearance
from governance_hooks.statement import timestamp
from slurm.outbox import read_small

__all__ = ["Energy", "read_energy"]

MAX_RECORD: Final = 2 << 20
"""Bytes of a run.json that is read at all."""
MAX_W: Final = 3000
"""Watts for each device and each node; a claim beyond is none. The GPUs of 2026 draw up to 1400 W, a node around eight of them about 4000 W."""
_COUNTERS: Final = re.compile(r"counter", re.IGNORECASE)
_PARTS: Final = ("cpu", "gpu", "ram")


@dataclass(frozen=True, slots=True)
class Energy:
    """Watt-hours of one start, and whether counters gave all of them."""

    wh: int
    source: Literal["measured", "estimated"]


def read_energy(site: Path, clearance: Clearance, *, begun: int, ended: int, seconds: int, devices: int) -> Energy | None:
    """Return the energy of a start that began and ended at these seconds since 1970; None if no record of the job's own user names it.

    Where the run's folder is, `inbox/ORDER/places.json` says, whoever wrote it. The start is found by its time: a start that was cleared and never began to
    train has no number in the record.
    """
    try:
        places = _document(site / "inbox" / clearance.order.removeprefix("sha256:") / "places.json", 64 << 10, owner=None)
        folder = places.get("run") if isinstance(places, dict) else None
        if not isinstance(folder, str) or not folder.startswith("/") or "\0" in folder:
            return None
        record = _document(Path(folder) / "run.json", MAX_RECORD, owner=clearance.user)
    except BadInput:
        return None
    window = (_instant(begun), _instant(ended))
    found = [one for one in _segments(record) if window[0] <= one["started"] <= window[1]]
    energy = found[0].get("energy") if len(found) == 1 else None
    return _energy(energy, most_wh=MAX_W * (devices + clearance.nodes) * seconds / 3600) if isinstance(energy, dict) else None


def _document(path: Path, limit: int, *, owner: int | None) -> Any:
    data = read_small(path, limit, owner=owner)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON") from error


def _segments(record: Any) -> list[dict[str, Any]]:
    listed = record.get("segments") if isinstance(record, dict) else None
    return [one for one in listed if isinstance(one, dict) and isinstance(one.get("started"), str)] if isinstance(listed, list) else []


def _energy(value: dict[str, Any], *, most_wh: float) -> Energy | None:
    wh = _number(value.get("kwh")) * 1000
    if not 0 <= wh <= most_wh:  # also false for no number
        return None
    counted = all(_number(value.get(f"{part}_kwh")) == 0 or _COUNTERS.search(str(value.get(f"{part}_method"))) for part in _PARTS)
    return Energy(round(wh), "measured" if counted else "estimated")


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12 else math.nan


def _instant(second: int) -> str:
    return timestamp(datetime.fromtimestamp(second, UTC))
