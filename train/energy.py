"""Estimates the energy of one segment of a run, offline, with codecarbon (mlco2/codecarbon).

Nothing is sent and nothing is written: every output of codecarbon is off, its lock file and signal handlers too. Without RAPL (in most
virtual machines) its CPU figure is load times a rated power, and main memory is a model everywhere, so the result is an estimate and says so.
"""

from __future__ import annotations

import logging
from typing import Any

from governance_hooks.errors import BadInput

__all__ = ["EnergyMeter", "total_energy"]

EVERY_S = 15
"""Seconds between two measurements; load and power are sampled each second besides."""


class EnergyMeter:
    """Measures this process and the GPUs it sees, from `start` to `stop`.

    Args:
        country: ISO 3166-1 alpha-3 code of where the machine stands; without it no CO2 is stated.

    Raises:
        BadInput: codecarbon has no figures for that country.
    """

    def __init__(self, country: str | None = None) -> None:
        self.country = country
        self._tracker: Any = None
        if country is not None:
            from codecarbon.input import DataSource

            known = DataSource().get_global_energy_mix_data()
            if country not in known:  # codecarbon itself would take the world's mean without a word
                raise BadInput("no figures for the electricity of this country", value=country, allowed="an ISO 3166-1 alpha-3 code, such as DEU")

    def start(self) -> None:
        """Begin to measure; where codecarbon is not installed nothing is."""
        try:
            from codecarbon import OfflineEmissionsTracker
        except ModuleNotFoundError:
            return
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # What is given here cannot be changed by ~/.codecarbon.config or CODECARBON_*; the rated power of a machine, or its PUE, can.
        self._tracker = OfflineEmissionsTracker(
            **({"force_carbon_intensity_g_co2e_kwh": 0.0} if self.country is None else {"country_iso_code": self.country}),
            measure_power_secs=EVERY_S,
            tracking_mode="process",
            allow_multiple_runs=True,  # else: a lock file in /tmp, and handlers for SIGTERM and SIGINT
            output_methods=[],
            output_handlers=[],
            emissions_endpoint=False,
            electricitymaps_api_token=False,
            log_level="critical",
        )
        self._tracker.start()

    def stop(self) -> dict[str, Any] | None:
        """Return kilowatt-hours in all and by part, the method, and kg of CO2 equivalents if the country is known; None if nothing was measured."""
        if self._tracker is None:
            return None
        self._tracker.stop()
        data, self._tracker = getattr(self._tracker, "final_emissions_data", None), None
        if data is None:
            return None
        from codecarbon.core.cpu import is_rapl_available

        found = {
            "kwh": data.energy_consumed,
            "cpu_kwh": data.cpu_energy,
            "gpu_kwh": data.gpu_energy,
            "ram_kwh": data.ram_energy,
            "method": f"codecarbon {data.codecarbon_version}, tracking this process",
            "cpu_method": "RAPL counters" if is_rapl_available() else "load x rated power",
            "gpu_method": "NVML or AMD SMI counters" if data.gpu_count else None,
            "ram_method": "constant power model",
        }
        return found if self.country is None else found | {"country": self.country, "co2e_kg": data.emissions}


def total_energy(segments: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the energy of all segments, and how many of them nobody measured (killed ones); None if none was measured."""
    measured = [segment["energy"] for segment in segments if segment["energy"] is not None]
    if not measured:
        return None
    total: dict[str, Any] = {name: sum(one[name] for one in measured) for name in ("kwh", "cpu_kwh", "gpu_kwh", "ram_kwh")}
    total |= {name: sorted({one[name] for one in measured if one[name] is not None}) for name in ("method", "cpu_method", "gpu_method", "ram_method")}
    if all("co2e_kg" in one for one in measured):
        total |= {"co2e_kg": sum(one["co2e_kg"] for one in measured), "country": sorted({one["country"] for one in measured})}
    return total | {"estimated": True, "segments": len(measured), "segments_unmeasured": len(segments) - len(measured)}
