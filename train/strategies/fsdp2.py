"""Weights, gradients and optimizer in shards: torch's `fully_shard`, through Lightning's ModelParallelStrategy.

The base is never whole in a process: the model is built without weights, sharded, and each process reads its own rows of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from governance_hooks.training import Training
from train.console import quiet_libraries
from train.empty_model import adapted_empty_model, allocate, fill
from train.model import AdaptedModel, load_model
from train.optimizer import MasterWeights
from train.strategies.ddp import processes
from train.world import World

__all__ = ["FullyShardedDataParallel2", "shard_blocks"]


def shard_blocks(model: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard each decoder block, and what is outside of them as one, over the processes of a mesh; gradients are summed in float32.

    Stand-ins for weights get their memory here, a block at a time, of which this process's part stays (`train.empty_model`).
    """
    policy, device = MixedPrecisionPolicy(reduce_dtype=torch.float32), torch.device(mesh.device_type)
    for unit in (*blocks, model):
        allocate(unit, device)
        fully_shard(unit, mesh=mesh, mp_policy=policy)


class FullyShardedDataParallel2:
    """FSDP2 (Zhao et al. 2023, arXiv 2304.11277): each decoder block is gathered when it is needed, and its gradients go to their owners."""

    def __init__(self, training: Training, world: World) -> None:
        self.training, self.world = training, world
        self.loss_scale = float(world.size)

    def trainer(self) -> dict[str, Any]:
        """Return what Lightning's Trainer is told."""
        if self.world.size == 1:
            return processes(self.world)
        return processes(self.world) | {"strategy": ModelParallelStrategy(data_parallel_size=self.world.size, tensor_parallel_size=1)}

    def load(self, base: Path) -> AdaptedModel:
        """Load this process's shards, or the whole model if this is the only process; see `train.model.load_model` for what is refused."""
        if self.world.size == 1:
            return load_model(base, self.training).to(self.world.device)
        mesh = init_device_mesh(self.world.device.type, (self.world.size,))  # first: all meet here, before anything may fail in one
        model = adapted_empty_model(base, self.training)
        with quiet_libraries():
            shard_blocks(model, model.blocks, mesh)
            fill(model, base)
        for method in ("states", "both_logits"):  # `forward` is known to gather weights; the proofs call these
            register_fsdp_forward_method(model, method)
        return model

    def before_backward(self, module: pl.LightningModule, *, last: bool) -> None:
        """Do nothing."""

    def weights(self, model: AdaptedModel) -> MasterWeights:
        """Return this process's shards of the trainable weights; FSDP sums their gradients."""
        return MasterWeights(model.trainable(), self.training, writes=True)

    def gathered(self, model: AdaptedModel) -> Mapping[str, Tensor]:
        """Return the trainable weights, one after the other gathered from their owners."""
        whole = {}
        for name, parameter in model.trainable().items():
            value = parameter.detach()
            tensor = value.full_tensor() if isinstance(value, DTensor) else value
            if self.world.rank == 0:
                whole[name] = tensor.cpu()
        return whole
