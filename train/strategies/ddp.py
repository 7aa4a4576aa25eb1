"""One process, or several with a copy of everything each; their gradients are summed once per optimizer step, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from governance_hooks.training import Training
from train.model import AdaptedModel, load_model
from train.optimizer import MasterWeights
from train.world import World

__all__ = ["DistributedDataParallel", "processes"]

BUCKET = 16 * 2**20
"""Numbers summed in one message."""


def processes(world: World) -> dict[str, Any]:
    """Return what Lightning is told of the processes. Never its SLURM environment: it saves and requeues from inside a signal handler."""
    return {
        "accelerator": "gpu" if world.device.type == "cuda" else "cpu",
        "devices": world.local_size if world.size > 1 or world.device.type == "cpu" else [world.local_rank],
        "num_nodes": world.nodes,
        "plugins": [TorchElasticEnvironment() if world.size > 1 else LightningEnvironment()],
        "use_distributed_sampler": False,
    }


class _Copies(DDPStrategy):
    """Lightning's DDP without torch's wrapper, which averages, in the model's own precision, and once per backward pass."""

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


class DistributedDataParallel:
    """Copies of the weights in every process (Li et al. 2020, arXiv 2006.15704), also of one."""

    loss_scale = 1.0

    def __init__(self, training: Training, world: World) -> None:
        self.training, self.world = training, world

    def trainer(self) -> dict[str, Any]:
        """Return what Lightning's Trainer is told."""
        return processes(self.world) | ({"strategy": _Copies()} if self.world.size > 1 else {})

    def load(self, base: Path) -> AdaptedModel:
        """Load the whole model."""
        return load_model(base, self.training).to(self.world.device)

    def before_backward(self, module: pl.LightningModule, *, last: bool) -> None:
        """Do nothing."""

    def weights(self, model: AdaptedModel) -> MasterWeights:
        """Return the trainable weights, whose gradients are summed over the processes."""
        return MasterWeights(model.trainable(), self.training, reduce=self._reduce if self.world.size > 1 else None, writes=self.world.rank == 0)

    def gathered(self, model: AdaptedModel) -> Mapping[str, Tensor]:
        """Return the trainable weights."""
        return {name: parameter.detach().cpu() for name, parameter in model.trainable().items()}

    def _reduce(self, gradients: list[Tensor]) -> None:
        """Sum gradients over the processes, in place, many in one message."""
        bucket: list[Tensor] = []
        for index, gradient in enumerate(gradients):
            bucket.append(gradient)
            if index == len(gradients) - 1 or sum(one.numel() for one in bucket) >= BUCKET:
                flat = torch.cat([one.reshape(-1) for one in bucket])
                dist.all_reduce(flat)
                for one, summed in zip(bucket, torch.split(flat, [one.numel() for one in bucket]), strict=True):
                    one.copy_(summed.view_as(one))
                bucket = []
