"""What a segment ran with: every installed package, and the machine without anything that tells which machine it is."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, sha256

__all__ = ["hardware", "installed_packages", "lock_environment"]


def installed_packages() -> dict[str, str]:
    """Return the version of every distribution that can be imported, by normalised name (PEP 503)."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Damaged ones have no metadata; of two with one name the first on the path is what is imported.
        if distribution.metadata is not None and distribution.name:
            found.setdefault(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution.version)
    return dict(sorted(found.items()))


def lock_environment(run_dir: Path) -> str:
    """Write environment.json (`coop.environment/v1`: Python, its platform, all packages) and return its digest."""
    document = {
        "format": "coop.environment/v1",
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "packages": installed_packages(),
    }
    data = dumps(document)
    write_bytes(run_dir / "environment.json", data)
    return sha256(data)


def hardware(device: torch.device) -> dict[str, Any]:
    """Return kind, model and size of what computes: no host name, no serial number, no bus address, no user."""
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "devices": [],
    }
    if device.type == "cuda":
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            found["devices"].append({"name": properties.name, "memory_bytes": properties.total_memory})
        found |= {"cuda": torch.version.cuda, "driver": _driver()}
    return found


def _cpu_model() -> str:
    """Return the processor's name from /proc/cpuinfo (x86, some ARM), else its architecture."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return named[1].strip() if named else platform.machine()


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver, where it says so."""
    version = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", version.read_text()) if version.is_file() else None
    return found[1] if found else None
