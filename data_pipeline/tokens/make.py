"""Make the tokenised artefact of a build: on a CPU, in constant memory, before any trainer starts."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from heapq import merge
from importlib import metadata
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from data_pipeline.chat import Conversation, Renderer, TooLong, frame_of
from data_pipeline.manifest import Build
from data_pipeline.reader import Row, rows
from data_pipeline.split import Split
from data_pipeline.tokens.arrow import ArrowWriter
from data_pipeline.tokens.canary_rows import canary_rows, check_member_row
from data_pipeline.tokens.counts import Tally, check_too_long, fitting
from data_pipeline.tokens.description import ARROW, LEFT_OUT, PREFERENCES, RULES, TOKENS, Arrow, Description, LeftOut, Pairs, Recipe, TokensFile
from data_pipeline.tokens.preferences import RULE as PAIRS_RULE
from data_pipeline.tokens.preferences import find_preferences
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokenizer import load_tokenizer, tokenizer_digest
from data_pipeline.tokens.tokens import Tokens, open_tokens
from governance_hooks.atomic import atomic_directory, remove_leftovers, write_bytes
from governance_hooks.canaries import RULE
from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.inventory import sha256_file
from governance_hooks.merkle import Frontier
from governance_hooks.plan import CANARY_LANGUAGE, Canaries
from governance_hooks.vouching import cores

__all__ = ["ROWS_PER_TASK", "Progress", "make_tokens", "recipe_of", "sample_rows", "tokens_folder"]

ROWS_PER_TASK: Final = 1024
ROWS_FOR_PROCESSES: Final = 100_000
"""From so many rows on, the seconds that processes take to start are worth it (benchmarks/tokens.py)."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Rendered:
    """Many rendered rows in few arrays, which travel cheaply between processes; a row that does not fit has start 0 and no ids."""

    ids: Any
    lengths: Any
    starts: Any
    stops: Any


_renderer: Renderer | None = None
"""Of a worker process."""


def _load(base: Path) -> None:
    global _renderer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _renderer = Renderer(load_tokenizer(base))


def _render_here(conversations: Sequence[Conversation], max_tokens: int) -> _Rendered:
    assert _renderer is not None
    return _render(_renderer, conversations, max_tokens)


def _render(renderer: Renderer, conversations: Sequence[Conversation], max_tokens: int) -> _Rendered:
    ids: list[int] = []
    numbers: list[tuple[int, int, int]] = []
    for rendered in renderer.batch(conversations, max_tokens=max_tokens):
        if isinstance(rendered, TooLong):
            numbers.append((rendered.tokens, 0, 0))
        else:
            ids += rendered.ids
            numbers.append((len(rendered.ids), rendered.start, rendered.stop))
    lengths, starts, stops = np.array(numbers, dtype=np.uint32).T
    return _Rendered(np.array(ids, dtype=np.uint32), lengths, starts, stops)


def recipe_of(build: Build, base: Path, sequence_tokens: int, canaries: Canaries | None = None, minimum_rating_gap: float | None = None) -> Recipe:
    """Return what an artefact is made from; the tokenizer's files are hashed. Raise BadInput for canaries in pairs."""
    if canaries is not None and minimum_rating_gap is not None:
        raise BadInput("a canary has no better or worse answer", value=canaries.count, allowed="no canaries with training.objective: dpo", next="canaries: 0")
    rules = [*RULES, *([RULE] if canaries is not None else []), *([PAIRS_RULE] if minimum_rating_gap is not None else [])]
    return Recipe(
        build=build.digest,
        tokenizer=tokenizer_digest(base),
        rules=rules,
        sequence_tokens=sequence_tokens,
        canaries=canaries,
        minimum_rating_gap=minimum_rating_gap,
    )


def tokens_folder(build: Build, recipe: Recipe) -> Path:
    """Return where the artefact of a recipe lies: beside the build, since a build folder holds nothing its manifest does not name."""
    return build.folder.parent / f"{build.folder.name}.tokens" / recipe.digest[7:23]


def make_tokens(
    build: Build,
    base: Path,
    *,
    sequence_tokens: int,
    max_too_long: float = 1.0,
    canaries: Canaries | None = None,
    seed: Path | None = None,
    minimum_rating_gap: float | None = None,
    processes: int | None = None,
    expected: str | None = None,
    progress: Progress | None = None,
) -> Tokens:
    """Return the artefact of a build, made if it is not there yet; the folder appears whole or not at all.

    Its files hold the members' texts in another spelling: they are private, and have to be deleted when the build's text is.

    Args:
        build: the build; every row is checked against its ledger while it is read.
        base: folder with tokenizer and chat template.
        sequence_tokens: longest sample; a row over it is left out and counted, never cut.
        max_too_long: share of a language's training rows that may be left out.
        canaries: what a plan says of them.
        seed: file with their secret seed; needed where the artefact is not there yet.
        minimum_rating_gap: with it rows are trained on in pairs (see `data_pipeline.tokens.preferences`), and `max_too_long` is a share of those.
        processes: how many tokenise; by default all of this process's CPUs, one for small builds.
        expected: the digest a plan names.
        progress: called as (label, done, total).

    Raises:
        BadInput: too many rows of a language do not fit, the artefact is not the one expected, the canaries' seed is missing or another, or a row of
            the build calls itself a canary.
        CoopError: the build is not what its manifest says, or the disk refuses.
    """
    recipe = recipe_of(build, base, sequence_tokens, canaries, minimum_rating_gap)
    folder = tokens_folder(build, recipe)
    if not folder.is_dir():
        with _locked(folder.parent):
            remove_leftovers(folder.parent)  # a killed maker's texts
            if not folder.is_dir():
                total, included = build.manifest["records"], canary_rows(canaries, seed)
                wanted = processes or (cores() if total >= ROWS_FOR_PROCESSES else 1)
                with atomic_directory(folder) as temporary:
                    _write(temporary, build, base, recipe, included, max_too_long, wanted, progress)
    found = open_tokens(folder, expected=expected)
    if found.description.recipe != recipe:
        raise BadInput(f"{folder} was made from something else", value=found.description.recipe.digest, allowed=recipe.digest, next="remove the folder")
    check_too_long(found.train_counts, max_too_long, sequence_tokens, what=found.counted)
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; another maker waits, and finds the work done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_Row = tuple[Split, Row]


def _write(folder: Path, build: Build, base: Path, recipe: Recipe, included: list[Row], max_too_long: float, processes: int, progress: Progress | None) -> None:
    tally, tree, done, total = Tally(), Frontier(), 0, build.manifest["records"] + len(included)
    before: tuple[bool, str] | None = None
    batches = _rendered(_rows(build, recipe, included), base, recipe.sequence_tokens, processes)
    tokenizer = load_tokenizer(base)
    prefers = find_preferences(build, recipe.minimum_rating_gap) if recipe.minimum_rating_gap is not None else None
    sizes: dict[str, tuple[int, int]] = {record: (0, 0) for one in (prefers.preferences if prefers else ()) for record in (one.chosen, one.rejected)}
    with closing(batches), ArrowWriter(folder / ARROW, len(tokenizer)) as arrow, (folder / LEFT_OUT).open("wb") as left_out:
        for batch, rendered in batches:
            first = 0
            numbers = zip(rendered.lengths.tolist(), rendered.starts.tolist(), rendered.stops.tolist(), strict=True)
            for (split, row), (length, start, stop) in zip(batch, numbers, strict=True):
                place = (split == "heldout", row.record)
                if before is not None and place <= before:
                    raise BadInput("the dataset holds a text twice, or out of order", value=row.record, next="build again")
                before = place
                if not stop and row.language == CANARY_LANGUAGE:
                    raise BadInput(
                        "a canary does not fit into a sequence", value=recipe.sequence_tokens, allowed=f"{length} tokens (training.sequence_tokens) or more"
                    )
                if not stop:
                    sizes.pop(row.record, None)
                    tally.leave_out(row.language, split)
                    left_out.write(dumps(LeftOut(record=row.record, language=row.language, split=split, tokens=length).model_dump()) + b"\n")
                    continue
                sample = Sample(row.record, row.language, split, rendered.ids[first : first + length], start, stop)
                first += length
                sample.check()
                tally.add(sample)
                if sample.record in sizes:
                    sizes[sample.record] = (len(sample.ids), sample.supervised)
                tree.push(sample.leaf())
                arrow.append(sample)
            done += len(batch)
            if progress is not None:
                progress("tokenising", done, total)
    counts, pairs = tally.counts(), None
    if prefers is None:
        check_too_long({language: both.train for language, both in counts.items()}, max_too_long, recipe.sequence_tokens)
    else:
        _, both_sides = fitting(prefers.preferences, sizes, recipe.sequence_tokens)
        check_too_long({language: both.train for language, both in both_sides.items()}, max_too_long, recipe.sequence_tokens, what="pairs")
        write_bytes(folder / PREFERENCES, b"".join(dumps(one.model_dump()) + b"\n" for one in prefers.preferences), mode=0o600)
        pairs = Pairs(preferences=sha256_file(folder / PREFERENCES), languages=both_sides, found=prefers.counts)
    description = Description(
        recipe=recipe,
        template=frame_of(tokenizer).template,
        vocabulary=len(tokenizer),
        languages=counts,
        samples=tree.size,
        root="sha256:" + tree.root().hex(),
        left_out=sha256_file(folder / LEFT_OUT),
        pairs=pairs,
    )
    for name in (ARROW, LEFT_OUT):
        (folder / name).chmod(0o600)
    head = TokensFile(
        digest=description.digest,
        description=description,
        arrow=Arrow(sha256=sha256_file(folder / ARROW), size=(folder / ARROW).stat().st_size, writer=f"pyarrow {metadata.version('pyarrow')}"),
        libraries={name: metadata.version(name) for name in ("tokenizers", "transformers")},
    )
    write_bytes(folder / TOKENS, dumps(head.model_dump()))


def _rows(build: Build, recipe: Recipe, included: list[Row]) -> Iterator[_Row]:
    """Yield training rows, then held-out rows, each in the order of record ids."""
    for split in cast("tuple[Split, ...]", ("train", "heldout")):
        for row in sample_rows(build, split, recipe, included):
            yield split, row


def sample_rows(build: Build, split: Split, recipe: Recipe, included: list[Row]) -> Iterator[Row]:
    """Yield the rows of one side in the order of record ids, canaries among those to train on; raise BadInput for a row that calls itself one."""

    def members() -> Iterator[Row]:
        for row in rows(build, split):
            check_member_row(row.record, row.language, recipe.canaries)
            yield row

    return merge(members(), included if split == "train" else [], key=lambda row: row.record)


def _rendered(source: Iterator[_Row], base: Path, max_tokens: int, processes: int) -> Generator[tuple[list[_Row], _Rendered], None, None]:
    """Yield rows with their tokens, in order; at most three tasks a process are under way, so memory does not grow with the build."""
    batches = iter(lambda: list(islice(source, ROWS_PER_TASK)), [])
    if processes == 1:
        renderer = Renderer(load_tokenizer(base))
        for batch in batches:
            yield batch, _render(renderer, _conversations(batch), max_tokens)
        return
    # Forked from a server that has imported the library once: not from this process, whose threads (torch's, Arrow's) must not be.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "transformers.models.auto.tokenization_auto"])
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_load, initargs=(base,)) as pool:
        waiting: deque[tuple[list[_Row], Future[_Rendered]]] = deque()
        for batch in batches:
            waiting.append((batch, pool.submit(_render_here, _conversations(batch), max_tokens)))
            if len(waiting) == 3 * processes:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


def _conversations(batch: Sequence[_Row]) -> list[Conversation]:
    return [Conversation(row.inputs, row.targets, row.history) for _, row in batch]
