"""Executes one approved plan: check, load, prove, train, record; the same call resumes what was interrupted.

plan + proof ──► guard ──► re-hash base and build ──► open tokens, pack ──► load, prove isolation ──► steps ──► adapter, run.json
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.hooks.guard import Guard
from governance_hooks.inventory import FileEntry, file_entry
from governance_hooks.plan import Plan, read_plan
from governance_hooks.statement import now
from train.callbacks.interruption import INTERRUPTED
from train.clock import WallClock
from train.energy import EnergyMeter
from train.environment import hardware, lock_environment
from train.fit import Show, fit
from train.prepare import Progress, prepare
from train.record import Identity, Status, run_record
from train.segment import Segment, check_inputs, check_processes, locked, open_segment
from train.weights import save_weights
from train.world import World

__all__ = ["train"]


def _weights(segment: Segment, plan: Plan, base: Path) -> list[FileEntry]:
    assert segment.module is not None
    trained = segment.module.spread.gathered(segment.module.model)
    if segment.world.rank > 0:
        return []
    target = segment.run_dir / plan.training.output
    with atomic_directory(target, replace=True) as folder:
        save_weights(segment.module.model, folder, base=base, plan=plan, trained=trained)
    return [file_entry(segment.run_dir, path) for path in sorted(target.iterdir())]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def _log_start(segment: Segment, plan_bytes: bytes, country: str | None) -> None:
    """In the first process, write the plan and the line of this start, and make the energy meter ready."""
    if segment.files is None:
        return
    write_bytes(segment.run_dir / "plan.json", plan_bytes)
    segment.meter = EnergyMeter(country)
    device = segment.world.device
    started = {"step": len(segment.files.starts.lines()) + 1, "started": now(), "device": _device_name(device)}
    segment.files.starts.append(started | {"hardware": hardware(device), "environment": lock_environment(segment.run_dir)})


def _failure(error: BaseException) -> tuple[Status, str]:
    """Return status and reason of a run that an exception ended."""
    if isinstance(error, KeyboardInterrupt | SystemExit):  # Lightning turns a second Ctrl-C into SystemExit
        return "halted", INTERRUPTED
    return "failed", f"{type(error).__name__}: {error}".splitlines()[0][:500]


def train(
    run_dir: Path,
    plan_bytes: bytes,
    *,
    base: Path,
    build: Path,
    guard: Guard,
    run_id: str,
    coop: str,
    proposal: str | None,
    canary_seed: Path | None = None,
    progress: Progress | None = None,
    status: Callable[[str], None] | None = None,
    wandb: bool = False,
    threads: int | None = None,
    country: str | None = None,
    world: World | None = None,
) -> dict[str, Any]:
    """Train what the plan says into `run_dir` and return the run record (run.json); call it again to resume.

    A stop by the guard, a signal or the time limit is not an error: the record says `halted` and why, and a checkpoint is kept.

    Args:
        guard: blocks the start, is asked at every optimizer step boundary, and gets the record however the run ends.
        canary_seed: file with the seed of the plan's canaries, read only where the tokens have to be made.
        progress: called with a label, what is done and the total.
        status: called before each report of a step with its numbers in words.
        threads: CPU threads of torch; it does not enter the plan, and another number may change the last bits of the result.
        country: ISO 3166-1 alpha-3 code of where the machine stands, to state CO2 beside the energy.
        world: the processes of the run, connected; all of them make this call, and the first one writes its files.

    Raises:
        governance_hooks.report.Blocked: the gate does not pass; nothing was loaded or written.
        BadInput, CoopError: inputs differ from the plan, the folder belongs to another run, a proof failed, a loss was not finite.
    """
    plan, world = read_plan(plan_bytes), world or World()
    identity, show = Identity(run_id, coop, sha256(plan_bytes), proposal), Show(progress, status, wandb)
    with ExitStack() as held:
        with world.together("checking what it may do"):
            guard.start()
            if plan.coop != coop:
                raise BadInput("the plan belongs to another cooperative", value=plan.coop, allowed=coop)
            if threads is not None:
                torch.set_num_threads(threads)
            check_processes(plan, world)
            if world.rank == 0:
                held.enter_context(locked(run_dir))
                segment = open_segment(run_dir, plan_bytes, plan, world)
            else:
                segment = Segment(run_dir, world, WallClock())
            checked_build = check_inputs(plan, base, build)
            _log_start(segment, plan_bytes, country)
        result: Status = "failed"
        reason: str | None = None
        outputs: list[FileEntry] = []
        try:
            if segment.meter is not None:
                segment.meter.start()
            dataset = prepare(segment, plan, base=base, build=checked_build, seed=canary_seed, progress=progress)
            result, reason = fit(segment, plan, identity, dataset, guard, show)
            if result == "completed":
                outputs = _weights(segment, plan, base)
        finally:
            error = sys.exc_info()[1]
            if error is not None:
                result, reason = _failure(error)
                outputs = []
            record = run_record(segment, identity, status=result, reason=reason, outputs=outputs, unreleasable=guard.unreleasable)
            segment.module = None  # whoever evaluates next needs the memory
            guard.end(record)
        return record
