"""AdamW over float32 master copies of the trainable weights, with the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from governance_hooks.training import Training
from train.loss import require_finite

__all__ = ["MasterWeights", "Weights", "adamw", "learning_rate", "numbers_in"]


def learning_rate(step: int, total_steps: int, training: Training) -> float:
    """Return the rate of optimizer step `step` (from 1): linear warm-up to the peak, then a cosine towards zero.

    Pure in the step, so there is no scheduler state that a resumed run could lose.
    """
    warmup = round(training.warmup_fraction * total_steps)
    if step <= warmup:
        return training.learning_rate * step / warmup
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup - 1) / max(1, total_steps - warmup)))


def numbers_in(parameter: nn.Parameter) -> int:
    """Return how many numbers a parameter has in all processes together: where ZeRO-3 keeps a shard of it, it looks empty."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


class Weights(Protocol):
    """The trainable weights of this process with their optimizer."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What Lightning steps."""
        ...

    def collect(self, *, last: bool) -> None:
        """Take in the gradients of one backward pass; `last` says it was the step's last."""
        ...

    def step(self, step: int, rate: float, advance: Callable[[], object]) -> float:
        """Clip, let `advance` step the optimizer at this learning rate, and return the gradients' norm before clipping.

        Raises CoopError if that norm is not finite.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what this process has to write into a checkpoint, as named tensors that later steps do not change."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; raise KeyError if a parameter is missing or has another shape."""
        ...


def adamw(parameters: list[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """Return the optimizer of every strategy (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(parameters, lr=training.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=training.weight_decay, foreach=True)


def _local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _snapshot(tensor: Tensor) -> Tensor:
    """Return a copy in main memory."""
    return _local(tensor.detach()).to("cpu", copy=True).contiguous()


class MasterWeights:
    """Keeps each trainable parameter once in float32 and rounds it into the model after every step.

    In bfloat16 an update below about 1/256 of a weight is rounded away; late in the cosine that is most of them (Micikevicius et al.
    2018, arXiv 1710.03740, section 3.1). For a float32 model the master is the parameter itself.

    Args:
        reduce: sums gradients over the processes, in place; None where there is one, or the model does it.
        writes: whether this process has anything to write into a checkpoint: its shards, or, of equal copies, the first one's.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], training: Training, *, reduce: Callable[[list[Tensor]], None] | None = None, writes: bool = True
    ) -> None:
        self.parameters = dict(sorted(parameters.items()))
        self.masters = {
            name: parameter if parameter.dtype == torch.float32 else nn.Parameter(parameter.detach().float().clone())
            for name, parameter in self.parameters.items()
        }
        self.max_grad_norm = training.max_grad_norm
        self.reduce, self.writes = reduce, writes
        self.optimizer = adamw(list(self.masters.values()), training)

    def collect(self, *, last: bool) -> None:
        """Add the gradients of one backward pass to the masters' float32 gradients."""
        for name, parameter in self.parameters.items():
            master = self.masters[name]
            if master is parameter or parameter.grad is None:
                continue
            master.grad = parameter.grad.float() if master.grad is None else master.grad.add_(parameter.grad)
            parameter.grad = None
        if last and self.reduce is not None:
            self.reduce([master.grad for master in self.masters.values() if master.grad is not None])

    def step(self, step: int, rate: float, advance: Callable[[], object]) -> float:
        """Clip to the plan's global norm, step at this rate, and round the masters into the model."""
        norm = nn.utils.clip_grad_norm_(self.masters.values(), self.max_grad_norm)
        grad_norm = require_finite(float(norm.full_tensor() if isinstance(norm, DTensor) else norm), "gradient norm", step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        advance()
        self._publish()
        return grad_norm

    @torch.no_grad()
    def _publish(self) -> None:
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return masters and moments as named tensors (no pickle is ever written)."""
        out: dict[str, Tensor] = {}
        if not self.writes:
            return out
        for name, master in self.masters.items():
            out[f"master/{name}"] = _snapshot(master)
            for key, value in self.optimizer.state.get(master, {}).items():
                out[f"{key}/{name}"] = _snapshot(value)
        return out

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; raise KeyError if a parameter is missing or has another shape."""
        for name, master in self.masters.items():
            saved, local = state[f"master/{name}"], _local(master)
            if saved.shape != local.shape:
                raise KeyError(f"{name}: shape {tuple(saved.shape)} instead of {tuple(local.shape)}")
            local.copy_(saved)
            self.optimizer.state[master] = {
                key: self._moment(state[f"{key}/{name}"], master, key) for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in state
            }
        self._publish()

    @staticmethod
    def _moment(saved: Tensor, master: Tensor, key: str) -> Tensor:
        if key == "step":  # AdamW keeps its step counter on the CPU
            return saved.clone()
        moment = torch.zeros_like(master)
        _local(moment).copy_(saved)
        return moment
