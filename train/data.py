"""From a dataset build to the optimizer steps of a run: render, drop what is too long, pack; all before the trainer starts.

    build ──► rows ──► chat.render ──► samples ──► steps of epoch 0, 1, ... ──► StepBatch per optimizer step

Which records a step holds is a pure function of build, plan and step number; to resume is to start the loader at a later number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from data_pipeline.chat import TooLong, frame_of, render
from data_pipeline.manifest import Build
from data_pipeline.reader import rows
from data_pipeline.split import Split
from governance_hooks.errors import BadInput
from governance_hooks.plan import Training
from train.packing import IGNORE, Sample, check_dropped, check_supervised, packed_row, steps

__all__ = ["Forwarded", "PreparedData", "StepBatch", "StepData", "StepDataset", "batch_rows", "prepare"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Rendered rows of a build: what is trained on, what is measured, and what did not fit."""

    train: list[Sample]
    validation: dict[str, list[Sample]]
    dropped: dict[str, int]
    """Training rows by language that are longer than a sequence."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The tensors of one forward pass, each [sequences, tokens], int64; a padded tail is a sample of its own without labels."""

    ids_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor

    def to(self, device: torch.device) -> Forwarded:
        """Return the same tensors on `device`."""
        return Forwarded(self.ids_BT.to(device), self.positions_BT.to(device), self.labels_BT.to(device))


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Everything one optimizer step trains on."""

    step: int
    """Optimizer step, counted from 1 over the whole run."""
    epoch: int
    passes: list[Forwarded]
    records: list[str]
    """Record ids in this step, sorted."""
    tokens: dict[str, tuple[int, int]]
    """Language -> (tokens read, tokens supervised)."""

    @property
    def supervised(self) -> int:
        """Supervised tokens of the whole step, the divisor of its loss."""
        return sum(supervised for _, supervised in self.tokens.values())


def batch_rows(sequences: list[list[Sample]], pad: int) -> Forwarded:
    """Lay sequences of samples side by side, padded to the longest."""
    packed = [packed_row(sequence) for sequence in sequences]
    width = max(len(row.ids) for row in packed)

    def tensor(field: str, fill: Callable[[int], list[int]]) -> Tensor:
        return torch.tensor([[*getattr(row, field), *fill(width - len(row.ids))] for row in packed], dtype=torch.long)

    return Forwarded(
        tensor("ids", lambda n: [pad] * n),
        # Restarting positions make the tail one more sample, so no real token can see it.
        tensor("positions", lambda n: list(range(n))),
        tensor("labels", lambda n: [IGNORE] * n),
    )


def _rendered(build: Build, split: Split, tokenizer: Any, training: Training, progress: Progress | None) -> Iterator[tuple[str, Sample | None]]:
    total, frame = build.manifest["splits"][split], frame_of(tokenizer)
    for done, row in enumerate(rows(build, split), start=1):
        rendered = render(tokenizer, row.inputs, row.targets, max_tokens=training.sequence_tokens, frame=frame)
        yield (
            row.language,
            None if isinstance(rendered, TooLong) else Sample(row.record, row.language, tuple(rendered.ids), tuple(map(bool, rendered.supervised))),
        )
        if progress is not None:
            progress(f"tokenising {split}", done, total)


def prepare(build: Build, tokenizer: Any, training: Training, *, progress: Progress | None = None) -> PreparedData:
    """Render all rows of a build; raise BadInput if too many do not fit, or if the loss mask is empty or full."""
    train: list[Sample] = []
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for language, sample in _rendered(build, "train", tokenizer, training, progress):
        if sample is None:
            dropped[language] += 1
        else:
            kept[language] += 1
            train.append(sample)
    check_dropped(kept, dropped, training.max_dropped_fraction, training.sequence_tokens)
    check_supervised(train)
    # The steps must not depend on the order in which a reader happens to hand out rows.
    train.sort(key=lambda sample: sample.record)
    if len({sample.record for sample in train}) != len(train):
        raise BadInput("the build holds a record twice", next="build again")

    heldout: dict[str, list[Sample]] = {}
    for language, sample in _rendered(build, "heldout", tokenizer, training, progress):
        if sample is not None and sample.supervised_tokens:
            heldout.setdefault(language, []).append(sample)
    # By a hash of the id: the first ids could all be one member's.
    validation = {
        language: sorted(samples, key=lambda sample: hashlib.sha256(f"{training.seed}:{sample.record}".encode()).digest())[
            : training.validation_rows_per_language
        ]
        for language, samples in sorted(heldout.items())
    }
    return PreparedData(train, validation, dict(sorted(dropped.items())))


class StepDataset(IterableDataset[StepBatch]):
    """Yields the optimizer steps `start` + 1 to `total_steps` of a run."""

    def __init__(self, samples: list[Sample], training: Training, *, pad: int, start: int = 0) -> None:
        super().__init__()
        self.samples, self.training, self.pad, self.start = samples, training, pad, start
        self.steps_per_epoch = len(self._epoch(0))
        steps_of_all_epochs = self.steps_per_epoch * training.epochs
        self.total_steps = min(steps_of_all_epochs, training.max_steps or steps_of_all_epochs)

    def _epoch(self, epoch: int) -> list[list[list[int]]]:
        plan = self.training
        return steps(self.samples, sequence_tokens=plan.sequence_tokens, sequences_per_step=plan.sequences_per_step, seed=plan.seed, epoch=epoch)

    def __len__(self) -> int:
        return self.total_steps - self.start

    def from_step(self, start: int) -> StepDataset:
        """Return the same data, beginning after optimizer step `start`."""
        return StepDataset(self.samples, self.training, pad=self.pad, start=start)

    def _batch(self, step: int, epoch: int, sequences: list[list[int]]) -> StepBatch:
        rows_of_samples = [[self.samples[index] for index in sequence] for sequence in sequences]
        chunk = self.training.sequences_per_forward
        tokens: dict[str, tuple[int, int]] = {}
        for sample in (sample for row in rows_of_samples for sample in row):
            read, supervised = tokens.get(sample.language, (0, 0))
            tokens[sample.language] = (read + len(sample.ids), supervised + sample.supervised_tokens)
        return StepBatch(
            step=step,
            epoch=epoch,
            passes=[batch_rows(rows_of_samples[first : first + chunk], self.pad) for first in range(0, len(rows_of_samples), chunk)],
            records=sorted(sample.record for row in rows_of_samples for sample in row),
            tokens=dict(sorted(tokens.items())),
        )

    def __iter__(self) -> Iterator[StepBatch]:
        step = self.start
        while step < self.total_steps:
            epoch, position = divmod(step, self.steps_per_epoch)
            for sequences in self._epoch(epoch)[position : position + self.total_steps - step]:
                step += 1
                yield self._batch(step, epoch, sequences)


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
