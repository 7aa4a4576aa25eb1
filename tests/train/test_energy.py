from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import BadInput
from train.energy import EnergyMeter, total_energy


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_energy_is_estimated_without_network_files_locks_or_signal_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here, scratch = (tmp_path / name for name in ("home", "here", "scratch"))
    for folder in (home, here, scratch):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(here)
    # What a file or the environment asks for must not open a way out.
    asked = "[codecarbon]\nsave_to_api=true\noutput_methods=csv,api,prometheus\nemissions_endpoint=http://192.0.2.1/\nallow_multiple_runs=false\n"
    (home / ".codecarbon.config").write_text(asked)
    monkeypatch.setenv("CODECARBON_SAVE_TO_API", "true")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    meter = EnergyMeter()
    meter.start()
    assert sum(number * number for number in range(300_000)) > 0
    found = meter.stop()
    assert found is not None
    assert found["kwh"] > 0
    assert found["kwh"] == pytest.approx(found["cpu_kwh"] + found["gpu_kwh"] + found["ram_kwh"])
    assert found["method"].startswith("codecarbon ")
    assert not {"co2e_kg", "country"} & set(found)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".codecarbon.config"]


@pytest.mark.usefixtures("no_network")
def test_carbon_is_stated_only_with_a_country_that_has_figures() -> None:
    meter = EnergyMeter("DEU")
    meter.start()
    found = meter.stop()
    assert found is not None
    assert (found["country"], found["co2e_kg"] > 0) == ("DEU", True)
    with pytest.raises(BadInput, match="no figures"):
        EnergyMeter("ZZZ")


def test_a_meter_that_never_started_measured_nothing() -> None:
    assert EnergyMeter().stop() is None


def test_energy_adds_up_over_segments_and_says_how_many_left_none() -> None:
    one = {"kwh": 2.0, "cpu_kwh": 0.5, "gpu_kwh": 1.0, "ram_kwh": 0.5, "method": "m", "cpu_method": "load", "gpu_method": "counters", "ram_method": "model"}
    german = one | {"country": "DEU", "co2e_kg": 0.5}
    total = total_energy([{"energy": german}, {"energy": None}, {"energy": german | {"cpu_method": "RAPL"}}])
    assert total is not None
    assert (total["kwh"], total["co2e_kg"], total["segments"], total["segments_unmeasured"], total["estimated"]) == (4.0, 1.0, 2, 1, True)
    assert total["cpu_method"] == ["RAPL", "load"]
    partly = total_energy([{"energy": german}, {"energy": one}])
    assert partly is not None
    assert "co2e_kg" not in partly
    assert total_energy([{"energy": None}]) is None
