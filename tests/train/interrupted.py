"""Runs that are interrupted, and what must be equal when they are resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from governance_hooks.canonical import loads


def interrupt_at(step: int, number: int = signal.SIGTERM) -> Callable[[str, int, int], None]:
    """Send this process a signal when `step` is reported."""

    def progress(label: str, done: int, total: int) -> None:
        if label == "training" and done == step:
            os.kill(os.getpid(), number)

    return progress


def lines(path: Path) -> list[dict[str, Any]]:
    return [loads(line, floats=True) for line in path.read_bytes().splitlines()]


def exact(folder: Path) -> tuple[bytes, list[Any], bytes]:
    """What must be equal between an uninterrupted and a resumed run."""
    timed = ("wall_s", "tokens_per_s", "supervised_per_s", "step_s", "data_s", "memory_peak_bytes")
    metrics = [{key: value for key, value in line.items() if key not in timed} for line in lines(folder / "metrics.jsonl")]
    return (folder / "adapter/adapter_model.safetensors").read_bytes(), metrics, (folder / "trace.jsonl").read_bytes()
