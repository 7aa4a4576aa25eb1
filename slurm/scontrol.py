"""SLURM's own word on a job, read so that no text its user chose can stand in for it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from governance_hooks.errors import CoopError, Refused

__all__ = ["Job", "batch_script", "parse_job", "scontrol", "shorten", "show_job"]

TIMEOUT_S: Final = 30
_LINES: Final = {
    "user": r"^   UserId=\S+?\(([0-9]+)\) GroupId=",
    "restart": r"^   Requeue=[01] Restarts=([0-9]+) BatchFlag=[0-9]",
    "batch": r"^   Requeue=[01] Restarts=[0-9]+ BatchFlag=([0-9])",
    "limit": r"^   RunTime=\S+ TimeLimit=(\S+) TimeMin=",
    "submitted": r"^   SubmitTime=(\S+) EligibleTime=",
    "nodes": r"^   NumNodes=([0-9]+) NumCPUs=",
}
_GRES: Final = re.compile(r"^   JOB_GRES=(\S+)$", re.MULTILINE)
_TIME: Final = re.compile(r"(?:(?P<days>[0-9]+)-)?(?P<hours>[0-9]+):(?P<minutes>[0-9]+):(?P<seconds>[0-9]+)")
_COUNT: Final = re.compile(r"gpu(?::[^:,()]+)?:([0-9]+)(?:\([^)]*\))?")


@dataclass(frozen=True, slots=True)
class Job:
    """What SLURM says of a job that is about to start."""

    user: int
    restart: int
    batch: bool
    minutes: int | None
    """Its time limit, rounded up; None if it has none."""
    submitted: int
    """Seconds since 1970; of a requeued job, when it was put back."""
    nodes: int
    devices: int
    """GPUs it was given, all nodes together."""


def scontrol(*command: str, program: str = "scontrol") -> bytes:
    """Run scontrol, or another client of SLURM, in UTC and return its output; raise CoopError if it fails."""
    try:
        done = subprocess.run([program, *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CoopError(f"{program} does not answer: {error}", next="is slurmctld up, and SLURM_CONF right?") from error
    if done.returncode:
        raise CoopError(f"{program} {' '.join(command[:3])} failed", value=done.stderr.decode(errors="replace").strip()[:300])
    return done.stdout


def show_job(number: int) -> Job:
    """Ask SLURM for a job. The caller's environment has TZ=UTC and no SLURM_TIME_FORMAT."""
    return parse_job(scontrol("-d", "show", "job", str(number)).decode(errors="replace"), number)


def parse_job(answer: str, number: int) -> Job:
    """Parse `scontrol -d show job N`, which shows all tasks where N is an array's number too.

    Raises:
        Refused: a line is missing, or there twice: a name or comment with a line break can add lines, but cannot take a true one away.
    """
    blocks = [one for one in re.split(r"^(?=JobId=)", answer, flags=re.MULTILINE) if one.startswith(f"JobId={number} ")]
    if len(blocks) != 1:
        raise Refused("SLURM's description of this job is not clear", value=f"{len(blocks)} jobs", allowed="one job of this number")
    text, found = blocks[0], {}
    for name, pattern in _LINES.items():
        values = re.findall(pattern, text, re.MULTILINE)
        if len(values) != 1:
            raise Refused(f"SLURM's description of this job is not clear about its {name}", value=values, allowed="one line about it")
        found[name] = values[0]
    gres = _GRES.findall(text)
    if len(gres) > 1:
        raise Refused("SLURM's description of this job is not clear about its devices", value=gres, allowed="one line about them")
    submitted = datetime.strptime(found["submitted"], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return Job(
        user=int(found["user"]),
        restart=int(found["restart"]),
        batch=found["batch"] == "1",
        minutes=_minutes(found["limit"]),
        submitted=int(submitted.timestamp()),
        nodes=int(found["nodes"]),
        devices=_devices(gres[0]) if gres else 0,
    )


def _minutes(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:  # UNLIMITED, Partition_Limit
        return None
    days, hours, minutes, seconds = (int(value or 0) for value in found.groups())
    return days * 1440 + hours * 60 + minutes + (seconds > 0)


def _devices(gres: str) -> int:
    items: Sequence[str] = re.split(r",(?![^(]*\))", gres)
    counts = [_COUNT.fullmatch(item) for item in items if item.startswith("gpu")]
    if None in counts:
        raise Refused("cannot count the devices of this job", value=gres, allowed="gpu:TYPE:COUNT")
    return sum(int(found[1]) for found in counts if found)


def batch_script(number: int) -> bytes:
    """Return the batch script of a job byte for byte as it was submitted."""
    return scontrol("write", "batch_script", str(number), "-")


def shorten(name: str, minutes: int) -> None:
    """Lower the time limit of a job, or of one task of an array (ARRAY_TASK)."""
    scontrol("update", f"JobId={name}", f"TimeLimit={minutes}")
