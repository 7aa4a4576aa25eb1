"""Which samples each optimizer step reads: a pure function of the artefact, the plan and the step's number.

    mixture ──► tokens of each language ──► rounds ──► best-fit packing ──► steps

A run reads in rounds. Each language is an endless row of passes over its samples, each pass in an order of its own; a round takes from
it the samples that begin in its next stretch of tokens. Over the run no sample of a language is read twice more than another.
With natural proportions a round is an epoch: every sample once. Canaries have no part in the mix: they are read a number of times that is given.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from data_pipeline.tokens.mixture import MixRow
from data_pipeline.tokens.packing import steps
from data_pipeline.tokens.pairs import Pairs
from data_pipeline.tokens.tokens import Samples
from governance_hooks.plan import CANARY_LANGUAGE
from governance_hooks.training import Training

__all__ = ["Schedule", "Step", "packing_of"]


def packing_of(samples: Samples | Pairs, training: Training) -> tuple[npt.NDArray[np.int32], int]:
    """Return how many tokens each sample, or pair, takes of a sequence, and how many a sequence has to give: without a prefix that stands there once."""
    if training.prefix_sharing:
        return samples.own_lengths, training.sequence_tokens - samples.prefix
    return samples.lengths, training.sequence_tokens


@dataclass(frozen=True, slots=True)
class Step:
    """The samples of one optimizer step."""

    number: int
    """Counted from 1 over the whole run."""
    round: int
    """Counted from 0."""
    sequences: list[list[int]]
    """Numbers of the samples, or pairs, of each packed sequence."""


class Schedule:
    """The steps of a run, whichever of them is asked for first."""

    def __init__(self, samples: Samples | Pairs, mixture: Sequence[MixRow], training: Training, *, canary_passes: int = 1) -> None:
        self.samples, self.training = samples, training
        self._budgets = {row.language: (row.tokens, row.budget) for row in mixture if row.budget}
        # So many that no language has to be read more than once in a round.
        self.rounds = max(-(-budget // size) for size, budget in self._budgets.values())
        self._members = {language: np.flatnonzero(samples.codes == code) for code, language in enumerate(samples.languages)}
        size = int(samples.lengths[self._members.get(CANARY_LANGUAGE, [])].sum())
        if size:  # a coalition of guilds is trained on none, though the artefact knows the language
            self._budgets[CANARY_LANGUAGE] = (size, size * canary_passes)
        self._packed: tuple[int, list[list[list[int]]]] = (-1, [])
        counts: list[int] = []
        selected: list[int] | None = None
        for number in range(self.rounds):
            before, selected = selected, self.selection(number)
            # Equal rounds, as all are with natural proportions, have equally many steps.
            counts.append(counts[-1] if selected == before else len(self._steps(number, selected)))
        self._ends = list(accumulate(counts))
        self.planned_steps = self._ends[-1]
        self.total_steps = min(self.planned_steps, training.max_steps or self.planned_steps)

    def selection(self, number: int) -> list[int]:
        """Return the samples of one round in ascending order; one may stand twice where a pass ends and the next begins."""
        chosen: list[int] = []
        for language, (size, budget) in sorted(self._budgets.items()):
            low, high = (budget * edge // self.rounds for edge in (number, number + 1))
            members = self._members[language]
            for turn in range(low // size, -(-high // size)):
                first, end = max(low - turn * size, 0), min(high - turn * size, size)
                if (first, end) == (0, size):
                    chosen += members.tolist()
                    continue
                order = members.tolist()
                random.Random(f"coop.mix/v1:{self.training.seed}:{language}:{turn}").shuffle(order)  # noqa: S311 - an order of rows, not a secret
                begins = np.cumsum([0, *self.samples.lengths[order[:-1]].tolist()])
                chosen += [sample for sample, begin in zip(order, begins.tolist(), strict=True) if first <= begin < end]
        return sorted(chosen)

    def _steps(self, number: int, selected: list[int]) -> list[list[list[int]]]:
        if self._packed[0] != number:
            plan = self.training
            lengths, room = packing_of(self.samples, plan)
            packed = steps(
                lengths[selected].tolist(),
                sequence_tokens=room,
                sequences_per_step=plan.sequences_per_step,
                seed=plan.seed,
                epoch=number,
            )
            self._packed = (number, [[[selected[place] for place in sequence] for sequence in step] for step in packed])
        return self._packed[1]

    def after(self, start: int) -> Iterator[Step]:
        """Yield the steps `start` + 1 to the last."""
        done = start
        while done < self.total_steps:
            number = bisect_right(self._ends, done)
            first = self._ends[number - 1] if number else 0
            for sequences in self._steps(number, self.selection(number))[done - first : self.total_steps - first]:
                done += 1
                yield Step(done, number, sequences)
