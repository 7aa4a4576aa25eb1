"""The run record run.json: what was trained, on what, for how long, and with which result."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.inventory import FileEntry
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.statement import now
from train.step_log import StepLog

if TYPE_CHECKING:
    from train.segment import Segment

__all__ = ["Identity", "Status", "package_versions", "read_record", "run_record", "trained_records"]

PACKAGES = ("torch", "pytorch-lightning", "transformers", "peft", "tokenizers", "safetensors")
Status = Literal["completed", "halted", "failed"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run this is: its name and the digests it answers to."""

    run: str
    coop: str
    plan: str
    proposal: str | None


def package_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the result."""
    return {name: metadata.version(name) for name in PACKAGES}


def trained_records(trace: StepLog) -> list[str]:
    """Return the ids of all records that some optimizer step trained on, sorted."""
    return sorted({record for line in trace.lines() for record in line["records"]})


def read_record(run_dir: Path) -> dict[str, Any] | None:
    """Return run.json of an earlier segment, or None."""
    path = run_dir / "run.json"
    document: dict[str, Any] | None = loads(path.read_bytes(), floats=True, source=str(path)) if path.is_file() else None
    return document


def run_record(
    segment: Segment, identity: Identity, *, status: Status, reason: str | None, outputs: list[FileEntry], unreleasable: str | None = None
) -> dict[str, Any]:
    """Return the record, and write it as run.json in the first process, the only one that knows what was trained on.

    What a failed run never reached is null or empty.
    """
    if segment.files is None:
        return {"status": status, "reason": reason}
    module, tokens, clock = segment.module, segment.tokens, segment.clock
    for log in segment.files.all:
        log.close()
    records = trained_records(segment.files.trace)
    begun = segment.files.starts.lines()
    dropped = {language: count.too_long for language, count in tokens.train_counts.items() if count.too_long} if tokens is not None else {}
    document = {
        "format": "coop.run/v1",
        "run": identity.run,
        "coop": identity.coop,
        "plan": identity.plan,
        "proposal": identity.proposal,
        "status": status,
        "reason": reason,
        "unreleasable": unreleasable,
        "started": begun[0]["started"],
        "ended": now(),
        "wall_s": round(clock.seconds()),
        "starts": len(begun),
        "steps": module.completed_steps if module is not None else 0,
        "total_steps": module.total_steps if module is not None else 0,
        "tokens": {language: {"input": read, "supervised": supervised} for language, (read, supervised) in sorted(module.tokens.items())}
        if module is not None
        else {},
        "dropped": {"too_long": sum(dropped.values())},
        "dropped_by_language": dropped,
        "loss": {"first": module.first_loss, "last": module.last_loss} if module is not None else {"first": None, "last": None},
        "trained_root": "sha256:" + root([leaf_hash(record.encode()) for record in records]).hex(),
        "trained_records": len(records),
        "device": begun[-1]["device"],
        "processes": segment.world.size,
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "trainable_parameters": sum(parameter.numel() for parameter in module.model.trainable().values()) if module is not None else 0,
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()) if module is not None else 0,
        "outputs": outputs,
    }
    write_bytes(segment.run_dir / "run.json", dumps(document))
    return document
