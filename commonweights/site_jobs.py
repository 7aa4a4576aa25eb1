"""The jobs a cooperative has at sites, put together from job folders, SLURM's queue, the log and what each site says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from commonweights.workspace import Workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.register import Register
from governance_hooks.statement import now
from slurm.client import Queued
from slurm.job import JobFolder, Sent, read_job, read_submitted
from slurm.profile import read_profiles
from slurm.sbatch import Kind

__all__ = ["SiteJob", "approval_left", "log_tail", "said_by_site", "site_jobs"]

_TAIL: Final = 64 * 1024
_LEDGER: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class SiteJob:
    """One job that was sent, and how SLURM shows it: several lines for a chain, none once it has forgotten it."""

    folder: JobFolder
    kind: Kind
    sent: Sent
    queued: tuple[Queued, ...] = ()


def job_folders(space: Workspace) -> Iterator[JobFolder]:
    """Yield the job folders of the cooperative and of the places its profiles name, by run and number; what is no job folder is passed over."""
    roots = [space.jobs, *(Path(one.jobs) for one in read_profiles(space.sites).values() if one.jobs)]
    paths = {path.parent.resolve() for root in roots for path in root.glob("*/*/job.json")}
    for path in sorted(paths, key=lambda one: (one.parent.name, len(one.name), one.name)):
        try:
            found = read_job(path)
        except CoopError:
            continue
        if found.job.coop == space.coop.pin:
            yield found


def site_jobs(space: Workspace, queued: Iterable[Queued] = ()) -> list[SiteJob]:
    """Return the jobs that were sent, oldest first, each with its lines of the queue."""
    lines: dict[str, list[Queued]] = {}
    for one in queued:
        lines.setdefault(one.number.partition("_")[0], []).append(one)
    found = []
    for folder in job_folders(space):
        submitted = read_submitted(folder.path)
        for kind, sent in submitted.jobs.items() if submitted is not None else ():
            # Numbers come again, and each cluster has its own: the order tells whose job it is.
            mine = tuple(one for one in lines.get(str(sent.job), ()) if one.comment == f"coop:{sent.order.removeprefix('sha256:')}")
            found.append(SiteJob(folder, kind, sent, mine))
    return found


def approval_left(register: Register, job: JobFolder) -> str:
    """Return what is left of the approval a job stands on: starts, minutes, time; or that it is halted."""
    proposal, run = register.proposals.get(job.job.proposal), register.runs.get(job.job.run)
    if proposal is None:
        return "the log does not know its approval"
    halt = proposal.halted(now())
    if halt is not None:
        return f"HALTED by {halt.by} until {halt.until}"
    wall_s, device_s = run.used_seconds() if run is not None else (0, 0)
    limits = job.plan.limits
    parts = [f"{proposal.uses - proposal.used} of {proposal.uses} starts", f"{max(0, limits.max_minutes - wall_s // 60)} of {limits.max_minutes} min"]
    if limits.max_device_minutes is not None:
        parts.append(f"{max(0, limits.max_device_minutes - device_s // 60)} of {limits.max_device_minutes} device-min")
    return ", ".join(parts) + (f", until {proposal.expires()}" if now() < proposal.expires() else f", EXPIRED {proposal.expires()}")


def log_tail(job: SiteJob, lines: int = 1) -> list[str]:
    """Return the last lines that are not empty of what a job has written last."""
    name = f"{job.folder.job.run}-{job.kind}-"
    numbers = {str(job.sent.job), *(one.number for one in job.queued)}
    written = [
        path for path in job.folder.path.glob("*.out") if path.name.startswith(name) and path.name[len(name) :].partition(".")[0].partition("-")[0] in numbers
    ]
    if not written and job.queued:  # tasks of a chain have numbers of their own
        written = [path for path in job.folder.path.glob("*.out") if path.name.startswith(name)]
    newest = max(written, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return []
    with newest.open("rb") as file:
        file.seek(max(0, newest.stat().st_size - _TAIL))
        text = file.read(_TAIL).decode(errors="replace")
    shown = ["".join(c if c.isprintable() else " " for c in line).rstrip() for line in text.splitlines()]
    return [line[:300] for line in shown if line.strip()][-lines:]


def said_by_site(site: Path, job: int, order: str | None) -> list[str]:
    """Return what a site has noted of a job and its order, oldest first: starts, refusals, ends; raise BadInput for a ledger that cannot be read."""
    said = []
    if order is not None:
        name = site / "orders" / order.removeprefix("sha256:")
        # One that has started a job is refused for any other; that says nothing about this one.
        if name.with_suffix(".no").is_file() and not name.with_suffix(".job").exists():
            with name.with_suffix(".no").open(encoding="utf-8", errors="replace") as file:
                said.append(f"order refused: {' '.join(file.read(2000).split())}")
    path = site / "ledger.jsonl"
    try:
        with path.open("rb") as ledger:
            ledger.seek(max(0, path.stat().st_size - _LEDGER))
            lines = ledger.read(_LEDGER).splitlines()
    except FileNotFoundError:
        return said
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    for line in lines:
        event = _event(line)
        if event.get("job") == job:
            rest = ", ".join(f"{name} {str(value)[:40]}" for name, value in sorted(event.items()) if name in ("code", "restart", "devices", "outcome"))
            said.append(f"{event.get('at', '')} {event.get('event', '')}: {rest}")
    return said


def _event(line: bytes) -> dict[str, Any]:
    try:
        value = loads(line)
    except CoopError:  # a line that is being written, or the first one, cut off
        return {}
    return value if isinstance(value, dict) else {}
