"""The steps of a build's parts under SLURM, by datatrove's executor: three job arrays, each after the one before.

An order of a site names the digest of one script, so a script's bytes are known before anything is submitted: `OnCluster` renders them through
datatrove, asks for the order, and submits these bytes. Three things of datatrove 0.10.1 stand in the way and are done otherwise:

- its script runs a pickle whose bytes no digest covers: ours names the work folder and the digest of its job.json, which names that of each part;
- its comment would have to stand in the script whose digest it holds: ours is an option of sbatch;
- its job that adds up statistics names, in its script, the number of the job before, which nobody knows beforehand: there is none.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from data_pipeline.handover import Work, read_work
from data_pipeline.steps import Progress
from data_pipeline.trove import SAID, STAGES, Stage, Step
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError, Refused

try:
    from datatrove.executor.slurm import SlurmPipelineExecutor
except ImportError as error:
    raise BadInput("the package datatrove is not installed", next="pip install 'commonweights[cluster]'") from error

__all__ = ["OnCluster", "Script", "Slurm", "main"]

_ARRAY: Final = 1000
"""Most jobs of an array; SLURM's own limit is 1001 unless an admin raised it. With more parts a job does several."""
_KEPT: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "SLURM_CONF")
"""Nothing else of the environment goes along with a job: what decides which code runs stands in the script."""


@dataclass(frozen=True, slots=True)
class Slurm:
    """What a site wants to hear of a job that needs no device."""

    partition: str
    minutes: int = 60
    """The longest a job of an array may take; a part of 16,384 records takes a core some seconds."""
    account: str | None = None
    qos: str | None = None
    setup: Sequence[str] = ()
    """Lines of shell before the first command: modules, an environment."""
    python: Sequence[str] = (sys.executable,)
    """The command that is Python on the nodes, a container's before it if need be."""
    cpus: int = 1
    """Of the job that finds the copies: families of near copies are dealt out to them. The others take one."""
    memory_gb: int = 2
    """Of a CPU."""
    at_once: int = 0
    """Most jobs of an array at a time, 0 for as many as SLURM starts."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Further options of sbatch, without the dashes."""


@dataclass(frozen=True, slots=True)
class Script:
    """A batch script that is about to be submitted."""

    stage: Stage
    data: bytes
    """The exact bytes SLURM will hold."""
    array: str
    """As SLURM writes it: 0-6, 0-6%2."""
    minutes: int

    @property
    def sha256(self) -> str:
        """What an order names."""
        return sha256(self.data)


_PLAIN: Final = re.compile(r"/[A-Za-z0-9._@+/-]*")
"""In other paths SLURM would replace percent signs, or see another option after a blank."""
_HELD: Final = ("JobHeldAdmin", "job requeued in held state")
"""What a site that checks orders does with a job it refuses, beside saying why in the job's AdminComment."""
POLL_S: Final = 5.0
_PATIENCE_S: Final = 60

Orders = Callable[[Sequence[Script]], Sequence[str | None]]
"""Says under which order each script is submitted (the job's comment), or None where no order is asked for."""


def _without_orders(scripts: Sequence[Script]) -> Sequence[str | None]:
    return [None for _ in scripts]


class _Array(SlurmPipelineExecutor):
    """One stage as an array of jobs. The script is the same for every try: a job whose tasks are done ends at once."""

    def __init__(self, work: Work, stage: Stage, site: Slurm) -> None:
        self.work, self.stage, self.site = work, stage, site
        tasks = 1 if stage == "join" else len(work.sources)
        options = {"account": site.account} if site.account else {}
        self.cpus = site.cpus if stage == "join" else 1
        super().__init__(
            [Step(str(work.folder), work.digest, stage, int(os.environ.get("SLURM_CPUS_PER_TASK") or 1))],
            tasks=tasks,
            tasks_per_job=math.ceil(tasks / _ARRAY),
            time=str(site.minutes),
            partition=site.partition,
            cpus_per_task=self.cpus,
            mem_per_cpu_gb=site.memory_gb,
            workers=site.at_once or -1,
            job_name=f"coop-build-{work.folder.name[:8]}-{stage}",
            qos=site.qos,  # none: else datatrove asks for one called normal, which a site may not have
            env_command="\n".join(site.setup),
            # A job that waits for one that failed would wait for ever.
            sbatch_args={**options, "kill-on-invalid-dep": "yes", "open-mode": "append", **site.arguments},
            logging_dir=str(work.folder / stage),
        )

    def script(self) -> Script:
        """Render the script through datatrove."""
        command = [*self.site.python, "-P", "-m", "data_pipeline.cluster", str(self.work.folder), self.work.digest, self.stage]
        arguments = self.get_sbatch_args(math.ceil(self.tasks / self.tasks_per_job))
        text = self.get_launch_file_contents(arguments, f"srun -l -n 1 --cpus-per-task={self.cpus} {shlex.join(command)}")
        # -p: bash takes neither functions nor a start file from whoever submits
        return Script(self.stage, text.replace("#!/bin/bash\n", "#!/bin/bash -p\n", 1).encode(), arguments["array"], self.site.minutes)

    def submit(self, script: Script, comment: str | None, after: str | None) -> str:
        """Have sbatch take the script, to run after another job has ended well; return the number of the job."""
        with self.logging_dir.open("ranks_to_run.json", "w") as file:
            json.dump(list(range(self.tasks)), file)  # where datatrove's jobs look their tasks up
        # singleton: who is asked for the same build twice does not do it twice at a time
        options = [f"--dependency=singleton{f',afterok:{after}' if after else ''}", *([f"--comment={comment}"] if comment else [])]
        done = _slurm("sbatch", "--parsable", *options, script=script.data)
        if done.returncode:
            said = done.stderr.decode(errors="replace").replace("sbatch: error: ", "").strip()
            raise CoopError(f"SLURM does not take the jobs of stage {self.stage}: {said[:500]}")
        return done.stdout.decode().split(";")[0].strip()


class OnCluster:
    """SLURM, by datatrove's executor.

    Args:
        site: what every job says.
        orders: under which orders scripts are submitted; asked once, before the first is submitted.
    """

    def __init__(self, site: Slurm, orders: Orders = _without_orders) -> None:
        self.site, self.orders = site, orders

    def run(self, work: Work, report: Progress) -> None:
        """Submit what is not done, and wait for it; whoever waits may be ended, and the same command waits again.

        Raises:
            BadInput: the folder's path is none for a batch script.
            CoopError: SLURM refuses a job, or a task ended without being done; names the stage, the parts and where they say why.
        """
        if not _PLAIN.fullmatch(str(work.folder)):
            raise BadInput("SLURM's options cannot hold this path", value=str(work.folder), allowed="a cooperative's folder of A-Z a-z 0-9 . _ @ + / -")
        arrays = [_Array(work, stage, self.site) for stage in STAGES]
        waiting = [(array, array.script()) for array in arrays if array.get_incomplete_ranks()]
        comments = self.orders([script for _, script in waiting]) if waiting else []
        jobs = list[str]()
        for (array, script), comment in zip(waiting, comments, strict=True):
            try:
                jobs.append(array.submit(script, comment, jobs[-1] if jobs else None))
            except CoopError:
                _cancel(jobs)
                raise
        refused = _ended(jobs, lambda: _tell(arrays, report))
        if refused is not None:
            _cancel(jobs)
            raise Refused(f"the site refuses a job: {refused}", next="mend that, then run the same command again: what is done is kept")
        for array in arrays:
            if missing := array.get_incomplete_ranks():
                parts = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
                raise CoopError(
                    f"the cluster did not do stage {array.stage} of parts {parts}",
                    next=f"read {work.folder / array.stage} (logs, slurm_logs), then run the same command again: what is done is kept",
                )


def _tell(arrays: Sequence[_Array], report: Progress) -> None:
    for array in arrays:
        report(SAID[array.stage], array.tasks - len(array.get_incomplete_ranks()), array.tasks)


def _ended(jobs: Sequence[str], beat: Callable[[], None]) -> str | None:
    """Wait until none of the jobs is in the queue any more; or return why a site's check holds one for good."""
    while jobs:
        asked = _slurm("squeue", "--noheader", "--me", "--format=%A|%F|%r")
        lines = [line.split("|") for line in asked.stdout.decode(errors="replace").splitlines()]
        ours = [line for line in lines if len(line) == 3 and line[1] in jobs]
        if not ours and not asked.returncode:  # a controller that is being restarted gives no answer
            return None
        for job, _, reason in ours:
            shown = _slurm("scontrol", "--oneliner", "show", "job", job).stdout.decode(errors="replace") if reason in _HELD else ""
            said = re.search(r" AdminComment=(coop: .*?) [A-Za-z:/]+=", shown)
            if said is not None:
                return said[1][:500]
        beat()
        time.sleep(POLL_S)
    return None


def _cancel(jobs: Sequence[str]) -> None:
    if jobs:
        _slurm("scancel", *jobs)


def _slurm(*command: str, script: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        return subprocess.run(command, input=script, capture_output=True, check=False, env=environment, timeout=_PATIENCE_S)
    except FileNotFoundError as error:
        raise BadInput(
            f"there is no {command[0]} on this machine", next="log in where jobs of this site are sent from, and run the same command there"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CoopError(f"{command[0]} gave no answer within {_PATIENCE_S} s", next="is the cluster's controller up? scontrol ping") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Do, on a node, the tasks of a stage that SLURM's number of this job stands for: FOLDER DIGEST STAGE."""
    folder, digest, stage = sys.argv[1:] if arguments is None else arguments
    if "SLURM_ARRAY_TASK_ID" not in os.environ or stage not in STAGES:
        raise BadInput("only a job of SLURM's runs this", value=stage, next="coop build make --executor slurm")
    named: dict[str, Stage] = {one: one for one in STAGES}
    _Array(read_work(Path(folder), digest), named[stage], Slurm(partition="")).run()


if __name__ == "__main__":
    main()
