"""The jobs of a run on the nodes of a site, where there is no log, no operator's key and no way out: folder of the job, proof and clearance are all they have.

job folder + SITE/proof.coop + SITE/outbox + SITE/clearance/JOB.RESTART ──► this start is cleared ──► gate ──► train | evaluate | card
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from commonweights.end_of_run import write_card
from commonweights.progress import Progress
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.gate import Request, apply_pending, run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.plan import read_plan
from governance_hooks.proof import read_proof
from governance_hooks.register import Register
from governance_hooks.report import Report
from governance_hooks.site.clearance import Clearance, clearance_of, read_clearance
from governance_hooks.site.order import order_of, read_order
from governance_hooks.statement import MAX_ENTRY, now, parse
from slurm.completed import require_complete, require_incomplete
from slurm.job import JobFolder, read_job
from slurm.outbox import read_entries, read_small
from slurm.sbatch import Kind
from slurm.site_folder import MAX_PROOF

if TYPE_CHECKING:
    from train.world import World

__all__ = ["Node", "card_job", "evaluate_job", "train_job"]

WAIT_S: Final = 3000
"""So long the card waits for the evaluation to be in the log, seconds: its job has an hour."""
POLL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Node:
    """A process of a job on a node: which start of which job it is, and what the site says of it."""

    folder: JobFolder
    kind: Kind
    job: int
    restart: int

    @classmethod
    def open(cls, path: Path, kind: Kind) -> Node:
        """Read the job's folder and the start's number from SLURM's variables; raise BadInput outside a job."""
        here = os.environ
        try:
            job, restart = int(here["SLURM_JOB_ID"]), int(here.get("SLURM_RESTART_COUNT") or 0)
        except (KeyError, ValueError) as error:
            raise BadInput(
                "this is no job of a cluster", value=str(error), allowed="$SLURM_JOB_ID", next="coop submit PLAN --site NAME, which sends it"
            ) from error
        return cls(read_job(path), kind, job, restart)

    @property
    def site(self) -> Path:
        """The site's folder."""
        return Path(self.folder.job.folder)

    def proof(self) -> bytes:
        """Return the newest proof at the site."""
        return read_small(self.site / "proof.coop", MAX_PROOF)

    def pending(self) -> tuple[bytes, ...]:
        """Return what the site has signed and the log may not hold yet."""
        return tuple(one.data for one in read_entries(self.site / "outbox"))

    def register(self) -> tuple[Register, tuple[bytes, ...], bytes]:
        """Return the log as it will be, the entries of the site that are under way to it, and the proof it stands on."""
        pending, data = self.pending(), self.proof()  # in this order: an entry leaves the outbox only after a proof holds it
        proof = read_proof(data)
        register = proof.replay(self.folder.job.coop).register
        apply_pending(register, proof.entries, pending)
        return register, pending, data

    def cleared(self, register: Register, *, at: str) -> Clearance:
        """Return the site's clearance of this start.

        Raises:
            Refused, BadInput: there is none, it is not the site's, has expired, or is of another start, user, order, run or plan.
        """
        job = self.folder.job
        site = register.sites.get(job.site)
        if site is None or site.key is None:
            raise Refused(f"{job.site} is no site of this cooperative", next="coop site list")
        name = self.site / "clearance" / f"{self.job}.{self.restart}"
        try:
            body, signature = (read_small(name.with_name(f"{name.name}.{suffix}"), MAX_ENTRY) for suffix in ("json", "sig"))
        except BadInput as error:
            raise Refused(
                f"start {self.restart} of job {self.job} has no clearance: the check on the site's controller did not run", next=f"coop jobs why {self.job}"
            ) from error
        document = dumps({"body": loads(body, source=f"{name}.json"), "signatures": [signature.decode(errors="replace")]})
        clearance = clearance_of(read_clearance(document, coop=job.coop, site=job.site, key=site.key, at=at))
        statement = read_order(self.folder.order(self.kind), register, at=at)
        order = order_of(statement)
        for what, found, wanted in (
            ("job", clearance.job, self.job),
            ("start", clearance.restart, self.restart),
            ("user", clearance.user, os.getuid()),
            ("order", clearance.order, statement.id),
            ("kind", order.kind, self.kind),
            ("run", order.run, job.run),
            ("plan", order.plan, job.plan),
            ("approval", order.proposal, job.proposal),
        ):
            if found != wanted:
                raise Refused(f"the clearance of this start is for another {what}", value=found, allowed=str(wanted), next=f"coop jobs why {self.job}")
        return clearance

    def request(self, *, devices: int) -> Request:
        """Return what the gate is asked about this start, once it is seen to be cleared."""
        at, job = now(), self.folder.job
        register, pending, proof = self.register()
        clearance = self.cleared(register, at=at)
        if devices > max(clearance.devices, 1):
            raise Refused("more processes than this start is cleared for", value=devices, allowed=str(clearance.devices))
        if self.kind == "train" and clearance.start not in {parse(one).id for one in pending} and clearance.start not in self._logged(proof):
            raise Refused("the start this clearance names is neither in the log nor on its way there", value=clearance.start, next=f"coop jobs why {self.job}")
        return Request(
            plan=self.folder.plan_bytes, proof=proof, base=Path(job.base), build=Path(job.build), now=at, pin=job.coop, run=job.run, proposal=job.proposal,
            devices=devices, site=job.site, pending=pending, after=self.kind != "train",
        )  # fmt: skip

    def _logged(self, proof: bytes) -> set[str]:
        return {parse(entry).id for entry in read_proof(proof).entries}


def train_job(path: Path, *, world: World, threads: int | None, show: Progress, passed: Callable[[Report], object]) -> dict[str, Any]:
    """Train on the nodes of a job as the first of its processes; return the run record.

    Raises:
        Complete: the run is trained to its end; the controller could not see that. Nothing was changed.
        Blocked: the gate does not pass.
        Refused, BadInput: this start is not cleared.
    """
    from train.run import train
    from train.worker import ordering

    with ordering(world) as order:
        node = Node.open(path, "train")
        job = node.folder.job
        request = node.request(devices=world.size)
        require_incomplete(Path(job.run_dir), job.run, job.plan, logged=None)
        passed(run_gate(request).require())
        seed, run_dir = Path(job.canary_seed), Path(job.run_dir)
        order(request, run_dir, coop=job.coop, canary_seed=seed, threads=threads)
        return train(
            run_dir,
            request.plan,
            base=request.base,
            build=request.build,
            guard=Guard(request, fresh=node.proof),
            run_id=job.run,
            coop=job.coop,
            proposal=job.proposal,
            canary_seed=seed,
            progress=show,
            status=show.status,
            threads=threads,
            country=job.country,
            world=world,
        )


def evaluate_job(path: Path, *, threads: int | None, show: Progress) -> dict[str, Any]:
    """Evaluate the run of a job into its folder, once; return the report. Nothing is logged here: `coop collect` does that.

    Raises:
        Blocked: the gate does not pass.
        Refused, BadInput: this start is not cleared, or the run is not completed.
    """
    from eval.leak.record import make_leak_test
    from eval.report import evaluate

    node = Node.open(path, "eval")
    job = node.folder.job
    request, run_dir = node.request(devices=1), Path(job.run_dir)
    run_gate(request).require()
    require_complete(run_dir, job.run, job.plan)
    logged = node.register()[0].run(job.run).report
    if logged is None:
        plan, seed = read_plan(request.plan), Path(node.folder.job.canary_seed)
        if plan.evaluation.leak is not None:  # first: `coop collect` takes a report for the sign that all is there
            make_leak_test(run_dir, base=request.base, build=request.build, seed=seed, progress=show, threads=threads)
        return evaluate(run_dir, base=request.base, build=request.build, progress=show, threads=threads)
    report: dict[str, Any] = loads((run_dir / "eval" / "report.json").read_bytes(), floats=True)
    return report


def card_job(path: Path, *, show: Progress, seconds: float = WAIT_S, clock: Callable[[], float] = time.monotonic) -> Path:
    """Write the card of a job's run once the proof at the site holds its evaluation; return its folder.

    Raises:
        Blocked: the gate does not pass.
        Refused, BadInput: this start is not cleared.
        CoopError: the evaluation was not logged in time.
    """
    node = Node.open(path, "card")
    request, job = node.request(devices=0), node.folder.job
    run_gate(request).require()
    run_dir, build = Path(job.run_dir), Path(job.build)
    report, end = sha256((run_dir / "eval" / "report.json").read_bytes()), clock() + seconds
    seen: bytes | None = None
    while True:
        data = node.proof()
        if data != seen:
            seen, register = data, read_proof(data).replay(job.coop).register
            logged = register.runs[job.run].report if job.run in register.runs else None
            if logged == report:
                return write_card(register, job.run, run_dir, build)
            if logged is not None:
                raise Refused("the log holds another evaluation than the one in the run's folder", value=report, allowed=logged, next="find out who changed it")
        left = end - clock()
        if left <= 0:
            raise CoopError(
                f"the log did not hold the evaluation of {job.run} within {seconds:.0f} s", value=str(node.site / "proof.coop"),
                allowed="coop collect logs it and refreshes the proof", next=f"coop collect, then coop card {job.run}",
            )  # fmt: skip
        show("waiting for the evaluation to be logged, s", round(seconds - left), round(seconds))
        time.sleep(min(POLL_S, max(left, 0.1)))
