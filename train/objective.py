"""What a step minimises: a sum over its parts, and the number it is divided by once."""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from governance_hooks.errors import CoopError
from governance_hooks.plan import CANARY_LANGUAGE
from train.data import StepBatch
from train.layout import Forwarded

__all__ = ["Dpo", "Objective", "Sft", "likelihoods"]


class Objective(Protocol):
    """How the log-likelihoods of one forward pass become a loss; the caller divides once per optimizer step."""

    def total(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        """Return the summed loss of one forward pass from its supervised tokens' negative log-likelihoods, a scalar with gradient."""
        ...

    def divisor(self, batch: StepBatch) -> int:
        """Return what the sum over all passes of all processes is divided by."""
        ...

    def measures(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return what else is told of a step, as sums over one forward pass, always by the same names; the caller divides them like the loss."""
        ...

    def by_language(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return the loss of one forward pass by language, in nats, summed over its supervised tokens; canaries are no language."""
        ...


class Sft:
    """Supervised fine-tuning: the mean over all supervised tokens of the optimizer step."""

    def total(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        """Return their sum, in nats."""
        return nll_N.sum()

    def divisor(self, batch: StepBatch) -> int:
        """Return the supervised tokens of the whole step."""
        return batch.supervised

    def measures(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return nothing: the loss says it all."""
        return {}

    @torch.no_grad()
    def by_language(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return the loss of each language: sums in double precision over samples, in an order that does not depend on the device."""
        lengths = torch.tensor([tokens for _, tokens in forwarded.learned], device=nll_N.device)
        if int(lengths.sum()) != len(nll_N):
            raise CoopError("a forward pass learns other tokens than its samples name", value=len(nll_N), next="this is a mistake in the trainer")
        sums: dict[str, float] = {}
        if len(nll_N):
            each = torch.segment_reduce(nll_N.detach().double(), "sum", lengths=lengths).tolist()
            for (language, _), loss in zip(forwarded.learned, each, strict=True):
                if language != CANARY_LANGUAGE:
                    sums[language] = sums.get(language, 0.0) + loss
        return sums


def likelihoods(nll_N: Tensor, forwarded: Forwarded) -> Tensor:
    """Return the log-likelihood of each answer, shape [pairs, 2], float64: the preferred answer of each pair first.

    Sums, not means over tokens, as in the paper. They are taken in double precision: a reward is a small difference of large ones.

    Raises:
        CoopError: the pass holds something else than the pairs it names.
    """
    pairs = forwarded.pairs
    if pairs is None and not len(nll_N):  # a process that ran out of pairs, in a step where others have some left
        return nll_N.double().view(0, 2)
    if pairs is None or sum(pairs.supervised) != len(nll_N) or len(pairs.supervised) != 2 * len(pairs.numbers):
        raise CoopError("a forward pass does not consist of pairs", value=len(nll_N), next="this is a mistake in the trainer")
    return -torch.stack([part.sum() for part in torch.split(nll_N.double(), pairs.supervised)]).view(-1, 2)


class Dpo:
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290, equation 7): the mean over the pairs of the optimizer step.

    The reward of an answer is beta times how much likelier it is to the trained model than to the one it started from; the loss of a
    pair is the negative log of the sigmoid of the difference of its rewards, log 2 for a model that has not moved.
    """

    REWARD_MARGIN: Final = "reward_margin"
    """Reward of the preferred answer less that of the other, mean over pairs."""
    REWARD_ACCURACY: Final = "reward_accuracy"
    """Share of pairs in which the preferred answer has the higher reward."""

    def __init__(self, beta: float, reference_P2: Tensor) -> None:
        """Hold the reference log-likelihoods of all pairs by their number; NaN where there is none, so that it cannot be used."""
        self.beta, self.reference_P2 = beta, reference_P2

    def _margins(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        now_P2, numbers = likelihoods(nll_N, forwarded), forwarded.pairs.numbers if forwarded.pairs is not None else []
        ratios_P2 = now_P2 - self.reference_P2[numbers].to(now_P2.device)
        return self.beta * (ratios_P2[:, 0] - ratios_P2[:, 1])

    def total(self, nll_N: Tensor, forwarded: Forwarded) -> Tensor:
        """Return the losses of the pairs, summed, in nats."""
        return -functional.logsigmoid(self._margins(nll_N, forwarded)).sum()

    def divisor(self, batch: StepBatch) -> int:
        """Return the pairs of the whole step."""
        return batch.pairs

    def by_language(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return nothing: the loss is one of pairs, and held-out pairs are measured by language."""
        return {}

    @torch.no_grad()
    def measures(self, nll_N: Tensor, forwarded: Forwarded) -> dict[str, float]:
        """Return reward margins and right orders, summed over the pairs."""
        margins_P = self._margins(nll_N, forwarded)
        return {self.REWARD_MARGIN: float(margins_P.sum()), self.REWARD_ACCURACY: float((margins_P > 0).sum())}
