"""A cluster with the enforcement installed, lent to a village whose members approve runs: real keys, a real log, a real SLURM."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from governance_hooks.canonical import dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.plan import Limits
from governance_hooks.site.document import read_document
from governance_hooks.site.order import TYPE, Order, sign_order
from governance_hooks.sshsig import load_private_key
from governance_hooks.statement import now, shift
from slurm.install import Installation
from slurm.outbox import read_entries
from slurm.site_folder import SiteFolder, deliver_proof
from slurm.sync import Pass, sync
from tests.slurm.cluster import Cluster
from tests.village import RULES, Approved, Village, found

SCRIPT = "#!/bin/bash -p\necho trained\n"
SLEEP = "#!/bin/bash -p\necho trained\nsleep 600\n"


class Voted:
    """A plan members approved: its bytes and the proposal."""

    def __init__(self, plan: bytes, proposal: str) -> None:
        self.plan, self.proposal = plan, proposal


class Enforced:
    """The site `north` of the village, with partition `coop` gated."""

    def __init__(self, **options: Any) -> None:
        self.stack = ExitStack()
        self.cluster = Cluster(**options)
        self.stack.callback(self.cluster.close)
        with self.stack.pop_all() as undo:  # a half-started cluster is ended too
            self._install(undo)
            self.stack = undo.pop_all()

    def _install(self, stack: ExitStack) -> None:
        cluster = self.cluster
        root = cluster.folder / "village"
        keys, operator = found(root, kinds={kind: RULES.model_copy(update={"minimum_period_s": 1}).model_dump() for kind in ("run", "release", "halt")})
        self.coop = stack.enter_context(Cooperative.open(root))
        self.village = Village(root, self.coop, keys, operator)
        self.coop.clock = now  # a cluster has the time of the day
        self.approved = Approved(self.village)
        for path in (self.approved.base, self.approved.build.parent, self.approved.build):
            path.chmod(0o755)
        python = cluster.folder / "python"
        _write_python(python, cluster)
        self.path = cluster.folder / "site"
        self.installation = Installation.plan(
            name="north",
            coop=self.coop.register.coop,
            gated=["coop"],
            conf=cluster.conf,
            folder=self.path,
            key=cluster.folder / "key" / "north",
            python=python,
        )
        self.before = cluster.conf.read_bytes()
        self.installation.apply()
        self.key = load_private_key(Path(self.installation.site.private_key))
        said = {"site": "north", "key": self.key.public.line, "lender": None, "device": "h100", "device_hours": None}
        self.say("coop.site/v1", said, "operator")
        cluster.stop_controller()
        cluster.start_controller()
        cluster.reconfigure()
        self.voted = self.vote("shared", max_starts=100, max_devices=4, max_minutes=1000)
        self.refresh()

    @property
    def folder(self) -> SiteFolder:
        """The site's folder, opened."""
        return SiteFolder.open(self.path)

    def say(self, kind: str, payload: Any, author: str, *signers: Any) -> Any:
        """Append a statement dated now."""
        self.village.clock = max(self.village.clock, now())
        return self.village.say(kind, payload, author, *signers)

    def vote(self, name: str, **limits: int) -> Voted:
        """Have members approve a plan with these limits, and wait until the approval may be used."""
        self.village.clock = max(self.village.clock, now())
        plan = dumps(self.approved.make_plan(name=name, limits=Limits(**limits)).model_dump())
        proposal = self.village.approve("run", sha256(plan), uses=limits["max_starts"])
        while now() <= self.village.clock:  # members waited out the vote by turning the clock of the village
            time.sleep(0.05)
        return Voted(plan, proposal)

    def refresh(self) -> Pass:
        """Bring the newest proof to the site and have its controller look at everything."""
        deliver_proof(self.path, self.coop.proof().dumps())
        return self.sync()

    def collect(self) -> None:
        """Put what the site has signed into the log, as the cooperative's writer does."""
        held = set(self.coop.log.entries())
        for one in read_entries(self.path / "outbox"):
            if one.data not in held:
                self.coop.append(one.data)

    def sync(self) -> Pass:
        """Do one pass, as who runs slurmctld."""
        if self.cluster.user == self.cluster.owner:
            return sync(self.folder, at=now())
        command = [self.installation.site.python, "-c", "from commonweights.cli import main; main()", "slurm", "sync", "--site", str(self.path)]
        self.cluster.run(*command, user=self.cluster.user)
        return Pass(0, False, (), (), 0, ())

    def order(
        self, script: str = SCRIPT, *, voted: Voted | None = None, plan: bytes | None = None, key: Any = None, run: str | None = None, **changes: Any
    ) -> str:
        """Put an order into the inbox, and have it looked at; return its hexadecimal digits."""
        used = voted or self.voted
        plan = used.plan if plan is None else plan
        said: dict[str, Any] = {"site": "north", "kind": "train", "run": run or f"run-{used.proposal[7:13]}", "plan": sha256(plan), "proposal": used.proposal}
        said |= {"script": sha256(script.encode()), "user": 65534, "nodes": 2, "devices": 2, "minutes": 10, "array": None, "expires": shift(now(), 3600)}
        document = sign_order(Order(**said | changes), coop=self.coop.register.coop, key=key or self.village.operator)
        name = _name(document)
        folder = self.path / "inbox" / name
        folder.mkdir()
        (folder / "order.json").write_bytes(document)
        (folder / "plan.json").write_bytes(plan)
        (folder / "places.json").write_bytes(dumps({"base": str(self.approved.base), "build": str(self.approved.build)}))
        self.sync()
        return name

    def options(self, order: str, *more: str) -> list[str]:
        """Return the options of sbatch for an order; one GPU, unless an option says otherwise."""
        devices = [] if any("gpus" in one for one in more) else ["--gpus-per-node=1"]
        return ["--partition=coop", "--nodes=1", "--time=5", *devices, f"--comment=coop:{order}", *more]

    def submit(self, order: str, *more: str, script: str = SCRIPT, **options: Any) -> Any:
        """Submit a job; it may be refused."""
        return self.cluster.submit(script, *self.options(order, *more), **options)

    def sbatch(self, order: str, *more: str, script: str = SCRIPT, **options: Any) -> int:
        """Submit a job that job_submit.lua lets pass."""
        return self.cluster.sbatch(script, *self.options(order, *more), **options)

    def denied(self, job: int) -> str:
        """Wait until a job was refused at its start; return why. It is held, ran nothing, and no node is drained."""
        self.cluster.wait_for(lambda: self.cluster.job(job)["Priority"] == "0" and self.cluster.state(job) == "PENDING")
        assert "trained" not in self.cluster.output(job)
        self.cluster.wait_for(lambda: not self.cluster.drained())
        return self.cluster.job(job)["AdminComment"]

    def force(self, order: str) -> str:
        """Let an order pass job_submit.lua as if `sync` had found nothing: what comes after has to see it."""
        said = {"array": "", "devices": 99, "expires": 2**31, "kind": "train", "minutes": 99999, "nodes": 99, "run": "forced", "user": 65534}
        (self.path / "orders" / f"{order}.ok").write_text("".join(f"{key}={value}\n" for key, value in said.items()))
        return order

    def why(self, order: str) -> str:
        """Return why an order is not in force, as `sync` wrote it."""
        assert not (self.path / "orders" / f"{order}.ok").exists()
        return (self.path / "orders" / f"{order}.no").read_text()

    def cancelled(self, job: int) -> str:
        """Wait until a node has cancelled a job; return why. It ran nothing."""
        self.cluster.wait_state(job, "CANCELLED")
        assert "trained" not in self.cluster.output(job)
        return self.cluster.job(job)["AdminComment"]

    def close(self) -> None:
        """End the cluster and close the log."""
        self.stack.close()


def _write_python(path: Path, cluster: Cluster) -> None:
    """Write a script that is a Python with our packages for who runs slurmctld: ours, or the system's where ours lies in somebody's home."""
    here, installed = Path(__file__).parents[2], Path(sysconfig.get_path("purelib"))
    for program, libraries in (
        (sys.executable, f"{here}:{installed}"),
        ("/usr/bin/python3", f"{here}:{installed}"),
        ("/usr/bin/python3", f"{cluster.folder}/lib"),
    ):
        if libraries.endswith("/lib"):
            _copy_packages(here, installed, cluster.folder / "lib")
        path.write_text(f'#!/bin/sh\nPYTHONPATH={libraries} exec {program} "$@"\n')
        path.chmod(0o755)
        if cluster.run(path, "-c", "import slurm.controller", user=cluster.user, check=False).returncode == 0:
            return
    raise AssertionError(f"no Python that {cluster.user} can run")


def _copy_packages(here: Path, installed: Path, to: Path) -> None:
    """Copy what a controller imports."""
    code = "import sys, slurm.sync, slurm.controller, commonweights.commands.slurm, sqlalchemy.dialects.sqlite; print(*{name.partition('.')[0] for name in sys.modules})"
    names = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True).stdout.split()
    found = [path for name in names for folder in (here, installed) for path in (folder / name, *folder.glob(f"{name}.*")) if path.exists()]
    to.mkdir()
    for path in {*found, here / "data_pipeline"}:
        shutil.copytree(path, to / path.name, dirs_exist_ok=True) if path.is_dir() else shutil.copy(path, to)


def _name(document: bytes) -> str:
    return read_document(document, {TYPE: Order}, source="order").id.removeprefix("sha256:")
