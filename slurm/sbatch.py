"""The batch scripts of a run: plain files with their reasons, filled in for one plan, and for a site if there is one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan
from slurm.profile import Profile

__all__ = ["DEVICES_PER_NODE", "KINDS", "Kind", "Layout", "layout", "render", "setup_lines"]

DEVICES_PER_NODE: Final = 8
"""What most GPU nodes have."""
NOTICE_S: Final = 120

Kind = Literal["train", "eval", "card"]
KINDS: Final[tuple[Kind, ...]] = ("train", "eval", "card")
"""The jobs of a run, in their order."""

_PLAIN_FOLDER: Final = re.compile(r"/[A-Za-z0-9._@+/-]*")
# `bash -p` takes no functions from the environment, so the one called `module` has to be defined again.
_MODULES: Final = (
    "# `module` is a function, which `bash -p` does not take from the environment.\n"
    "for file in /etc/profile.d/*mod*.sh; do\n"
    "  # shellcheck disable=SC1090  # it is the site's own\n"
    '  if [ -r "$file" ]; then . "$file"; fi\n'
    "done"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The machines of a job: whole rows of equal nodes."""

    nodes: int
    devices: int
    """On each node, one task for each."""
    cpus: int = 8
    """For each task."""

    @property
    def total(self) -> int:
        """Devices of all nodes together."""
        return self.nodes * self.devices


def layout(plan: Plan, devices: int, *, per_node: int = DEVICES_PER_NODE, nodes: int | None = None, cpus: int = 8) -> Layout:
    """Return on how many nodes so many devices are, the fewest that do if `nodes` does not say.

    Raises:
        BadInput: more devices than the plan allows, or a number of them that does not fill nodes of equal size.
    """
    plan.limits.require_devices(devices)
    count = nodes or -(-devices // per_node)
    if devices % count or devices // count > per_node:
        raise BadInput(
            "these devices do not fill nodes of equal size",
            value=f"{devices} on {count} nodes",
            allowed=f"at most {per_node} a node, and on each the same number",
        )
    return Layout(count, devices // count, cpus)


def render(
    kind: Kind,
    run: str,
    shape: Layout,
    *,
    minutes: int,
    command: Sequence[str],
    preflight: Sequence[str] = (),
    profile: Profile | None = None,
    folder: Path | None = None,
    array: int | None = None,
) -> str:
    """Return the batch script of one job of a run.

    Args:
        command: what each task runs, an argument each; quoted for the shell.
        preflight: what each task of a training runs before that.
        profile: of the site; without one the script says where its lines belong.
        folder: the job's folder, in which it runs and its logs are.
        array: so many jobs one after the other, of which each goes on where the one before stopped.

    Raises:
        BadInput: a folder whose name an #SBATCH line cannot hold.
    """
    if folder is not None and not _PLAIN_FOLDER.fullmatch(str(folder)):
        raise BadInput(
            "SLURM cannot write logs into a folder of this name",
            value=str(folder),
            allowed="letters, digits and . _ @ + - /",
            next="set jobs: in the site's profile",
        )
    gpu = profile.gres.partition(":")[2] if profile is not None else ""
    values = {
        "run": run,
        "writer": "coop submit" if profile is not None else "coop plan",
        "site": _site_lines(kind, profile, folder),
        "nodes": str(shape.nodes),
        "devices": str(shape.devices),
        "gpus": f"{gpu}:{shape.devices}" if gpu else str(shape.devices),
        "cpus": str(shape.cpus),
        "minutes": str(minutes),
        "notice": str(profile.notice_s if profile is not None else NOTICE_S),
        "array": f"# One after the other: each goes on from the checkpoint of the one before.\n#SBATCH --array=1-{array}%1" if array else "",
        "setup": setup_lines(profile) if profile is not None else "",
        "preflight": shlex.join(preflight),
        "command": shlex.join(command),
    }
    template = resources.files("slurm").joinpath(f"{kind}.sbatch").read_text(encoding="utf-8")
    lines = (re.sub(r"\{\{(\w+)\}\}", lambda found: values[found.group(1)], line) for line in template.splitlines() if not _vanishes(line, values))
    return "\n".join(lines) + "\n"


def _vanishes(line: str, values: dict[str, str]) -> bool:
    """Tell whether a line of the template is one value that is empty."""
    alone = re.fullmatch(r"\{\{(\w+)\}\}", line)
    return alone is not None and not values[alone.group(1)]


def _site_lines(kind: Kind, profile: Profile | None, folder: Path | None) -> str:
    if profile is None:
        return "# Add your site's lines here: --account, --partition."
    wanted = {"partition": profile.partition, "account": profile.account, "qos": profile.qos, "mem": profile.memory if kind != "card" else None}
    lines = [f"#SBATCH --{name}={value}" for name, value in wanted.items() if value is not None]
    if profile.exclusive and kind == "train":
        lines.append("#SBATCH --exclusive")
    if folder is not None:
        lines += ["# Plan, places and logs of this job; what is in it does not change once the job is sent.", f"#SBATCH --chdir={folder}"]
    return "\n".join(lines)


def setup_lines(profile: Profile) -> str:
    """Return the site's own lines; before `set -u`, which many modules do not bear."""
    lines = [_MODULES, *(f"module load {name}" for name in profile.modules)] if profile.modules else []
    if profile.interface is not None:
        lines += ["# The network the site has for this.", f"export NCCL_SOCKET_IFNAME={profile.interface} GLOO_SOCKET_IFNAME={profile.interface}"]
    lines += profile.setup
    return "\n".join(["set -e", *lines]) if lines else ""
