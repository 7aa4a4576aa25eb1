"""Signature checks of many entries, in chunks, on one core or on all.

Entries are read in chunks and their signatures' arithmetic is done chunk by chunk: that keeps the tables of the curve in the
processor's cache, and is all that another process is asked for. Form and rules stay with the caller. What is not vouched for the
caller checks in full, so results and messages are those of checking one entry after the other.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from governance_hooks.checkpoint import Checkpoint, NoteVerifier, verify_checkpoint
from governance_hooks.errors import CoopError
from governance_hooks.sshsig import Equation, all_hold
from governance_hooks.statement import Statement, read

__all__ = ["cores", "vouched_checkpoints", "vouched_statements", "workers"]

T = TypeVar("T")
V = TypeVar("V")
Q = TypeVar("Q")

CHUNK = 512
"""Items read ahead at once."""
WORTH_IT = 1024
"""Items below which other processes are never asked."""
MANY = 16_384
"""Items from which on asking them is surely faster, where nobody says how many processes to use."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(jobs: int, items: int) -> int:
    """Return how many processes to ask about so many items: `jobs`; for 0 one a core, if there are many."""
    return jobs or (cores() if items >= MANY else 1)


def vouched_statements(entries: Iterable[bytes], *, jobs: int = 1) -> Generator[tuple[bytes, Statement | None]]:
    """Yield each entry in order: with its statement, if its signatures were found good; with None, if the caller has to look."""
    return _vouched(entries, _statement, all_hold, jobs)


def vouched_checkpoints(notes: Iterable[tuple[int, str]], verifier: NoteVerifier, *, jobs: int = 1) -> Generator[tuple[tuple[int, str], Checkpoint | None]]:
    """Yield each (size, note) in order: with its checkpoint, if its signatures were found good, else with None."""
    return _vouched(notes, partial(_checkpoint, verifier), partial(_notes_hold, verifier), jobs)


def _vouched(items: Iterable[T], prepare: Callable[[T], tuple[V, Q]], check: Callable[[list[Q]], list[bool]], jobs: int) -> Generator[tuple[T, V | None]]:
    """Yield each item and what `prepare` made of it, or None unless `check` said yes to the question that came with it.

    At most a few chunks are prepared ahead. What cannot be prepared is nobody's to vouch for.
    """
    source = iter(items)
    head = list(islice(source, WORTH_IT)) if jobs > 1 else []
    source, alone = chain(head, source), len(head) < WORTH_IT
    del head
    if alone:
        while chunk := list(islice(source, CHUNK)):
            made, questions = _prepared(chunk, prepare)
            yield from _answered(made, check(questions))
        return
    # spawn: a forked child would share our open databases and threads
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        pending: deque[tuple[list[tuple[T, V | None]], Future[list[bool]]]] = deque()
        while chunk := list(islice(source, CHUNK)):
            made, questions = _prepared(chunk, prepare)
            pending.append((made, pool.submit(check, questions)))
            if len(pending) > 2 * jobs:
                made, future = pending.popleft()
                yield from _answered(made, future.result())
        for made, future in pending:
            yield from _answered(made, future.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _prepared(chunk: list[T], prepare: Callable[[T], tuple[V, Q]]) -> tuple[list[tuple[T, V | None]], list[Q]]:
    made: list[tuple[T, V | None]] = []
    questions: list[Q] = []
    collects = gc.isenabled()
    gc.disable()  # nothing here makes cycles, and the collector would walk the whole chunk again and again
    try:
        for item in chunk:
            try:
                value, question = prepare(item)
            except CoopError:
                made.append((item, None))
            else:
                made.append((item, value))
                questions.append(question)
    finally:
        if collects:
            gc.enable()
    return made, questions


def _answered(made: list[tuple[T, V | None]], answers: list[bool]) -> Generator[tuple[T, V | None]]:
    answer = iter(answers)
    for item, value in made:
        yield item, value if value is not None and next(answer) else None


def _statement(data: bytes) -> tuple[Statement, list[Equation]]:
    statement, claims = read(data)
    return statement, [one.equation for one in claims]


def _checkpoint(verifier: NoteVerifier, sized: tuple[int, str]) -> tuple[Checkpoint, str]:
    return verify_checkpoint(sized[1], verifier, signatures=False), sized[1]


def _notes_hold(verifier: NoteVerifier, notes: list[str]) -> list[bool]:
    return [_holds(note, verifier) for note in notes]


def _holds(note: str, verifier: NoteVerifier) -> bool:
    try:
        verify_checkpoint(note, verifier)
    except CoopError:
        return False
    return True
