"""Who does the steps of a build's parts, and where; whoever it is, the parts decide nothing.

sources ── prepare (each part) ──► join (all parts) ──► finish (each part) ──► what the manifest is made of
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from data_pipeline.finish import Part, finish
from data_pipeline.join import join
from data_pipeline.pool import Pool
from data_pipeline.shard import Job, Prepared, Shard, prepare
from data_pipeline.source import StoreRange
from data_pipeline.stages.stage import NO_EVIDENCE

__all__ = ["InProcesses", "Progress", "Steps", "lean"]

Progress = Callable[[str, int, int], None]


class Steps(Protocol):
    """Does the steps of all parts; what it keeps while it is open is gone after a build that is whole."""

    def __enter__(self) -> Self:
        """Take what is needed: processes, a folder."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give it back."""
        ...

    def prepare(self, job: Job, sources: Sequence[StoreRange], total: int, report: Progress) -> list[Prepared]:
        """Judge each row without the others; `total` records are stored."""
        ...

    def finish(self, job: Job, prepared: Sequence[Prepared], total: int, report: Progress) -> list[Part]:
        """Find the copies over all parts, and write each part's lines and rows."""
        ...


class InProcesses:
    """The processes of one machine, or with `jobs=1` this process; the parts' files lie in the job's folder."""

    def __init__(self, jobs: int) -> None:
        self._pool = Pool(jobs)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.__exit__(kind, error, trace)

    def prepare(self, job: Job, sources: Sequence[StoreRange], total: int, report: Progress) -> list[Prepared]:
        """Hand the parts out in order."""
        prepared, done = list[Prepared](), 0
        for one in self._pool.run(partial(prepare, job, number, source) for number, source in enumerate(sources)):
            prepared.append(one)
            done += one.records
            report("check each row", done, total)
        return prepared

    def finish(self, job: Job, prepared: Sequence[Prepared], total: int, report: Progress) -> list[Part]:
        """Join here, with families of near copies handed out, then hand the parts out again."""
        paths = [one.path for one in prepared]
        report("find copies", 0, 1)
        verdicts = join([Shard(path) for path in paths], job.recipe, self._pool, paths)
        report("find copies", 1, 1)
        parts, done, last = list[Part](), 0, partial(finish, lean(job))
        tasks = (partial(last, one.number, one.path, verdict, one.excluded) for one, verdict in zip(prepared, verdicts, strict=True))
        for one, part in zip(prepared, self._pool.run(tasks), strict=True):
            parts.append(part)
            done += one.records
            report("ledger", done, total)
        return parts


def lean(job: Job) -> Job:
    """Return the job without what only `prepare` needs, since it travels to each process with each part."""
    return replace(job, consents={}, evidence=NO_EVIDENCE)
