"""What every benchmark shares: the machine it ran on, and writing its result."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def cpu_name() -> str:
    """Return the processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def seconds(function: Callable[[], object], *, repeat: int = 5) -> float:
    """Return the best wall time of several calls, seconds."""
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


def publish(name: str, libraries: list[str], results: dict[str, Any]) -> None:
    """Print the result as JSON and keep it under benchmarks/results/."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=RESULTS.parent).stdout.strip()
    document = {
        "benchmark": name,
        "device": cpu_name(),
        "python": sys.version.split()[0],
        "versions": {library: metadata.version(library) for library in libraries},
        "commit": commit or None,
        "results": results,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)
