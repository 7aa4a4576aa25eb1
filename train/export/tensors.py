"""Holds a merged folder against base and adapter tensor by tensor, from the files: memory is that of a few blocks of rows, whatever the model's size.

The sum is made another way than the merge makes it (a matrix product in float64, whose order of additions is the library's), so that a
mistake in one of them shows: each number may be off by the rounding to its type, and by nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from governance_hooks.errors import BadInput, CoopError
from train.export.adapter import Adapter
from train.export.arithmetic import DTYPES, LowRank
from train.export.shards import Weight, blocks, layout

__all__ = ["compare_tensors"]

Progress = Callable[[str, int, int], None]
_BLOCK: Final = 2**20
"""Elements compared at a time."""
_DIGITS: Final = {"F32": 24, "BF16": 8, "F16": 11}
"""Binary digits of a number."""
_SMALLEST: Final = {"F32": 2.0**-150, "BF16": 2.0**-134, "F16": 2.0**-25}
"""Half the distance of two neighbours near nought."""
_MOST_LOST: Final = 0.5
"""Of the squares of all changes. A change below half a step vanishes as a whole, so the worst is 1."""
_SLACK: Final = 1e-12
"""Of the sizes of what is added: what another order of additions in float64 may change."""


def _expected(weight_OI: Tensor, low: LowRank, first: int) -> tuple[Tensor, Tensor]:
    """Return rows of the merged weight in float64, and how far another order of additions may be from them."""
    B_OR = low.B_OR[first : first + len(weight_OI)]
    values, sizes = weight_OI + low.scale * (B_OR @ low.A_RI), weight_OI.abs() + low.scale * (B_OR.abs() @ low.A_RI.abs())
    if low.magnitude_O is not None:
        factor_O1 = (low.magnitude_O[first : first + len(weight_OI)] / torch.linalg.vector_norm(values, dim=1))[:, None]
        values, sizes = factor_O1 * values, factor_O1.abs() * sizes
    return values, _SLACK * sizes


def _rows(file: Any, weight: Weight, first: int, stop: int) -> Tensor:
    rows: Tensor = file.get_slice(weight.name)[first:stop] if weight.shape else file.get_tensor(weight.name)
    return rows


def compare_tensors(base: Path, adapter: Adapter, merged: Path, weights: dict[str, Weight], *, progress: Progress | None = None) -> dict[str, Any]:
    """Return how many tensors were compared and changed, and which part of the change (of its squares) the rounding to the base's type took away.

    Raises:
        CoopError: the folder has other tensors than the base, one differs that the adapter leaves alone, a number is off by more than its
            rounding, or rounding takes away more than half of what the adapter changes.
    """
    try:
        found = layout(merged)
    except BadInput as error:
        raise CoopError(f"the merged folder cannot be read: {error.what}", next="nothing was written") from error
    if found != weights:
        odd = sorted({one.name for one in [*found.values(), *weights.values()] if found.get(one.name) != weights.get(one.name)})
        raise CoopError("the merged folder holds other tensors than the base", value=odd[:3], next="nothing was written")
    total, done, lost, change, changed = sum(weight.size for weight in weights.values()), 0, 0.0, 0.0, 0
    for shard in sorted({weight.shard for weight in weights.values()}):
        try:
            with safe_open(base / shard, framework="pt") as before, safe_open(merged / shard, framework="pt") as after:
                for weight in [one for one in weights.values() if one.shard == shard]:
                    module = weight.name.removesuffix(".weight")
                    low = adapter.load(module) if module in adapter.modules else None
                    changed += low is not None
                    for first, stop in blocks(weight, _BLOCK):
                        source, made = _rows(before, weight, first, stop), _rows(after, weight, first, stop)
                        if low is None:
                            _require_same(weight, source, made)
                        else:
                            off, moved = _require_near(weight, source.double(), made.double(), low, first)
                            lost, change = lost + off, change + moved
                    done += weight.size
                    if progress is not None:
                        progress("comparing tensors, bytes", done, total)
        except (SafetensorError, OSError) as error:
            raise CoopError(f"{shard} cannot be compared: {error}", next="nothing was written") from error
    if lost > _MOST_LOST * change:
        raise CoopError(
            "rounding the merged weights takes away more than half of what the adapter changes",
            value=f"{lost:g} of {change:g}",
            next="publish the adapter, which loses nothing",
        )
    return {"compared": len(weights), "changed": changed, "lost": round(lost / change, 9) if change else 0.0}


def _require_same(weight: Weight, source: Tensor, made: Tensor) -> None:
    kind = torch.int32 if DTYPES[weight.dtype].itemsize == 4 else torch.int16
    if not torch.equal(source.view(kind), made.view(kind)):
        raise CoopError(f"{weight.name} of the merged folder is not the base's, and the adapter does not change it", next="nothing was written")


def _require_near(weight: Weight, source: Tensor, made: Tensor, low: LowRank, first: int) -> tuple[float, float]:
    """Return the sums of squares of what rounding took away and of what the adapter changes, over some rows."""
    wanted, slack = _expected(source, low, first)
    off = (made - wanted).abs()
    half_step = torch.ldexp(torch.ones_like(wanted), torch.frexp(wanted).exponent - 1 - _DIGITS[weight.dtype]).clamp_(min=_SMALLEST[weight.dtype])
    # Numbers are rounded twice, to float32 and from there: a tie there may have been none.
    allowed = half_step + (wanted.abs() * 2.0**-24 if weight.dtype != "F32" else 0) + slack
    if not bool((off <= allowed).all()):  # also where it is no number
        at = int((off - allowed).nan_to_num(nan=float("inf")).argmax())
        raise CoopError(
            f"{weight.name} of the merged folder is not base plus adapter: off by more than rounding",
            value=f"{made.flatten()[at]:g}, row {first + at // max(1, weight.width)}",
            allowed=f"{wanted.flatten()[at]:g}",
            next="nothing was written",
        )
    return float((made - wanted).square().sum()), float((wanted - source).square().sum())
