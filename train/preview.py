"""Shows before a run what it will see: how many steps and tokens, and one row as tokens with the loss mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from data_pipeline.chat import TooLong, render
from data_pipeline.manifest import read_build
from data_pipeline.reader import rows
from governance_hooks.errors import BadInput
from governance_hooks.plan import Training
from train.data import StepDataset, prepare
from train.model import load_tokenizer

__all__ = ["Estimate", "estimate", "token_sample"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size of a run, counted over its own packing; no guess but for time, which it does not give."""

    steps: int
    tokens: int
    """Real tokens read, all steps."""
    supervised: int
    dropped: int
    filled: float
    """Share of the sequences' capacity that real tokens fill."""


def estimate(base: Path, build: Path, training: Training) -> Estimate:
    """Render and pack a build as the run will, and count; raise BadInput where the run would."""
    prepared = prepare(read_build(build), load_tokenizer(base), training)
    dataset = StepDataset(prepared.train, training, pad=0)
    tokens = supervised = sequences = 0
    for batch in dataset:
        tokens += sum(read for read, _ in batch.tokens.values())
        supervised += batch.supervised
        sequences += sum(len(forwarded.ids_BT) for forwarded in batch.passes)
    return Estimate(dataset.total_steps, tokens, supervised, sum(prepared.dropped.values()), tokens / (sequences * training.sequence_tokens))


def token_sample(base: Path, build: Path, training: Training, *, record: str | None = None, colour: bool = True) -> Text:
    """Return one training row (the first, or `record`) as the model sees it.

    With colour, learned tokens are green and the others dim, separated by thin bars; without, one token a line with the word `learn`.
    The text is private: show it to who may read the build.
    """
    tokenizer = load_tokenizer(base)
    chosen = [row for row in rows(read_build(build), "train") if record in (None, row.record)]
    if not chosen:
        raise BadInput("no such training row", value=record)
    rendered = render(tokenizer, chosen[0].inputs, chosen[0].targets, max_tokens=training.sequence_tokens)
    if isinstance(rendered, TooLong):
        raise BadInput(
            f"row {chosen[0].record} is too long to be trained on", value=rendered.tokens, allowed=f"training.sequence_tokens = {training.sequence_tokens}"
        )
    text = Text()
    for token, learned in zip(rendered.ids, rendered.supervised, strict=True):
        piece = tokenizer.decode([token])
        if colour:
            text.append(piece.replace("\n", "\\n\n"), style="bold green" if learned else "dim")
            text.append("|", style="blue")
        else:
            text.append(f"{token:>8}  {'learn' if learned else '     '}  {piece!r}\n")
    return text
