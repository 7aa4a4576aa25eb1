"""Checkpoints of a run: masters of the trainable weights, optimizer moments, counters and the data cursor; never a frozen weight, never a pickle.

    checkpoints/step-00000040/   tensors-00000.safetensors (one per process with a shard) · state.json · complete.json (written last: inventory of the others)

Learning rate, order of the data and random numbers are pure functions of the plan and the step, so they are not in it.
A folder appears under its name only when it is whole; one without `complete.json`, or under a temporary name, is not a checkpoint.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from governance_hooks.atomic import remove_leftovers
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.inventory import inventory
from train.module import TrainingModule
from train.optimizer import numbers_in

__all__ = ["COMPLETE", "CheckpointState", "folder_name", "folders", "load_tensors", "newest", "preflight", "resume", "shard_name", "state_of"]

NAME = re.compile(r"step-(\d{8})")
COMPLETE = "complete.json"


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What a checkpoint knows besides tensors."""

    plan: str
    """Digest of the plan it belongs to."""
    step: int
    """Optimizer steps done; the cursor into the data."""
    tokens: dict[str, list[int]]
    """Language -> [tokens read, tokens supervised] so far."""
    first_loss: float
    last_loss: float
    device: str
    """`cpu` or `cuda`; the two round differently."""
    processes: int
    """So many took it, and may go on from it."""


def folder_name(step: int) -> str:
    """Return the name of the checkpoint taken after optimizer step `step`."""
    return f"step-{step:08d}"


def shard_name(rank: int) -> str:
    """Return the file name of a process's tensors."""
    return f"tensors-{rank:05d}.safetensors"


def folders(root: Path) -> list[tuple[int, Path]]:
    """Return the complete checkpoints below `root` as (step, folder), oldest first."""
    found = [(int(match[1]), path) for path in sorted(root.glob("step-*")) if (match := NAME.fullmatch(path.name)) and (path / COMPLETE).is_file()]
    return sorted(found)


def preflight(root: Path, module: TrainingModule, keep: int) -> None:
    """Raise CoopError if the disk cannot hold the checkpoints to be kept, one more in the making, and the result."""
    one = sum(numbers_in(parameter) for parameter in module.model.trainable().values()) * 3 * 4  # master and two moments in float32
    need = one * (keep + 2)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < need:
        raise CoopError(
            f"too little disk space for checkpoints at {root}",
            value=f"{free / 1e6:.0f} MB free",
            allowed=f"at least {need / 1e6:.0f} MB",
            next="free space, then run the same command again",
        )


def state_of(module: TrainingModule, plan: str) -> CheckpointState:
    """Return what a checkpoint of the module's last step knows besides tensors."""
    assert module.first_loss is not None
    assert module.last_loss is not None
    return CheckpointState(
        plan=plan,
        step=module.completed_steps,
        tokens={language: list(counts) for language, counts in sorted(module.tokens.items())},
        first_loss=module.first_loss,
        last_loss=module.last_loss,
        device=module.device.type,
        processes=module.world.size,
    )


def newest(root: Path) -> tuple[Path, CheckpointState] | None:
    """Return the newest complete checkpoint, verified against its inventory, or None; clear what killed writers left.

    Raises CoopError if that checkpoint is damaged: falling back silently would hide a failing disk.
    """
    remove_leftovers(root)
    for path in root.glob("step-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)
    found = folders(root)
    if not found:
        return None
    folder = found[-1][1]
    marker = loads((folder / COMPLETE).read_bytes(), source=str(folder / COMPLETE))
    if marker.get("files") != inventory(folder, skip=[COMPLETE]):
        raise CoopError(
            f"checkpoint {folder} is damaged: its files differ from {COMPLETE}",
            next=f"check the disk; remove {folder} to resume from the one before, or from the start",
        )
    document: dict[str, Any] = loads((folder / "state.json").read_bytes(), floats=True, source=str(folder / "state.json"))
    return folder, CheckpointState(**document)


def resume(state: CheckpointState, module: TrainingModule, *, plan: str) -> None:
    """Put the counters back to where the checkpoint was taken.

    Raises CoopError if it belongs to another plan, or was taken on another kind of device or by another number of processes.
    """
    if state.plan != plan:
        raise CoopError("the checkpoint belongs to another plan", value=state.plan, allowed=plan, next="give the run of the changed plan a new name")
    for what, found, taken in (("kind of device", module.device.type, state.device), ("number of processes", module.world.size, state.processes)):
        if found != taken:
            raise CoopError(f"the checkpoint was taken with another {what}, and could not continue exactly", value=found, allowed=str(taken))
    module.completed_steps = state.step
    module.tokens = {language: (read, supervised) for language, (read, supervised) in state.tokens.items()}
    module.first_loss, module.last_loss = state.first_loss, state.last_loss


def load_tensors(folder: Path, module: TrainingModule) -> None:
    """Put weights and optimizer back to where the checkpoint was taken, each process its own shard where there are several."""
    own = folder / shard_name(module.world.rank)
    module.weights.load_state(load_file(own if own.is_file() else folder / shard_name(0)))
