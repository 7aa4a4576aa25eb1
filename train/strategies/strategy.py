"""What every strategy answers, and which one a plan asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from torch import Tensor

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.compatibility import require_processes
from train.model import AdaptedModel
from train.optimizer import Weights
from train.world import World

__all__ = ["Strategy", "strategy_of"]


class Strategy(Protocol):
    """How weights, gradients and optimizer are held by the processes of a run."""

    loss_scale: float
    """What a pass's loss is multiplied with: the number of processes where gradients are averaged, since ours are summed."""

    def trainer(self) -> dict[str, Any]:
        """Return what Lightning's Trainer is told."""
        ...

    def load(self, base: Path) -> AdaptedModel:
        """Return the model on this process's device: whole, or what this process holds of it; every process calls this."""
        ...

    def before_backward(self, module: pl.LightningModule, *, last: bool) -> None:
        """Make ready for a backward pass; `last` says it is the step's last."""
        ...

    def weights(self, model: AdaptedModel) -> Weights:
        """Return the trainable weights with their optimizer."""
        ...

    def gathered(self, model: AdaptedModel) -> Mapping[str, Tensor]:
        """Return all trainable weights, whole, in main memory; every process calls this, the first one may use it."""
        ...


def strategy_of(training: Training, world: World) -> Strategy:
    """Return the strategy of a plan for these processes.

    Raises BadInput if the plan's strategy cannot use them or what the plan asks for, or some of them would never have a sequence to read.
    """
    require_processes(training, world.size)
    if training.strategy == "zero3" and training.gradient_checkpointing and world.size > 1:
        raise BadInput(  # torch compares the weights of a block computed again with those of its first pass, which DeepSpeed took away meanwhile
            "gradient checkpointing does not work with zero3", value="training.gradient_checkpointing: true", allowed="false, or another strategy",
            next="set training.strategy: fsdp2 and plan again",
        )  # fmt: skip
    if training.strategy == "fsdp2":
        from train.strategies.fsdp2 import FullyShardedDataParallel2

        return FullyShardedDataParallel2(training, world)
    if training.strategy in ("zero2", "zero3"):
        from train.strategies.zero import Zero

        return Zero(training, world)
    from train.strategies.ddp import DistributedDataParallel

    return DistributedDataParallel(training, world)
