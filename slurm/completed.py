"""Whether a run is trained to its end: then another start would only be used up, and its evaluation may begin. Its record may lie there before the log
knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from governance_hooks.errors import BadInput, Complete, Refused
from slurm.outbox import read_small

__all__ = ["is_complete", "require_complete", "require_incomplete"]

_MAX: Final = 16 << 20
"""Bytes of a record that are read at all."""


class _Record(BaseModel):
    """What is read of run.json here."""

    model_config = ConfigDict(extra="ignore", strict=True)

    status: str
    run: str
    plan: str


def is_complete(folder: Path, run: str, plan: str) -> bool:
    """Tell whether a run's folder holds the record of exactly this run of this plan, and it says completed.

    A record that cannot be read says nothing: the training, which runs as whoever wrote it, looks again before its first step.
    """
    try:
        record = _Record.model_validate_json(read_small(folder / "run.json", _MAX))
    except (BadInput, ValidationError):
        return False
    return (record.status, record.run, record.plan) == ("completed", run, plan)


def require_incomplete(folder: Path | None, run: str, plan: str, *, logged: str | None) -> None:
    """Raise Complete for a run that is trained to its end, by the log or by the record in its folder.

    Args:
        folder: of the run, if it is known here.
        logged: how the run stands in the log; None where that knows no run of this name.
    """
    if logged == "completed" or (folder is not None and is_complete(folder, run, plan)):
        where = f": its result is in {folder}" if folder is not None else ""
        first = "" if logged == "completed" else "coop collect, which logs its end; then "
        raise Complete(f"run {run} is complete{where}", next=f"{first}coop eval {run}; another training is a new run under a name and an approval of its own")


def require_complete(folder: Path, run: str, plan: str) -> None:
    """Raise Refused for a run whose folder does not say that it is trained to its end: the training before was cancelled, or failed."""
    if not is_complete(folder, run, plan):
        raise Refused(
            f"run {run} is not trained to its end, so nothing of it is measured",
            value=str(folder / "run.json"),
            allowed="the record of a completed run of this plan",
            next=f"coop jobs says how its training ended; coop submit {run} goes on where it stopped, with an evaluation behind it",
        )
