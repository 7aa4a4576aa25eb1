from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from governance_hooks.errors import BadInput, CoopError
from governance_hooks.training import Lora, Training
from train.isolation import LeakingAttention, prove_gradients, prove_head, prove_isolation
from train.model import DTYPES, AdaptedModel, load_model

Flash = Callable[[AdaptedModel], None]


def dense(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, softmax_scale: float | None = None, **_: Any) -> Tensor:
    """flash_attn_func: [B, T, heads, dim]."""
    rows = (x.transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(*rows, is_causal=causal, scale=softmax_scale, enable_gqa=True).transpose(1, 2)


def variable(q: Tensor, k: Tensor, v: Tensor, *, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int, **options: Any) -> Tensor:
    """flash_attn_varlen_func: [tokens, heads, dim], samples between the given bounds."""
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    assert cu_seqlens_q.dtype == torch.int32
    lengths = cu_seqlens_q.diff().tolist()
    assert max(lengths) == max_seqlen_q == max_seqlen_k
    parts = zip(*(x.split(lengths) for x in (q, k, v)), strict=True)
    return torch.cat([dense(*(x[None] for x in part), **options)[0] for part in parts])


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Flash:
    """Let a loaded model use transformers' flash path, with the two functions of flash-attn's interface written in torch: the package runs on GPUs only."""
    from transformers import modeling_flash_attention_utils as utils

    def process(query_length: int, key_length: int, is_causal: bool = True, softmax_scale: float | None = None, **given: Any) -> dict[str, Any]:
        return {"causal": is_causal, "softmax_scale": softmax_scale} | {key: given[key] for key in ("max_seqlen_q", "max_seqlen_k") if key in given}

    monkeypatch.setattr(utils, "lazy_import_flash_attention", lambda *_, **__: ((dense, variable, None, None, None), (process, None)))

    def switch(model: AdaptedModel) -> None:
        model.causal.config._attn_implementation = "flash_attention_2"

    return switch


def load(base: Path, attention: str, precision: str = "32-true") -> AdaptedModel:
    return load_model(base, Training(attention=attention, precision=precision, lora=Lora(rank=4, alpha=8))).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_packed_samples_are_isolated(base: Path, attention: str, precision: str) -> None:
    model = load(base, attention, precision)
    prove_isolation(model.hidden, 280, dtype=DTYPES[precision])
    prove_head(model, 280)


def gradients_of_one_sample(model: AdaptedModel, *, learned: str) -> Tensor:
    """The gradient of the loss of A (12 tokens) or B (8), packed in one row beside another row, by every embedding of that row."""
    ids = torch.arange(10, 50).reshape(2, 20)
    positions = torch.tensor([[*range(12), *range(8)], [*range(9), *range(11)]])
    targets = torch.full_like(ids, -100)
    part = slice(0, 11) if learned == "A" else slice(12, 19)
    targets[0, part] = ids[0, part] + 1
    embedded: list[Tensor] = []

    def keep(_module: object, _args: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.causal.get_input_embeddings().register_forward_hook(keep)
    loss = model(ids, positions, targets).sum()
    handle.remove()
    return torch.autograd.grad(loss, embedded)[0].view(2, 20, -1)


def stays_within_samples(model: AdaptedModel) -> None:
    of_b = gradients_of_one_sample(model, learned="B")
    assert of_b[0, :12].abs().max() == 0
    assert of_b[1].abs().max() == 0
    assert of_b[0, 12:19].abs().sum(dim=1).min() > 0
    of_a = gradients_of_one_sample(model, learned="A")
    assert of_a[0, 12:].abs().max() == 0
    assert of_a[0, :11].abs().sum(dim=1).min() > 0
    prove_gradients(model, 280)


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash"])
@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_no_gradient_flows_from_a_sample_to_another(base: Path, attention: str, method: str, flash: Flash) -> None:
    model = load_model(base, Training(attention="sdpa" if attention == "flash" else attention, precision="32-true", method=method)).eval()
    if attention == "flash":
        flash(model)
    stays_within_samples(model)


def test_flash_attention_is_isolated_as_it_is_called_here_and_leaks_as_it_is_usually_called(base: Path, flash: Flash) -> None:
    model = load(base, "sdpa")
    plain = prove_isolation(model.hidden, 280, dtype=torch.float32)
    reference = model.hidden(torch.arange(10, 50).reshape(2, 20), torch.arange(20).expand(2, -1))
    flash(model)
    assert prove_isolation(model.hidden, 280, dtype=torch.float32) == pytest.approx(plain, abs=1e-6)
    prove_head(model, 280)
    torch.testing.assert_close(model.hidden(torch.arange(10, 50).reshape(2, 20), torch.arange(20).expand(2, -1)), reference, rtol=1e-5, atol=1e-5)

    def by_positions_alone(ids: Tensor, positions: Tensor) -> Tensor:
        states: Tensor = model._decoder[0](input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return states

    with pytest.raises(LeakingAttention, match="see the one before"):  # two rows: transformers 5.23 looks at positions of single rows only
        prove_isolation(by_positions_alone, 280, dtype=torch.float32)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning", "ignore:_compile flag:DeprecationWarning")
def test_flex_attention_is_isolated_in_its_forward_pass(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not compiled: the mask is the same, and a minute of compilation is saved (`test_compiled_...` spends it).
    monkeypatch.setattr("transformers.integrations.flex_attention.compile_friendly_flex_attention", uncompiled)
    model = load(base, "sdpa")
    model.causal.set_attn_implementation("flex_attention")
    prove_isolation(model.hidden, 280, dtype=torch.float32)
    prove_head(model, 280)


@pytest.mark.slow
def test_compiled_flex_attention_is_isolated_in_its_forward_pass(base: Path) -> None:
    model = load(base, "sdpa")
    model.causal.set_attn_implementation("flex_attention")
    prove_isolation(model.hidden, 280, dtype=torch.float32)


def uncompiled(query: Tensor, key: Tensor, value: Tensor, training: bool = False, **options: Any) -> Any:
    return flex_attention(query, key, value, **options)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"attention": "flex"}, "no backward pass on a CPU"),
        ({"attention": "flash", "precision": "bf16-true"}, "flash runs on a GPU only"),
        ({"kernels": "liger"}, "liger runs on a GPU only"),
        ({"method": "qlora", "precision": "bf16-true"}, "qlora needs a GPU"),
    ],
)
def test_what_this_machine_cannot_train_with_is_refused_before_anything_is_loaded(
    tmp_path: Path, choice: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match=words):
        load_model(tmp_path / "no such base", Training(**choice))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"attention": "flash", "precision": "32-true"}, "half precision only"),
        ({"attention": "flash", "precision": "bf16-true"}, "pip install flash-attn"),
        ({"kernels": "liger"}, "pip install liger-kernel"),
        ({"method": "qlora", "precision": "bf16-true"}, "pip install bitsandbytes"),
    ],
)
def test_a_package_a_gpu_run_lacks_is_named_and_never_fetched(tmp_path: Path, choice: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("train.attention.is_flash_attn_2_available", lambda: False)
    monkeypatch.setattr("train.attention.is_flash_attn_3_available", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=words):
        load_model(tmp_path / "no such base", Training(**choice))


def test_a_leak_in_the_backward_pass_alone_is_detected(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(base, "sdpa")
    true = AdaptedModel.hidden

    def leaking(self: AdaptedModel, ids: Tensor, positions: Tensor) -> Tensor:
        states = true(self, ids, positions)
        mean = states.mean(dim=1, keepdim=True)
        return states + (mean - mean.detach())  # adds exactly 0 in the forward pass

    monkeypatch.setattr(AdaptedModel, "hidden", leaking)
    prove_isolation(model.hidden, 280, dtype=torch.float32)
    with pytest.raises(LeakingAttention, match="gradient"):
        prove_gradients(model, 280)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_the_known_bad_way_is_detected(base: Path, attention: str, precision: str) -> None:
    model = load(base, attention, precision)
    model.causal.set_attn_implementation(attention)  # on a CPU ours takes sdpa's place, and has no mask to get wrong

    def with_mask(ids: Tensor, positions: Tensor) -> Tensor:
        states: Tensor = model._decoder[0](input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
        return states

    with pytest.raises(LeakingAttention, match="see the one before"):
        prove_isolation(with_mask, 280, dtype=DTYPES[precision])


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_positions_that_do_not_restart_are_detected_even_where_nothing_leaks(base: Path, precision: str) -> None:
    # A fake whose outputs depend on a token and its place in the row: no leak, yet not what the sample alone gives.
    table = torch.randn(280, 16, generator=torch.Generator().manual_seed(0)).to(DTYPES[precision])

    def by_place(ids: Tensor, positions: Tensor) -> Tensor:
        place = torch.arange(ids.shape[1])[None, :, None] / 50
        return (table[ids].float() * (1 + place)).to(table.dtype)

    with pytest.raises(LeakingAttention, match="differently"):
        prove_isolation(by_place, 280, dtype=DTYPES[precision])


def test_a_model_that_changes_its_logits_after_the_head_is_refused(base: Path) -> None:
    model = load(base, "sdpa")
    causal = model.peft.get_base_model()
    forward = causal.forward

    def capped(*args: object, **kwargs: object) -> object:
        out = forward(*args, **kwargs)
        out.logits = torch.tanh(out.logits / 2)
        return out

    causal.forward = capped
    with pytest.raises(CoopError, match="scaling or capping"):
        prove_head(model, 280)
