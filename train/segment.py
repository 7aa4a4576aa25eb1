"""One start of a run: its folder, locked for one process, and the checks before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.manifest import Build, read_build
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.atomic import remove_leftovers
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Plan
from governance_hooks.process_lock import process_lock
from train.base_weights import read_base
from train.clock import WallClock
from train.energy import EnergyMeter
from train.module import TrainingModule
from train.record import read_record
from train.step_log import StepLog
from train.world import World

__all__ = ["RunFiles", "Segment", "check_base", "check_folder", "check_inputs", "check_processes", "earlier_seconds", "locked", "open_segment"]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of lines by step, which the first process of a run writes."""

    metrics: StepLog
    trace: StepLog
    starts: StepLog
    roots: StepLog

    @property
    def all(self) -> list[StepLog]:
        """Return all of them."""
        return [self.metrics, self.trace, self.starts, self.roots]


@dataclass(slots=True)
class Segment:
    """One start of a run in one process: its clock, its files, and what exists of it so far (a failure is recorded from this)."""

    run_dir: Path
    world: World
    clock: WallClock
    files: RunFiles | None = None
    """In the first process."""
    tokens: Tokens | None = None
    module: TrainingModule | None = None
    meter: EnergyMeter | None = None
    from_step: int | None = None
    """Where this segment begins, once that is known."""

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints are, which all processes write."""
        return self.run_dir / "checkpoints"


def open_segment(run_dir: Path, plan_bytes: bytes, plan: Plan, world: World) -> Segment:
    """Open the files of a run for one more start; raise CoopError or BadInput if there can be none."""
    remove_leftovers(run_dir)
    files = RunFiles(*(StepLog(run_dir / f"{name}.jsonl") for name in ("metrics", "trace", "starts", "checkpoints")))
    files.starts.cut(2**53)  # a torn last line, if the machine died while writing it
    check_folder(run_dir, plan_bytes, plan, files.starts)
    clock = WallClock(earlier_seconds(run_dir, files.metrics))
    if clock.seconds() >= plan.limits.minutes_on(world.size) * 60:
        raise CoopError(
            f"run {run_dir.name} has used its voted time",
            value=f"{clock.seconds() / 60:.1f} minutes",
            allowed=f"{plan.limits.minutes_on(world.size)} minutes on {world.size} devices, by limits.max_minutes and limits.max_device_minutes",
            next="propose a new plan",
        )
    return Segment(run_dir, world, clock, files)


def check_processes(plan: Plan, world: World) -> None:
    """Refuse more processes than the plan allows."""
    plan.limits.require_devices(world.size)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for this process; two trainings of one run would tear its files."""
    with process_lock(run_dir / "lock", f"training run {run_dir.name}"):
        yield


def check_folder(run_dir: Path, plan_bytes: bytes, plan: Plan, starts: StepLog) -> None:
    """Refuse a run that is over, belongs to another plan, or asks for more than the plan's limits."""
    earlier = read_record(run_dir)
    if earlier is not None and earlier["status"] == "completed":
        raise CoopError(f"run {run_dir.name} is completed", next="evaluate it, or give a new run a new name")
    written = run_dir / "plan.json"
    if written.is_file() and written.read_bytes() != plan_bytes:
        raise BadInput(
            f"{written} is another plan", value=sha256(plan_bytes), allowed=sha256(written.read_bytes()), next="give the run of the changed plan a new name"
        )
    if len(starts.lines()) >= plan.limits.max_starts:
        raise CoopError(
            f"run {run_dir.name} was started as often as the plan allows",
            value=len(starts.lines()),
            allowed=f"limits.max_starts = {plan.limits.max_starts}",
            next="propose a new plan",
        )


def check_base(plan: Plan, base: Path) -> None:
    """Hash the base weights and refuse what was not voted on."""
    found = read_base(base)
    if found.as_plan() != plan.base:
        raise BadInput(
            f"base weights at {base} are not those of the plan", value=found.digest, allowed=plan.base.digest, next="restore them, or plan and vote again"
        )


def check_inputs(plan: Plan, base: Path, build: Path) -> Build:
    """Hash the base again, identify the build, and refuse what is not what was voted on; rows are checked while they are read."""
    check_base(plan, base)
    found_build = read_build(build)
    if found_build.digest != plan.build.manifest:
        raise BadInput(
            f"dataset {build} is not the one of the plan",
            value=found_build.digest,
            allowed=plan.build.manifest,
            next="give the folder of the dataset the plan names, or plan and vote again",
        )
    return found_build


def earlier_seconds(run_dir: Path, metrics: StepLog) -> float:
    """Return the wall time of earlier segments; after kill -9 the last metrics line is the last sign of life."""
    seen = [float(line["wall_s"]) for line in metrics.lines() if "wall_s" in line]
    earlier = read_record(run_dir)
    return max([0.0, *seen, float(earlier["wall_s"]) if earlier else 0.0])
