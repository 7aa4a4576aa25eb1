"""Says before a run how large it is: steps, tokens, and how full the sequences are; counted over its own packing."""

from __future__ import annotations

from dataclasses import dataclass

from data_pipeline.tokens.schedule import Schedule

__all__ = ["Size", "estimate"]


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a run; no guess but for time, which it does not give."""

    steps: int
    planned_steps: int
    """Without max_steps."""
    tokens: int
    """Real tokens read, all steps."""
    supervised: int
    sequences: int
    """Packed sequences, all steps."""
    filled: float
    """Share of the sequences' capacity that real tokens fill."""


def estimate(schedule: Schedule) -> Size:
    """Count what the steps of a run read."""
    tokens = supervised = sequences = 0
    lengths, learned = schedule.samples.lengths, schedule.samples.supervised
    for step in schedule.after(0):
        read = [sample for sequence in step.sequences for sample in sequence]
        tokens += int(lengths[read].sum())
        supervised += int(learned[read].sum())
        sequences += len(step.sequences)
    return Size(schedule.total_steps, schedule.planned_steps, tokens, supervised, sequences, tokens / (sequences * schedule.training.sequence_tokens))
