"""The held-out records of a build as tokens, in the very form training uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_pipeline.chat import Conversation, Renderer, TooLong, render
from data_pipeline.manifest import read_build
from data_pipeline.reader import rows
from eval.heldout import Answer
from governance_hooks.errors import BadInput

__all__ = ["heldout_answers", "prompt_tokens"]


def heldout_answers(build: Path, tokenizer: Any, *, longest: int) -> tuple[list[Answer], list[dict[str, str]]]:
    """Return the held-out records as tokens, and those left out with the reason; together they are all there are.

    Args:
        build: build folder.
        tokenizer: of the base weights, with a chat template.
        longest: most tokens the model can read; a longer record is left out, never cut.
    """
    renderer = Renderer(tokenizer)
    answers: list[Answer] = []
    skipped: list[dict[str, str]] = []
    for row in rows(read_build(build), "heldout"):
        [rendered] = renderer.batch([Conversation(row.inputs, row.targets, row.history)], max_tokens=longest)
        if isinstance(rendered, TooLong):
            skipped.append({"item": row.record, "reason": "too_long"})
        else:
            answers.append(Answer(row.record, row.language, row.authors[0], tuple(rendered.ids), tuple(rendered.supervised)))
    return answers, sorted(skipped, key=lambda entry: entry["item"])


def prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """Return the token ids of a question up to where the answer starts, as training frames it."""
    rendered = render(tokenizer, prompt, ".", max_tokens=2**20)
    if isinstance(rendered, TooLong):
        raise BadInput("the question is too long", value=len(prompt))
    return rendered.ids[: rendered.start]
