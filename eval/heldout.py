"""Loss of the held-out answers under the base and the tuned weights, record by record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from eval.weights import Weights
from governance_hooks.errors import BadInput

__all__ = ["Answer", "answer_losses", "batches", "compare"]

Progress = Callable[[str, int, int], None]
DECIMALS = 6
TOKENS_PER_BATCH = 1024
"""Bound on rows x longest row, so on the logits too: 1024 x 49,152 float32 are 201 MB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One held-out record as tokens; `supervised[i]` says whether token i belongs to the answer."""

    item: str
    language: str
    cluster: str
    tokens: tuple[int, ...]
    supervised: tuple[bool, ...]

    @property
    def supervised_tokens(self) -> int:
        """Number of tokens of the answer that have a prediction (never the first of the row)."""
        return sum(self.supervised[1:])


def batches(answers: Iterable[Answer], *, tokens: int = TOKENS_PER_BATCH) -> Iterator[list[Answer]]:
    """Yield the answers in order of length, in batches whose padded size stays within `tokens` (a longer row goes alone)."""
    batch: list[Answer] = []
    for answer in sorted(answers, key=lambda a: (len(a.tokens), a.item)):
        if batch and (len(batch) + 1) * len(answer.tokens) > tokens:  # the newest is the longest
            yield batch
            batch = []
        batch.append(answer)
    if batch:
        yield batch


def _batch_losses(model: Any, batch: Sequence[Answer], device: torch.device) -> list[float]:
    """Return the summed loss of each answer of the batch, in nats."""
    width = max(len(answer.tokens) for answer in batch)
    tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
    attention_BT = torch.zeros(len(batch), width, dtype=torch.long)
    supervised_BT = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, answer in enumerate(batch):
        n = len(answer.tokens)
        tokens_BT[row, :n] = torch.tensor(answer.tokens)
        attention_BT[row, :n] = 1
        supervised_BT[row, :n] = torch.tensor(answer.supervised)
    supervised_BT[:, 0] = False
    # Position i predicts token i + 1. Logits are made only where some row of the batch needs one.
    keep_K = supervised_BT.any(dim=0).nonzero().squeeze(1) - 1
    out = model(input_ids=tokens_BT.to(device), attention_mask=attention_BT.to(device), logits_to_keep=keep_K.to(device), use_cache=False)
    wanted_BK = supervised_BT[:, keep_K + 1]
    logits_NV = out.logits[wanted_BK.to(device)].float()
    targets_N = tokens_BT[:, keep_K + 1][wanted_BK].to(device)
    loss_N = cross_entropy(logits_NV, targets_N, reduction="none").double().cpu()
    counts = wanted_BK.sum(dim=1).tolist()
    return [float(part.sum()) for part in torch.split(loss_N, counts)]


@torch.inference_mode()
def answer_losses(
    model: Any, answers: Sequence[Answer], *, tokens: int = TOKENS_PER_BATCH, progress: Progress | None = None, label: str = "evaluate"
) -> dict[str, float]:
    """Return item -> summed negative log-likelihood of its answer, in nats.

    Rows are bucketed by length and right-padded behind an attention mask, so the result is that of single rows up to
    rounding of the matrix products.

    Raises:
        BadInput: an answer with no supervised token, or a loss that is not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    out: dict[str, float] = {}
    for batch in batches(answers, tokens=tokens):
        for answer in batch:
            if not answer.supervised_tokens:
                raise BadInput(f"held-out row {answer.item} has no token to predict", next="build the data again; an empty target should not be in it")
        losses = _batch_losses(model, batch, device)
        for answer, loss in zip(batch, losses, strict=True):
            if not 0 <= loss < float("inf"):
                raise BadInput(f"held-out row {answer.item}: the loss is not finite", value=loss, next="look at metrics.jsonl: the weights have diverged")
            out[answer.item] = loss
        if progress:
            progress(label, len(out), len(answers))
    return out


def compare(
    weights: Weights,
    answers: Sequence[Answer],
    *,
    tokens: int = TOKENS_PER_BATCH,
    progress: Progress | None = None,
    losses: Callable[..., dict[str, float]] = answer_losses,
) -> list[dict[str, Any]]:
    """Return the rows of `results.jsonl`: each answer's loss under the base and the tuned weights, sorted by item.

    Args:
        weights: base and tuned.
        answers: the held-out answers.
        tokens: bound on the padded size of a batch.
        progress: called with label, done, total.
        losses: what measures them; several processes take a share each (`eval.ranks`).
    """
    with weights.before() as model:
        base = losses(model, answers, tokens=tokens, progress=progress, label="held-out loss, base")
    tuned = losses(weights.tuned, answers, tokens=tokens, progress=progress, label="held-out loss, tuned")
    return [
        {
            "item": answer.item,
            "language": answer.language,
            "cluster": answer.cluster,
            "tokens": answer.supervised_tokens,
            "base": round(base[answer.item], DECIMALS),
            "tuned": round(tuned[answer.item], DECIMALS),
        }
        for answer in sorted(answers, key=lambda answer: answer.item)
    ]
