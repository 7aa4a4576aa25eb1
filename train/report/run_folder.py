"""Reads what a run folder tells, finished or not; nothing of it is trusted to be whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan, read_plan
from train.step_log import StepLog

__all__ = ["RunFolder", "read_run_folder"]

MAX_BYTES: Final = 256 * 2**20
"""A file beyond this is refused; metrics.jsonl of a million steps is about as large."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The documents of one run; what does not exist yet is None or empty."""

    name: str
    plan: Plan
    record: dict[str, Any] | None
    starts: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    """Lines of metrics.jsonl with a loss."""
    validations: list[dict[str, Any]]
    """Lines of metrics.jsonl with a validation loss by language."""
    evaluation: dict[str, Any] | None


def read_run_folder(folder: Path) -> RunFolder:
    """Read a run folder that has started.

    Raises:
        BadInput: no run has started there, or a file is too large.
        CanonicalError, CoopError: a file is damaged.
    """
    if not (folder / "plan.json").is_file():
        raise BadInput(f"no run has started in {folder}", next="coop runs")
    _check(folder / "plan.json")
    metrics = _lines(folder / "metrics.jsonl")
    return RunFolder(
        name=folder.name,
        plan=read_plan((folder / "plan.json").read_bytes()),
        record=_document(folder / "run.json"),
        starts=_lines(folder / "starts.jsonl"),
        steps=[line for line in metrics if "loss" in line],
        validations=[line for line in metrics if "validation" in line],
        evaluation=_document(folder / "eval/report.json"),
    )


def _check(path: Path) -> None:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{path} is too large to show", value=path.stat().st_size, allowed=f"at most {MAX_BYTES} bytes")


def _lines(path: Path) -> list[dict[str, Any]]:
    _check(path)
    return StepLog(path).lines()


def _document(path: Path) -> dict[str, Any] | None:
    _check(path)
    if not path.is_file():
        return None
    document = loads(path.read_bytes(), floats=True, source=str(path))
    if not isinstance(document, dict):
        raise BadInput(f"{path} is no record", allowed="a JSON object")
    return document
