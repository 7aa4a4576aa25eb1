"""Attention backends: which one of transformers' a plan means, what it needs, and how it learns where packed samples begin.

sdpa, eager and flex get their mask from transformers, which builds it from restarting positions if no attention mask is passed. Flash
attention has no mask. transformers looks at the positions only if the batch has one row (`_is_packed_sequence`), and lets samples of
wider batches see each other; so rows are laid end to end here, and the bounds of the samples are handed over explicitly.

Samples that share a prefix (`train.row_paths`) are more than transformers' mask knows of: with them sdpa, eager and flex get one made here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.row_paths import last_readers, visible

__all__ = ["implementation", "path_mask", "sample_bounds"]

OTHERWISE = "set training.attention: sdpa and plan again, or start where there is one"


def implementation(training: Training) -> str:
    """Return transformers' name of the plan's attention backend; raise BadInput if this machine cannot train with it."""
    if training.attention in ("sdpa", "eager"):
        return training.attention
    if not torch.cuda.is_available():
        why = "has no backward pass on a CPU" if training.attention == "flex" else "runs on a GPU only"
        raise BadInput(f"training.attention {training.attention} {why}", value="no GPU", allowed="an NVIDIA GPU", next=OTHERWISE)
    if training.attention == "flex":
        return "flex_attention"
    if training.precision != "bf16-true":
        raise BadInput("training.attention flash computes in half precision only", value=training.precision, allowed="training.precision: bf16-true")
    # Asked here, not left to transformers: it would download a kernel, so code nobody voted on, in place of a missing package.
    if is_flash_attn_3_available():
        return "flash_attention_3"
    if is_flash_attn_2_available():
        return "flash_attention_2"
    raise BadInput(
        "training.attention flash needs a package that is not installed", allowed="flash-attn 2.3.3 or newer, or flash-attn-3", next="pip install flash-attn"
    )


def sample_bounds(positions_T: Tensor) -> dict[str, Tensor | int]:
    """Return the bounds of the samples of one row as transformers hands them to flash attention's variable-length kernel.

    A sample begins wherever the position is 0, so also each row laid behind another.
    """
    begins_S = (positions_T == 0).nonzero().flatten()
    bounds_S = torch.cat([begins_S, begins_S.new_tensor([positions_T.numel()])]).to(torch.int32)
    longest = int(bounds_S.diff().max())
    return {"cu_seq_lens_q": bounds_S, "cu_seq_lens_k": bounds_S, "max_length_q": longest, "max_length_k": longest}


def path_mask(positions_BT: Tensor, backend: str, dtype: torch.dtype) -> Tensor | BlockMask:
    """Return the mask of rows in which samples may share a prefix as one of transformers' backends takes it: bool for sdpa, added scores for eager, blocks for flex."""
    if backend == "flex_attention":
        end_BT, (rows, width) = last_readers(positions_BT), positions_BT.shape

        def on_the_path(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (query < end_BT[row, key])

        return create_block_mask(on_the_path, rows, None, width, width, device=positions_BT.device)
    seen_BTT = visible(positions_BT)
    if backend == "sdpa":
        return seen_BTT
    return torch.zeros(seen_BTT.shape, dtype=dtype, device=seen_BTT.device).masked_fill(~seen_BTT, torch.finfo(dtype).min)
