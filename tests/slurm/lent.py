"""A site somebody lends to the village: its folder, its key, and what its controller would write there."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from governance_hooks.canonical import digest, dumps
from governance_hooks.payloads.runs import RunSegment, RunStart
from governance_hooks.site.clearance import Clearance, sign_clearance
from governance_hooks.site.document import body_and_signature
from governance_hooks.site.order import Order, sign_order
from governance_hooks.statement import Statement, parse, shift
from slurm.outbox import Entry, Outbox, read_entries
from tests.village import Approved

SUBMITTED = 1_795_400_000
"""When the jobs of these tests were submitted, seconds since 1970."""


class Lent:
    """The site `north` of an approved village."""

    def __init__(self, approved: Approved, folder: Path, name: str = "north", **said: Any) -> None:
        self.approved, self.village, self.folder, self.name = approved, approved.village, folder, name
        self.key = self.village.site(name, **said)
        self.outbox = Outbox(folder / "outbox", name, self.village.coop.register.coop, self.key, clock=lambda: self.village.clock)
        for part in ("outbox", "clearance", "ended", "inbox"):
            (folder / part).mkdir(parents=True)

    def begin(self, run: str = "run-1", start: int = 1) -> Entry:
        """Sign the start of a run."""
        with self.outbox.locked():
            return self.outbox.state("coop.run-start/v1", RunStart(**self.approved.started(run, start)))

    def clear(self, job: int, restart: int = 0, start: Entry | None = None, order: str = digest("order"), **changes: Any) -> Clearance:
        """Clear one start of a job."""
        said = {"order": order, "job": job, "restart": restart, "user": os.getuid(), "submitted": SUBMITTED, "nodes": 1, "devices": 2, "minutes": 30}
        named = parse(start.data).id if start is not None else None
        clearance = Clearance(**said | {"expires": shift(self.village.clock, 3600), "start": named} | changes)  # type: ignore[arg-type]
        document = sign_clearance(clearance, coop=self.outbox.coop, site=self.name, key=self.key, issued=self.village.clock)
        body, signature = body_and_signature(document)
        for suffix, data in (("json", body), ("sig", signature.encode()), ("start", start.data if start is not None else None)):
            if data is not None:
                (self.folder / "clearance" / f"{job}.{restart}.{suffix}").write_bytes(data)
        return clearance

    def end(self, job: int, restart: int = 0, **changes: Any) -> Path:
        """Say of a start of a job that it ended, as jobcomp.lua does."""
        end = int(datetime.fromisoformat(self.village.clock).timestamp())
        said = {"end": end, "gres": "gpu:h100:2", "job": job, "restart": restart, "start": end - 60, "state": 3, "submit": SUBMITTED, "tres": "1=2,4=1,5=2"}
        path = self.folder / "ended" / f"{job}.{restart}.json"
        path.write_bytes(dumps(said | changes))
        return path

    def order(self, kind: str = "train", run: str = "run-1", **changes: Any) -> str:
        """Put an order of the operator into the inbox; return its digest."""
        plan = None if kind == "build" else self.approved.started(run)["plan"]
        said = {"site": self.name, "kind": kind, "run": run, "plan": plan, "proposal": self.approved.proposal if plan else None, "script": digest("script")}
        said |= {"user": os.getuid(), "nodes": 1, "devices": 2, "minutes": 30, "array": None, "expires": shift(self.village.clock, 86_400)}
        document = sign_order(Order(**said | changes), coop=self.outbox.coop, key=self.village.operator, issued=self.village.clock)  # type: ignore[arg-type]
        made = digest(_body(document))
        folder = self.folder / "inbox" / made.removeprefix("sha256:")
        folder.mkdir()
        (folder / "order.json").write_bytes(document)
        return made

    def stated(self) -> list[Statement]:
        """Return what lies in the outbox."""
        return [parse(one.data) for one in read_entries(self.outbox.folder)]

    def segments(self) -> list[RunSegment]:
        """Return the segments in the outbox."""
        return [one.payload for one in self.stated() if isinstance(one.payload, RunSegment)]


def _body(document: bytes) -> Any:
    from governance_hooks.canonical import loads

    return loads(document)["body"]
