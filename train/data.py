"""From the tokens of a build to the optimizer steps of a run.

    tokens.arrow ──► schedule ──► samples of a step ──► StepBatch

Which records a step holds is a pure function of the artefact, the plan and the step's number; to resume is to start the loader at a
later number. How samples lie in a forward pass: `train.layout`.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from data_pipeline.tokens.mixture import canary_passes, mixture
from data_pipeline.tokens.pairs import Pairs
from data_pipeline.tokens.sample import Pair, Sample
from data_pipeline.tokens.schedule import Schedule, Step
from data_pipeline.tokens.tokens import Samples, Tokens
from governance_hooks.errors import BadInput
from governance_hooks.plan import CANARY_LANGUAGE, Plan
from governance_hooks.training import Training
from train.layout import Forwarded, Unit, batch_units, computed_tokens, samples_in, side_by_side
from train.world import World

__all__ = ["StepBatch", "StepData", "StepDataset", "check_tokens", "schedule_of", "validation_numbers", "validation_samples"]


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Everything one optimizer step trains on."""

    step: int
    """Optimizer step, counted from 1 over the whole run."""
    epoch: int
    passes: list[Forwarded]
    """This process's share; every process has as many, the last ones of some without targets."""
    records: list[str]
    """Ids of the members' records in this step, sorted; canaries are none."""
    tokens: dict[str, tuple[int, int]]
    """Language -> (tokens read, tokens supervised)."""
    pairs: int = 0
    """Pairs of the whole step, with objective dpo."""
    computed: int = 0
    """Of the tokens read in the whole step those that are computed: not a sample's last one, nor with `prefix_sharing` what others of its sequence begin with too."""

    @property
    def supervised(self) -> int:
        """Supervised tokens of the whole step, the divisor of its loss."""
        return sum(supervised for _, supervised in self.tokens.values())


def schedule_of(samples: Samples | Pairs, plan: Plan) -> Schedule:
    """Return the steps of a plan over the training samples of its tokens."""
    epochs = plan.training.epochs
    return Schedule(samples, mixture(plan.tokens.languages, plan.mix, epochs=epochs), plan.training, canary_passes=canary_passes(plan.mix, epochs=epochs))


def check_tokens(tokens: Tokens, plan: Plan) -> None:
    """Raise BadInput unless an artefact is the one of the plan: same digest, build, sequence length, canaries and counts."""
    recipe = tokens.description.recipe
    for what, found, allowed in (
        ("digest", tokens.digest, plan.tokens.digest),
        ("build", recipe.build, plan.build.manifest),
        ("sequence length", recipe.sequence_tokens, plan.training.sequence_tokens),
        ("rating gap", recipe.minimum_rating_gap, plan.training.minimum_rating_gap),
        ("set of canaries", recipe.canaries, plan.canaries),
        ("number", tokens.train_counts, plan.tokens.languages),
    ):
        if found != allowed:
            raise BadInput(
                f"the tokens in {tokens.folder} are of another {what} than the plan's", value=found, allowed=str(allowed), next="plan and vote again"
            )


def validation_numbers(heldout: Iterable[Sample | Pair], training: Training) -> dict[str, list[int]]:
    """Return the numbers of a fixed few held-out samples, or pairs, of each language, chosen by a hash of the id: the first ids could all be one member's."""
    keys: dict[str, list[tuple[bytes, int]]] = {}
    for number, unit in enumerate(heldout):
        keys.setdefault(unit.language, []).append((hashlib.sha256(f"{training.seed}:{unit.record}".encode()).digest(), number))
    return {language: [number for _, number in heapq.nsmallest(training.validation_rows_per_language, keys[language])] for language in sorted(keys)}


def validation_samples(heldout: Samples, training: Training) -> dict[str, list[Sample]]:
    """Return the held-out samples on which the loss of each language is measured."""
    return {language: [heldout[number] for number in numbers] for language, numbers in validation_numbers(heldout, training).items()}


class StepDataset(IterableDataset[StepBatch]):
    """Yields the optimizer steps `start` + 1 to the last of a schedule, as one process of the run reads them."""

    def __init__(self, schedule: Schedule, *, pad: int, start: int = 0, world: World | None = None) -> None:
        super().__init__()
        self.schedule, self.pad, self.start, self.world = schedule, pad, start, world or World()

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.schedule.total_steps

    def __len__(self) -> int:
        return self.total_steps - self.start

    def from_step(self, start: int) -> StepDataset:
        """Return the same data, beginning after optimizer step `start`."""
        return StepDataset(self.schedule, pad=self.pad, start=start, world=self.world)

    def _batch(self, step: Step) -> StepBatch:
        sequences = [[(number, self.schedule.samples[number]) for number in sequence] for sequence in step.sequences]
        sharing = self.schedule.training.prefix_sharing
        if sharing:  # side by side, those that begin alike share more than the prefix of all
            sequences = [side_by_side(sequence) for sequence in sequences]
        samples = list(chain.from_iterable(map(samples_in, sequences)))
        tokens: dict[str, tuple[int, int]] = {}
        for sample in samples:
            read, supervised = tokens.get(sample.language, (0, 0))
            tokens[sample.language] = (read + len(sample.ids), supervised + sample.supervised)
        return StepBatch(
            step=step.number,
            epoch=step.round,
            passes=[batch_units(part, self.pad, prefix_sharing=sharing) for part in self._share(sequences)],
            # What two pairs share stands twice, as a row does that is read twice.
            records=sorted(sample.record for sample in samples if sample.language != CANARY_LANGUAGE),
            tokens=dict(sorted(tokens.items())),
            pairs=sum(isinstance(unit, Pair) for _, unit in chain.from_iterable(sequences)),
            computed=sum(computed_tokens(samples_in(sequence), prefix_sharing=sharing) for sequence in sequences),
        )

    def _share(self, sequences: list[list[Unit]]) -> list[list[list[Unit]]]:
        """Return this process's passes: the sequences are dealt out in turn, and who runs out of them goes on with empty ones."""
        chunk, world = self.schedule.training.sequences_per_forward, self.world
        mine = sequences[world.rank :: world.size]
        passes = [mine[first : first + chunk] for first in range(0, len(mine), chunk)]
        most = ceil(ceil(len(sequences) / world.size) / chunk)
        return passes + [[[]]] * (most - len(passes))

    def __iter__(self) -> Iterator[StepBatch]:
        return map(self._batch, self.schedule.after(self.start))


class StepData(pl.LightningDataModule):
    """Hands the steps of a run to Lightning's trainer, one batch an optimizer step."""

    def __init__(self, dataset: StepDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """Return the loader; batches are made already, and making them is too cheap for worker processes."""
        return DataLoader(self.dataset, batch_size=None, num_workers=0)

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """Move the tensors of one step."""
        return replace(batch, passes=[forwarded.to(device) for forwarded in batch.passes])
