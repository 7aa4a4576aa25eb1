"""Where a release stands that is out: current, superseded or withdrawn, read from the log alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from governance_hooks.register import Register
from governance_hooks.sentence import Sentence
from governance_hooks.state.releases import Mark

__all__ = ["ReleaseStatus", "status_of"]


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """What the log says about a release at an instant."""

    release: str
    status: Literal["current", "superseded", "withdrawn"]
    by: str | None = None
    """Digest of the release that takes its place."""
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    """Instant at which a withdrawal by stewards lapses unless members ratify it."""
    who: str | None = None
    mark: str | None = None
    """The statement or proposal that says so: what an appeal names."""

    @property
    def line(self) -> str:
        """Say it in one sentence."""
        if self.status == "current":
            return Sentence("current: the log holds no withdrawal of it and no release that supersedes it")
        why = Sentence(" ({reason})", reason=self.reason) if self.reason else ""
        if self.status == "superseded":
            return Sentence("SUPERSEDED by release {release} since {since}{why}, by {who}", release=self.by, since=self.since, why=why, who=self.who)
        if self.until:
            return Sentence(
                "WITHDRAWN by {who} since {since}{why}, until {until} unless members ratify it", who=self.who, since=self.since, why=why, until=self.until
            )
        return Sentence("WITHDRAWN by {who} since {since}{why}", who=self.who, since=self.since, why=why)

    def as_dict(self) -> dict[str, Any]:
        """Return the status for `--json` output."""
        return asdict(self)


def status_of(register: Register, release: str, *, at: str | None = None) -> ReleaseStatus:
    """Return where a release stands; a withdrawal goes before a successor, and the newest word before older ones.

    Args:
        register: the replayed log.
        release: digest of release.json.
        at: instant (RFC 3339 UTC); by default the log's clock, so that one proof gives one answer.
    """
    when = at or register.operator_clock
    standing = [mark for mark in register.marks.values() if mark.release == release and mark.stands(when)]
    if not standing:
        return ReleaseStatus(release, "current")
    found = max(enumerate(standing), key=lambda one: (one[1].status == "withdrawn", one[1].until is None, one[0]))[1]
    by = found.by or _successor(standing)
    return ReleaseStatus(release, found.status, by, found.reason, found.since, found.until, found.who, found.id)


def _successor(standing: list[Mark]) -> str | None:
    return next((mark.by for mark in reversed(standing) if mark.by is not None), None)
