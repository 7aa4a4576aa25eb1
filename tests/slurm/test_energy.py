"""The energy of a start comes from the run's record, a file of the user: what is forged, planted or impossible is no energy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.site.clearance import Clearance
from governance_hooks.statement import timestamp
from slurm.energy import MAX_RECORD, Energy, read_energy
from slurm.segments import settle
from tests.slurm.lent import Lent
from tests.village import Approved

BEGUN, ENDED = 1_795_400_100, 1_795_400_160
METHODS = {"cpu_method": "load x rated power", "gpu_method": "NVML or AMD SMI counters", "ram_method": "constant power model"}


@pytest.fixture
def lent(approved: Approved, tmp_path: Path) -> Lent:
    return Lent(approved, tmp_path / "site")


def at(second: int) -> str:
    from datetime import UTC, datetime

    return timestamp(datetime.fromtimestamp(second, UTC))


def energy(**changes: Any) -> dict[str, Any]:
    return {"kwh": 0.02, "cpu_kwh": 0.005, "gpu_kwh": 0.01, "ram_kwh": 0.005} | METHODS | changes


def recorded(lent: Lent, *segments: Any, run: object = None) -> Clearance:
    """A cleared start of an order whose run folder holds a record of these segments."""
    order = lent.order()
    folder = lent.folder / "run"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"segments": list(segments)}))
    (lent.folder / "inbox" / order.removeprefix("sha256:") / "places.json").write_text(json.dumps({"run": run or str(folder)}))
    return lent.clear(7, start=lent.begin(), order=order)


def read(lent: Lent, clearance: Clearance) -> Energy | None:
    return read_energy(lent.folder, clearance, begun=BEGUN, ended=ENDED, seconds=ENDED - BEGUN, devices=2)


def test_the_segment_of_the_jobs_time_is_taken_whatever_its_number(lent: Lent) -> None:
    early, now_, late = (
        {"start": 9, "started": at(second), "energy": energy(kwh=kwh)} for second, kwh in ((BEGUN - 1, 0.03), (BEGUN + 5, 0.02), (ENDED + 1, 0.01))
    )
    assert read(lent, recorded(lent, early, now_, late)) == Energy(20, "estimated")


def test_it_is_measured_only_where_counters_gave_all_of_it(lent: Lent) -> None:
    counters = {"cpu_method": "RAPL counters", "ram_method": None, "ram_kwh": 0.0}
    assert read(lent, recorded(lent, {"started": at(BEGUN), "energy": energy(**counters)})) == Energy(20, "measured")


@pytest.mark.parametrize(
    "forged",
    [
        {"kwh": 1e9},
        {"kwh": 0.201},  # 3 kW for each of two devices and one node are 0.15 kWh a minute
        {"kwh": -0.001},
        {"kwh": float("nan")},
        {"kwh": float("inf")},
        {"kwh": True},
        {"kwh": "0.02"},
        {"kwh": None},
        {"kwh": 10**400},
    ],
    ids=str,
)
def test_an_impossible_figure_is_none(lent: Lent, forged: dict[str, Any]) -> None:
    assert read(lent, recorded(lent, {"started": at(BEGUN), "energy": energy(**forged)})) is None


@pytest.mark.parametrize(
    "segments",
    [[], [None], ["x"], [{"started": 7}], [{"started": at(BEGUN)}], [{"started": at(BEGUN), "energy": None}], [{"started": at(BEGUN), "energy": energy()}] * 2],
    ids=["none", "null", "text", "no time", "no energy", "null energy", "two at once"],
)
def test_a_record_that_does_not_say_gives_none(lent: Lent, segments: list[Any]) -> None:
    assert read(lent, recorded(lent, *segments)) is None


@pytest.mark.parametrize("places", [{"run": 7}, {"run": "relative"}, {"run": "/nowhere"}, {"run": "/etc\0"}, [], "x"], ids=str)
def test_places_that_name_no_folder_give_none(lent: Lent, places: object) -> None:
    clearance = recorded(lent, {"started": at(BEGUN), "energy": energy()})
    path = lent.folder / "inbox" / clearance.order.removeprefix("sha256:") / "places.json"
    path.write_text(json.dumps(places))
    assert read(lent, clearance) is None
    path.write_bytes(b"[" * 60_000)
    assert read(lent, clearance) is None


def test_a_record_of_another_user_a_link_a_pipe_or_a_giant_is_not_read(lent: Lent) -> None:
    clearance = recorded(lent, {"started": at(BEGUN), "energy": energy()})
    record = lent.folder / "run" / "run.json"
    assert read(lent, clearance) is not None
    assert read(lent, clearance.model_copy(update={"user": os.getuid() + 1})) is None
    moved = record.rename(record.with_name("elsewhere.json"))
    record.symlink_to(moved)
    assert read(lent, clearance) is None
    record.unlink()
    os.mkfifo(record)
    assert read(lent, clearance) is None
    record.unlink()
    record.write_bytes(moved.read_bytes() + b" " * MAX_RECORD)
    assert read(lent, clearance) is None


def test_a_settled_start_states_its_energy_and_where_it_is_from(lent: Lent) -> None:
    recorded(lent, {"started": at(BEGUN), "energy": energy()})
    lent.end(7, start=BEGUN, end=ENDED)
    settle(lent.folder, lent.outbox)
    assert [(one.energy_wh, one.energy_from) for one in lent.segments()] == [(20, "estimated")]
