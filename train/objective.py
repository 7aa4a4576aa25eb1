"""What a step minimises: a sum over its parts, and the number it is divided by once."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from train.data import Forwarded, StepBatch

__all__ = ["Objective", "Sft"]


class Objective(Protocol):
    """How the log-likelihoods of one forward pass become a loss; the caller divides once per optimizer step."""

    def total(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        """Return the summed loss of one forward pass from its supervised tokens' negative log-likelihoods, a scalar with gradient."""
        ...

    def divisor(self, batch: StepBatch) -> int:
        """Return what the sum over all passes of all processes is divided by."""
        ...


class Sft:
    """Supervised fine-tuning: the mean over all supervised tokens of the optimizer step."""

    def total(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        """Return their sum, in nats."""
        return nll_N.sum()

    def divisor(self, batch: StepBatch) -> int:
        """Return the supervised tokens of the whole step."""
        return batch.supervised
