"""The cooperative's writer: takes what sites have signed into the log, finishes the runs their jobs trained, and brings each site a fresh proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from commonweights.job_results import finish_run
from commonweights.witnesses import standing, witnessed_proof
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import CoopError, Refused
from governance_hooks.statement import SITE, Statement, parse
from slurm.outbox import Entry, read_entries
from slurm.site_folder import deliver_proof

__all__ = ["Collector", "Event"]

TYPES: Final = ("coop.run-start/v1", "coop.run-segment/v1")
"""What a site may state."""
STAMP_S: Final = 86_400
"""A checkpoint older than this is replaced by one of now: a gate takes none that is older than a week."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the writer did, or could not do."""

    what: Literal["appended", "refused", "ended", "evaluated", "card", "proof", "failed"]
    about: str
    """Site and entry, or run."""
    error: CoopError | None = None

    @property
    def text(self) -> str:
        """Return the line for people."""
        return f"{self.what:<9}  {self.about}" + (f"\n{'':<11}{self.error}".replace("\n  ", f"\n{'':<13}") if self.error is not None else "")

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {"event": self.what, "about": self.about, "error": self.error.as_dict() if self.error is not None else None}


@dataclass(slots=True)
class Collector:
    """The writer with the folders of its sites; `round` may be called again and again."""

    space: Workspace
    sites: Mapping[str, Path]
    """Folder of each site, as this machine sees it."""
    _in_log: set[str] = field(default_factory=set)
    """Digests of entries seen in the log."""
    _delivered: dict[str, str] = field(default_factory=dict)
    """Digest of the proof each site got last."""
    _told: set[tuple[str, str]] = field(default_factory=set)
    """Problems told already: a round tells what is new."""

    def round(self) -> list[Event]:
        """Collect once and return what was done, and what newly cannot be; raise CoopError if the log cannot be read."""
        events = []
        self.space.coop.refresh()
        for name, folder in self.sites.items():
            try:
                events += self._collect(name, folder)
            except CoopError as error:
                events.append(Event("failed", name, error))
        for run in list(self.space.coop.register.runs.values()):
            if run.sites[-1] in self.sites:
                try:
                    for step in finish_run(self.space, run, self.sites.values()):
                        events.append(Event(step, run.id))  # one by one: what follows may fail
                except (CoopError, OSError) as error:
                    events.append(Event("failed", run.id, error if isinstance(error, CoopError) else CoopError(f"run {run.id}: {error}")))
        events += self._refresh_proofs()
        return [event for event in events if self._is_news(event)]

    def _is_news(self, event: Event) -> bool:
        if event.error is None:
            return True
        key = (event.about, event.error.what)
        news = key not in self._told
        self._told.add(key)
        return news

    def _collect(self, site: str, folder: Path) -> list[Event]:
        """Append what a site has signed and the log does not hold; an entry that is refused stays where it is, and those after it go on."""
        waiting, events = list[tuple[Entry, Statement]](), list[Event]()
        for one in read_entries(folder / "outbox"):
            if sha256(one.data) in self._in_log:
                continue
            try:
                statement = parse(one.data, source=str(one.path))
                if statement.type not in TYPES or statement.author != SITE + site:
                    raise Refused(
                        f"{one.path} is not for this site to state", value=[statement.type, statement.author], allowed=f"starts and segments by {SITE}{site}"
                    )
            except CoopError as error:
                events.append(Event("refused", f"{site} {one.path.name}", error))
                continue
            if statement.id in self.space.coop.register.seen:
                self._in_log.add(sha256(one.data))
            else:
                waiting.append((one, statement))
        for (one, _), refusal in zip(waiting, self.space.coop.append_each([statement for _, statement in waiting]), strict=True):
            events.append(Event("refused" if refusal else "appended", f"{site} {one.path.name}", refusal))
            if refusal is None:
                self._in_log.add(sha256(one.data))
        return events

    def _refresh_proofs(self) -> list[Event]:
        """Leave the proof of now in each site's inbox, in one step; a checkpoint that grows old is replaced first."""
        if not self.sites:
            return []
        space = self.space
        if _age(space) > STAMP_S:
            space.coop.operate("coop.time/v1", {})
        data, events = witnessed_proof(space).dumps(), list[Event]()
        for name, folder in self.sites.items():
            if self._delivered.get(name) == sha256(data):
                continue
            try:
                deliver_proof(folder, data)
            except CoopError as error:
                events.append(Event("failed", f"{name} proof", error))
            else:
                self._delivered[name] = sha256(data)
                events.append(Event("proof", f"{name}: {space.coop.register.size} entries"))
        return events


def _age(space: Workspace) -> int:
    """Return the age of the newest checkpoint, by its own time or its witnesses', in seconds; 0 if too few of them have cosigned: they are asked next."""
    try:
        time = standing(space).time
    except CoopError:
        return 0
    return int(datetime.fromisoformat(space.coop.clock()).timestamp()) - time
