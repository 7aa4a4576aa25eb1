"""The portal's opinion maps: drawn apart, one at a time, kept until somebody answers, and never so often that drawing is all this machine does."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from governance_hooks.preferences import opinions
from portal.opinion.drawing import Answers, draw_answers
from portal.opinion.found import Count, OpinionMap

__all__ = ["Drawn", "Maps"]

KEPT = 256
"""Maps and counts in memory; the longest unread goes."""
WAITING = 4
"""Readers who may wait for a first map at a time; the others are told to look again."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A map, and of how many ballots."""

    map: OpinionMap
    ballots: int
    """Ballots the consultation had had, those that were replaced by later ones among them."""
    ended: float
    took_s: float


@dataclass(slots=True)
class Maps:
    """Opinion maps by consultation."""

    draw: Callable[[Answers], OpinionMap] = draw_answers
    patience_s: float = 8.0
    """How long a reader waits for a first map."""
    rest: float = 10.0
    """After a map has been drawn nothing is drawn for so many times the time it took: a tenth of a core at most."""
    _kept: OrderedDict[str, Drawn] = field(default_factory=OrderedDict)
    _counts: OrderedDict[str, tuple[int, tuple[Count, ...]]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: threading.Event | None = None
    """Set when the drawing that is going on ends."""
    _rested: float = 0.0
    _waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WAITING))

    def counts(self, proposal: str, ballots: int, answers: Answers, statements: int) -> tuple[Count, ...]:
        """Return how many say what to each statement, counted again only when there was another ballot."""
        with self._lock:
            kept = self._counts.get(proposal)
            if kept is None or kept[0] != ballots:
                kept = ballots, tuple(Count(*one) for one in opinions(answers.values(), statements))
                self._counts[proposal] = kept
            self._counts.move_to_end(proposal)
            while len(self._counts) > KEPT:
                self._counts.popitem(last=False)
            return kept[1]

    def of(self, proposal: str, ballots: int, answers: Answers, reader: str | None = None) -> Drawn | None:
        """Return the newest map there is of a consultation, perhaps of fewer ballots; None if none is drawn yet.

        Args:
            ballots: ballots it has had so far; grows with every one.
            answers: what members answered, at the same moment: nothing of the register is read here, so hold no lock while you wait.
            reader: the member who reads: if they answered since it was drawn, they too wait for a new one if that may begin.
        """
        deadline = time.monotonic() + self.patience_s
        while True:
            with self._lock:
                kept = self._kept.get(proposal)
                if kept is not None:
                    self._kept.move_to_end(proposal)
                if kept is None or kept.ballots != ballots:
                    self._start(proposal, ballots, answers, first=kept is None)
                busy = self._busy
            left = deadline - time.monotonic()
            enough = kept is not None and (kept.ballots == ballots or reader not in answers or reader in kept.map.cells)
            if enough or busy is None or left <= 0 or not self._waiting.acquire(blocking=False):
                return kept
            try:
                busy.wait(left)
            finally:
                self._waiting.release()

    def _start(self, proposal: str, ballots: int, answers: Answers, *, first: bool) -> None:
        """Begin to draw, unless something is drawn or this machine rests from it; a first map need not wait for the rest."""
        if self._busy is not None or (not first and time.monotonic() < self._rested):
            return
        self._busy = done = threading.Event()
        threading.Thread(target=self._work, args=(proposal, ballots, answers, done), name="opinion map", daemon=True).start()

    def _work(self, proposal: str, ballots: int, answers: Answers, done: threading.Event) -> None:
        began = time.monotonic()
        try:
            made = self.draw(answers)
        except Exception:  # whatever it is: a page says that there is no map, and nobody waits for ever
            made = OpinionMap("failed", 0)
        ended = time.monotonic()
        with self._lock:
            self._kept[proposal] = Drawn(made, ballots, ended, ended - began)
            self._kept.move_to_end(proposal)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            self._rested, self._busy = ended + self.rest * (ended - began), None
        done.set()
