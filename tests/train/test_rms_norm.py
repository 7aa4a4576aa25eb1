"""The norm as one operator is transformers' norm, forward and backward."""

from pathlib import Path

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from governance_hooks.training import Training
from train.model import load_model
from train.rms_norm import fuse_norms


def normed(dtype: torch.dtype, *, fused: bool, trained: bool = False) -> tuple[torch.Tensor, torch.Tensor, LlamaRMSNorm]:
    """Return outputs, gradients by the inputs, and the norm."""
    torch.manual_seed(0)
    norm = LlamaRMSNorm(48, 1e-5)
    norm.weight.data = torch.randn(48)
    norm = norm.to(dtype).requires_grad_(trained)
    x = (3 * torch.randn(2, 7, 48)).to(dtype).requires_grad_()
    if fused:
        assert fuse_norms(torch.nn.ModuleList([norm])) == 1
    out = norm(x)
    out.backward(torch.randn(2, 7, 48).to(dtype))
    assert x.grad is not None
    return out.detach(), x.grad, norm


def test_outputs_and_gradients_are_those_of_transformers() -> None:
    for mine, theirs in zip(normed(torch.float32, fused=True)[:2], normed(torch.float32, fused=False)[:2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_in_bfloat16_they_are_no_further_from_float32_than_transformers() -> None:
    exact = normed(torch.float64, fused=False)[:2]
    for mine, theirs, right in zip(normed(torch.bfloat16, fused=True)[:2], normed(torch.bfloat16, fused=False)[:2], exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert float((mine.double() - right).abs().mean()) <= 1.02 * float((theirs.double() - right).abs().mean())


def test_a_norm_that_is_trained_keeps_its_own_forward_pass() -> None:
    assert normed(torch.float32, fused=True, trained=True)[2].weight.grad is not None


@pytest.mark.parametrize(("changes", "fused"), [({}, True), ({"method": "full", "lora": None}, False)])
def test_only_adapters_get_it(base: Path, changes: dict[str, object], fused: bool) -> None:
    model = load_model(base, Training.model_validate(Training().model_dump() | changes))
    norms = [module for module in model.modules() if isinstance(module, LlamaRMSNorm)]
    assert norms
    assert all(("forward" in vars(norm)) is fused for norm in norms)
