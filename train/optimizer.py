"""AdamW over float32 master copies of the adapter, with the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from governance_hooks.training import Training

__all__ = ["MasterWeights", "learning_rate"]


def learning_rate(step: int, total_steps: int, training: Training) -> float:
    """Return the rate of optimizer step `step` (from 1): linear warm-up to the peak, then a cosine towards zero.

    Pure in the step, so there is no scheduler state that a resumed run could lose.
    """
    warmup = round(training.warmup_fraction * total_steps)
    if step <= warmup:
        return training.learning_rate * step / warmup
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup - 1) / max(1, total_steps - warmup)))


class MasterWeights:
    """Keeps each trainable parameter once in float32 and rounds it into the model after every step.

    In bfloat16 an update below about 1/256 of a weight is rounded away; late in the cosine that is most of them (Micikevicius et al.
    2018, arXiv 1710.03740, section 3.1). For a float32 model the master is the parameter itself.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], training: Training) -> None:
        self.parameters = dict(sorted(parameters.items()))
        self.masters = {
            name: parameter if parameter.dtype == torch.float32 else nn.Parameter(parameter.detach().float().clone())
            for name, parameter in self.parameters.items()
        }
        self.max_grad_norm = training.max_grad_norm
        self.optimizer = torch.optim.AdamW(
            list(self.masters.values()), lr=training.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=training.weight_decay, foreach=True
        )

    def collect(self) -> None:
        """Add the gradients of one backward pass to the masters' float32 gradients."""
        for name, parameter in self.parameters.items():
            master = self.masters[name]
            if master is parameter or parameter.grad is None:
                continue
            master.grad = parameter.grad.float() if master.grad is None else master.grad.add_(parameter.grad)
            parameter.grad = None

    def clip(self) -> float:
        """Clip the gradients to the plan's global norm and return the norm before clipping."""
        return float(nn.utils.clip_grad_norm_(self.masters.values(), self.max_grad_norm))

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model and clear the gradients."""
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return masters and moments as named tensors (no pickle is ever written)."""
        out: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            out[f"master/{name}"] = master.detach().cpu().contiguous()
            for key, value in self.optimizer.state.get(master, {}).items():
                out[f"{key}/{name}"] = value.detach().cpu().contiguous()
        return out

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; raise KeyError if a parameter is missing or has another shape."""
        for name, master in self.masters.items():
            saved = state[f"master/{name}"]
            if saved.shape != master.shape:
                raise KeyError(f"{name}: shape {tuple(saved.shape)} instead of {tuple(master.shape)}")
            master.copy_(saved)
            moments = {key: state[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in state}
            if moments:
                # AdamW keeps its step counter on the CPU.
                self.optimizer.state[master] = {key: value.clone() if key == "step" else value.to(master.device, copy=True) for key, value in moments.items()}
        self.publish()
