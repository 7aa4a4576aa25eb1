"""How much arithmetic a run is, and how long and how much energy that takes on named hardware: a range, and an estimate.

A multiplication with a matrix of N elements costs 2N floating-point operations a token forward, 2N for the gradient of its input and 2N
for the gradient of the matrix (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). A frozen matrix has no gradient: LoRA costs 4N, and 6N
for the adapter's own N. Attention is counted over the whole square, as Chowdhery et al. 2022 do (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from governance_hooks.training import Training
from train.estimate.hardware import Hardware
from train.estimate.shape import Shape
from train.estimate.size import Size

__all__ = ["Cost", "cost", "flops", "utilization"]

LARGE: Final = (0.25, 0.45)
"""Model FLOPs utilization with 2 billion parameters or more: published runs on H100s have 27% to 46%, counted as here (docs/train.md)."""
SMALL: Final = (0.05, 0.17)
"""With fewer: one published run of 0.6 billion parameters has 17%; the lower end is a guess."""
ON_CPU: Final = (0.35, 0.70)
"""Measured on one core with the demo's model: the run of docs/train.md, and its training step alone."""
SMALL_PARAMETERS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Hours and energy, from the fastest to the slowest of the range."""

    hours: tuple[float, float]
    kwh: tuple[float, float] | None
    """None where nobody states the device's power."""


def flops(shape: Shape, training: Training, size: Size) -> float:
    """Return the floating-point operations of a run; padded positions compute too, logits exist only for supervised tokens."""
    positions = size.sequences * training.sequence_tokens
    matrices, head = 2.0 * shape.matrices, 2.0 * shape.vocabulary * shape.hidden
    attention = 4.0 * training.sequence_tokens * shape.heads * shape.head_dim * shape.layers
    adapters = 0.0 if training.lora is None else 2.0 * shape.trainable(training)
    forward = matrices + adapters + attention
    frozen = training.lora is not None
    backward = (matrices if frozen else 2 * matrices) + 2 * adapters + 2 * attention
    total = positions * (forward + backward + (forward if training.gradient_checkpointing else 0)) + size.supervised * head * (2 if frozen else 3)
    if training.objective == "dpo":
        total += positions * (matrices + attention) + size.supervised * head  # the model it starts from scores each pair once (here: each time)
    return total


def utilization(shape: Shape, hardware: Hardware) -> tuple[float, float]:
    """Return the lower and upper share of a device's peak that such a run is likely to reach."""
    if hardware.memory_gib is None:
        return ON_CPU
    return LARGE if shape.parameters >= SMALL_PARAMETERS else SMALL


def cost(operations: float, shape: Shape, training: Training, hardware: Hardware, devices: int, *, pue: float = 1.0) -> Cost:
    """Return hours and energy of so many operations on `devices` devices at full power, times the building's overhead `pue`."""
    slow, fast = utilization(shape, hardware)
    rate = devices * hardware.flops(training.precision) * 3600
    hours = (operations / (rate * fast), operations / (rate * slow))
    if hardware.watts is None:
        return Cost(hours, None)
    kilowatts = devices * hardware.watts / 1000 * pue
    return Cost(hours, (hours[0] * kilowatts, hours[1] * kilowatts))
