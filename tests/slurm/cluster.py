"""A real SLURM cluster for tests and benchmarks: munged, slurmctld and several slurmd on loopback, in a private folder, ended with its maker by PID."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.ports import free_ports

PROGRAMS = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "sbatch", "srun", "scontrol")
MEMBER = "nobody"
"""Who submits jobs when the cluster runs as root."""
PATIENCE_S = 300
"""So long nothing takes on a machine that is only slow."""
_NOT_TAKEN = ("SLURM", "SBATCH", "PYTHON", "LD_", "BASH", "PYTEST")
_CONF = """\
ClusterName=village
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={first}
SlurmUser={user}
SlurmdUser={owner}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits as long as a credential lives (120 s unless told, at least 5) before it may start again.
AuthInfo=socket={folder}/munge/s,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
# A machine that stands still for a minute is not a node that is lost, nor a job that did not begin.
MessageTimeout=60
TCPTimeout=60
BatchStartTimeout=300
UnkillableStepTimeout=500
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Nodes that pretend to be larger than the machine are not drained.
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=3600
GresTypes=gpu
NodeName=node[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=8 SocketsPerBoard=1 CoresPerSocket=8 RealMemory=64000 Gres=gpu:h100:{gpus}
"""


def programs() -> bool:
    """Tell whether a cluster can be started on this machine."""
    return all(shutil.which(program) for program in PROGRAMS)


class Cluster:
    """A running cluster; the machine's own SLURM is never touched.

    `nodes` nodes of 8 CPUs and `gpus` GPUs that schedule and hold nothing. Partition `coop`: all nodes but the last; `free`, the default: the last one.
    `partitions` replaces those lines. `prepare` is called when the folder and munged are there and SLURM is not: it may write files beside slurm.conf
    (job_submit.lua, prologs) and returns further lines of slurm.conf. `user` runs slurmctld (None: who runs the tests); slurmd always runs as who runs
    the tests.
    """

    def __init__(
        self, nodes: int = 3, gpus: int = 4, *, prepare: Callable[[Cluster], str] = lambda cluster: "", partitions: str | None = None, user: str | None = None
    ) -> None:
        self.nodes, self.gpus = nodes, gpus
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has at most 107 bytes
        self.folder.chmod(0o755)  # members' jobs read it
        self.owner = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
        self.user = user or self.owner
        self.member = MEMBER if os.geteuid() == 0 else None
        self.home = self.folder / "home"
        self.conf = self.folder / "slurm.conf"
        # Jobs take their submitter's environment with them; what tests are run with is none of theirs.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_TAKEN) and key != "ENV"}
        self.env = kept | {"SLURM_CONF": str(self.conf)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._make()
            named = f"PartitionName=free Nodes=node{nodes} Default=YES MaxTime=INFINITE State=UP\n"
            if nodes > 1:
                named += f"PartitionName=coop Nodes=node[1-{nodes - 1}] MaxTime=INFINITE State=UP\n"
            first = free_ports(nodes + 1)
            host = socket.gethostname().split(".")[0]
            names = {"host": host, "port": first, "first": first + 1, "last": first + nodes, "owner": self.owner, "gpus": gpus, "nodes": nodes}
            text = _CONF.format(**names, user=self.user, folder=self.folder)
            self.conf.write_text(text + (partitions if partitions is not None else named) + prepare(self))
            self.start()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        """Make the folders, the fake GPUs and munged."""
        for name in ("state", "run", "log", "home", "dev", *(f"spool/node{number + 1}" for number in range(self.nodes))):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").mkdir(mode=0o711)
        if self.user != self.owner:
            for name in ("state", "run", "log"):
                shutil.chown(self.folder / name, self.user)
        if self.member:
            shutil.chown(self.home, self.member)
        for number in range(self.gpus):  # 22.05 wants a file for each; with a device, CUDA_VISIBLE_DEVICES is set too
            path = self.folder / "dev" / f"nvidia{number}"
            os.mknod(path, 0o020666, os.makedev(1, 3)) if self.member else path.touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu Type=h100 File={self.folder}/dev/nvidia[0-{self.gpus - 1}]\n" if self.gpus else "")
        (self.folder / "cgroup.conf").touch()  # or it is looked for elsewhere
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        munge = self.folder / "munge"
        options = {"key-file": key, "socket": munge / "s", "pid-file": munge / "pid", "log-file": munge / "log", "seed-file": munge / "seed"}
        self._spawn("munged", "/usr/sbin/munged", "--foreground", "--num-threads=2", *(f"--{name}={value}" for name, value in options.items()))
        self.wait_for((munge / "s").exists)

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )  # fmt: skip

    def _end(self, *names: str, kill: bool = False) -> None:
        ending = [self._running.pop(name) for name in names if name in self._running]
        for process in ending:
            process.kill() if kill else process.terminate()
        for process in ending:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_controller(self) -> None:
        """Start slurmctld, on the state the last one left, and wait until it answers and the nodes told it what they are."""
        self._spawn("slurmctld", "/usr/sbin/slurmctld", "-D", "-f", str(self.conf))
        self.wait_for(lambda: self.states() and not any(state.startswith("unk") for state in self.states().values()))

    def stop_controller(self, *, kill: bool = False) -> None:
        """End slurmctld: it saves its state, unless it is killed."""
        self._end("slurmctld", kill=kill)

    def start(self) -> None:
        """Start slurmctld and the nodes, and wait until all nodes are idle."""
        for number in range(self.nodes):
            self._spawn(f"node{number + 1}", "/usr/sbin/slurmd", "-D", "-N", f"node{number + 1}", "-f", str(self.conf))
        self.start_controller()
        self.wait_for(lambda: set(self.states().values()) == {"idle"})

    def reconfigure(self) -> None:
        """Have all daemons read slurm.conf again."""
        self.run("scontrol", "reconfigure")

    def run(
        self,
        *command: str | Path,
        user: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        seconds: int = PATIENCE_S,
    ) -> Any:
        """Run a client command, as the user named or as who runs the tests; return what subprocess does, output as text."""
        options: dict[str, Any] = {"user": user, "group": "nogroup" if user == MEMBER else None, "extra_groups": []} if user and os.geteuid() == 0 else {}
        return subprocess.run(
            command, cwd=self.home, env=self.env | dict(env or {}), input=stdin, capture_output=True, text=True, check=check, timeout=seconds, **options
        )  # fmt: skip

    def submit(self, script: str, *options: str, user: str | None = None, env: Mapping[str, str] | None = None) -> Any:
        """Run sbatch with a script on its standard input, as a member; return what subprocess does: it may have been refused."""
        return self.run("sbatch", "--parsable", *options, user=user or self.member, env=env, stdin=script, check=False)

    def sbatch(self, script: str, *options: str, user: str | None = None, env: Mapping[str, str] | None = None) -> int:
        """Submit a batch script as a member and return the job's number."""
        done = self.submit(script, *options, user=user, env=env)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split(";")[0])

    def scontrol(self, *command: str, user: str | None = None) -> str:
        """Run scontrol, as who runs the tests unless told, and return its output."""
        return str(self.run("scontrol", *command, user=user).stdout)

    def job(self, number: int | str) -> dict[str, str]:
        """Return the fields of a job (scontrol show job), the first of an array."""
        line = re.split(r"\n(?=JobId=)", self.scontrol("--oneliner", "show", "job", str(number)))[0].replace("\n", " ")
        fields = re.findall(r"(?:^| )([A-Za-z:/]+)=(.*?)(?= [A-Za-z:/]+=|$)", line)
        return {name: value.strip() for name, value in fields}

    def squeue(self, *options: str) -> list[str]:
        """Return the lines of squeue, jobs that ended included; the format is "number state reason" unless an option names another."""
        chosen = options if any(option.startswith(("-o", "--format", "-O")) for option in options) else (*options, "--format=%i %T %r")
        return str(self.run("squeue", "--noheader", "--states=all", *chosen).stdout).splitlines()

    def state(self, number: int | str) -> str:
        """Return the state of a job: PENDING, RUNNING, COMPLETED and so on."""
        return self.squeue(f"--jobs={number}", "--format=%T")[0]

    def wait_for(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """Wait until a condition holds; fail with the controller's log."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s\n{self.log('slurmctld')[-6000:]}"
            time.sleep(0.05)

    def wait_state(self, number: int | str, *states: str, seconds: float = PATIENCE_S) -> dict[str, str]:
        """Wait until a job is in one of the states and return its fields."""
        self.wait_for(lambda: self.state(number) in states, seconds)
        return self.job(number)

    def output(self, number: int | str) -> str:
        """Return what a job wrote to its StdOut so far."""
        path = Path(self.job(number)["StdOut"])
        return path.read_text() if path.exists() else ""

    def states(self) -> dict[str, str]:
        """Return the state of each node: idle, alloc, mix, drain and so on."""
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %t", check=False).stdout.splitlines()
        return dict(line.split() for line in lines)

    def drained(self) -> dict[str, str]:
        """Return the nodes that take no job: a test of a refusal ends with this being empty."""
        return {node: state for node, state in self.states().items() if not re.fullmatch(r"(idle|alloc|mix|comp)", state)}

    def log(self, name: str) -> str:
        """Return the log of `slurmctld` or of a node, and what it printed."""
        paths = [self.folder / "log" / (f"{name}.log" if name == "slurmctld" else f"slurmd-{name}.log"), self.folder / "log" / f"{name}.out"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def cancel_all(self) -> None:
        """Cancel every job and wait until the nodes are idle: a module's tests share a cluster."""
        for number in self.run("squeue", "--noheader", "--format=%A", check=False).stdout.split():
            self.run("scancel", "--full", number, check=False)
        self.wait_for(lambda: not self.run("squeue", "--noheader").stdout)

    def close(self) -> None:
        """End all daemons and what their jobs left running, and remove the folder."""
        if "slurmctld" in self._running:
            for number in self.run("squeue", "--noheader", "--format=%A", check=False).stdout.split():
                self.run("scancel", "--full", "--signal=KILL", number, check=False)
        self._end(*(f"node{number + 1}" for number in range(self.nodes)))
        self._end("slurmctld", "munged")
        ours = f"SLURM_CONF={self.conf}".encode()
        for process in Path("/proc").glob("[0-9]*"):  # steps live on when their slurmd ends
            try:
                if ours in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), 9)
            except OSError:  # it ended meanwhile, or is another user's
                continue
        shutil.rmtree(self.folder, ignore_errors=True)  # a killed step may still write its last line
