"""The LightningModule: one batch is one optimizer step, and the reduction of the loss is ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytorch_lightning as pl
import torch
from torch import Tensor

from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import CoopError
from governance_hooks.training import Training
from train.data import StepBatch
from train.layout import Forwarded, batch_rows
from train.loss import require_finite
from train.model import AdaptedModel
from train.objective import Objective, Sft
from train.optimizer import Weights, learning_rate
from train.strategies.ddp import DistributedDataParallel
from train.strategies.strategy import Strategy
from train.world import World

__all__ = ["StepResult", "TrainingModule"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step measured; `loss` is in nats per supervised token, with objective dpo per pair."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    supervised: int
    measures: dict[str, float] = field(default_factory=dict)
    """What the objective tells beside the loss, divided like it."""
    computed: int = 0
    """Of the tokens those that were computed (`StepBatch.computed`)."""
    languages: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Language -> (loss in nats, summed over its supervised tokens; their number), over all processes."""


class TrainingModule(pl.LightningModule):
    """Trains an adapted model on packed steps.

    Optimization is manual because Lightning's automatic kind divides by the number of batches, not of tokens
    (Lightning-AI/pytorch-lightning issue 20350): here a step's summed loss is divided once, by the step's supervised tokens.
    """

    def __init__(
        self,
        model: AdaptedModel,
        training: Training,
        total_steps: int,
        objective: Objective | None = None,
        *,
        world: World | None = None,
        spread: Strategy | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.objective: Objective = objective or Sft()
        self.training_plan = training
        self.total_steps = total_steps
        self.world = world or World()
        self.spread = spread or DistributedDataParallel(training, self.world)
        self.weights: Weights
        self.completed_steps = 0
        self.tokens: dict[str, tuple[int, int]] = {}
        self.first_loss: float | None = None
        self.last_loss: float | None = None
        self.last: StepResult | None = None

    def configure_model(self) -> None:
        """Do nothing: the model was spread over the processes when it was loaded. Lightning asks for this method where weights are in shards."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Hand Lightning the optimizer over the float32 masters."""
        if not hasattr(self, "weights"):
            self.weights = self.spread.weights(self.model)
        return self.weights.optimizer

    def nll(self, forwarded: Forwarded) -> Tensor:
        """Return the negative log-likelihood of each supervised token of one forward pass, in nats, float32."""
        values: Tensor = self.model(forwarded.ids_BT, forwarded.positions_BT, forwarded.targets_BT)
        return values

    def training_step(self, batch: StepBatch) -> None:
        """Run one optimizer step; raise CoopError before the weights change if loss or gradient is not finite."""
        if batch.step != self.completed_steps + 1:
            raise CoopError("the loader is not where the model is", value=batch.step, allowed=str(self.completed_steps + 1))
        # Dropout's random numbers depend on plan, step and process alone: nothing that draws in between (loaders, loggers) can shift a resumed run.
        seed = f"coop.step/v2:{self.training_plan.seed}:{batch.step}:{self.world.rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
        total, divisor = 0.0, self.objective.divisor(batch)
        measures: dict[str, float] = {}
        languages = dict.fromkeys(batch.tokens, 0.0)  # of the whole step, so the same in all processes
        for number, forwarded in enumerate(batch.passes, start=1):
            nll = self.nll(forwarded)
            part = self.objective.total(nll, forwarded)
            total += float(part.detach())
            for name, value in self.objective.measures(nll.detach(), forwarded).items():
                measures[name] = measures.get(name, 0.0) + value
            for language, value in self.objective.by_language(nll, forwarded).items():
                languages[language] += value
            last = number == len(batch.passes)
            self.spread.before_backward(self, last=last)
            self.manual_backward(part * (self.spread.loss_scale / divisor))
            self.weights.collect(last=last)
        # Summed before it is looked at: all processes stop here, or none.
        total, *sums = self.world.sum([total, *measures.values(), *languages.values()])
        loss = require_finite(total, "loss", batch.step) / divisor
        rate = learning_rate(batch.step, self.total_steps, self.training_plan)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        grad_norm = self.weights.step(batch.step, rate, optimizer.step)

        self.completed_steps = batch.step
        for language, (read, supervised) in batch.tokens.items():
            before = self.tokens.get(language, (0, 0))
            self.tokens[language] = (before[0] + read, before[1] + supervised)
        self.first_loss = loss if self.first_loss is None else self.first_loss
        self.last_loss = loss
        self.last = StepResult(
            batch.step,
            batch.epoch,
            loss,
            rate,
            grad_norm,
            sum(read for read, _ in batch.tokens.values()),
            batch.supervised,
            {name: value / divisor for name, value in zip(measures, sums, strict=False)},
            batch.computed,
            {language: (value, batch.tokens[language][1]) for language, value in zip(languages, sums[len(measures) :], strict=True) if value},
        )

    @torch.no_grad()
    def validate_samples(self, samples: list[Sample], pad: int) -> float:
        """Return the mean negative log-likelihood in nats per supervised token of `samples`, with dropout off; every process reads a share."""
        self.model.eval()
        chunk, world = self.training_plan.sequences_per_forward, self.world
        # Like lengths side by side: little padding, and the same batches at every measurement.
        ordered = sorted(samples, key=lambda sample: (len(sample.ids), sample.record))
        per_pass = max(1, chunk * self.training_plan.sequence_tokens // max(len(sample.ids) for sample in ordered))
        passes = [[[sample] for sample in ordered[start : start + per_pass]] for start in range(0, len(ordered), per_pass)]
        passes += [[[]]] * (-len(passes) % world.size)
        total, count = 0.0, 0
        for sequences in passes[world.rank :: world.size]:
            nll = self.nll(batch_rows(sequences, pad).to(self.device))
            total, count = total + float(nll.double().sum()), count + nll.numel()
        self.model.train()
        total, counted = world.sum([total, count])
        return total / counted
