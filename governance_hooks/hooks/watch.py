"""The guard of one process among those of a run: all of them stop at the same optimizer step.

Each process looks at the log on its own clock, and what it found is agreed at every optimizer step, whatever the clocks
say: whoever waits for time before it calls the others leaves them waiting. A process without any more steps goes on
agreeing until all are done, so uneven epochs do not block either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol

from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.hooks.guard import Guard, Kind, Stop
from governance_hooks.report import Report

__all__ = ["PEER_TIMEOUT_S", "Alone", "Peers", "Watch", "find_peers"]

PEER_TIMEOUT_S = 1800
"""So long a process waits for the others at a step boundary (a checkpoint, a validation), seconds."""

_KINDS: tuple[Kind, ...] = ("withdrawn", "halted", "unchecked")
_GO_ON, _UNRELEASABLE, _STOP = 0, 1, 2
"""What is agreed is the highest: go on, go on but never release, and from _STOP on the kinds of a stop."""


class Peers(Protocol):
    """The processes of one training run."""

    rank: int
    size: int

    def most(self, values: Sequence[int]) -> list[int]:
        """Return the highest of each value over all processes; each of them calls it equally often. Raises CoopError if they cannot be reached."""
        ...

    def close(self) -> None:
        """Let go of the others."""
        ...


class Alone:
    """One process; it agrees with itself."""

    rank, size = 0, 1

    def most(self, values: Sequence[int]) -> list[int]:
        """Return the values."""
        return list(values)

    def close(self) -> None:
        """Do nothing."""


def find_peers(world_size: int | None = None, *, timeout_s: int = PEER_TIMEOUT_S) -> Peers:
    """Return this run's processes: those of torch.distributed if it is in use here; every process calls this at the same point.

    Args:
        world_size: how many the training framework says there are; None takes $WORLD_SIZE, which launchers set.

    Raises:
        BadInput: the framework or the launcher speaks of another number: a stop would not reach all of them.
    """
    loaded = sys.modules.get("torch.distributed")  # whoever trains with it has imported it; a loop without torch needs none
    found: Peers = Alone()
    if loaded is not None and loaded.is_available() and loaded.is_initialized() and loaded.get_world_size() > 1:
        from governance_hooks.hooks.processes import Processes

        found = Processes(timeout_s)
    claimed = int(os.environ.get("WORLD_SIZE") or 1) if world_size is None else world_size
    if found.size != claimed:
        raise BadInput(
            "the processes of this run cannot all be told to stop",
            value=f"{claimed} processes",
            allowed=f"{found.size}, as torch.distributed has them here",
            next="initialise torch.distributed before the guard starts",
        )
    return found


class Watch:
    """Starts, asks and ends the guard in step with the other processes; `stopped` is the same kind of stop in all of them."""

    def __init__(self, guard: Guard, peers: Peers) -> None:
        self.guard, self.peers = guard, peers
        self.stopped: Stop | None = None
        self._seen: Stop | None = None

    def start(self) -> Report:
        """Run the whole gate in every process; raise in all of them unless it passes in each."""
        passed = False
        try:
            report = self.guard.start()
            passed = True
        finally:  # also when it raised: the others wait for this word
            refused = self.peers.most([int(not passed)]) != [0]
        if refused:
            raise Refused("the gate of another process of this run does not pass", next="read the error of that process")
        return report

    def step(self) -> Stop | None:
        """Look at the log if it is time to, and agree with the others; call it after every optimizer step, in every process."""
        if self.stopped is None:
            self._see(self.guard.stop())
            self._agree(working=True)
        return self.stopped

    def look(self) -> Stop | None:
        """Look at the log now, whatever the clock says: at a checkpoint. It may be called in some processes only.

        A process that is alone stops at once; several stop at the next step boundary, where they agree.
        """
        if self.stopped is None:
            self._see(self.guard.stop(force=True))
            if self.peers.size == 1:
                self._agree(working=True)
        return self.stopped

    def finish(self) -> Stop | None:
        """Look once more at the end, and stay with the processes that have steps left, until all are done or told to stop."""
        self.look()
        while self.stopped is None and self._agree(working=False):
            pass
        self.peers.close()
        return self.stopped

    def _see(self, stop: Stop | None) -> None:
        self._seen = self._seen or stop

    def _agree(self, *, working: bool) -> bool:
        """Take the gravest word of all processes; return whether any of them is still at work."""
        mine = _UNRELEASABLE if self.guard.unreleasable is not None else _GO_ON
        if self._seen is not None:
            mine = _STOP + _KINDS.index(self._seen.kind)
        try:
            gravest, at_work = self.peers.most([mine, int(working)])
        except CoopError as error:
            self.stopped = self._seen or Stop("unchecked", error.what)
            return False
        if gravest >= _STOP:
            told = Stop(_KINDS[gravest - _STOP], "another process of this run was stopped by its look at the log")
            self.stopped = self._seen if self._seen is not None and mine == gravest else told
        elif gravest == _UNRELEASABLE and self.guard.unreleasable is None:
            self.guard.unreleasable = "another process of this run saw that a consent was withdrawn"
        return bool(at_work)
