"""The merge rule coop.merge/v1: the operations, their order and their roundings, so that every IEEE 754 machine gives the same bits.

    D[o,i] = (((0 + B[o,0]·A[0,i]) + B[o,1]·A[1,i]) + ... ) over the ranks in order          float64
    V[o,i] = W[o,i] + s·D[o,i]             s = alpha / rank, one float64 division            float64
    DoRA:    n[o] = sqrt(((V[o,0]² + V[o,1]²) + ...))   columns in order;   V[o,i] = (m[o] / n[o])·V[o,i]
    W'[o,i] = V[o,i] rounded to float32, then to the type of the base; each to nearest, ties to even

W, A, B and m are at most float32, so they enter exactly, and each product B·A is exact in float64: whether a compiler fuses the
multiplication with the addition changes nothing. No matrix product is called, whose order of additions depends on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from governance_hooks.canonical import digest
from governance_hooks.errors import BadInput, CoopError

__all__ = ["CHUNK", "DTYPES", "RULE", "LowRank", "check_machine", "merge_rows", "round_to"]

RULE = "coop.merge/v1"
CHUNK = 2**15
"""Elements computed at a time: three such blocks of float64 fit into a core's cache, and torch starts no threads of its own for so few."""
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""Types of weights by their name in safetensors."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter does to one weight, in float64."""

    A_RI: Tensor
    B_OR: Tensor
    scale: float
    magnitude_O: Tensor | None = None
    """DoRA's magnitudes (arXiv 2402.09353)."""


def round_to(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return float64 values as `dtype`, by way of float32; raise BadInput if one of them is not finite there."""
    single = values.to(torch.float32)
    if dtype == torch.bfloat16:
        if not torch.isfinite(single).all():
            raise BadInput("a merged weight is not finite", allowed="finite numbers", next="look at metrics.jsonl of the run: the weights have diverged")
        # In integers: some processors' own instruction for this flushes the smallest numbers to zero.
        bits = single.view(torch.int32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(torch.int16).view(torch.bfloat16)
    else:
        rounded = single.to(dtype)
    if not torch.isfinite(rounded).all():
        raise BadInput("a merged weight is not finite", allowed=f"numbers within {dtype}", next="look at metrics.jsonl of the run: the weights have diverged")
    return rounded


def merge_rows(weight_OI: Tensor, low: LowRank, first: int, dtype: torch.dtype) -> Tensor:
    """Return rows of a merged weight; `weight_OI` holds the rows from number `first` on.

    Raises:
        BadInput: a result is not finite.
    """
    rows = slice(first, first + len(weight_OI))
    B_OR = low.B_OR[rows]
    values = torch.zeros(weight_OI.shape, dtype=torch.float64)
    for rank in range(len(low.A_RI)):
        values.addcmul_(B_OR[:, rank : rank + 1], low.A_RI[rank])
    values.mul_(low.scale).add_(weight_OI.to(torch.float64))
    if low.magnitude_O is not None:
        squares = values.numpy() * values.numpy()
        # accumulate adds from left to right by definition, unlike sum. A row of zeros ends in inf or nan, which is refused below.
        norm_O = torch.from_numpy(np.sqrt(np.add.accumulate(squares, axis=1)[:, -1]))
        values.mul_((low.magnitude_O[rows] / norm_O)[:, None])
    return round_to(values, dtype)


def _known() -> list[int]:
    """Return the bits of a small merge that meets subnormal numbers, ties, cancellation and a root."""
    weight = torch.tensor([[1.0, 2.0**-133, 3.0], [2.0**-149, -1.0, 2.0**-9], [2.0**-149, 2.0**-133, -(2.0**-127)]])
    low = LowRank(
        A_RI=torch.tensor([[2.0**-8, 2.0**-140, 1 / 3], [2.0**-140, 2.0**-20, -1 / 3]]).double(),
        B_OR=torch.tensor([[0.5, 3 * 2.0**-9], [2.0**-9, 0.1], [0.0, 0.0]]).double(),
        scale=2 / 3,
    )
    dora = LowRank(low.A_RI, low.B_OR, low.scale, torch.tensor([1.5, 1 / 3]).double())
    found = []
    for change, rows in ((low, weight), (dora, weight[:2])):
        for dtype, bits in ((torch.float32, torch.int32), (torch.bfloat16, torch.int16), (torch.float16, torch.int16)):
            found += merge_rows(rows, change, 0, dtype).view(bits).flatten().tolist()
    return found


_ANSWER = "sha256:14de968a55d55c1111bda48d8999bac15e7726ff85d3eeafe5b3ab118000f2be"
"""Digest of what the rule gives, computed once with plain Python numbers (tests/train/test_export_arithmetic.py does it again)."""


def check_machine() -> None:
    """Raise CoopError if this process does not compute as the rule says, for example because a library made it flush subnormal numbers to zero."""
    if digest(_known()) != _ANSWER:
        raise CoopError(
            "this process does not follow IEEE 754 as the merge rule needs it",
            allowed="subnormal numbers kept, rounding to nearest",
            next="merge in a fresh process, without libraries that set the processor's flush-to-zero mode",
        )
