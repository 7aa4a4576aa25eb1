"""Runs, and the sites that lend them a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Run", "Segment", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster somebody lends: what the last statement about it says."""

    name: str
    key: bytes | None
    """Raw; None when it is retired."""
    lender: str | None
    device: str | None
    device_hours: int | None
    clock: str
    """Instant of its last statement; before there is one, when it was named."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one start of a run used of a site."""

    site: str
    job: int
    restart: int
    nodes: int
    devices: int
    seconds: int
    outcome: str
    energy_wh: int | None
    energy_from: str | None


@dataclass(slots=True)
class Run:
    """A run: its starts, its end and its evaluation."""

    id: str
    plan: str
    proposal: str
    starts: list[int] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    """Instant of each start."""
    counted: list[list[int]] = field(default_factory=list)
    """Log positions of the limited consents each start names."""
    sites: list[str | None] = field(default_factory=list)
    """Where each start was; None on a machine of the cooperative."""
    segments: dict[int, Segment] = field(default_factory=dict)
    """What starts at sites used, by number of the start."""
    endings: list[tuple[int, str]] = field(default_factory=list)
    """Log position and status of each end, oldest first."""
    ended: int | None = None
    status: str | None = None
    record: str | None = None
    outputs: str | None = None
    report: str | None = None
    results: str | None = None
    evaluation_passed: bool | None = None
    waivable: bool = True
    """Whether the voted policy lets members release it although the evaluation did not pass."""
    leak: str | None = None
    """Digest of the record of its leak test; None if the plan asked for none."""
    leak_differential: str | None = None
    leak_passed: bool | None = None
    waiver: str | None = None
    """The members' decision to release it although the evaluation or the leak test did not pass."""
    waived: int | None = None
    """Log position at which that decision took effect."""
    releases: dict[str, int] = field(default_factory=dict)
    """Digest of each release, oldest first -> log position at which it went out: by that it is judged, whatever goes out after it."""

    def used_seconds(self) -> tuple[int, int]:
        """Return the wall time and the device time of its segments, seconds."""
        return sum(one.seconds for one in self.segments.values()), sum(one.seconds * one.devices for one in self.segments.values())

    @property
    def passed(self) -> bool:
        """Whether the evaluation is there and nothing of it failed, the leak test included."""
        return bool(self.evaluation_passed) and self.leak_passed is not False

    def waived_before_release(self) -> str | None:
        """Return the vote that waived the run's evaluation before its first release, if there is one; a later one changes nothing."""
        first = next(iter(self.releases.values()), None)
        return self.waiver if self.waivable and self.waived is not None and (first is None or self.waived < first) else None
