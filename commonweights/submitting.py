"""Sends an approved run to a site: gate, job folder, orders, the site's word on them, and the chain train, eval, card.

Nothing is signed before the gate has passed, and nothing stays in the queue unless all of it is there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commonweights.run_inputs import find_base, find_build
from commonweights.running import approval_of, check_run_name, gate_plan
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Plan, read_plan
from governance_hooks.report import Report
from governance_hooks.site.document import body_and_signature
from governance_hooks.site.order import Order, sign_order
from governance_hooks.sshsig import load_private_key
from governance_hooks.statement import now, shift
from slurm.client import NoSlurm, cancel, sbatch
from slurm.completed import require_incomplete
from slurm.delivery import deliver_order, wait_for_site
from slurm.job import Job, Sent, Submitted, new_folder, write_files
from slurm.profile import Profile, read_profile
from slurm.qos import qos_name
from slurm.sbatch import Kind, Layout, layout, render
from slurm.site_folder import deliver_proof
from train.compatibility import require_processes

__all__ = ["Draft", "draft", "send"]

Progress = Callable[[str, int, int], None]
CARD_MINUTES: Final = 60
_BEFORE: Final[dict[Kind, Kind]] = {"eval": "train", "card": "eval"}
AFTER_S: Final = 30 * 86_400
"""Evaluation and card may follow so long after the order was signed, seconds: a queue can be long, and they use no start of the vote."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A run as it would be sent to a site; nothing is written or signed yet."""

    job: Job
    profile: Profile
    plan_bytes: bytes
    folder: Path
    shapes: dict[Kind, Layout]
    """A card's has no device."""
    minutes: dict[Kind, int]
    array: int | None
    scripts: dict[Kind, str]
    expires: str
    """When the approval ends; RFC 3339 UTC."""


def draft(
    space: Workspace,
    data: bytes,
    site: str,
    *,
    run: str | None = None,
    chosen: str | None = None,
    base: Path | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    array: int | None = None,
    evaluate: bool = True,
) -> tuple[Report, Draft]:
    """Return the gate's table for a run at a site, and what would be sent.

    Raises:
        Complete: the run is trained to its end.
        BadInput: no profile of the site, a shape the plan or the profile does not allow, devices that would idle, or inputs that are not here.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", site):
        raise BadInput("this is no name of a site", value=site, allowed="a-z, 0-9 and '-', at most 31", next="coop site list")
    plan, profile = read_plan(data), read_profile(space.sites / f"{site}.yaml")
    if profile.qos == "vote":
        profile = profile.model_copy(update={"qos": qos_name(sha256(data))})
    name = run or plan.name
    check_run_name(name)
    register = space.coop.register
    require_incomplete(space.run(name).resolve(), name, sha256(data), logged=register.runs[name].status if name in register.runs else None)
    shape = layout(plan, devices or plan.most_devices, per_node=profile.devices_per_node, nodes=nodes, cpus=profile.cpus_per_device)
    require_processes(plan.training, shape.total)
    proposal, minutes = approval_of(space, data, name, chosen), _minutes(space, plan, name, shape.total, profile)
    report = gate_plan(
        space, data, base=base or (Path(profile.base) if profile.base else None), proposal=proposal, site=site, devices=shape.total, minutes=minutes
    )
    found = base or (Path(profile.base) if profile.base else find_base(plan, None))
    folder = new_folder(Path(profile.jobs) if profile.jobs else space.jobs.resolve(), name)
    job = Job(
        coop=space.coop.pin,
        site=site,
        folder=profile.site,
        run=name,
        plan=sha256(data),
        proposal=proposal or sha256(data),  # without an approval the gate has blocked, and this is only shown
        devices=shape.total,
        run_dir=str(space.run(name).resolve()),
        base=str(found.resolve()),
        build=str(find_build(space, plan).resolve()),
        canary_seed=str(space.canary_seed(plan.name).resolve()),
        country=profile.country,
    )
    one = Layout(1, 1, profile.cpus_per_device)
    shapes: dict[Kind, Layout] = {"train": shape}
    if evaluate:
        shapes |= {"eval": one, "card": Layout(1, 0, 1)}
    times: dict[Kind, int] = {"train": minutes, "eval": minutes, "card": min(CARD_MINUTES, minutes)}
    scripts = {kind: _script(kind, job, shapes[kind], times[kind], profile, folder, array if kind == "train" else None) for kind in shapes}
    expires = register.proposal(proposal).expires() if proposal else now()
    return report, Draft(job, profile, data, folder, shapes, times, array, scripts, expires)


def _minutes(space: Workspace, plan: Plan, run: str, devices: int, profile: Profile) -> int:
    """Return the wall time to ask for: what is left of the vote, or what the partition takes if that is less."""
    known = space.coop.register.runs.get(run)
    wall_s, device_s = known.used_seconds() if known is not None else (0, 0)
    left = plan.limits.minutes_on(devices, wall_s=wall_s, device_s=device_s)
    return max(1, min(left, profile.minutes or left))


def _script(kind: Kind, job: Job, shape: Layout, minutes: int, profile: Profile, folder: Path, array: int | None) -> str:
    python = [*profile.container, profile.python or sys.executable]
    command = [*python, "-m", "commonweights.cli", kind, "--job", str(folder)]
    preflight = [*python, "-m", "slurm.preflight", "--folder", job.run_dir, "--free-gb", str(profile.free_gb)]
    if profile.interface is not None:
        preflight += ["--interface", profile.interface]
    return render(kind, job.run, shape, minutes=minutes, command=command, preflight=preflight, profile=profile, folder=folder, array=array)


def send(space: Workspace, made: Draft, *, wait_s: float, progress: Progress | None = None) -> Submitted:
    """Sign the orders, leave them at the site, wait until it has checked them, and put the jobs into its queue.

    Raises:
        NoSlurm: this machine has no sbatch; what was signed lies in the job's folder, and the error says where it belongs.
        Refused, CoopError: the site refuses an order or does not answer, or SLURM takes a job not.
    """
    orders, site = _sign(space, made), Path(made.profile.site)
    if not (site / "inbox").is_dir():
        _deliver(space, made, orders, made.folder)
        raise CoopError(
            f"the folder of site {made.job.site} is not on this machine",
            value=str(site),
            allowed="site: in its profile, on a disk both machines have",
            next=f"copy {made.folder} to the same place there, and what is in its inbox into {site}/inbox; once coop slurm sync has run, send the jobs from "
            f"there:\n{_by_hand(made, orders)}",
        )
    _deliver(space, made, orders, site)
    wait_for_site(site, list(orders.values()), seconds=wait_s, progress=progress)
    sent: dict[Kind, Sent] = {}
    try:
        for kind in made.scripts:
            before = sent.get(_BEFORE[kind]) if kind in _BEFORE else None
            number = sbatch(made.folder / f"{kind}.sbatch", *_options(made, kind, orders[kind], str(before.job) if before else None))
            sent[kind] = Sent(job=number, order=orders[kind])
    except CoopError as error:
        cancel([one.job for one in sent.values()])
        if isinstance(error, NoSlurm):
            raise NoSlurm(error.what, next=f"log in where jobs of {made.job.site} are sent from, and in {made.folder}:\n{_by_hand(made, orders)}") from error
        raise
    submitted = Submitted(jobs=sent)
    write_bytes(made.folder / "submitted.json", dumps(submitted.model_dump()))
    return submitted


def _sign(space: Workspace, made: Draft) -> dict[Kind, str]:
    """Write the job's folder with its orders; return their digests."""
    key, coop = load_private_key(space.coop.paths.operator_key), space.coop.register.coop
    orders: dict[Kind, str] = {}
    with atomic_directory(made.folder) as folder:
        write_files(folder, made.job, made.plan_bytes, made.scripts)
        (folder / "orders").mkdir()
        for kind, shape in made.shapes.items():
            order = Order(
                site=made.job.site,
                kind=kind,
                run=made.job.run,
                plan=made.job.plan,
                proposal=made.job.proposal,
                script=sha256(made.scripts[kind].encode()),
                user=os.getuid(),
                nodes=shape.nodes,
                devices=shape.total,
                minutes=made.minutes[kind],
                array=f"1-{made.array}%1" if made.array is not None and kind == "train" else None,
                expires=made.expires if kind == "train" else max(made.expires, shift(now(), AFTER_S)),
            )
            document = sign_order(order, coop=coop, key=key)
            (folder / "orders" / f"{kind}.json").write_bytes(document)
            orders[kind] = sha256(body_and_signature(document)[0])
    return orders


def _deliver(space: Workspace, made: Draft, orders: dict[Kind, str], target: Path) -> None:
    deliver_proof(target, witnessed_proof(space).dumps())
    for kind, order in orders.items():
        document, job = (made.folder / "orders" / f"{kind}.json").read_bytes(), made.job
        deliver_order(target, order, document, made.plan_bytes, base=Path(job.base), build=Path(job.build), run=Path(job.run_dir))


def _options(made: Draft, kind: Kind, order: str, before: str | None) -> list[str]:
    """Return how a job is told its order, and which job it waits for."""
    options = [f"--comment=coop:{order.removeprefix('sha256:')}"]
    if before is not None:
        # The training's last job may be cancelled and its run complete all the same: of a chain of starts, or of a run that was sent twice, what has nothing
        # left to do leaves the queue. So the evaluation waits until it is over, however, and itself refuses a run that is not completed. A card that can never
        # start is taken out of the queue.
        how = "afterany" if kind == "eval" else "afterok"
        options += [f"--dependency={how}:{before}", "--kill-on-invalid-dep=yes"]
    return options


def _by_hand(made: Draft, orders: dict[Kind, str]) -> str:
    """Return the commands that send the jobs, for a person who types them in the job's folder."""
    lines = []
    for kind, order in orders.items():
        before = f"NUMBER_OF_{_BEFORE[kind].upper()}" if kind in _BEFORE else None
        lines.append(" ".join(["           sbatch", "--parsable", *_options(made, kind, order, before), f"{kind}.sbatch"]))
    return "\n".join(lines)
