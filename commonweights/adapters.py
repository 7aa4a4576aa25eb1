"""Finds an adapter, what is known of it, and a model to write as GGUF: in a run, a release bundle or any folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonweights.end_of_run import read_record
from commonweights.run_inputs import find_build
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import file_entry, inventory, inventory_digest
from governance_hooks.plan import Plan, read_plan

if TYPE_CHECKING:
    from train.export.gguf_file import Source
    from train.export.merge import Origin

__all__ = ["Finished", "bundle_adapter", "finished_run", "folder_adapter", "model_of_folder", "model_of_run"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed run whose files are those its logged record names."""

    run: str
    folder: Path
    plan: Plan
    plan_digest: str
    build: Path | None
    """The build of its plan, if it is still here."""

    def origin(self) -> Origin:
        """Return what an export says of it."""
        from train.export.merge import Origin

        return Origin(self.run, self.plan.use.licence, run=self.run, plan=self.plan_digest, base=self.plan.base.digest, build=self.build)


def finished_run(space: Workspace, run: str) -> Finished:
    """Return a completed run; raise BadInput if it is not completed, may not be passed on, or its files are not those of its logged record."""
    record, folder = read_record(space, run), space.run(run)
    known = space.coop.register.run(run)
    if record["status"] != "completed" or known.record != sha256((folder / "run.json").read_bytes()):
        raise BadInput(f"run {run} is not completed, or the log knows another record of it", value=record["status"], allowed="completed", next="coop status")
    if record["unreleasable"] is not None:
        raise BadInput(f"the weights of run {run} may not be passed on", value=record["unreleasable"], next="build, plan, vote and train again")
    data = (folder / "plan.json").read_bytes()
    if sha256(data) != known.plan:
        raise BadInput(f"plan.json of run {run} is not the plan the log names", value=sha256(data), allowed=known.plan)
    for output in record["outputs"]:
        if file_entry(folder, folder / output["path"]) != output:
            raise BadInput(f"{output['path']} of run {run} is not the file run.json names", next="find out who changed it")
    plan, build = read_plan(data), None
    with contextlib.suppress(BadInput):  # the folder of a build may be gone; the fixed texts remain
        build = find_build(space, plan)
    return Finished(run, folder, plan, sha256(data), build)


def bundle_adapter(bundle: Path) -> tuple[Path, Origin]:
    """Return the adapter of a release bundle with what the bundle says of it; raise BadInput if a file is not the one release.json lists."""
    from model_card.bundle import read_bundle
    from train.export.merge import Origin

    found = read_bundle(bundle)
    missing = [path for path in found.missing if path != "proof.jsonl.gz"]
    if found.release is None or found.wrong or missing:
        raise BadInput(f"{bundle} is not a whole release", value=found.wrong[:3] or missing or found.malformed, next=f"coop verify {bundle}")
    plan = read_plan(found.data["plan.json"])
    origin = Origin(found.release.name, found.release.licence, run=found.release.run, plan=found.release.plan, base=plan.base.digest)
    return bundle / "adapter", origin


def folder_adapter(adapter: Path) -> tuple[Path, Origin]:
    """Return an adapter of unknown origin, or that of a release bundle."""
    from train.export.merge import Origin

    return bundle_adapter(adapter) if (adapter / "release.json").is_file() else (adapter, Origin(adapter.resolve().name))


def model_of_run(finished: Finished) -> Source:
    """Return the whole model of a run: what its full fine-tuning wrote, or its merged folder."""
    from train.export.gguf_file import Source
    from train.export.merge import read_export

    if finished.plan.training.method == "full":
        folder = finished.folder / "model"
        return Source(folder, finished.run, finished.plan.use.licence, inventory_digest(inventory(folder)), finished.plan.base.name)
    merged = finished.folder / "merged"
    if not merged.is_dir():
        raise BadInput(f"run {finished.run} has no merged weights yet", next=f"coop weights merge {finished.run}")
    source = model_of_folder(merged)
    if read_export(merged)["adapter"]["files"] != inventory(finished.folder / "adapter"):
        raise BadInput(f"{merged} was made from another adapter than the run's", next=f"remove it, then coop weights merge {finished.run}")
    return source


def model_of_folder(folder: Path) -> Source:
    """Return a merged folder as a model to convert; raise BadInput if it is none, or was changed."""
    from train.export.gguf_file import Source
    from train.export.merge import read_export

    record = read_export(folder)
    licence = record["licence"] or record["base"]["licence"]
    return Source(folder, record["name"], licence, record["weights"], record["base"]["name"])
