"""The budget of a vote as a QOS of SLURM's accounting: a second wall beside the gate, on clusters that keep accounts (slurmdbd).

The gate is the rule; it counts what the log says was used. A QOS stops what the gate cannot see coming, a job that outlives its minutes among them, and knows of
this cluster only. Source: sacctmgr(1) and resource_limits.html of SLURM 22.05.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import read_plan

__all__ = ["MAX_PLAN", "Qos", "apply_qos", "check_enforced", "qos_name", "read_qos"]

TIMEOUT_S: Final = 60
MAX_PLAN: Final = 16 << 20
"""Bytes of a plan that is read at all."""
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEEDED: Final = {
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits,qos,safe",
    "AccountingStorageTRES": "gres/gpu",
}
"""Lines of slurm.conf without which a QOS limits nothing; each word of the value must be there."""


def qos_name(plan: str) -> str:
    """Return the name of the QOS of a plan, from its digest."""
    return f"coop-{plan.removeprefix('sha256:')[:12]}"


@dataclass(frozen=True, slots=True)
class Qos:
    """What a vote allows, in the words of sacctmgr."""

    name: str
    devices: int
    """Of all jobs together, at a time."""
    minutes: int
    """Of a job."""
    device_minutes: int
    """Of all jobs together."""

    @property
    def limits(self) -> list[str]:
        """Return the limits as sacctmgr sets them."""
        return [
            f"GrpTRESMins=gres/gpu={self.device_minutes}",
            f"GrpTRES=gres/gpu={self.devices}",
            f"MaxWall={self.minutes}",
            # Refused when it is submitted rather than left waiting for ever; and what was used is not forgotten by and by.
            "Flags=DenyOnLimit,NoDecay",
        ]

    def commands(self, account: str | None) -> list[list[str]]:
        """Return the commands that make the QOS, or bring it to these limits, and let an account use it; each may be given again.

        Raises:
            BadInput: that is no name of an account.
        """
        made = [["sacctmgr", "--immediate", "add", "qos", self.name], ["sacctmgr", "--immediate", "modify", "qos", self.name, "set", *self.limits]]
        if account is None:
            return made
        if not _ACCOUNT.fullmatch(account):
            raise BadInput("this is no name of an account", value=account, allowed=_ACCOUNT.pattern)
        return [*made, ["sacctmgr", "--immediate", "modify", "account", account, "set", f"qos+={self.name}"]]


def read_qos(plan: bytes) -> Qos:
    """Return the QOS of a plan; raise BadInput for what is no plan."""
    limits = read_plan(plan).limits
    most = limits.max_devices * limits.max_minutes
    return Qos(qos_name(sha256(plan)), limits.max_devices, limits.max_minutes, min(most, limits.max_device_minutes or most))


def check_enforced() -> None:
    """Raise CoopError unless this cluster keeps accounts and enforces what stands in them: a budget nobody enforces is none."""
    shown = dict(line.split("=", 1) for line in _run(["scontrol", "show", "config"]).replace(" ", "").splitlines() if "=" in line)
    for name, wanted in _NEEDED.items():
        missing = set(wanted.split(",")) - set(shown.get(name, "").split(","))
        if missing:
            raise CoopError(
                f"this cluster would not keep to a QOS: {name} lacks {', '.join(sorted(missing))}", value=shown.get(name), next=f"slurm.conf: {name}={wanted}"
            )


def apply_qos(qos: Qos, account: str | None) -> None:
    """Make the QOS on this cluster, or bring it to these limits; raise CoopError if the cluster would not enforce it, or sacctmgr refuses."""
    check_enforced()
    for command in qos.commands(account):
        _run(command)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CoopError(f"{command[0]} does not answer: {error}", next="is slurmdbd up?") from error
    if done.returncode and not re.search(r"nothing (new added|modified)", done.stdout + done.stderr, re.IGNORECASE):
        raise CoopError(f"{' '.join(command[:5])} failed", value=(done.stderr or done.stdout).strip()[:300])
    return done.stdout
