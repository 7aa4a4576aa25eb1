"""Says before a run how large it is: steps, tokens, and how full the sequences are; counted over its own packing."""

from __future__ import annotations

from dataclasses import dataclass

from data_pipeline.tokens.schedule import Schedule, packing_of

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
    shared: int = 0
    """Tokens that are read and not computed, as another sample of their sequence begins with them too; at least, as neighbours may share more than is counted."""


def estimate(schedule: Schedule) -> Size:
    """Count what the steps of a run read."""
    tokens = supervised = sequences = taken = inputs = 0
    samples, training = schedule.samples, schedule.training
    lengths, room = packing_of(samples, training)
    prefix = training.sequence_tokens - room
    for step in schedule.after(0):
        read = [sample for sequence in step.sequences for sample in sequence]
        tokens += int(samples.lengths[read].sum())
        supervised += int(samples.supervised[read].sum())
        inputs += int(samples.inputs[read].sum())
        taken += int(lengths[read].sum()) + prefix * len(step.sequences)
        sequences += len(step.sequences)
    filled, shared = taken / (sequences * training.sequence_tokens), inputs - taken if training.prefix_sharing else 0
    return Size(schedule.total_steps, schedule.planned_steps, tokens, supervised, sequences, filled, shared)
