"""The steps of a run: from its newest checkpoint to its end, or to whoever stops it.

counters and files put back ──► callbacks ──► Lightning's loop, a batch a step ──► completed, or halted and why
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import CoopError
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.lightning import GovernanceCallback
from governance_hooks.plan import Plan
from train import checkpoint
from train.callbacks.checkpoints import Checkpoints, Restore
from train.callbacks.interruption import INTERRUPTED, SAVE, Interruption
from train.callbacks.metrics import Metrics
from train.callbacks.progress import ProgressReport
from train.callbacks.trace import Trace
from train.callbacks.validation import Validation
from train.checkpoint_writer import CheckpointWriter
from train.console import quiet_libraries
from train.data import StepData, StepDataset, validation_samples
from train.data_wait import DataWait
from train.prepare import Progress
from train.record import Identity, Status
from train.reference import References, references
from train.segment import Segment

__all__ = ["Show", "fit"]


@dataclass(frozen=True, slots=True)
class Show:
    """Who sees a run while it goes on."""

    progress: Progress | None = None
    """Called with a label, what is done and the total."""
    status: Callable[[str], None] | None = None
    """Called before each report of a step with its numbers in words."""
    wandb: bool = False


def fit(segment: Segment, plan: Plan, identity: Identity, dataset: StepDataset, guard: Guard, show: Show) -> tuple[Status, str | None]:
    """Train until the end or until somebody says stop; return status and reason."""
    assert segment.module is not None
    module, world = segment.module, segment.world
    preferences = _preferences(segment, plan, identity.plan, dataset, show.progress)  # on the model as it was loaded, so before a checkpoint is restored
    writer = CheckpointWriter(segment.checkpoints, world, plan=identity.plan, keep=plan.training.keep_checkpoints)
    restored = _continue(segment, identity.plan)
    governance = GovernanceCallback(guard)
    interruption = Interruption(segment.clock, plan.limits.minutes_on(world.size), world, switch=segment.run_dir / SAVE)
    wait = DataWait()
    callbacks = [
        *([Restore(restored)] if restored is not None else []),
        governance,
        interruption,
        *_records(segment, plan, dataset, preferences, wait),
    ]
    trace = next((callback for callback in callbacks if isinstance(callback, Trace)), None)
    logs = segment.files.all if segment.files is not None else []
    callbacks.append(Checkpoints(writer, logs, governance, interruption, trace, every=plan.training.checkpoint_every_steps))
    if show.progress is not None:
        metrics = next((callback for callback in callbacks if isinstance(callback, Metrics)), None)
        callbacks.append(ProgressReport(show.progress, show.status, metrics))
    logger: Any = False
    if show.wandb and segment.files is not None:
        from train.tracking import offline_wandb  # wandb starts a service process when it is imported and used; only on request

        logger = offline_wandb(segment.run_dir, identity.run)
    with quiet_libraries(), interruption.listening():
        try:
            # Also with no step left: this is what loads a last checkpoint whose weights were never written out.
            _trainer(segment, callbacks, logger, wait).fit(module, datamodule=StepData(dataset.from_step(module.completed_steps)))
        finally:
            if logger:
                logger.experiment.finish()
    if governance.stopped is not None:
        return "halted", f"{governance.stopped.kind}: {governance.stopped.reason}"
    if module.completed_steps < module.total_steps:
        return "halted", interruption.reason or INTERRUPTED
    # Once more, whatever the guard's own clock says: no result of a run that lost its consent in the last seconds.
    last = guard.stop(force=True)
    told = world.tell(f"{last.kind}: {last.reason}".encode() if last is not None else b"").decode()
    return ("halted", told) if told else ("completed", None)


def _preferences(segment: Segment, plan: Plan, plan_digest: str, dataset: StepDataset, progress: Progress | None) -> References | None:
    """Give the module the objective of a preference run; return what it is measured against, None in any other run."""
    assert segment.module is not None
    assert segment.tokens is not None
    if plan.training.objective != "dpo":
        return None
    module = segment.module
    file = segment.run_dir / "reference.safetensors" if segment.files is not None else None
    found = references(file, module.model, segment.tokens, dataset, plan.training, plan=plan_digest, world=segment.world, progress=progress)
    module.objective = found.objective
    return found


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


def _records(segment: Segment, plan: Plan, dataset: StepDataset, preferences: References | None, wait: DataWait) -> list[pl.Callback]:
    """Return what writes down the steps: metrics and trace in the first process, and the validation all processes share."""
    assert segment.tokens is not None
    files = segment.files
    written: list[pl.Callback] = [] if files is None else [Metrics(files.metrics, segment.clock, wait), Trace(files.trace, files.roots)]
    validation = Validation(
        validation_samples(segment.tokens.heldout, plan.training),
        files.metrics if files is not None else None,
        every=plan.training.validate_every_steps,
        pad=dataset.pad,
        members={language: counts.get("members", 0) for language, counts in plan.build.languages.items()},
        pairs=preferences.heldout if preferences is not None else None,
    )
    return [*written, validation]


def _trainer(segment: Segment, callbacks: list[pl.Callback], logger: Any, wait: DataWait) -> pl.Trainer:
    assert segment.module is not None
    return pl.Trainer(
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
        **segment.module.spread.trainer(),
    )
