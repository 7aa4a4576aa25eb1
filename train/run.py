"""Executes one approved plan: check, load, prove, train, record; the same call resumes what was interrupted.

plan + proof ──► guard ──► re-hash base and build ──► open tokens, pack ──► load, prove isolation ──► steps ──► adapter, run.json
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.lightning import GovernanceCallback
from governance_hooks.inventory import FileEntry, file_entry
from governance_hooks.plan import Plan, read_plan
from governance_hooks.statement import now
from train import checkpoint
from train.callbacks.checkpoints import Checkpoints, Restore
from train.callbacks.interruption import SAVE, Interruption
from train.callbacks.metrics import Metrics
from train.callbacks.progress import ProgressReport
from train.callbacks.trace import Trace
from train.callbacks.validation import Validation
from train.checkpoint_writer import CheckpointWriter
from train.clock import WallClock
from train.console import quiet_libraries
from train.data import StepData, StepDataset, validation_samples
from train.data_wait import DataWait
from train.energy import EnergyMeter
from train.environment import hardware, lock_environment
from train.prepare import Progress, prepare
from train.record import Identity, Status, run_record
from train.reference import References, references
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


def _continue(segment: Segment, plan_digest: str) -> Path | None:
    """Put the counters back to the newest checkpoint and cut the files of lines to it; return its folder, if there is one."""
    assert segment.module is not None
    found = None
    with segment.world.together("looking for a checkpoint"):
        if segment.files is not None:
            found = checkpoint.newest(segment.checkpoints)
    said = segment.world.tell(dumps(asdict(found[1])) if found is not None else b"")
    state = checkpoint.CheckpointState(**loads(said, floats=True)) if said else None
    with segment.world.together("continuing from a checkpoint"):
        if state is not None:
            checkpoint.resume(state, segment.module, plan=plan_digest)
        segment.from_step = done = segment.module.completed_steps
        if segment.files is not None:
            segment.files.metrics.cut(done if state is not None else -1)
            segment.files.trace.cut(done)
            segment.files.roots.cut(done)
            if [line["step"] for line in segment.files.trace.lines()] != list(range(1, done + 1)):
                raise CoopError(
                    f"{segment.files.trace.path} does not cover the {done} steps of the checkpoint",
                    next="this run cannot be traced any more; start it under a new name",
                )
    return segment.checkpoints / checkpoint.folder_name(state.step) if state is not None else None


def _fit(
    segment: Segment,
    plan: Plan,
    plan_digest: str,
    dataset: StepDataset,
    guard: Guard,
    run_id: str,
    *,
    progress: Progress | None,
    status: Callable[[str], None] | None,
    wandb: bool,
) -> tuple[Status, str | None]:
    """Train until the end or until somebody says stop; return status and reason."""
    assert segment.module is not None
    assert segment.tokens is not None
    module, training, world, files = segment.module, plan.training, segment.world, segment.files
    governance = GovernanceCallback(guard)
    interruption = Interruption(segment.clock, plan.limits.minutes_on(world.size), world, switch=segment.run_dir / SAVE)
    preferences: References | None = None
    if training.objective == "dpo":  # measured on the model as it was loaded, so before a checkpoint is restored
        file = segment.run_dir / "reference.safetensors" if files is not None else None
        preferences = references(file, module.model, segment.tokens, dataset, training, plan=plan_digest, world=world, progress=progress)
        module.objective = preferences.objective
    writer = CheckpointWriter(segment.checkpoints, world, plan=plan_digest, keep=training.keep_checkpoints)
    restored = _continue(segment, plan_digest)
    wait = DataWait()
    metrics = Metrics(files.metrics, segment.clock, wait) if files is not None else None
    trace = Trace(files.trace, files.roots) if files is not None else None
    callbacks: list[pl.Callback] = [
        *([Restore(restored)] if restored is not None else []),
        governance,
        interruption,
        *([metrics, trace] if metrics is not None and trace is not None else []),
        Validation(
            validation_samples(segment.tokens.heldout, training),
            files.metrics if files is not None else None,
            every=training.validate_every_steps,
            pad=dataset.pad,
            pairs=preferences.heldout if preferences is not None else None,
        ),
        Checkpoints(writer, files.all if files is not None else [], governance, interruption, trace, every=training.checkpoint_every_steps),
    ]
    if progress is not None:
        callbacks.append(ProgressReport(progress, status, metrics))
    logger: Any = False
    if wandb and files is not None:
        from train.tracking import offline_wandb  # wandb starts a service process when it is imported and used; only on request

        logger = offline_wandb(segment.run_dir, run_id)
    with quiet_libraries(), interruption.listening():
        trainer = pl.Trainer(
            # One pass over a loader that holds exactly the remaining steps of all epochs.
            max_epochs=1,
            callbacks=callbacks,
            logger=logger,
            profiler=wait,
            default_root_dir=segment.run_dir,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            **module.spread.trainer(),
        )
        try:
            # Also with no step left: this is what loads a last checkpoint whose weights were never written out.
            trainer.fit(module, datamodule=StepData(dataset.from_step(module.completed_steps)))
        finally:
            if logger:
                logger.experiment.finish()
    if governance.stopped is not None:
        return "halted", f"{governance.stopped.kind}: {governance.stopped.reason}"
    if module.completed_steps < module.total_steps:
        return "halted", interruption.reason or "interrupted"
    # Once more, whatever the guard's own clock says: no result of a run that lost its consent in the last seconds.
    last = guard.stop(force=True)
    told = world.tell(f"{last.kind}: {last.reason}".encode() if last is not None else b"").decode()
    return ("halted", told) if told else ("completed", None)


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
            if segment.files is not None:
                write_bytes(run_dir / "plan.json", plan_bytes)
                segment.meter = EnergyMeter(country)
                started = {"step": len(segment.files.starts.lines()) + 1, "started": now(), "device": _device_name(world.device)}
                segment.files.starts.append(started | {"hardware": hardware(world.device), "environment": lock_environment(run_dir)})
        result: Status = "failed"
        reason: str | None = None
        outputs: list[FileEntry] = []
        identity = Identity(run_id, coop, sha256(plan_bytes), proposal)
        try:
            if segment.meter is not None:
                segment.meter.start()
            dataset = prepare(segment, plan, base=base, build=checked_build, seed=canary_seed, progress=progress)
            result, reason = _fit(segment, plan, identity.plan, dataset, guard, run_id, progress=progress, status=status, wandb=wandb)
            if result == "completed":
                outputs = _weights(segment, plan, base)
        finally:
            error = sys.exc_info()[1]
            if error is not None:
                # Lightning turns a second Ctrl-C into SystemExit.
                stopped = isinstance(error, KeyboardInterrupt | SystemExit)
                result, outputs = ("halted" if stopped else "failed"), []
                reason = "interrupted" if stopped else f"{type(error).__name__}: {error}".splitlines()[0][:500]
            record = run_record(segment, identity, status=result, reason=reason, outputs=outputs, unreleasable=guard.unreleasable)
            segment.module = None  # whoever evaluates next needs the memory
            guard.end(record)
        return record
