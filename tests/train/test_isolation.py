from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train.isolation import LeakingAttention, prove_head, prove_isolation
from train.loss import supervised_nll
from train.model import DTYPES, AdaptedModel, load_model


def load(base: Path, attention: str, precision: str = "32-true") -> AdaptedModel:
    return load_model(base, Training(attention=attention, precision=precision, lora=Lora(rank=4, alpha=8))).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_packed_samples_are_isolated(base: Path, attention: str, precision: str) -> None:
    model = load(base, attention, precision)
    prove_isolation(model.hidden, 280, dtype=DTYPES[precision])
    prove_head(model, 280)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_gradient_flows_from_a_sample_to_its_neighbour(base: Path, attention: str) -> None:
    model = load(base, attention)
    ids = torch.arange(10, 30)[None]
    embeddings = model.peft.get_base_model().get_input_embeddings()(ids).detach().requires_grad_()
    positions = torch.tensor([[*range(12), *range(8)]])  # A has 12 tokens, B has 8
    labels = torch.full_like(ids, -100)
    labels[0, 13:] = ids[0, 13:]  # only B is learned
    hidden = model._decoder[0](inputs_embeds=embeddings, position_ids=positions, use_cache=False).last_hidden_state
    gradient = torch.autograd.grad(supervised_nll(hidden, labels, model.head).sum(), embeddings)[0][0]
    assert gradient[:12].abs().max() == 0
    assert gradient[12:19].abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_the_known_bad_way_is_detected(base: Path, attention: str, precision: str) -> None:
    model = load(base, attention, precision)

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
