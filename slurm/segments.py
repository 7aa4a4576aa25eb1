"""Accounting at a site: of each cleared start that ended, one signed statement of what it used, exactly once.

jobcomp.lua leaves a file in `ended/` when a start ends. `settle` puts the statement into the outbox, moves the clearance to `done/` and removes the file, in
this order: cut off anywhere, it goes on where it was, and nothing is stated twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.fields import Strict
from governance_hooks.payloads.runs import RunSegment, RunStart
from governance_hooks.site.clearance import Clearance, clearance_of, read_clearance
from governance_hooks.statement import MAX_ENTRY, SITE, Statement, entry, now, parse
from slurm.energy import read_energy
from slurm.outbox import Entry, Outbox, read_entries, read_small

__all__ = ["Ended", "Settled", "lost", "outcome", "read_ended", "settle", "unsettled", "write_off"]

_NAME: Final = re.compile(r"(?P<name>[0-9]{1,10}\.[0-9]{1,10})\.json")
_NO_VALUE: Final = 4_294_967_294
"""SLURM's NO_VAL; NO_VAL and INFINITE are the two highest 32-bit numbers."""
_GPU: Final = re.compile(r"(?:^|,)(?:gres[:/])?gpu(?::[^:,]*)?:([0-9]{1,6})(?=[(,]|$)")
_NODES: Final = re.compile(r"(?:^|,)4=([0-9]{1,6})(?=,|$)")
Outcome = Literal["completed", "preempted", "failed", "cancelled", "timeout", "node-failure"]
_OUTCOMES: Final[dict[int, Outcome]] = {
    0: "preempted",  # pending: it went back into the queue, by itself or by its user
    3: "completed",
    4: "cancelled",
    5: "failed",
    6: "timeout",
    7: "node-failure",
    8: "preempted",
    9: "node-failure",  # BOOT_FAIL
    10: "timeout",  # DEADLINE
    11: "failed",  # OUT_OF_MEMORY
}
"""enum job_states of slurm.h; its flags lie above the low byte."""

_Number = Annotated[int, Field(ge=0, lt=2**33)]
_Tres = Annotated[str, Field(max_length=4096)]


class Ended(Strict):
    """What jobcomp.lua wrote of one start of a job; times are seconds since 1970."""

    end: _Number
    gres: _Tres | None
    job: Annotated[int, Field(ge=1, lt=_NO_VALUE)]
    restart: _Number
    start: _Number
    state: _Number
    submit: _Number
    tres: _Tres | None

    @property
    def seconds(self) -> int:
        """Return how long the nodes were its own; 0 for a job that never had any."""
        return max(0, self.end - self.start) if self.start and self.end < _NO_VALUE else 0

    def devices(self, clearance: Clearance) -> int:
        """Return the GPUs it held, all nodes together; of a job on processors what it was cleared for, a node at least."""
        held = sum(int(count) for count in _GPU.findall(self.gres or ""))
        return held or clearance.devices or self.nodes(clearance)

    def nodes(self, clearance: Clearance) -> int:
        """Return the nodes it held; what it was cleared for, if SLURM does not say."""
        found = _NODES.search(self.tres or "")
        return (int(found[1]) if found else 0) or clearance.nodes


@dataclass(frozen=True, slots=True)
class Settled:
    """One start of a job that ended: its name, its clearance, how it ended, and the entry made of it, if it started a run."""

    name: str
    clearance: Clearance
    ended: Ended
    entry: Entry | None

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return outcome(self.ended.state)


def outcome(state: int) -> Outcome:
    """Return how a start ended, from SLURM's job_state; a state nobody knows is a failure."""
    return _OUTCOMES.get(state & 0xFF, "failed")


def read_ended(data: bytes, *, source: str) -> Ended:
    """Parse what jobcomp.lua wrote; raise BadInput for anything else."""
    value = loads(data, source=source)
    try:
        return Ended.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error


def settle(site: Path, outbox: Outbox, *, refused: list[CoopError] | None = None) -> list[Settled]:
    """State what each cleared start that ended has used, in the order in which they ended; what is settled already is left alone.

    Args:
        site: the site's folder.
        outbox: where the statements go.
        refused: gets a reason for each file that is not as we wrote it; without it the first is raised. The others are settled all the same.

    Raises:
        CoopError: a file cannot be written, or is none of ours. What was settled before stays so.
    """
    settled, reasons = [], list[CoopError]()
    with outbox.locked():
        waiting = []
        for path in _files(site / "ended"):
            try:
                waiting.append((read_ended(read_small(path, MAX_ENTRY), source=str(path)), path))
            except CoopError as error:
                reasons.append(error)
        for ended, path in sorted(waiting, key=lambda one: (one[0].end, one[0].job, one[0].restart)):
            try:
                one = _settle(site, outbox, ended, path)
            except (BadInput, Refused) as error:
                reasons.append(error)
            else:
                settled += [one] if one is not None else []
    if refused is None and reasons:
        raise reasons[0]
    if refused is not None:
        refused += reasons
    return settled


def lost(site: Path, running: set[str]) -> list[str]:
    """Return the cleared starts (JOB.RESTART) that SLURM knows nothing of any more and nobody has settled: jobcomp.lua did not write them down."""
    waiting = {path.stem for path in _files(site / "ended")}
    return [path.stem for path in _files(site / "clearance") if path.stem not in waiting | running]


def unsettled(site: Path, run: str) -> list[str]:
    """Return the cleared starts (JOB.RESTART) of a run that go on, or whose end nobody wrote down; raise BadInput for a file that is none of ours."""
    found = []
    for path in _files(site / "clearance"):
        start = path.with_suffix(".start")
        if start.exists():
            payload = parse(read_small(start, MAX_ENTRY), source=str(start)).payload
            found += [path.stem] if isinstance(payload, RunStart) and payload.run == run else []
    return found


def write_off(site: Path, outbox: Outbox, name: str) -> list[Settled]:
    """Settle a cleared start whose end nobody wrote down as one that failed after all the time it was cleared for, or since then: rather too much than too little.

    Raises:
        BadInput, Refused: there is no such start.
    """
    if not _NAME.fullmatch(f"{name}.json"):
        raise BadInput("this is no start of a job", value=name, allowed="JOB.RESTART, for example 17.0", next="coop slurm check")
    statement = _clearance(site, outbox, name)
    clearance, begun, at = clearance_of(statement), _unix(statement.issued), _unix(now())
    end = min(begun + 60 * clearance.minutes, at)
    made = Ended(end=end, gres=None, job=clearance.job, restart=clearance.restart, start=begun, state=5, submit=clearance.submitted, tres=None)
    write_bytes(site / "ended" / f"{name}.json", dumps(made.model_dump()))
    return settle(site, outbox, refused=[])


def _unix(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())


def _files(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise CoopError(f"cannot read {folder}: {error.strerror}") from error
    yield from (folder / name for name in names if _NAME.fullmatch(name))


def _settle(site: Path, outbox: Outbox, ended: Ended, path: Path) -> Settled | None:
    name = f"{ended.job}.{ended.restart}"
    if path.name != f"{name}.json":
        raise BadInput(f"{path} is about another start", value=name)
    if not (site / "clearance" / f"{name}.json").exists():  # it was settled, and cut off before all was put away
        _put_away(site, name, path)
        return None
    clearance = clearance_of(_clearance(site, outbox, name))
    if ended.submit != clearance.submitted:
        raise Refused(f"{path} is about another job of this number", value=ended.submit, allowed=f"submitted at {clearance.submitted}")
    made = _state(site, outbox, ended, clearance) if clearance.start is not None else None
    _put_away(site, name, path)
    return Settled(name, clearance, ended, made)


def _put_away(site: Path, name: str, path: Path) -> None:
    """Move the clearance, whose file being gone says that the start is settled, then what belongs to it; remove the file that said it ended last."""
    (site / "done").mkdir(exist_ok=True)
    for suffix in ("json", "sig", "start"):
        file = site / "clearance" / f"{name}.{suffix}"
        if file.exists():
            file.replace(site / "done" / file.name)
    path.unlink()


def _clearance(site: Path, outbox: Outbox, name: str) -> Statement:
    """Return a clearance of this site, its signature checked; raise BadInput if there is none."""
    path = site / "clearance" / f"{name}.json"
    body = read_small(path, MAX_ENTRY)
    signature = read_small(path.with_suffix(".sig"), MAX_ENTRY).decode("ascii", "replace")
    made = loads(body, source=str(path))
    issued = made.get("issued", "") if isinstance(made, dict) else ""
    document = entry(made, [signature])
    found = read_clearance(document, coop=outbox.coop, site=outbox.site, key=outbox.key.public.raw, at=issued)  # expired since is no matter here
    clearance = clearance_of(found)
    if f"{clearance.job}.{clearance.restart}" != name:
        raise Refused(f"{path} is of another start", value=f"{clearance.job}.{clearance.restart}", allowed=name)
    return found


def _state(site: Path, outbox: Outbox, ended: Ended, clearance: Clearance) -> Entry:
    """Put the statement into the outbox, unless it is there, and return its entry."""
    path = site / "clearance" / f"{clearance.job}.{clearance.restart}.start"
    begun = parse(read_small(path, MAX_ENTRY), source=str(path))
    if begun.id != clearance.start or begun.author != SITE + outbox.site or not isinstance(begun.payload, RunStart):
        raise Refused(f"{path} is not the start that was cleared", value=begun.id, allowed=clearance.start)
    there = next((one for one in read_entries(outbox.folder) if _about(one, begun.payload)), None)
    if there is not None:
        return there
    energy = read_energy(site, clearance, begun=ended.start, ended=ended.end, seconds=ended.seconds, devices=ended.devices(clearance))
    payload = RunSegment(
        run=begun.payload.run,
        start=begun.payload.start,
        job=ended.job,
        restart=ended.restart,
        nodes=ended.nodes(clearance),
        devices=ended.devices(clearance),
        seconds=ended.seconds,
        outcome=outcome(ended.state),
        energy_wh=energy.wh if energy is not None else None,
        energy_from=energy.source if energy is not None else None,
    )
    return outbox.state("coop.run-segment/v1", payload)


def _about(one: Entry, begun: RunStart) -> bool:
    """Tell whether an entry states what this start used."""
    if not one.path.name.endswith("-run-segment.entry"):
        return False
    segment = parse(one.data, source=str(one.path)).payload
    return isinstance(segment, RunSegment) and (segment.run, segment.start) == (begun.run, begun.start)
