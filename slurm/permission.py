"""What an order permits at a site right now: the operator's word, the members' vote, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import Refused
from governance_hooks.gate import Request, apply_pending, run_gate
from governance_hooks.links import MAX_AGE_S
from governance_hooks.plan import Limits, read_plan
from governance_hooks.proof import Proof, read_proof
from governance_hooks.register import Register
from governance_hooks.report import Blocked
from governance_hooks.site.order import Order, order_of, read_order
from slurm.completed import require_incomplete
from slurm.outbox import read_entries
from slurm.site_folder import Delivered, SiteFolder

__all__ = ["Permission", "Standing"]

MAX_MANIFEST: Final = 64 << 20
_AFTER: Final = ("eval", "card")
_NOWHERE: Final = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Permission:
    """An order that may be carried out, and how long at most."""

    id: str
    order: Order
    minutes: int
    """What the order says, or what is left of the vote, if that is less."""


class Standing:
    """The log as it stands for a site: the verified proof, and behind it what the site has signed since."""

    def __init__(self, folder: SiteFolder, at: str) -> None:
        """Read proof and outbox and replay them.

        Args:
            at: RFC 3339 UTC.

        Raises:
            Refused, BadInput: there is no proof, or it does not hold, or the log would not take what the site has signed.
        """
        self.folder, self.at = folder, at
        # The outbox first: an entry is taken out of it only after the proof holds it.
        self.pending = tuple(one.data for one in read_entries(folder.path / "outbox"))
        self.data = folder.proof()
        self.proof: Proof = read_proof(self.data)
        self.register: Register = self.proof.replay(folder.site.coop).register
        apply_pending(self.register, self.proof.entries, self.pending)

    def permission(self, name: str, delivered: Delivered, *, devices: int | None = None, minutes: int | None = None) -> Permission:
        """Judge an order.

        Args:
            name: the hexadecimal digits a job names it by.
            delivered: what lies in the inbox about it.
            devices: what the job was given; what the order says, if None.
            minutes: the job's time limit; what the order says, if None.

        Raises:
            Blocked: the gate blocks; its report is in it.
            Complete: it orders the training of a run that is trained to its end.
            Refused, BadInput: the order does not hold.
        """
        statement = read_order(delivered.order, self.register, at=self.at)
        order = order_of(statement)
        if statement.id != f"sha256:{name}":
            raise Refused("this order is not the one the job names", value=statement.id, allowed=f"sha256:{name}")
        if order.site != self.folder.site.site:
            raise Refused("this order is for another site", value=order.site, allowed=self.folder.site.site)
        asked = order.minutes if minutes is None else minutes
        if order.kind == "build":
            return Permission(statement.id, order, asked)
        if delivered.plan is None or sha256(delivered.plan) != order.plan:
            raise Refused("the plan beside this order is not the one it names", allowed=order.plan, next="coop submit")
        if order.kind == "train":
            run = self.register.runs.get(order.run)
            require_incomplete(delivered.run, order.run, sha256(delivered.plan), logged=run.status if run is not None else None)
        used = max(order.devices, 1) if devices is None else max(devices, 1)
        granted = asked if order.kind in _AFTER else self._left(order, read_plan(delivered.plan).limits, used, asked)
        report = run_gate(
            Request(
                plan=delivered.plan,
                proof=self.data,
                base=delivered.base or _NOWHERE,
                build=_readable(delivered.build),
                now=self.at,
                pin=self.folder.site.coop,
                run=order.run if self._follows(order) else None,
                proposal=order.proposal,
                devices=used,
                minutes=granted,
                max_age_s=MAX_AGE_S,
                memory=self.folder.memory,
                site=order.site,
                pending=self.pending,
                after=self._follows(order),
                inputs=False,
            )
        )
        if not report.passed:
            raise Blocked(report)
        return Permission(statement.id, order, granted)

    def _follows(self, order: Order) -> bool:
        """Tell whether an order comes after a training that has started; before, the whole chain stands on the approval as the training does."""
        return order.kind in _AFTER and order.run in self.register.runs

    def _left(self, order: Order, limits: Limits, devices: int, asked: int) -> int:
        """Return the minutes a start may take: what is asked, less what the run has used; the gate says no where nothing is left or too much is asked."""
        run = self.register.runs.get(order.run)
        wall_s, device_s = run.used_seconds() if run is not None else (0, 0)
        left = limits.minutes_on(devices, wall_s=wall_s, device_s=device_s)
        return asked if left <= 0 or order.minutes > limits.minutes_on(devices) else min(asked, left)


def _readable(build: Path | None) -> Path:
    """Return the folder of a build if its manifest is a plain file of sane size that the controller may read: the gate reads it whole."""
    if build is None:
        raise Refused("nobody says where the dataset of this order is", next="coop submit, which writes places.json")
    try:
        size = (build / "manifest.json").stat().st_size if (build / "manifest.json").is_file() else None
    except OSError as error:
        raise Refused(f"the controller cannot read the dataset: {error.strerror}", value=str(build), next="let SlurmUser read the dataset's folder") from error
    if size is None or size > MAX_MANIFEST:
        raise Refused("there is no dataset where the order says", value=str(build), next="is that disk mounted on the controller?")
    return build
