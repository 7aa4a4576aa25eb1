"""Finds the base weights and the build a plan names, by digest, wherever they lie."""

from __future__ import annotations

from pathlib import Path

from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan

__all__ = ["find_base", "find_build"]


def find_build(space: Workspace, plan: Plan) -> Path:
    """Return the build folder whose manifest has the plan's digest."""
    for manifest in sorted((space.root / "builds").glob("*/manifest.json")):
        if sha256(manifest.read_bytes()) == plan.build.manifest:
            return manifest.parent
    raise BadInput("no dataset of this cooperative has the digest the plan names", value=plan.build.manifest, next="restore the dataset's folder, or plan anew")


def find_base(plan: Plan, given: Path | None) -> Path:
    """Return the folder given, or the cached base weights if they are the plan's."""
    if given is not None:
        return given
    from train.base_weights import cached_base

    found = cached_base()
    if found.digest != plan.base.digest:
        raise BadInput(
            f"the cached base weights are not {plan.base.name} of the plan", value=found.digest, allowed=plan.base.digest, next="give the folder with --base"
        )
    return found.folder
