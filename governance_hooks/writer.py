"""Group commit: many threads of one process submit statements, one thread appends whatever waits under one checkpoint.

A durable commit costs the same for one entry and for a hundred. So while one commit is under way, entries gather, and
the next commit takes them all. Nobody waits for company: a lone entry is committed at once.

    with Cooperative.open(root) as coop, Writer(coop) as writer:
        statement = writer.append(entry_bytes)      # from any thread
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType

from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.statement import Statement, parse

__all__ = ["Writer"]

GROUP = 256
"""Statements under one checkpoint, at most: other processes wait for the write lock so long."""
WAITING = 1024
"""Statements that may wait; whoever submits more waits too."""


class Writer:
    """The one writer of a process; from now on its cooperative is used by the writer's thread alone.

    Args:
        coop: the cooperative.
        vouched: told of each statement whose signatures were found good, before it is judged, from whatever thread: another reader in
            this process need not check them again.
    """

    def __init__(self, coop: Cooperative, *, vouched: Callable[[Statement], None] = lambda _: None) -> None:
        self._coop, self._vouched = coop, vouched
        self._waiting: deque[tuple[Statement, Future[Statement]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="coop-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def submit(self, data: bytes) -> Future[Statement]:
        """Hand in an entry; the future has its statement once it is durably in the log, or the error for which it is not.

        Signatures are checked here, in the submitter's thread.

        Raises:
            Refused, BadInput: the entry is malformed or badly signed.
            CoopError: the writer is closed.
        """
        statement, future = parse(data), Future[Statement]()
        self._vouched(statement)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < WAITING)
            if self._closed:
                raise CoopError("the writer is closed: nothing was appended", next="submit it again when the service runs")
            self._waiting.append((statement, future))
            self._changed.notify_all()
        return future

    def append(self, data: bytes) -> Statement:
        """Submit an entry and wait for it.

        Raises:
            Refused: the rules do not allow it; nothing was appended.
            CoopError: the log could not be written; nothing was appended.
        """
        return self.submit(data).result()

    def close(self) -> None:
        """Append what was submitted, then end the thread; more is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        group: list[tuple[Statement, Future[Statement]]] = []
        try:
            while group := self._next():
                self._commit(group)
        finally:  # also if a fault of ours ends the thread: nobody waits for ever, and nothing more is taken
            with self._changed:
                self._closed = True
                left = [*group, *self._waiting]
                self._waiting.clear()
                self._changed.notify_all()
            for _, future in left:
                if not future.done():
                    future.set_exception(CoopError("the writer stopped: it is not known whether this was appended", next="look with coop log"))

    def _next(self) -> list[tuple[Statement, Future[Statement]]]:
        """Wait for statements; return the next group, empty when closed and all is done. Cancelled ones are left out."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                taken = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
                self._changed.notify_all()
            group = [(statement, future) for statement, future in taken if future.set_running_or_notify_cancel()]
            if group or not taken:
                return group

    def _commit(self, group: list[tuple[Statement, Future[Statement]]]) -> None:
        try:
            refusals = self._coop.append_each([statement for statement, _ in group])
        except CoopError as error:
            for _, future in group:
                future.set_exception(error)
            return
        for (statement, future), refusal in zip(group, refusals, strict=True):
            if refusal:
                future.set_exception(refusal)
            else:
                future.set_result(statement)
