"""DeepSpeed's ZeRO stages 2 and 3, through Lightning: optimizer and gradients in shards, at stage 3 the weights too."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import DeepSpeedPrecision
from pytorch_lightning.strategies import DeepSpeedStrategy
from torch import Tensor, nn

from governance_hooks.training import Training
from train.loss import require_finite
from train.model import AdaptedModel, load_model
from train.optimizer import adamw
from train.strategies.ddp import processes
from train.strategies.zero_shards import ZeroShards
from train.world import World

__all__ = ["BUCKET", "Zero"]

BUCKET: Final = 50_000_000
"""Numbers reduced at a time; DeepSpeed's own 500 million take up to 3.7 GiB, however small the adapter. `train.estimate.memory` counts with it."""


class _OnCpu(DeepSpeedStrategy):
    """Lightning's strategy without its refusal of CPUs: DeepSpeed runs there over gloo, for tests."""

    def setup_environment(self) -> None:
        """Set the processes up as for any accelerator."""
        assert self.accelerator is not None
        self.accelerator.setup_device(self.root_device)
        self.setup_distributed()

    def setup_distributed(self) -> None:
        """Join the processes."""
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    @property
    def root_device(self) -> torch.device:
        """Return the CPU, with the number DeepSpeed asks for."""
        return torch.device("cpu", 0)


class _Precision(DeepSpeedPrecision):
    """Lightning's plugin, which would convert what a loader yields; ours yields integers in frozen dataclasses."""

    def convert_input(self, data: Any) -> Any:
        """Leave a batch as it is."""
        return data


class Zero:
    """ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054) with ZeRO-Offload (arXiv 2101.06840) if the plan says so."""

    def __init__(self, training: Training, world: World) -> None:
        self.training, self.world = training, world
        self.stage = 3 if training.strategy == "zero3" else 2
        self.loss_scale = float(world.size)
        self._shards: ZeroShards | None = None
        if world.device.type == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"

    def _config(self) -> dict[str, Any]:
        """Return what DeepSpeed is told."""
        on_cpu = {"device": "cpu", "pin_memory": self.world.device.type == "cuda"}
        zero: dict[str, Any] = {"stage": self.stage, "reduce_bucket_size": BUCKET, "overlap_comm": self.world.device.type == "cuda"}
        if self.training.offload:
            zero |= {"offload_optimizer": on_cpu} | ({"offload_param": on_cpu} if self.stage == 3 else {})
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_clipping": self.training.max_grad_norm,
            "zero_optimization": zero,
            "zero_force_ds_cpu_optimizer": False,
            "zero_allow_untested_optimizer": True,
            "communication_data_type": "fp32",
        }

    def trainer(self) -> dict[str, Any]:
        """Return what Lightning's Trainer is told."""
        if self._shards is not None:
            self._shards.give_up()
            self._shards = None
        config = self._config()
        self._lightning = _OnCpu(config=config) if self.world.device.type == "cpu" else DeepSpeedStrategy(config=config)
        told = processes(self.world)
        return told | {"strategy": self._lightning, "plugins": [*told["plugins"], _Precision(self.training.precision)]}

    def load(self, base: Path) -> AdaptedModel:
        """Load the whole model, which DeepSpeed splits when training starts; at stage 3 with several processes this process's shards only."""
        if self.stage == 3 and self.world.size > 1:
            self._shards = ZeroShards(base, self.training, self._config(), self.world)
            return self._shards.model
        return load_model(base, self.training).to(self.world.device)

    def weights(self, model: AdaptedModel) -> ZeroWeights:
        """Return the trainable weights, which DeepSpeed takes over."""
        return ZeroWeights(model, self.training, self._lightning, writes=self.world.rank == 0)

    def before_backward(self, module: pl.LightningModule, *, last: bool) -> None:
        """Tell DeepSpeed whether this backward pass ends the optimizer step: our steps have no fixed number of passes."""
        engine: Any = self._lightning.model
        engine.set_gradient_accumulation_boundary(is_boundary=last)
        # DeepSpeed counts its forward passes, and this step has several inside of one: without a word, stage 3 would keep the last gradients only.
        engine.optimizer.clear_backward_seen_flag()

    def gathered(self, model: AdaptedModel) -> Mapping[str, Tensor]:
        """Return the trainable weights, one after the other gathered from their owners."""
        found = {}
        for name, parameter in model.trainable().items():
            with whole(parameter, self._lightning.model):
                if self.world.rank == 0:
                    found[name] = parameter.detach().to("cpu", copy=True)
        return found


def whole(parameter: nn.Parameter, engine: Any, *, modifies: bool = False) -> AbstractContextManager[None]:
    """Return a block in which a parameter is whole in every process; what the first one writes to it stays if it `modifies`."""
    if engine.zero_optimization_stage() < 3:
        return nullcontext()
    import deepspeed

    gathered: AbstractContextManager[None] = deepspeed.zero.GatheredParameters([parameter], modifier_rank=0 if modifies else None)
    return gathered


class ZeroWeights:
    """The trainable weights in DeepSpeed's hands; a checkpoint holds them and their moments whole, written by the first process.

    DeepSpeed's own checkpoints are pickles; here its public accessors (`deepspeed.utils.safe_get_*`) are used instead.
    """

    def __init__(self, model: AdaptedModel, training: Training, lightning: DeepSpeedStrategy, *, writes: bool) -> None:
        self.model, self.writes, self._lightning = model, writes, lightning
        self.optimizer = adamw(list(model.trainable().values()), training)

    @property
    def engine(self) -> Any:
        """DeepSpeed's engine, once training is set up."""
        return self._lightning.model

    def collect(self, *, last: bool) -> None:
        """Do nothing: DeepSpeed takes gradients in while they are computed."""

    def step(self, step: int, rate: float, advance: Callable[[], object]) -> float:
        """Let DeepSpeed clip and step; a norm that is not finite is seen after the step, and nothing is saved of it."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        advance()
        return require_finite(float(self.engine.get_global_grad_norm()), "gradient norm", step)

    def state(self) -> dict[str, Tensor]:
        """Return masters and moments as named tensors in the first process, nothing in the others; all of them call this."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        out: dict[str, Tensor] = {}
        count = self._counts()
        for name, parameter in self.model.trainable().items():
            found = {"master": safe_get_full_fp32_param(parameter)}
            found |= {key: safe_get_full_optimizer_state(parameter, key) for key in ("exp_avg", "exp_avg_sq")}
            if self.writes:
                out |= {f"{key}/{name}": value.detach().to("cpu", copy=True).contiguous() for key, value in found.items() if value is not None}
        if self.writes and count is not None:
            out["step"] = count
        return out

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self._make_moments(state["step"])
        for name, parameter in self.model.trainable().items():
            safe_set_full_fp32_param(parameter, state[f"master/{name}"])
            for key in ("exp_avg", "exp_avg_sq"):
                safe_set_full_optimizer_state(parameter, state[f"{key}/{name}"], key)
            with whole(parameter, self.engine, modifies=True):
                if parameter.numel():
                    parameter.copy_(state[f"master/{name}"])

    def _make_moments(self, count: Tensor) -> None:
        """Give the fresh optimizer the state a step would have given it; stage 2 makes it late, stage 3 at once."""
        base = self._base()
        sharded = getattr(self.engine.optimizer, "fp32_partitioned_groups_flat", None)  # stage 3 hands them to the optimizer one by one
        for flat in sharded if sharded is not None else [flat for group in base.param_groups for flat in group["params"]]:
            if not base.state.get(flat):
                base.state[flat] = {"step": torch.zeros_like(count), "exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
            base.state[flat]["step"].copy_(count)
        link = getattr(self.engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
        if link is not None:
            link()

    def _base(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = self.engine.optimizer.optimizer
        return optimizer

    def _counts(self) -> Tensor | None:
        return next((entry["step"].detach().cpu().clone() for entry in self._base().state.values() if "step" in entry), None)
