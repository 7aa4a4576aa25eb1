"""The folder of a job: what its processes are told, frozen when it is sent, and where its logs go.

jobs/RUN/N/   job.json  plan.json  train.sbatch  eval.sbatch  card.sbatch  orders/KIND.json  submitted.json  and the logs
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, SiteName, Slug, Strict
from governance_hooks.plan import Plan, explain_validation, read_plan
from slurm.sbatch import Kind

__all__ = ["Job", "JobFolder", "Sent", "Submitted", "new_folder", "read_job", "read_submitted"]

_MAX: Final = 8 << 20
"""Bytes; plans name every file of their base weights."""


class Job(Strict):
    """What the processes of a job are told: job.json. It says where things lie; what they must be is in the plan, and what may be done in the log."""

    format: Literal["coop.job/v1"] = "coop.job/v1"
    coop: Digest
    """Digest of the founding statement: the proof at the site must be of this cooperative."""
    site: SiteName
    folder: str
    """The site's folder: proof, clearances, what it has signed."""
    run: Slug
    plan: Digest
    proposal: Digest
    devices: Annotated[int, Field(ge=1)]
    run_dir: str
    base: str
    build: str
    canary_seed: str
    country: str | None
    """Where the site stands, ISO 3166-1 alpha-3."""


class Sent(Strict):
    """One job that SLURM took: its number there, and the order it names."""

    job: Annotated[int, Field(ge=1)]
    order: Digest


class Submitted(Strict):
    """The jobs of a folder, by kind: submitted.json."""

    format: Literal["coop.submitted/v1"] = "coop.submitted/v1"
    jobs: dict[Kind, Sent]


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job folder as read: what it says, and the plan byte for byte."""

    path: Path
    job: Job
    plan_bytes: bytes
    plan: Plan

    def order(self, kind: Kind) -> bytes:
        """Return the operator's order for one of its jobs; raise BadInput if it is not there."""
        return _read(self.path / "orders" / f"{kind}.json")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX + 1)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}", next="coop submit PLAN --site NAME, which writes job folders") from error
    if len(data) > _MAX:
        raise BadInput(f"{path} is too long", allowed=f"{_MAX} bytes")
    return data


def read_job(path: Path) -> JobFolder:
    """Read a job folder; raise BadInput for one that is not whole, or whose plan is not the one job.json names."""
    data = _read(path / "job.json")
    value = loads(data, source=str(path / "job.json"))
    try:
        job = Job.model_validate(value)
    except ValidationError as error:
        raise explain_validation(error, Job, str(path / "job.json")) from error
    plan = _read(path / "plan.json")
    if sha256(plan) != job.plan:
        raise BadInput(f"{path / 'plan.json'} is not the plan this job was sent for", value=sha256(plan), allowed=job.plan, next="coop submit again")
    return JobFolder(path, job, plan, read_plan(plan, source=str(path / "plan.json")))


def read_submitted(path: Path) -> Submitted | None:
    """Return the jobs that were sent from a job folder; None if none were. Raises BadInput for a file that is not ours."""
    if not (path / "submitted.json").is_file():
        return None
    try:
        return Submitted.model_validate(loads(_read(path / "submitted.json"), source=str(path / "submitted.json")))
    except ValidationError as error:
        raise explain_validation(error, Submitted, str(path / "submitted.json")) from error


def new_folder(jobs: Path, run: str) -> Path:
    """Return the folder the next job of a run gets; an earlier one stays as it is, for its job may still wait."""
    taken = [int(one.name) for one in (jobs / run).glob("[0-9]*") if one.name.isdecimal()]
    return jobs / run / str(max(taken, default=0) + 1)


def write_files(folder: Path, job: Job, plan: bytes, scripts: dict[Kind, str]) -> None:
    """Write what does not change any more into a folder that is being made."""
    (folder / "job.json").write_bytes(dumps(job.model_dump()))
    (folder / "plan.json").write_bytes(plan)
    for kind, text in scripts.items():
        (folder / f"{kind}.sbatch").write_text(text, encoding="utf-8")
