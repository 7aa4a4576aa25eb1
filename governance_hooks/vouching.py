"""Signature checks of many entries on all cores.

A worker vouches for the signatures in the bytes it was given, and for nothing else: form and rules are the caller's. Whatever
it does not vouch for the caller checks in full, so results and messages are those of one process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from governance_hooks.checkpoint import NoteVerifier, verify_checkpoint
from governance_hooks.errors import CoopError
from governance_hooks.statement import verify_signatures

__all__ = ["cores", "vouched_entries", "vouched_notes"]

T = TypeVar("T")

CHUNK = 256
"""Items a worker gets at once."""
WORTH_IT = 1024
"""Items below which starting processes costs more than it saves."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def vouched_entries(entries: Iterable[bytes], *, jobs: int) -> Generator[tuple[bytes, bool]]:
    """Yield each entry in order, and whether another process found its signatures good; at most a few chunks ahead."""
    return _vouched(entries, _check_entries, jobs)


def vouched_notes(notes: Iterable[tuple[int, str]], verifier: NoteVerifier, *, jobs: int) -> Generator[tuple[tuple[int, str], bool]]:
    """Yield each (size, note) in order, and whether another process found its signatures good."""
    return _vouched(notes, partial(_check_notes, verifier), jobs)


def _vouched(items: Iterable[T], check: Callable[[list[T]], list[bool]], jobs: int) -> Generator[tuple[T, bool]]:
    source = iter(items)
    head = list(islice(source, WORTH_IT)) if jobs > 1 else []
    if len(head) < WORTH_IT:
        for item in chain(head, source):
            yield item, False
        return
    source = chain(head, source)
    # spawn: a forked child would share our open databases and threads
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        pending: deque[tuple[list[T], Future[list[bool]]]] = deque()
        while chunk := list(islice(source, CHUNK)):
            pending.append((chunk, pool.submit(check, chunk)))
            if len(pending) > 2 * jobs:
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
        for done, future in pending:
            yield from zip(done, future.result(), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _check_entries(chunk: list[bytes]) -> list[bool]:
    return [_holds(verify_signatures, data) for data in chunk]


def _check_notes(verifier: NoteVerifier, chunk: list[tuple[int, str]]) -> list[bool]:
    return [_holds(verify_checkpoint, note, verifier) for _, note in chunk]


def _holds(check: Callable[..., object], *arguments: object) -> bool:
    try:
        check(*arguments)
    except CoopError:
        return False
    return True
