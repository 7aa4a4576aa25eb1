"""The batch script of a run: a plain file with its reasons, filled in for one plan."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib import resources
from typing import Final

from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan

__all__ = ["DEVICES_PER_NODE", "render"]

DEVICES_PER_NODE: Final = 8
"""What most GPU nodes have."""


def render(plan: Plan, *, command: Sequence[str], devices: int, devices_per_node: int = DEVICES_PER_NODE, cpus_per_device: int = 8) -> str:
    """Return the script that trains a plan with `command` on `devices` devices.

    Args:
        command: what each task runs, an argument each; quoted for the shell.
        devices_per_node: nodes are taken whole as soon as one does not suffice.

    Raises:
        BadInput: more devices than the plan allows, or a number of them that does not fill nodes of equal size.
    """
    if not 0 < devices <= plan.limits.max_devices:
        raise BadInput("the plan allows another number of devices", value=devices, allowed=f"1 to limits.max_devices = {plan.limits.max_devices}")
    nodes = -(-devices // devices_per_node)
    if devices % nodes:
        raise BadInput("these devices do not fill nodes of equal size", value=devices, allowed=f"at most {devices_per_node}, or a multiple of it")
    values = {
        "name": plan.name,
        "nodes": str(nodes),
        "devices": str(devices // nodes),
        "cpus": str(cpus_per_device),
        "minutes": str(plan.limits.minutes_on(devices)),
        "command": shlex.join(command),
    }
    template = resources.files("slurm").joinpath("train.sbatch").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found.group(1)], template)
