"""Tasks on all cores, or one after the other in this process: results come in the order of the tasks either way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Self, TypeVar

from governance_hooks.errors import CoopError

__all__ = ["Pool"]

T = TypeVar("T")


class Pool:
    """`jobs` processes; with one, tasks run in this process. With more, the calling program must be importable (multiprocessing's spawn)."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        # spawn: a forked child would share our databases and threads
        self._executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) if jobs > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def run(self, tasks: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield the result of each task, in order; at most a few are handed out ahead.

        Raises:
            CoopError: a process was ended from outside, by the system's lack of memory for example.
        """
        if self._executor is None:
            for task in tasks:
                yield task()
            return
        pending: deque[Future[T]] = deque()
        try:
            for task in tasks:
                pending.append(self._executor.submit(task))
                if len(pending) > 2 * self.jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise CoopError(
                "a process that builds the dataset was ended from outside", next="give it more memory, or use fewer processes with --jobs"
            ) from error
