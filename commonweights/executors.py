"""Who does the steps of a build: this machine's processes, datatrove here, or datatrove under a site's SLURM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from commonweights.workspace import Workspace
from governance_hooks.errors import BadInput
from governance_hooks.vouching import cores

if TYPE_CHECKING:
    from data_pipeline.steps import Steps

__all__ = ["EXECUTORS", "steps_of"]

EXECUTORS: Final = ("pool", "datatrove", "slurm")


def steps_of(space: Workspace, executor: str, *, jobs: int = 0, site: str | None = None) -> Steps | None:
    """Return who does the steps; None is `build`'s own choice, processes of this machine.

    Raises:
        BadInput: an option that does not go with this executor, or a package that is missing.
    """
    if (executor == "slurm") != (site is not None):
        raise BadInput("--site goes with --executor slurm", value=site, allowed="coop build make NAME --executor slurm --site SITE")
    if executor == "pool":
        return None
    from data_pipeline.trove import OnThisMachine, Trove

    if site is None:
        return Trove(space.build_parts, OnThisMachine(jobs or cores()))
    raise NotImplementedError
