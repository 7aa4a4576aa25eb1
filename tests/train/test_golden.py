"""Losses and gradient norms of a tiny model, kept in git: a change that is not meant to change numbers must not change these.

Other processors and library versions round differently, so numbers may differ by a ten-thousandth of themselves. After a change that is
meant to change them: `COOP_WRITE_GOLDEN=1 pytest tests/train -k git`, and say in the commit why.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import loads

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, folder: Path) -> None:
    """Compare a run's losses and gradient norms with those kept in git."""
    measured = [loads(line, floats=True) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    found = [(line["step"], line["loss"], line["grad_norm"]) for line in measured if "loss" in line]
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("COOP_WRITE_GOLDEN") == "1":
        path.write_text("".join(f"{step} {loss:.9g} {norm:.9g}\n" for step, loss, norm in found))
    expected = [tuple(float(number) for number in line.split()) for line in path.read_text().splitlines()]
    assert len(found) == len(expected) == 8
    for ours, kept in zip(found, expected, strict=True):
        assert ours == pytest.approx(kept, rel=1e-4)


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_losses_and_gradient_norms_are_those_kept_in_git(tmp_path: Path, plan_of: Callable[..., bytes], go: Callable[..., Any], method: str) -> None:
    go(tmp_path / "run", plan_of(method=method, max_steps=8, **({"lora": None} if method == "full" else {})))
    check_golden(method, tmp_path / "run")
