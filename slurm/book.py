"""The compute book: which cluster hours were lent, and for which vote they were used; from the log alone, but for what a vote allowed, which its plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance_hooks.plan import Limits
from governance_hooks.register import Register

__all__ = ["Book", "LentSite", "Use", "VotedRun", "keep_book"]


@dataclass(frozen=True, slots=True)
class Use:
    """What starts at sites used, all together."""

    starts: int = 0
    device_s: int = 0
    energy_wh: int | None = None
    """Of the starts whose energy is known; None if that is none of them."""
    energy_starts: int = 0
    estimated: bool = False
    """Whether some of that energy is an estimate."""

    def __add__(self, other: Use) -> Use:
        known = [one.energy_wh for one in (self, other) if one.energy_wh is not None]
        return Use(
            self.starts + other.starts,
            self.device_s + other.device_s,
            sum(known) if known else None,
            self.energy_starts + other.energy_starts,
            self.estimated or other.estimated,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        energy = {"wh": self.energy_wh, "of_starts": self.energy_starts, "estimated": self.estimated} if self.energy_wh is not None else None
        return {"starts": self.starts, "device_seconds": self.device_s, "energy": energy}


@dataclass(frozen=True, slots=True)
class LentSite:
    """A site: who lends it, how much, and what was used of that."""

    name: str
    lender: str | None
    """A member; None for a partner or the cooperative itself."""
    device: str | None
    lent_s: int | None
    """Device-seconds lent; None if there is no limit."""
    retired: bool
    used: Use

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        said = {"site": self.name, "lender": self.lender, "device": self.device, "lent_device_seconds": self.lent_s, "retired": self.retired}
        return said | self.used.as_dict()


@dataclass(frozen=True, slots=True)
class VotedRun:
    """A run: the vote it uses, what it used at which site, how its starts ended, and what the vote allowed."""

    run: str
    proposal: str
    plan: str
    used: Use
    by_site: Mapping[str, Use]
    outcomes: Mapping[str, int]
    open_starts: int
    """Starts at sites of which nobody has said yet what they used."""
    own_starts: int
    """Starts on machines of the cooperative, which no site accounts for."""
    budget_s: int | None
    """Device-seconds the vote allows; None where the plan is not here."""

    @property
    def left_s(self) -> int | None:
        """Return the device-seconds the vote has left; None where the plan is not here."""
        return None if self.budget_s is None else max(0, self.budget_s - self.used.device_s)

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {
            "run": self.run,
            "proposal": self.proposal,
            "plan": self.plan,
            **self.used.as_dict(),
            "sites": {name: use.as_dict() for name, use in self.by_site.items()},
            "outcomes": dict(self.outcomes),
            "open_starts": self.open_starts,
            "own_starts": self.own_starts,
            "budget_device_seconds": self.budget_s,
            "left_device_seconds": self.left_s,
        }


@dataclass(frozen=True, slots=True)
class Book:
    """The whole book."""

    sites: tuple[LentSite, ...]
    runs: tuple[VotedRun, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {"sites": [one.as_dict() for one in self.sites], "runs": [one.as_dict() for one in self.runs]}


def keep_book(register: Register, limits: Mapping[str, Limits]) -> Book:
    """Return the book as the log stands.

    Args:
        register: the replayed log.
        limits: what plans allow, by digest of the plan; a plan that is missing leaves its budget unknown.
    """
    at_sites: dict[str, Use] = {name: Use() for name in register.sites}
    runs = []
    for run in register.runs.values():
        by_site: dict[str, Use] = {}
        outcomes: dict[str, int] = {}
        for _, segment in sorted(run.segments.items()):
            known = segment.energy_wh is not None
            use = Use(1, segment.seconds * segment.devices, segment.energy_wh, int(known), segment.energy_from == "estimated")
            by_site[segment.site] = by_site.get(segment.site, Use()) + use
            outcomes[segment.outcome] = outcomes.get(segment.outcome, 0) + 1
        for name, use in by_site.items():
            at_sites[name] = at_sites.get(name, Use()) + use
        started_at_sites = sum(site is not None for site in run.sites)
        if started_at_sites:
            runs.append(
                VotedRun(
                    run=run.id,
                    proposal=run.proposal,
                    plan=run.plan,
                    used=sum(by_site.values(), Use()),
                    by_site=by_site,
                    outcomes=outcomes,
                    open_starts=started_at_sites - len(run.segments),
                    own_starts=len(run.sites) - started_at_sites,
                    budget_s=_budget_s(limits[run.plan]) if run.plan in limits else None,
                )
            )
    sites = tuple(
        LentSite(site.name, site.lender, site.device, None if site.device_hours is None else site.device_hours * 3600, site.key is None, at_sites[site.name])
        for site in register.sites.values()
    )
    return Book(sites, tuple(runs))


def _budget_s(limits: Limits) -> int:
    return 60 * (limits.max_devices * limits.max_minutes if limits.max_device_minutes is None else limits.max_device_minutes)
