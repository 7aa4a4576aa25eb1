"""The rows every contestant of train.py reads: real prompts and answers, tokenised once by our own path, the same for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from data_pipeline.reader import Row
from data_pipeline.tokens import make
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.canonical import sha256

__all__ = ["example", "read_rows", "tokenised"]


def read_rows(path: Path | None, languages: list[str]) -> list[tuple[str, str, str]]:
    """Return (prompt, answer, language) of a JSON lines file with inputs, targets and language_code, or of the package chatterbot-corpus."""
    if path is None:
        from data_pipeline.importers import chatterbot

        return [(draft.inputs, draft.targets, draft.language) for drafts in chatterbot.read(languages or None).values() for draft in drafts]
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["inputs"], row["targets"], row["language_code"]) for row in rows if not languages or row["language_code"] in languages]


@contextmanager
def tokenised(rows: list[tuple[str, str, str]], base: Path, sequence_tokens: int, folder: Path) -> Iterator[Tokens]:
    """Make and open the tokens of `rows` with the run's own code; only the build they come from is not a real one."""

    def source(_build: object, split: str) -> Iterator[Row]:
        for number, (prompt, answer, language) in enumerate(rows):
            if split == "train":
                yield Row(f"r{number:08d}", prompt.strip(), answer.strip(), language, ("m-1",))

    own, make.rows = make.rows, source
    try:
        build: Any = SimpleNamespace(folder=folder / "build", digest=sha256(json.dumps(rows).encode()), manifest={"records": len(rows)})
        yield make.make_tokens(build, base, sequence_tokens=sequence_tokens, max_too_long=1.0, processes=1)
    finally:
        make.rows = own


def example(sample: Sample) -> dict[str, list[int]]:
    """Return a sample as other trainers take it: token ids, and labels that are -100 where nothing is learned."""
    ids = [int(token) for token in sample.ids]
    return {"input_ids": ids, "labels": [-100] * sample.start + ids[sample.start : sample.stop] + [-100] * (len(ids) - sample.stop)}
