"""Says before a run how large it is: steps, tokens, and how full the sequences are; counted over its own packing."""

from __future__ import annotations

from dataclasses import dataclass

from data_pipeline.tokens.schedule import Schedule

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The size of a run; no guess but for time, which it does not give."""

    steps: int
    planned_steps: int
    """Without max_steps."""
    tokens: int
    """Real tokens read, all steps."""
    supervised: int
    filled: float
    """Share of the sequences' capacity that real tokens fill."""


def estimate(schedule: Schedule) -> Estimate:
    """Count what the steps of a run read."""
    tokens = supervised = sequences = 0
    lengths, learned = schedule.samples.lengths, schedule.samples.supervised
    for step in schedule.after(0):
        read = [sample for sequence in step.sequences for sample in sequence]
        tokens += int(lengths[read].sum())
        supervised += int(learned[read].sum())
        sequences += len(step.sequences)
    return Estimate(schedule.total_steps, schedule.planned_steps, tokens, supervised, tokens / (sequences * schedule.training.sequence_tokens))
