"""SLURM's own programs as this house calls them: arguments apart, a small environment, and errors a person can act on."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance_hooks.errors import CoopError

__all__ = ["JOB", "NoSlurm", "Queued", "cancel", "queue", "sbatch", "show"]

JOB: Final = re.compile(r"[0-9]{1,10}(_[0-9]{1,4})?")
"""A job's number, or that of a task of an array."""
_SECONDS: Final = 60
# A job gets the environment of who sends it. Nothing else of it goes along: what the run needs stands in the script, which was ordered.
_KEPT: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "SLURM_CONF", "XDG_CACHE_HOME", "XDG_STATE_HOME")
_FIELDS: Final = "%i|%T|%M|%L|%D|%N|%r|%j|%k"


class NoSlurm(CoopError):
    """This machine has none of SLURM's programs, or they know of no cluster."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job as squeue shows it."""

    number: str
    state: str
    used: str
    left: str
    nodes: str
    where: str
    reason: str
    name: str
    comment: str


def _run(*command: str, folder: Path | None = None) -> str:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise NoSlurm(
            f"there is no {command[0]} on this machine", next="log in where jobs of this site are sent from, and run the same command there"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CoopError(f"{command[0]} gave no answer within {_SECONDS} s", next="is the cluster's controller up? scontrol ping") from error
    if done.returncode:
        said = " ".join(line.removeprefix(f"{command[0]}: error: ") for line in done.stderr.splitlines() if line.strip())
        if "configuration source" in said:
            raise NoSlurm(
                f"{command[0]} is on this machine, but knows of no cluster",
                value=said[-120:],
                next="log in where jobs of this site are sent from, or set SLURM_CONF, and run the same command again",
            )
        raise CoopError(f"{command[0]} says: {said[:1000] or f'exit code {done.returncode}'}", next="scontrol ping, if that is not plain enough")
    return done.stdout


def sbatch(script: Path, *options: str) -> int:
    """Send a batch script from its folder and return the job's number; raise CoopError with what the cluster says if it will not have it."""
    said = _run("sbatch", "--parsable", *options, script.name, folder=script.parent)
    return int(said.strip().partition(";")[0])


def cancel(jobs: Sequence[int]) -> None:
    """Take jobs back."""
    if jobs:
        _run("scancel", *map(str, jobs))


def queue(numbers: Sequence[int]) -> list[Queued]:
    """Return of these jobs those the controller still knows, running, waiting or ended a little while ago."""
    if not numbers:
        return []
    # squeue fails for a number it no longer knows, so it is asked for all of this user's jobs.
    said = _run("squeue", "--noheader", "--states=all", "--me", f"--format={_FIELDS}")
    known = {str(number) for number in numbers}
    found = [Queued(*parts) for line in said.splitlines() if len(parts := line.split("|", 8)) == 9]
    return [one for one in found if one.number.partition("_")[0] in known]


def show(job: str) -> dict[str, str]:
    """Return what the controller says of a job, by SLURM's own names; raise CoopError for one it does not know."""
    said = _run("scontrol", "show", "job", job)
    first = said.strip().split("\n\n")[0]
    found: dict[str, str] = {}
    for line in first.splitlines():
        name, _, value = line.strip().partition("=")
        if name in ("AdminComment", "Comment", "Command", "WorkDir", "StdOut"):  # may hold blanks: the whole line is theirs
            found[name] = value
            continue
        for word in line.split():
            name, _, value = word.partition("=")
            found.setdefault(name, value)
    return found
