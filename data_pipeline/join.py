"""Where rows of all parts meet: exact copies and near copies.

    join(shards, recipe, pool) -> one Verdict per shard

The parts are neighbouring ranges of record ids, so a row's number over all of them is the order of the ids, however many parts there
are: the same rows are kept at 1, 2 and 7.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipeline.candidate import Exclusion
from data_pipeline.pool import Pool
from data_pipeline.recipe import Recipe
from data_pipeline.shard import Shard
from data_pipeline.stages.near_duplicates import Copy, NearDuplicatesParameters, candidates, families, resolve, why

__all__ = ["Verdict", "join"]

PARTS: Final = 16
"""Groups of families that are resolved apart; enough to keep the cores of one machine busy to the end."""

Places = NDArray[np.int64]


@dataclass(slots=True)
class Verdict:
    """What the others decide about the rows of one shard."""

    kept: NDArray[np.bool_]
    excluded: list[Exclusion] = field(default_factory=list)
    credited: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Row -> the authors of its copies."""


class _Rows:
    """The rows of all shards under one numbering."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self.starts = np.cumsum([0, *map(len, shards)])
        self.total = int(self.starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([chunk for shard in self.shards for chunk in shard.column(name).chunks], type=self.shards[0].column(name).type)

    def values(self, name: str, rows: Sequence[int] | Places) -> list[Any]:
        return self.column(name).take(pa.array(rows, type=pa.int64())).to_pylist() if len(rows) else []

    def binary(self, name: str, dtype: str) -> NDArray[Any]:
        return np.concatenate([shard.binary(name, dtype) for shard in self.shards])

    def shard_of(self, row: int) -> int:
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def rank(self) -> Places:
        """Return the place of each row in the order of `priority`: time of storing, then record id, which is the number."""
        created = self.column("created_at").combine_chunks().dictionary_encode()
        seconds = np.argsort(np.argsort(created.dictionary.to_pylist()))[created.indices.to_numpy()]
        rank = np.empty(self.total, dtype=np.int64)
        rank[np.argsort(seconds, kind="stable")] = np.arange(self.total)
        return rank


def join(shards: Sequence[Shard], recipe: Recipe, pool: Pool, paths: Sequence[Path]) -> list[Verdict]:
    """Return for each shard which of its rows stay beside the rows of all shards."""
    rows = _Rows(shards)
    if not rows.total:
        return [Verdict(np.zeros(len(shard), dtype=bool)) for shard in shards]
    rank, kept = rows.rank(), np.ones(rows.total, dtype=bool)
    thanks: dict[int, set[str]] = defaultdict(set)
    out: list[tuple[int, str, str]] = []

    copies, firsts = _exact(rows.binary("copy_key", "<u8"), rank)
    kept[copies] = False
    names, authors = rows.values("record", firsts), rows.values("authors", copies)
    for copy, first, name, writers in zip(copies.tolist(), firsts.tolist(), names, authors, strict=True):
        thanks[first].update(writers)
        out.append((copy, "duplicate", f"of {name}"))

    parameters = recipe.stages.get("near_duplicates")
    if isinstance(parameters, NearDuplicatesParameters):
        found = _near(rows, kept, rank, parameters, pool, paths)
        names, authors = rows.values("record", [copy.of for copy in found]), rows.values("authors", [copy.row for copy in found])
        for near, name, writers in zip(found, names, authors, strict=True):
            thanks[near.of].update(writers, thanks.pop(near.row, ()))
            out.append((near.row, "near_duplicate", why(near, name, parameters)))
        kept[[copy.row for copy in found]] = False
    return _verdicts(rows, kept, thanks, out)


def _exact(keys: NDArray[Any], rank: Places) -> tuple[Places, Places]:
    """Return the rows that are copies, and of which: of equal keys the first in rank stays."""
    order = np.lexsort((rank, keys[:, 1], keys[:, 0]))
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    first = order[np.maximum.accumulate(np.where(np.r_[True, ~same], np.arange(len(order)), 0))]
    later = np.flatnonzero(same) + 1
    return order[later], first[later]


def _near(rows: _Rows, kept: NDArray[np.bool_], rank: Places, parameters: NearDuplicatesParameters, pool: Pool, paths: Sequence[Path]) -> list[Copy]:
    numbers = rows.binary("bands", "<u8")
    shared = candidates(numbers[kept])
    del numbers
    some = shared.any(axis=1)
    places, shared = np.flatnonzero(kept)[some], shared[some]
    order = np.argsort(rank[places])
    places, shared = places[order], shared[order]
    tasks = [partial(_resolve, paths, places[part], shared[part], parameters) for part in _parts(families(shared))]
    return sorted((copy for found in pool.run(tasks) for copy in found), key=lambda copy: int(rank[copy.row]))


def _parts(family: Places) -> list[Places]:
    """Share out families, the largest first, to about equal parts; within a part the rows stay in order."""
    _, label, sizes = np.unique(family, return_inverse=True, return_counts=True)
    loads, part_of = [0] * PARTS, np.empty(len(sizes), dtype=np.int64)
    for one in np.argsort(-sizes, kind="stable").tolist():
        part = loads.index(min(loads))
        part_of[one] = part
        loads[part] += int(sizes[one])
    mine = part_of[label]
    return [found for part in range(PARTS) if len(found := np.flatnonzero(mine == part))]


def _resolve(paths: Sequence[Path], places: Places, shared: NDArray[np.uint64], parameters: NearDuplicatesParameters) -> list[Copy]:
    rows = _Rows([Shard(path) for path in paths])

    def text(index: int) -> Any:
        shard = rows.shard_of(int(places[index]))
        return rows.shards[shard].text(int(places[index] - rows.starts[shard]))

    found = resolve(shared, range(len(places)), text, parameters, _kin(rows.values("record", places), rows.values("parents", places)))
    return [Copy(int(places[copy.row]), int(places[copy.of]), copy.permille) for copy in found]


def _kin(names: Sequence[str], parents: Sequence[Sequence[str]]) -> dict[int, frozenset[int]]:
    """Return the parents of each row that has some, by number."""
    number = {name: index for index, name in enumerate(names)}
    return {index: frozenset(number[parent] for parent in some if parent in number) for index, some in enumerate(parents) if some}


def _verdicts(rows: _Rows, kept: NDArray[np.bool_], thanks: dict[int, set[str]], out: list[tuple[int, str, str]]) -> list[Verdict]:
    verdicts = [Verdict(kept[start:stop]) for start, stop in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True)]
    for (row, reason, detail), name in zip(out, rows.values("record", [row for row, _, _ in out]), strict=True):
        verdicts[rows.shard_of(row)].excluded.append(Exclusion(name, reason, detail))
    for (row, names), own in zip(thanks.items(), rows.values("authors", list(thanks)), strict=True):
        if others := names - set(own):
            shard = rows.shard_of(row)
            verdicts[shard].credited[row - int(rows.starts[shard])] = tuple(sorted(others))
    return verdicts
