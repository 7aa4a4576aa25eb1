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
    shared: int = 0
    """Tokens that are read and not computed, as another sample of their sequence begins with them too; at least, as neighbours may share more than is counted."""


def estimate(schedule: Schedule) -> Size:
    """Count what the steps of a run read."""
    tokens = supervised = sequences = own = shared = 0
    samples, learned = schedule.samples, schedule.samples.supervised
    sharing = schedule.training.prefix_sharing
    lengths, prefix = samples.lengths, samples.prefix if sharing else 0
    own_lengths, inputs = (samples.own_lengths, samples.inputs) if sharing else (lengths, lengths)
    for step in schedule.after(0):
        read = [sample for sequence in step.sequences for sample in sequence]
        tokens += int(lengths[read].sum())
        added = int(own_lengths[read].sum()) + prefix * len(step.sequences)
        own, shared = own + added, shared + int(inputs[read].sum()) - added
        supervised += int(learned[read].sum())
        sequences += len(step.sequences)
    room = sequences * schedule.training.sequence_tokens
    return Size(schedule.total_steps, schedule.planned_steps, tokens, supervised, sequences, own / room, shared)
