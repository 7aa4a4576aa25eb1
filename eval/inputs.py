"""The inputs of an evaluation, re-hashed: what was voted and what the run wrote is what gets measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import FileEntry, inventory, inventory_digest, sha256_file
from governance_hooks.plan import Plan, read_plan

__all__ = ["Inputs", "check_inputs"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A plan and the run record that fits it, both checked against the files."""

    plan: Plan
    plan_digest: str
    record: Mapping[str, Any]


def _read(path: Path, next_step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}", next=next_step) from error


def _record(run_dir: Path, plan_digest: str) -> Mapping[str, Any]:
    path = run_dir / "run.json"
    record = loads(_read(path, "let the run finish first: coop status"), floats=True, source=str(path))
    if not isinstance(record, dict) or record.get("format") != "coop.run/v1":
        raise BadInput(f"{path} is not a run record", allowed="format coop.run/v1")
    if record.get("plan") != plan_digest:
        raise BadInput(f"{path} names another plan than plan.json beside it", value=record.get("plan"), allowed=plan_digest)
    if record.get("status") != "completed":
        raise BadInput(f"{path}: the run is not completed", value=record.get("status"), allowed="completed", next="finish or resume the run, then evaluate")
    return record


def _check_weights(run_dir: Path, output: str, record: Mapping[str, Any]) -> None:
    found: list[FileEntry] = [{"path": f"{output}/{entry['path']}", "size": entry["size"], "sha256": entry["sha256"]} for entry in inventory(run_dir / output)]
    named = sorted((entry for entry in record.get("outputs", []) if entry["path"].startswith(f"{output}/")), key=lambda entry: str(entry["path"]))
    if found != named:
        differing = sorted({entry["path"] for entry in found if entry not in named} | {entry["path"] for entry in named if entry not in found})
        raise BadInput(f"{run_dir / output} is not what the run wrote", value=differing, allowed="exactly the outputs of run.json")


def _check_base(base: Path, plan: Plan) -> None:
    found = inventory(base)
    if inventory_digest(found) != plan.base.digest:
        named = {file.path: file.sha256 for file in plan.base.files}
        differing = sorted(path for path, _ in named.items() ^ {entry["path"]: entry["sha256"] for entry in found}.items())
        raise BadInput(f"{base} is not the base the plan names ({plan.base.name})", value=sorted(set(differing))[:5], allowed=plan.base.digest)


def _check_build(build: Path, plan: Plan) -> None:
    path = build / "manifest.json"
    data = _read(path, "name the folder of the plan's dataset")
    if sha256(data) != plan.build.manifest:
        raise BadInput(f"{build} is not the dataset the plan names", value=sha256(data), allowed=plan.build.manifest)
    for entry in loads(data, floats=True, source=str(path))["files"]:
        file = build / entry["path"]
        if not file.is_file() or file.stat().st_size != entry["size"] or sha256_file(file) != entry["sha256"]:
            raise BadInput(f"{file} is missing or differs from the manifest", next="build again from the log and compare the digests")


def check_inputs(run_dir: Path, *, base: Path, build: Path, progress: Progress | None = None) -> Inputs:
    """Re-hash plan, weights, base and build against the plan and the run record; raise BadInput with the first difference."""
    data = _read(run_dir / "plan.json", "name a run folder: runs/<run>")
    plan = read_plan(data, source=str(run_dir / "plan.json"))
    record = _record(run_dir, sha256(data))
    checks: list[Callable[[], None]] = [
        lambda: _check_weights(run_dir, plan.training.output, record),
        lambda: _check_base(base, plan),
        lambda: _check_build(build, plan),
    ]
    for done, check in enumerate(checks, 1):
        check()
        if progress:
            progress("check inputs", done, len(checks))
    return Inputs(plan, sha256(data), record)
