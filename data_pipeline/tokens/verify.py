"""Check an artefact against its build: tokenise rows again and compare, all of them or a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import cast

from data_pipeline.chat import Conversation, Rendered, Renderer
from data_pipeline.manifest import Build
from data_pipeline.reader import Row
from data_pipeline.split import Split
from data_pipeline.tokens.canary_rows import canary_rows
from data_pipeline.tokens.make import ROWS_PER_TASK, recipe_of, sample_rows
from data_pipeline.tokens.pairs import read_preferences
from data_pipeline.tokens.preferences import find_preferences
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import CANARY_LANGUAGE

__all__ = ["verify_tokens"]

Progress = Callable[[str, int, int], None]


def verify_tokens(tokens: Tokens, build: Build, base: Path, *, permille: int = 1000, seed: Path | None = None, progress: Progress | None = None) -> int:
    """Return how many rows were tokenised again and found equal; every row of the build is found in the artefact, or among those left out.

    Args:
        tokens: opened, so that its samples are those of its description.
        build: the build it was made from; its rows are checked against the ledger.
        base: folder with the tokenizer.
        seed: file with the seed of the canaries, which are all made again; without it they are passed over.
        permille: of a thousand rows, how many are tokenised again, chosen by a hash of artefact and record.
        progress: called as (label, done, total).

    Raises:
        BadInput: the artefact was made from another build or tokenizer, or the seed is another.
        CoopError: a row is missing, or has other tokens (names the record), or the pairs are others.
    """
    canaries = tokens.description.recipe.canaries
    told = tokens.description
    wanted = recipe_of(build, base, told.recipe.sequence_tokens, canaries, told.recipe.minimum_rating_gap)
    if told.recipe != wanted:
        raise BadInput("the tokens were not made from this dataset and base", value=told.recipe.model_dump(), allowed=str(wanted.model_dump()))
    renderer = Renderer(load_tokenizer(base))
    left_out = {(row.split, row.record): row for row in tokens.left_out()}
    included = canary_rows(canaries, seed) if seed is not None else []
    again = done = 0
    for split in cast("tuple[Split, ...]", ("train", "heldout")):
        samples = iter(tokens.train if split == "train" else tokens.heldout)
        if seed is None:
            samples = (sample for sample in samples if sample.language != CANARY_LANGUAGE)
        source = sample_rows(build, split, wanted, included)
        while batch := list(islice(source, ROWS_PER_TASK)):
            chosen: list[tuple[Row, Sample | None]] = []
            for row in batch:
                out = left_out.pop((split, row.record), None)
                sample = None if out is not None else next(samples, None)
                if out is None and (sample is None or (sample.record, sample.language) != (row.record, row.language)):
                    raise CoopError(f"text {row.record} of the dataset is not in the tokens", next="make the tokens again")
                if row.language == CANARY_LANGUAGE or _drawn(tokens.digest, row.record, permille):
                    chosen.append((row, sample))
            _compare(renderer, chosen, wanted.sequence_tokens)
            again, done = again + len(chosen), done + len(batch)
            if progress is not None:
                progress("tokenising again", done, build.manifest["records"] + len(included))
        if next(samples, None) is not None:
            raise CoopError("the tokens hold a text that is not in the dataset", next="make the tokens again")
    if left_out:
        raise CoopError("the tokens leave out a text that is not in the dataset", value=min(left_out), next="make the tokens again")
    if told.pairs is not None and wanted.minimum_rating_gap is not None:
        prefers = find_preferences(build, wanted.minimum_rating_gap)
        if prefers.preferences != read_preferences(tokens.folder, told.pairs.preferences) or prefers.counts != told.pairs.found:
            raise CoopError("the pairs of the tokens are not those of the dataset", next="make the tokens again")
    return again


def _drawn(digest: str, record: str, permille: int) -> bool:
    return int.from_bytes(hashlib.sha256(f"{digest}\n{record}".encode()).digest()[:8]) % 1000 < permille


def _compare(renderer: Renderer, chosen: list[tuple[Row, Sample | None]], max_tokens: int) -> None:
    found = renderer.batch([Conversation(row.inputs, row.targets, row.history) for row, _ in chosen], max_tokens=max_tokens)
    for (row, sample), rendered in zip(chosen, found, strict=True):
        if isinstance(rendered, Rendered):
            same = sample is not None and (sample.ids.tolist(), sample.start, sample.stop) == (rendered.ids, rendered.start, rendered.stop)
        else:
            same = sample is None
        if not same:
            raise CoopError(
                f"text {row.record} has other tokens than the artefact says", next="install the library versions tokens.json names, or make the tokens again"
            )
