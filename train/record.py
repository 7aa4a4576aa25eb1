"""The run record run.json: what was trained, on what, for how long, and with which result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.inventory import FileEntry, file_entry
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.statement import now
from train.energy import total_energy
from train.optimizer import numbers_in
from train.step_log import StepLog

if TYPE_CHECKING:
    from train.segment import Segment

__all__ = ["EVIDENCE", "Identity", "Status", "package_versions", "read_record", "records_root", "run_record", "trained_records"]

EVIDENCE = ("checkpoints.jsonl", "environment.json", "metrics.jsonl", "starts.jsonl", "trace.jsonl")
"""Files of the run folder whose digests stand in run.json, and with it under the signed end of the run."""

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


def records_root(records: Iterable[str]) -> str:
    """Return the Merkle root (RFC 6962) over record ids, each once, sorted."""
    return "sha256:" + root([leaf_hash(record.encode()) for record in sorted(set(records))]).hex()


def read_record(run_dir: Path) -> dict[str, Any] | None:
    """Return run.json of an earlier segment, or None."""
    path = run_dir / "run.json"
    document: dict[str, Any] | None = loads(path.read_bytes(), floats=True, source=str(path)) if path.is_file() else None
    return document


def _segments(run_dir: Path, starts: list[dict[str, Any]], last: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each start came to: earlier ones from the record they left (a killed one left none), the last as given."""
    earlier = {segment["start"]: segment for segment in (read_record(run_dir) or {"segments": []})["segments"]}
    killed = {"ended": None, "status": "killed", "cause": None, "from_step": None, "to_step": None, "seconds": None, "energy": None}
    begun = [{"start": line["step"], **{name: line[name] for name in ("started", "device", "environment")}} for line in starts]
    return [*(earlier.get(one["start"], one | killed) for one in begun[:-1]), begun[-1] | last]


def run_record(
    segment: Segment, identity: Identity, *, status: Status, reason: str | None, outputs: list[FileEntry], unreleasable: str | None = None
) -> dict[str, Any]:
    """Return the record, and write it as run.json in the first process, the only one that knows what was trained on.

    What a failed run never reached is null or empty.
    """
    files = segment.files
    if files is None:
        return {"status": status, "reason": reason}
    for log in files.all:
        log.close()
    run_dir, module, tokens, clock = segment.run_dir, segment.module, segment.tokens, segment.clock
    records = trained_records(files.trace)
    begun = files.starts.lines()
    dropped = {language: count.too_long for language, count in tokens.train_counts.items() if count.too_long} if tokens is not None else {}
    ended = now()
    last = {
        "ended": ended,
        "status": status,
        # Not the whole reason: an error's message may hold a path, and this list stays in the record when the run goes on.
        "cause": reason.partition(":")[0] if reason else None,
        "from_step": segment.from_step,
        "to_step": module.completed_steps if module is not None else None,
        "seconds": round(clock.seconds() - clock.earlier_s, 1),
        "energy": segment.meter.stop() if segment.meter is not None else None,
    }
    segments = _segments(run_dir, begun, last)
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
        "ended": ended,
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
        "trained_root": records_root(records),
        "trained_records": len(records),
        "device": begun[-1]["device"],
        "hardware": begun[-1]["hardware"],
        "environment": begun[-1]["environment"],
        "segments": segments,
        "energy": total_energy(segments),
        "evidence": [file_entry(run_dir, run_dir / name) for name in EVIDENCE if (run_dir / name).is_file()],
        "processes": segment.world.size,
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "trainable_parameters": sum(numbers_in(parameter) for parameter in module.model.trainable().values()) if module is not None else 0,
        "parameters": sum(numbers_in(parameter) for parameter in module.model.parameters()) if module is not None else 0,
        "outputs": outputs,
    }
    write_bytes(run_dir / "run.json", dumps(document))
    return document
