"""The check of a start on SLURM's controller: `python -m slurm.controller prolog SITE JOB RESTART`, called by prolog_slurmctld.sh.

Exit code 0: the start is cleared, and stated for the log. 10: it is refused, and standard output says why in one line. 11: so too, for its run is complete: no
later check can say anything else. Anything else: the check itself failed, which the script takes for a refusal.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, Complete, CoopError, Refused
from governance_hooks.ledger import read_ledger
from governance_hooks.payloads.runs import RunStart
from governance_hooks.plan import read_plan
from governance_hooks.report import Blocked
from governance_hooks.rules.consents import counted
from governance_hooks.site.clearance import Clearance, sign_clearance
from governance_hooks.site.document import body_and_signature
from governance_hooks.site.order import Order
from governance_hooks.statement import SITE, body, entry, now, parse, shift, sign
from slurm.outbox import Outbox
from slurm.permission import Permission, Standing
from slurm.scontrol import Job, batch_script, shorten, show_job
from slurm.segments import settle, unsettled
from slurm.site_folder import Delivered, SiteFolder

__all__ = ["COMPLETE", "REFUSED", "Start", "main", "reason"]

REFUSED: Final = 10
COMPLETE: Final = 11
GRACE_S: Final = 600
"""So long after the time of a job its clearance still holds, seconds: it ends a little later than it should."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a job, as SLURM calls its prolog."""

    job: int
    restart: int
    comment: str
    array: int | None
    """Number of the array the job is a task of."""
    task: int | None
    het: bool

    @property
    def name(self) -> str:
        """What SLURM calls exactly this job: the number of an array's last task is that of the array, too."""
        return str(self.job) if self.array is None else f"{self.array}_{self.task}"


def clear(folder: SiteFolder, start: Start, *, at: str) -> None:
    """Check a start against order and vote, and write its clearance.

    Raises:
        CoopError: it may not start.
    """
    # (1) The job names an order, and is a batch job of its own.
    name = re.fullmatch(r"coop:([0-9a-f]{64})", start.comment.strip())
    if name is None:
        raise Refused("it names no order (--comment=coop: and 64 hexadecimal digits)", next="coop submit PLAN --site NAME")
    job = show_job(start.job)
    if start.het or not job.batch:
        raise Refused("only a batch job of its own can be voted on", next="coop submit PLAN --site NAME")
    if job.restart != start.restart:
        raise Refused("SLURM counts its starts in two ways", value=start.restart, allowed=str(job.restart))
    # (2) What ended meanwhile is counted, so that the gate sees what is used.
    outbox = folder.outbox()
    for one in settle(folder.path, outbox, refused=[]):
        folder.note("end", at=at, job=one.clearance.job, restart=one.clearance.restart, outcome=one.outcome, order=one.clearance.order)
    with outbox.locked():
        # (3) The operator ordered it, and members approved it, as far as a controller can see.
        standing, delivered = Standing(folder, at), folder.delivered(name[1])
        permission = standing.permission(name[1], delivered, devices=job.devices, minutes=job.minutes)
        # (4) The job is the one ordered: user, nodes, devices, time, array, script.
        _keeps_order(start, job, permission.order)
        if sha256(batch_script(start.job)) != permission.order.script:
            raise Refused("its batch script is not the one that was ordered: it was changed", next="coop submit again")
        # (5) An order serves one job.
        whole = start.array or start.job
        before = folder.used_by(name[1])
        if before not in (None, whole):
            raise Refused("its order has been used by another job", value=whole, allowed=f"job {before}", next="coop submit again")
        # (6) The start before it is over, and what that used is known: else minutes would be used that nobody counts.
        before_it = [one for one in unsettled(folder.path, permission.order.run) if one != f"{start.job}.{start.restart}"]
        if before_it and permission.order.kind == "train":
            raise Refused(f"start {before_it[0]} of this run goes on, or nobody wrote down its end", next="wait for it, or have an admin run coop slurm check")
        # (7) It gets no more time than is left of the vote.
        if job.minutes is None or permission.minutes < job.minutes:
            shorten(start.name, permission.minutes)
        folder.use(name[1], whole)
        # (8) The start is stated for the log, then cleared.
        _write(folder, outbox, start, job, permission, _state(standing, outbox, delivered, permission))


def _keeps_order(start: Start, job: Job, order: Order) -> None:
    if job.user != order.user:
        raise Refused("its order is for another user", value=job.user, allowed=str(order.user))
    if job.nodes > order.nodes:
        raise Refused(f"it was given {job.nodes} nodes, the order says {order.nodes}", next="coop submit again")
    if job.devices > order.devices:
        raise Refused(f"it was given {job.devices} devices, the order says {order.devices}", next="coop submit again")
    if job.minutes is None or job.minutes > order.minutes:
        raise Refused(f"it asks {job.minutes or 'unlimited'} minutes, the order says {order.minutes}", next="coop submit again")
    if (start.array is None) != (order.array is None):
        raise Refused(f"the order says array {order.array or 'none'}", value=start.array, next="coop submit again")


def _state(standing: Standing, outbox: Outbox, delivered: Delivered, permission: Permission) -> bytes | None:
    """Put the run-start of a training into the outbox and return its entry; None for what uses no start of the vote."""
    order = permission.order
    if order.kind != "train":
        return None
    if order.plan is None or order.proposal is None or delivered.plan is None or delivered.build is None:
        raise Refused("a training needs a plan, its approval and its dataset")
    rows, _ = read_ledger(delivered.build / "ledger.jsonl")
    run = standing.register.runs.get(order.run)
    payload = RunStart(
        run=order.run,
        plan=order.plan,
        proposal=order.proposal,
        start=len(run.starts) + 1 if run is not None else 1,
        counted=counted(standing.register, rows, read_plan(delivered.plan).use, at=standing.at, run=order.run),
    )
    # Another start may have been stated since the clock was read: a site's statements are dated in their order.
    issued = max(standing.at, standing.register.sites[outbox.site].clock)
    # Tried first on the log as it will be: what it would not take is not signed.
    trial = body("coop.run-start/v1", payload, coop=outbox.coop, author=SITE + outbox.site, issued=issued)
    standing.register.admit(parse(entry(trial, [sign(trial, outbox.key)])))
    return outbox.state("coop.run-start/v1", payload, issued=issued).data


def _write(folder: SiteFolder, outbox: Outbox, start: Start, job: Job, permission: Permission, begun: bytes | None) -> None:
    """Write the clearance: the start first, the file that nodes look for last."""
    order, minutes = permission.order, min(job.minutes or permission.minutes, permission.minutes)
    at = now()
    stated = parse(begun) if begun is not None else None
    clearance = Clearance(
        order=permission.id,
        job=start.job,
        restart=start.restart,
        user=job.user,
        submitted=job.submitted,
        nodes=job.nodes,
        devices=job.devices,
        minutes=minutes,
        expires=shift(at, minutes * 60 + GRACE_S),
        start=stated.id if stated is not None else None,
    )
    signed, signature = body_and_signature(sign_clearance(clearance, coop=outbox.coop, site=outbox.site, key=outbox.key, issued=at))
    path = folder.path / "clearance" / f"{start.job}.{start.restart}"
    if begun is not None:
        write_bytes(path.with_name(f"{path.name}.start"), begun)
    folder.note(
        "start", at=at, job=start.job, restart=start.restart, order=permission.id, kind=order.kind, nodes=job.nodes, devices=job.devices, start=clearance.start
    )
    write_bytes(path.with_name(f"{path.name}.sig"), signature.encode())
    write_bytes(path.with_name(f"{path.name}.json"), signed)


def reason(error: CoopError) -> str:
    """Return why a start is refused in one line, in characters that neither SLURM nor a terminal takes for anything else."""
    words = error.what
    if isinstance(error, Blocked):
        first = error.report.blocking[0]
        words = f"{first.why or first.checked or first.name} (gate, step {first.number}: {first.name})"
    elif error.value is not None:
        words += f" (is {str(error.value)[:80]}{f', allowed {error.allowed[:80]}' if error.allowed else ''})"
    if error.next:
        words += f"; next: {error.next}"
    return re.sub(r"[^A-Za-z0-9 .,:;/_()%+=-]", "", words.replace("\n", " "))[:600]


def main(arguments: list[str]) -> int:
    """Check the start that SLURM's environment describes."""
    if len(arguments) != 4 or arguments[0] != "prolog":
        raise BadInput("usage: python -m slurm.controller prolog SITE JOB RESTART", value=arguments)
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    start = Start(
        job=int(arguments[2]),
        restart=int(arguments[3]),
        comment=os.environ.get("SLURM_JOB_COMMENT", ""),
        array=int(array) if array else None,
        task=int(task) if task else None,
        het=bool(os.environ.get("SLURM_HET_JOB_ID")),
    )
    try:
        clear(SiteFolder.open(Path(arguments[1])), start, at=now())
    except CoopError as error:
        sys.stdout.write(reason(error) + "\n")
        return COMPLETE if isinstance(error, Complete) else REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
