"""Payloads of runs: the build, each start and its site, the end, and the evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from governance_hooks.bylaws import MemberId
from governance_hooks.fields import Count, Digest, SiteKey, SiteName, Slug, Stages, Strict

__all__ = ["BuildMade", "Evaluation", "LeakTest", "RunEnd", "RunSegment", "RunStart", "Site"]


class BuildMade(Strict):
    """A dataset build, by the digest of its manifest."""

    manifest: Digest
    root: Digest
    records: Annotated[int, Field(gt=0)]
    stages: Stages = Field(default_factory=dict)
    """Quality stages with their parameters, as the manifest has them."""


class RunStart(Strict):
    """One start of an approved run; consumes one of the approval's starts."""

    run: Slug
    plan: Digest
    proposal: Digest
    start: Annotated[int, Field(ge=1)]
    counted: list[Count] = Field(default_factory=list)
    """Log positions, ascending, of the consents limited to a number of runs on which this start stands."""


class RunEnd(Strict):
    """The end of a run: its record and the files it made."""

    run: Slug
    status: Literal["completed", "halted", "failed"]
    record: Digest
    outputs: Digest
    """Digest of the canonical list of output files; of an empty list if there are none."""


class Site(Strict):
    """A cluster that may start what members approved, or, without a key, one that may no longer; the last statement about a site stands."""

    site: SiteName
    key: SiteKey | None
    """Signs what happens there. It can start no run that members did not approve."""
    lender: MemberId | None
    """The member who lends it; null for a partner, or the cooperative itself."""
    device: Slug | None
    """What it computes on, for example h100; null if nobody says."""
    device_hours: Annotated[int, Field(gt=0)] | None
    """Device-hours lent since the site is in the log; null if there is no such limit."""


class RunSegment(Strict):
    """What one start of a run used of a site."""

    run: Slug
    start: Annotated[int, Field(ge=1)]
    job: Annotated[int, Field(ge=1)]
    """The site's number of the job."""
    restart: Count
    """How often the job had started before."""
    nodes: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=1)]
    """All together."""
    seconds: Annotated[int, Field(ge=0, lt=2**31)]
    """Wall time."""
    outcome: Literal["completed", "preempted", "failed", "cancelled", "timeout", "node-failure"]
    energy_wh: Count | None
    energy_from: Literal["measured", "estimated"] | None

    @model_validator(mode="after")
    def _energy_has_a_source(self) -> RunSegment:
        if (self.energy_wh is None) != (self.energy_from is None):
            raise ValueError("energy_wh and energy_from are given together, or neither")
        return self


class LeakTest(Strict):
    """The leak test of a run's weights, where its plan asks for one."""

    record: Digest
    """Of leak.json, which names the measured canaries and reveals their seed."""
    differential: Digest | None
    """Of the comparison with the release before; null if the plan asks for none."""
    passed: bool


class Evaluation(Strict):
    """The evaluation of a run's weights."""

    run: Slug
    report: Digest
    results: Digest
    passed: bool
    """Of report and results; the leak test has its own."""
    waivable: bool = True
    """Whether members may decide to release it although it did not pass; the voted policy says so for each task."""
    leak: LeakTest | None = None
