"""Who does the steps of a build: this machine's processes, datatrove here, or datatrove under a site's SLURM."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.site.document import body_and_signature
from governance_hooks.site.order import Order, sign_order
from governance_hooks.sshsig import load_private_key
from governance_hooks.statement import now, shift
from governance_hooks.vouching import cores
from slurm.delivery import deliver_order, wait_for_site
from slurm.profile import Profile, read_profile
from slurm.sbatch import setup_lines
from slurm.site_folder import deliver_proof

if TYPE_CHECKING:
    from data_pipeline.cluster import Script
    from data_pipeline.steps import Steps

__all__ = ["EXECUTORS", "steps_of"]

EXECUTORS: Final = ("pool", "datatrove", "slurm")
MINUTES: Final = 60
"""A job of a build takes minutes at most; more would only let it wait longer for its turn."""
EXPIRES_S: Final = 7 * 86_400
"""An order of a build may wait so long for its turn, seconds."""
WAIT_S: Final = 180

Progress = Callable[[str, int, int], None]


def steps_of(space: Workspace, name: str, executor: str, *, jobs: int = 0, site: str | None = None, show: Progress | None = None) -> Steps | None:
    """Return who does the steps of the build `name`; None is `build`'s own choice, processes of this machine.

    Raises:
        BadInput: an option that does not go with this executor, no profile of the site, or a package that is missing.
    """
    if (executor == "slurm") != (site is not None):
        raise BadInput("--site goes with --executor slurm", value=site, allowed="coop build make NAME --executor slurm --site SITE")
    if executor == "pool":
        return None
    profile = read_profile(space.sites / f"{site}.yaml") if site is not None else None
    from data_pipeline.trove import OnThisMachine, Trove

    if site is None or profile is None:
        return Trove(space.build_parts, OnThisMachine(jobs or cores()))
    from data_pipeline.cluster import OnCluster, Slurm

    sent = Slurm(
        partition=profile.partition,
        minutes=min(MINUTES, profile.minutes or MINUTES),
        account=profile.account,
        qos=profile.qos,
        setup=setup_lines(profile).splitlines(),
        python=[*profile.container, profile.python or sys.executable],
        cpus=profile.cpus_per_device,
        at_once=jobs,
    )
    return Trove(space.build_parts, OnCluster(sent, lambda scripts: _order(space, name, site, profile, scripts, show)))


def _order(space: Workspace, name: str, site: str, profile: Profile, scripts: Sequence[Script], show: Progress | None) -> list[str | None]:
    """Sign an order for each script, leave it at the site, and wait until the site has looked at all; a cluster without a site's folder asks for none."""
    folder = Path(profile.site)
    if not (folder / "inbox").is_dir():
        return [None for _ in scripts]
    key, orders = load_private_key(space.coop.paths.operator_key), list[str]()
    deliver_proof(folder, witnessed_proof(space).dumps())
    for script in scripts:
        order = Order(
            site=site,
            kind="build",
            run=name,
            plan=None,
            proposal=None,
            script=script.sha256,
            user=os.getuid(),
            nodes=1,
            devices=0,
            minutes=script.minutes,
            array=script.array,
            expires=shift(now(), EXPIRES_S),
        )
        document = sign_order(order, coop=space.coop.register.coop, key=key)
        orders.append(sha256(body_and_signature(document)[0]))
        deliver_order(folder, orders[-1], document)
    wait_for_site(folder, orders, seconds=WAIT_S, progress=show)
    return [f"coop:{order.removeprefix('sha256:')}" for order in orders]
