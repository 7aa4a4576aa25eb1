"""Trains coalitions of guilds one after another in one process: the base is loaded once, and the trained part is put back before each.

    plan + assignment ──► rows of the coalition ──► the run's own schedule, loss and optimizer ──► loss of each held-out answer

Weights are held in memory only and thrown away. The coalition of all guilds, trained with the run's own seed and without near copies, is
the run itself, bit for bit (tests/train/test_coalitions.py).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_pipeline.manifest import Build, read_ledger
from data_pipeline.tokens.mixture import mixture
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.schedule import Schedule
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.tokens import Samples
from governance_hooks.attribution import Attribution
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import CANARY_LANGUAGE, Plan, TokenCounts
from governance_hooks.stake.guilds import Assignment
from governance_hooks.stake.values import Answer, Trained
from governance_hooks.training import Training
from train.data import StepBatch, StepDataset
from train.layout import IGNORE, batch_rows
from train.loss import require_finite
from train.model import AdaptedModel, load_model, require_fit
from train.optimizer import MasterWeights, learning_rate
from train.prepare import Progress, plan_tokens
from train.segment import check_base

__all__ = ["Coalitions"]

MICRO = 1_000_000


class _Chosen(Sequence[Sample]):
    """Some of the samples of one side, as a schedule reads them."""

    def __init__(self, samples: Samples, numbers: list[int]) -> None:
        self._samples, self.numbers = samples, numbers
        self.lengths, self.supervised, self.codes = samples.lengths[numbers], samples.supervised[numbers], samples.codes[numbers]
        self.languages, self.prefix, self.own_lengths = samples.languages, samples.prefix, samples.own_lengths[numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # int or slice, as Sequence has it
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._samples[self.numbers[index]]


@dataclass(frozen=True, slots=True)
class _HeldOut:
    answers: list[Answer]
    samples: list[Sample]


class Coalitions:
    """The model and the rows of a plan, ready to be trained on any coalition of its guilds.

    Args:
        plan: with a section `attribution`.
        assignment: the guilds of its training rows; its digest was checked against the plan.
        base: folder of the base weights.
        build: the build of the plan.
        seed: file with the seed of the plan's canaries, read only where tokens have to be made; no coalition is trained on canaries.
        progress: called with a label, what is done and the total.

    Raises:
        BadInput, CoopError: inputs differ from the plan, a guild has no row that fits, or nothing is held out.
    """

    def __init__(self, plan: Plan, assignment: Assignment, *, base: Path, build: Build, seed: Path | None = None, progress: Progress | None = None) -> None:
        assert plan.attribution is not None
        self.plan, self.attribution = plan, plan.attribution
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tokens = plan_tokens(plan, base, build, self.device, progress, seed)
        tokenizer = load_tokenizer(base)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        self._train = tokens.train
        self._rows = self._by_guild(assignment)
        self.held = _held_out(tokens.heldout, self.attribution, {line.record: line.authors[0] for line in read_ledger(build)})
        self.model: AdaptedModel = load_model(base, plan.training).to(self.device)
        check_base(plan, base)  # once more: files swapped between the check and the load are what was loaded
        require_fit(self.model, tokens=len(tokenizer), sequence_tokens=plan.training.sequence_tokens)
        self._start = {name: parameter.detach().clone() for name, parameter in self.model.trainable().items()}

    def _by_guild(self, assignment: Assignment) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {guild: [] for guild in self.attribution.players}
        for number, sample in enumerate(self._train):
            guild = assignment.guilds.get(sample.record)
            if guild is not None:
                rows[guild].append(number)
        empty = sorted(guild for guild, numbers in rows.items() if not numbers)
        if empty:
            raise BadInput("no row of this guild fits into a sequence", value=", ".join(empty), next="plan with a longer sequence_tokens, or other guilds")
        return rows

    def train(self, coalition: Collection[str], seed: int, *, progress: Progress | None = None, go_on: Callable[[], None] = lambda: None) -> Trained:
        """Train the coalition from the start and measure it; the coalition of nobody is the base as it is.

        Args:
            go_on: called between steps; it raises to stop.
        """
        began = time.monotonic()
        training = self.plan.training.model_copy(update={"seed": seed})
        self._reset(training)
        done = 0
        if coalition:
            for done in self._steps(self._schedule(coalition, training), training):
                go_on()
                if progress is not None:
                    progress("+".join(sorted(coalition)), done, self.total_steps)
        nll, hits = self._measure(training)
        return Trained(coalition=sorted(coalition), seed=seed, nll=nll, hits=hits, steps=done, milliseconds=round((time.monotonic() - began) * 1000))

    def _schedule(self, coalition: Collection[str], training: Training) -> Schedule:
        chosen = _Chosen(self._train, sorted(number for guild in coalition for number in self._rows[guild]))
        counts = _counts(chosen)
        # Typed for whole artefacts; of these it reads lengths, codes, languages and the common prefix.
        return Schedule(chosen, mixture(counts, self.plan.mix, epochs=training.epochs), training)  # type: ignore[arg-type]

    @torch.no_grad()
    def _reset(self, training: Training) -> None:
        """Put the trained part back to where the run started, or for another seed to a start of its own."""
        draw = torch.Generator().manual_seed(training.seed)
        other = training.seed != self.plan.training.seed
        for name, parameter in self.model.trainable().items():
            start = self._start[name]
            if other and "lora_A" in name:
                # As PEFT starts it: uniform within 1/sqrt(columns), which is Kaiming's bound with a = sqrt(5).
                bound = 1 / math.sqrt(start.shape[1])
                start = (torch.rand(start.shape, generator=draw) * 2 - 1).mul_(bound).to(start)
            parameter.copy_(start)
            parameter.grad = None

    def _steps(self, schedule: Schedule, training: Training) -> Iterator[int]:
        weights = MasterWeights(self.model.trainable(), training)
        dataset = StepDataset(schedule, pad=self._pad)
        self.total_steps = schedule.total_steps
        self.model.train()
        for batch in dataset:
            self._step(batch, schedule.total_steps, weights, training)
            yield batch.step

    def _step(self, batch: StepBatch, total: int, weights: MasterWeights, training: Training) -> None:
        """Run one optimizer step as train.module does in one process."""
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"coop.step/v2:{training.seed}:{batch.step}:0".encode()).digest()[:8]))
        for number, forwarded in enumerate(batch.passes, start=1):
            moved = forwarded.to(self.device)
            nll: Tensor = self.model(moved.ids_BT, moved.positions_BT, moved.targets_BT)
            part = nll.sum()
            require_finite(float(part.detach()), "loss", batch.step)
            (part * (1.0 / batch.supervised)).backward()  # type: ignore[no-untyped-call]
            weights.collect(last=number == len(batch.passes))
        weights.step(batch.step, learning_rate(batch.step, total, training), weights.optimizer.step)

    @torch.no_grad()
    def _measure(self, training: Training) -> tuple[list[int], list[int]]:
        """Return the negative log-likelihood in micro-nats, and the tokens foreseen, of each held-out answer."""
        self.model.eval()
        nll, hits = [0] * len(self.held.samples), [0] * len(self.held.samples)
        order = sorted(range(len(self.held.samples)), key=lambda place: (len(self.held.samples[place].ids), self.held.samples[place].record))
        room = training.sequences_per_forward * training.sequence_tokens
        batch: list[int] = []
        for place in [*order, -1]:
            if place < 0 or (batch and (len(batch) + 1) * len(self.held.samples[place].ids) > room):
                for one, loss, right in self._foreseen(batch):
                    nll[one], hits[one] = loss, right
                batch = []
            batch.append(place)
        self.model.train()
        return nll, hits

    def _foreseen(self, batch: list[int]) -> Iterator[tuple[int, int, int]]:
        samples = [self.held.samples[place] for place in batch]
        laid = batch_rows([[sample] for sample in samples], self._pad).to(self.device)
        hidden_BTH = self.model.hidden(laid.ids_BT, laid.positions_BT)
        targets_BT = laid.targets_BT
        keep_BT = targets_BT != IGNORE
        logits_NV = _logits(self.model.head, hidden_BTH[keep_BT])
        targets_N = targets_BT[keep_BT]
        loss_N = functional.cross_entropy(logits_NV, targets_N, reduction="none").double().cpu()
        right_N = (logits_NV.argmax(dim=1) == targets_N).cpu()
        counts = keep_BT.sum(dim=1).tolist()
        for place, losses, rights in zip(batch, torch.split(loss_N, counts), torch.split(right_N, counts), strict=True):
            loss = float(losses.sum())
            if not 0 <= loss < float("inf"):
                raise CoopError(f"the loss of held-out answer {self.held.answers[place].item} is not finite", value=loss, next="the weights have diverged")
            yield place, round(loss * MICRO), int(rights.sum())


def _logits(head: nn.Module, hidden_NH: Tensor) -> Tensor:
    logits: Tensor = head(hidden_NH).float()
    return logits


def _counts(chosen: _Chosen) -> dict[str, TokenCounts]:
    """Return the counts of some rows by language, as a plan has them of all."""
    rows: Counter[int] = Counter(chosen.codes.tolist())
    out = {}
    for code, count in sorted(rows.items()):
        mine = chosen.codes == code
        tokens, supervised = int(chosen.lengths[mine].sum()), int(chosen.supervised[mine].sum())
        out[chosen.languages[code]] = TokenCounts(rows=count, tokens=tokens, supervised=supervised, too_long=0)
    return out


def _held_out(samples: Samples, attribution: Attribution, clusters: Mapping[str, str]) -> _HeldOut:
    """Return a fixed few held-out answers of each language, chosen by a hash of the id: the first ids could all be one member's."""
    keyed: dict[str, list[tuple[bytes, int]]] = {}
    for number, sample in enumerate(samples):
        if sample.language != CANARY_LANGUAGE:
            keyed.setdefault(sample.language, []).append((hashlib.sha256(f"coop.values/v1:{sample.record}".encode()).digest(), number))
    chosen = sorted(number for keys in keyed.values() for _, number in sorted(keys)[: attribution.heldout_rows_per_language])
    if not chosen:
        raise BadInput("no held-out answer fits into a sequence, so no coalition can be measured", next="build with --heldout, then plan anew")
    kept = [samples[number] for number in chosen]
    answers = [Answer(item=one.record, language=one.language, cluster=clusters[one.record], tokens=one.supervised) for one in kept]
    return _HeldOut(answers, kept)
