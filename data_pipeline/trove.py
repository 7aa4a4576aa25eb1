"""The steps of a build's parts as datatrove pipelines, on this machine or under SLURM; datatrove hands out, marks as done and takes up again.

    store ── cut ──► work folder ── prepare (a task a part) ──► join (one task) ──► finish (a task a part) ──► build

Tasks see the work folder alone: no store, no log, no key. The name of a work folder is the digest of all that decides the outcome, so whoever is
asked for the same build again goes on where the last one was ended, and no other build takes its rows. The functions are those of
`data_pipeline.steps`; datatrove (github.com/huggingface/datatrove, 0.10.1) is asked for nothing but its executors and their marks.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

from data_pipeline.finish import Part, finish
from data_pipeline.handover import JOB, Work, described, read_work, write_work
from data_pipeline.join import join
from data_pipeline.pool import Pool
from data_pipeline.shard import Job, Prepared, Shard, prepare
from data_pipeline.source import PageFile, StoreRange
from data_pipeline.steps import Progress, lean
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError

try:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from loguru import logger
except ImportError as error:
    raise BadInput("the package datatrove is not installed", next="pip install 'commonweights[cluster]'") from error

__all__ = ["SAID", "STAGES", "Executor", "OnThisMachine", "Stage", "Step", "Trove"]

Stage = Literal["prepare", "join", "finish"]
STAGES: Final[tuple[Stage, ...]] = ("prepare", "join", "finish")
SAID: Final = {"prepare": "check each row", "join": "find copies", "finish": "ledger"}
"""What is reported of a stage: the same words as by the pool."""


class Step(PipelineStep):
    """One stage of a build as datatrove runs it; the number of a task is the number of a part.

    Args:
        folder: the work folder.
        digest: of its job.json.
        stage: which one.
        jobs: processes of the task, for families of near copies.
    """

    type = "coop"

    def __init__(self, folder: str, digest: str, stage: Stage, jobs: int = 1) -> None:
        self.name = stage
        super().__init__()
        self.folder, self.digest, self.stage, self.jobs = folder, digest, stage, jobs

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Do the stage for one part."""
        _DO[self.stage](_work(self.folder, self.digest), rank, self.jobs)


@lru_cache(maxsize=1)  # the tasks of a process are of one build
def _work(folder: str, digest: str) -> Work:
    return read_work(Path(folder), digest)


def _prepare(work: Work, number: int, _jobs: int) -> None:
    with work.writing() as job:
        found = prepare(job, number, work.sources[number])
    work.put_prepared(found)


def _join(work: Work, _number: int, jobs: int) -> None:
    paths = [work.shard(number) for number in range(len(work.sources))]
    with Pool(jobs) as pool:
        for number, verdict in enumerate(join([Shard(path) for path in paths], work.job.recipe, pool, paths)):
            work.put_verdict(number, verdict)


def _finish(work: Work, number: int, _jobs: int) -> None:
    one = work.prepared(number)
    with work.writing() as job:
        part = finish(lean(job), number, one.path, work.verdict(number), one.excluded)
    work.put_part(number, part)


_DO: Final[dict[Stage, Callable[[Work, int, int], None]]] = {"prepare": _prepare, "join": _join, "finish": _finish}


class Executor(Protocol):
    """Runs the stages of a work folder through an executor of datatrove."""

    def run(self, work: Work, report: Progress) -> None:
        """Return when every task of every stage is done; raise CoopError, and say which is not."""
        ...


class _Quiet(LocalPipelineExecutor):
    """datatrove's local executor without its log on standard error, which belongs to whoever called us."""

    def run(self) -> Any:
        logger.disable("datatrove")
        return super().run()

    def _launch_run_for_rank(self, *arguments: Any, **named: Any) -> Any:
        logger.disable("datatrove")  # in a worker's process
        return super()._launch_run_for_rank(*arguments, **named)


class OnThisMachine:
    """datatrove's local executor: `jobs` tasks at a time."""

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs

    def run(self, work: Work, report: Progress) -> None:
        """Run the stages one after the other."""
        for stage in STAGES:
            report(SAID[stage], 0, 1)
            tasks = 1 if stage == "join" else len(work.sources)
            workers = min(tasks, self.jobs)
            step = Step(str(work.folder), work.digest, stage, self.jobs)
            _Quiet([step], tasks=tasks, workers=workers, logging_dir=str(work.folder / stage)).run()
            report(SAID[stage], 1, 1)


class Trove:
    """Does a build's steps through datatrove (`data_pipeline.steps.Steps`).

    Args:
        folder: where work folders are made, on a file system that all machines of the executor see; the cooperative's own, for it holds members' texts.
        executor: this machine or a cluster.
    """

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.folder, self.executor = folder, executor
        self._work: Work | None = None
        self._gone: Callable[[], bool] = bool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # After an error what is done waits for the next try, unless something was erased meanwhile: no next try would take it, and it has to go.
        if kind is None or self._gone():
            shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self, job: Job, sources: Sequence[StoreRange], total: int, report: Progress) -> list[Prepared]:
        """Cut the store into files, and have all stages run."""
        self._work = self._cut(job, sources, report)
        self.executor.run(self._work, report)
        return [self._work.prepared(number) for number in range(len(sources))]

    def finish(self, job: Job, prepared: Sequence[Prepared], total: int, report: Progress) -> list[Part]:
        """Read what the stages left.

        Raises:
            CoopError: a record or a rating was erased since the store was cut.
        """
        assert self._work is not None
        if self._gone():
            raise CoopError("texts or ratings were erased while the dataset was built: it is thrown away", next="build again")
        return [self._work.part(number) for number in range(len(prepared))]

    def _cut(self, job: Job, sources: Sequence[StoreRange], report: Progress) -> Work:
        first, signed = sources[0], sources[0].signed
        erased = _erased(first)
        self._gone = lambda: _erased(first) != erased
        with ContributionStore(first.location) as store:
            batches = [[batch.batch, batch.root, batch.statement] for batch in store.batches()]
        parts = [[one.low, one.high] for one in sources]
        decides = {"job": described(job), "batches": batches, "erased": erased, "parts": parts, "signed": None if signed is None else sorted(signed)}
        folder = self.folder.resolve() / sha256(dumps(decides))[7:39]
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for other in self.folder.resolve().iterdir():
            if other != folder or not (folder / JOB).is_file():
                shutil.rmtree(other)  # members' texts: of a build that was given up, or of this one before it was cut
        if folder.is_dir():
            return read_work(folder)
        folder.mkdir(mode=0o700)
        files = list[PageFile]()
        for number, source in enumerate(sources):
            files.append(source.write(folder / f"source-{number:05}.jsonl"))
            report("cut into parts", number + 1, len(sources))
        return write_work(replace(job, folder=folder), files)


def _erased(source: StoreRange) -> list[str]:
    """Return what tells whether anything was erased: the ids of the tombstones, and a digest of the ratings that count."""
    digest = hashlib.sha256()
    with ContributionStore(source.location) as store:
        for rating in store.reviews.ratings() if source.review else ():
            if source.signed is None or rating.statement in source.signed:
                digest.update(rating.commitment.encode())
        return [*sorted(store.erased()), digest.hexdigest()]
