"""How much a model expects each token of an answer: loss, min-k%++ and what greedy decoding would repeat, in one forward pass.

Greedy decoding after a prefix gives an answer word for word exactly if each of its tokens is the likeliest after all before it. So one pass over the
answer shows what no generation is needed for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from eval.heldout import TOKENS_PER_BATCH, Answer, batches
from governance_hooks.errors import BadInput

__all__ = ["Surprise", "surprises"]

Progress = Callable[[str, int, int], None]
SHARE: Final = 0.2
"""Of the tokens: the least expected, whose mean is min-k%++."""
FLOOR: Final = 1e-6
"""Least variance of a distribution over tokens: a certain one must not divide by zero."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """What a model makes of one answer."""

    loss: float
    """Summed negative log-likelihood, nats."""
    min_k: float
    """Mean over the least expected fifth of the tokens of their log-likelihood, in standard deviations of that token's distribution around its mean
    (Zhang et al. 2024, arXiv 2404.02936)."""
    matched: int
    """Tokens at the beginning that greedy decoding gives after the prompt."""
    tail: int
    """Tokens at the end that it gives after all before them."""


@torch.inference_mode()
def surprises(
    model: Any, answers: Sequence[Answer], *, tokens: int = TOKENS_PER_BATCH, progress: Progress | None = None, label: str = "measure"
) -> dict[str, Surprise]:
    """Return item -> what the model makes of its answer; rows are batched as in `eval.heldout`.

    Raises:
        BadInput: an answer without a token, or a loss that is not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    out: dict[str, Surprise] = {}
    for batch in batches(answers, tokens=tokens):
        for answer, found in zip(batch, _batch(model, batch, device), strict=True):
            if not 0 <= found.loss < float("inf"):
                raise BadInput(f"{answer.item}: the loss is not finite", value=found.loss, next="look at metrics.jsonl: the weights have diverged")
            out[answer.item] = found
        if progress:
            progress(label, len(out), len(answers))
    return out


def _batch(model: Any, batch: Sequence[Answer], device: torch.device) -> list[Surprise]:
    width = max(len(answer.tokens) for answer in batch)
    tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
    attention_BT = torch.zeros(len(batch), width, dtype=torch.long)
    supervised_BT = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, answer in enumerate(batch):
        if not answer.supervised_tokens:
            raise BadInput(f"{answer.item} has no token to predict", next="an empty answer should not be among the rows")
        n = len(answer.tokens)
        tokens_BT[row, :n] = torch.tensor(answer.tokens)
        attention_BT[row, :n] = 1
        supervised_BT[row, 1:n] = torch.tensor(answer.supervised[1:])
    keep_K = supervised_BT.any(dim=0).nonzero().squeeze(1) - 1  # position i predicts token i + 1
    out = model(input_ids=tokens_BT.to(device), attention_mask=attention_BT.to(device), logits_to_keep=keep_K.to(device), use_cache=False)
    wanted_BK = supervised_BT[:, keep_K + 1]
    logp_NV = out.logits[wanted_BK.to(device)].float().log_softmax(-1)
    targets_N = tokens_BT[:, keep_K + 1][wanted_BK].to(device)
    logp_N = logp_NV.gather(-1, targets_N[:, None]).squeeze(-1)
    p_NV = logp_NV.exp()
    mean_N = (p_NV * logp_NV).sum(-1)
    variance_N = (p_NV * logp_NV.square()).sum(-1) - mean_N.square()
    z_N = ((logp_N - mean_N) / variance_N.clamp_min(FLOOR).sqrt()).double().cpu()
    right_N = (logp_NV.argmax(-1) == targets_N).cpu()
    counts = wanted_BK.sum(dim=1).tolist()
    parts = (torch.split(values, counts) for values in (logp_N.double().cpu(), z_N, right_N))
    return [_surprise(*one) for one in zip(*parts, strict=True)]


def _surprise(logp_n: torch.Tensor, z_n: torch.Tensor, right_n: torch.Tensor) -> Surprise:
    least = z_n.sort().values[: max(1, int(SHARE * len(z_n)))]
    whole = right_n.int()
    return Surprise(
        loss=-float(logp_n.sum()),
        min_k=float(least.mean()),
        matched=int(whole.cumprod(0).sum()),
        tail=int(whole.flip(0).cumprod(0).sum()),
    )
