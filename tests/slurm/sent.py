"""A cooperative whose members approve runs of a tiny model, and a real cluster with the enforcement that is lent to it: everything by the command line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commonweights.cli import main
from commonweights.workspace import open_workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.sshsig import generate_key, load_private_key
from governance_hooks.statement import now
from slurm.install import Installation
from slurm.site_folder import SiteFolder
from slurm.sync import sync
from tests.commonweights.conftest import Done
from tests.commonweights.pipeline import CONFIG, decide, prepare
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
PARTITIONS = (
    "PartitionName=coop Nodes=node[1-2] PriorityTier=1 PreemptMode=REQUEUE GraceTime=300 MaxTime=INFINITE State=UP\n"
    "PartitionName=urgent Nodes=node[1-2] PriorityTier=10 PreemptMode=off MaxTime=INFINITE State=UP\n"
    "PartitionName=free Nodes=node3 Default=YES MaxTime=INFINITE State=UP\n"
)  # fmt: skip
PREEMPT = "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nSlurmctldParameters=preempt_send_user_signal\n"
TRAINING = CONFIG["training"] | {"strategy": "ddp", "sequences_per_step": 4, "epochs": 1000, "validate_every_steps": 100_000}  # type: ignore[operator]


def coop(*words: str | Path) -> Done:
    """Run a command of the command line in this process, without the fixtures of one test."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["coop", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        sys.argv = before
    return Done(code, out.getvalue(), err.getvalue())


class Lender:
    """The cluster, the site on it, and the cooperative it is lent to."""

    def __init__(self, folder: Path) -> None:
        self.home, self.keys = folder / "home", {}
        for name in ("anna", "bela", "caro"):
            self.keys[name] = folder / "keys" / name
            generate_key(self.keys[name])
        founders = [word for path in self.keys.values() for word in ("--founder", path)]
        self("init", self.home, "--name", "home", "--period", "0", *founders, at_home=False)
        self.folder = prepare(coop, self.home, self.keys, folder)
        self.cluster = Cluster(nodes=3, gpus=2, partitions=PARTITIONS, prepare=lambda cluster: PREEMPT)
        try:
            self._lend()
        except BaseException:
            self.cluster.close()
            raise

    def _lend(self) -> None:
        cluster = self.cluster
        python = cluster.folder / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} TOKENIZERS_PARALLELISM=false exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.site = cluster.folder / "site"
        with open_workspace(self.home, read_only=True) as space:
            pin = space.coop.pin
        plan = Installation.plan(
            name="north", coop=pin, gated=["coop"], conf=cluster.conf, folder=self.site, key=cluster.folder / "key" / "north", python=python
        )
        plan.apply()
        public = cluster.folder / "key" / "north.public"
        public.write_text(load_private_key(Path(plan.site.private_key)).public.line + "\n")
        self("site", "add", "north", "--key", public)
        cluster.stop_controller()
        cluster.start_controller()
        cluster.reconfigure()
        self.profile()

    def profile(self, **changes: Any) -> None:
        """Write the site's profile."""
        shape = {"partition": "coop", "gres": "gpu:h100", "devices_per_node": 2, "cpus_per_device": 1, "notice_s": 15, "interface": "lo"}
        places = {"python": str(self.cluster.folder / "python"), "site": str(self.site), "base": str(self.folder / "tiny")}
        (self.home / "sites").mkdir(exist_ok=True)
        (self.home / "sites" / "north.yaml").write_text(yaml.safe_dump(shape | places | changes))

    def __call__(self, *words: str | Path, at_home: bool = True) -> Done:
        """Run a command that must succeed."""
        done = coop(*(("-C", self.home) if at_home else ()), *words)
        assert done.code == 0, done.err + done.out
        return done

    def vote(self, name: str, steps: int, **limits: int) -> None:
        """Have members approve a plan of four processes."""
        config = CONFIG | {"name": name, "training": TRAINING | {"max_steps": steps, "checkpoint_every_steps": 50}}
        config["limits"] = {"max_starts": 3, "max_devices": 4, "max_minutes": 30} | limits
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
        self("plan", self.folder / f"{name}.yaml")
        decide(coop, self.home, self.keys, "run", name)

    def submit(self, name: str, *more: str, site: str = "north") -> dict[str, int]:
        """Send an approved run while the site looks at its inbox; return the numbers of its jobs."""
        with self.pumping(collect=False):
            done = self("--json", "submit", name, "--site", site, "--yes", *more)
        jobs: dict[str, int] = done.json["jobs"]
        return jobs

    def sync(self) -> None:
        """Have the site's controller look at everything."""
        sync(SiteFolder.open(self.site), at=now())

    @contextlib.contextmanager
    def pumping(self, *, collect: bool = True) -> Iterator[None]:
        """Have the site's controller and the cooperative's writer do their rounds meanwhile."""
        done, failed = threading.Event(), list[BaseException]()
        command = [sys.executable, "-m", "commonweights.cli", "-C", str(self.home), "collect", "--site", "north"]

        def rounds() -> None:
            while not done.wait(0.5):
                try:
                    with contextlib.suppress(CoopError):  # before the first proof there is nothing to judge by
                        self.sync()
                    if collect:
                        self.cluster.run(*command, check=False, env={"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]})
                except BaseException as error:
                    failed.append(error)
                    return

        thread = threading.Thread(target=rounds)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert not failed, failed

    def wait(self, job: int, *states: str, seconds: float = 600) -> dict[str, str]:
        """Wait until a job is in one of these states."""
        return self.cluster.wait_state(job, *states, seconds=seconds)

    def wait_for(self, condition: Callable[[], object], seconds: float = 600) -> None:
        """Wait until a condition holds."""
        self.cluster.wait_for(condition, seconds)

    def steps(self, run: str) -> int:
        """Return how many steps a run has made."""
        path = self.home / "runs" / run / "trace.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def record(self, run: str) -> dict[str, Any]:
        """Return run.json."""
        value: dict[str, Any] = loads((self.home / "runs" / run / "run.json").read_bytes(), floats=True)
        return value

    def written(self, run: str) -> str:
        """Return everything the jobs of a run have written."""
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in sorted((self.home / "jobs" / run).rglob("*.out")))

    def weights(self, run: str) -> bytes:
        """Return the trained weights."""
        return (self.home / "runs" / run / "adapter" / "adapter_model.safetensors").read_bytes()

    def close(self) -> None:
        """End the cluster."""
        self.cluster.close()


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    """The cluster of a module's tests, which SLURM's clients in this process talk to as well."""
    made = Lender(tmp_path_factory.mktemp("lender"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(made.cluster.conf))
        yield made
    made.close()
