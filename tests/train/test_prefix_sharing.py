"""A prefix computed once for all samples of a sequence gives the loss and the gradients of samples computed apart, and lets nothing else through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from data_pipeline.manifest import read_build
from data_pipeline.tokens.sample import Pair, Sample
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from governance_hooks.training import Lora, Training
from tests.tiny import write_base
from tests.train.conftest import CODE, COOP, TINY, USE
from tests.train.interrupted import exact, interrupt_at, lines
from train.config import RunConfig
from train.data import StepBatch, StepDataset, schedule_of
from train.isolation import LeakingAttention, prove_gradients, prove_isolation
from train.layout import IGNORE, batch_rows, batch_units
from train.model import DTYPES, AdaptedModel, load_model
from train.objective import Dpo
from train.plan import describe, resolve, size_of
from train.prepare import plan_tokens
from train.row_paths import visible
from train.sample_attention import SAMPLES

Plan = Callable[..., bytes]

chance = np.random.default_rng(4)
HEAD = chance.integers(3, 280, 12).tolist()
PROMPT = HEAD + chance.integers(3, 280, 9).tolist()


def sample(name: str, length: int, start: int, before: list[int]) -> Sample:
    ids = [*before, *chance.integers(3, 280, length - len(before)).tolist()]
    return Sample(name, "spa", "train", np.array(ids, np.uint16), start, length)


SEQUENCES = [
    [sample("a", 30, 20, HEAD), sample("b", 14, 13, HEAD), sample("c", 40, 21, PROMPT), sample("d", 33, 21, PROMPT)],
    [sample("e", 25, 3, []), sample("f", 25, 14, HEAD), sample("g", 28, 15, HEAD), sample("h", 20, 19, HEAD)],
]
"""All but one begin alike; two have the same prompt."""


def test_what_a_sample_shares_with_the_one_before_is_left_out() -> None:
    laid, apart = (batch_rows(SEQUENCES, 2, prefix_sharing=sharing) for sharing in (True, False))
    begins = [0, 29, 30, 57]
    assert [int(laid.positions_BT[0, begin]) for begin in begins] == [0, 12, 12, 21 - 1]  # the last token of the prompt predicts, so it stands twice
    assert laid.positions_BT[0, 69:].tolist() == [0]  # a tail of one: the other row is as wide
    assert laid.ids_BT.shape[1] == 24 + 24 + 15 + 7
    assert apart.ids_BT.shape[1] == 29 + 13 + 39 + 32
    assert laid.targets_BT[laid.targets_BT != IGNORE].tolist() == apart.targets_BT[apart.targets_BT != IGNORE].tolist()
    assert laid.learned == apart.learned


def moved(base: Path, training: Training, attention: str | None = None) -> AdaptedModel:
    model = load_model(base, training)
    if attention is not None:
        model.causal.set_attn_implementation(attention)
    torch.manual_seed(5)
    for name, parameter in model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def of(method: str, **changes: Any) -> Training:
    return Training(precision="32-true", method=method, **({} if method == "full" else {"lora": Lora(rank=4, alpha=8)}), **changes)


def step(model: AdaptedModel, *, sharing: bool) -> tuple[Tensor, dict[str, Tensor]]:
    laid = batch_rows(SEQUENCES, 2, prefix_sharing=sharing)
    nll = model(laid.ids_BT, laid.positions_BT, laid.targets_BT)
    nll.sum().backward()
    return nll.detach(), {name: parameter.grad for name, parameter in model.trainable().items() if parameter.grad is not None}


@pytest.mark.parametrize("attention", [SAMPLES, "sdpa", "eager"])
@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_loss_and_gradient_are_those_of_samples_apart(base: Path, method: str, attention: str) -> None:
    apart, expected = step(moved(base, of(method)), sharing=False)
    shared, found = step(moved(base, of(method, prefix_sharing=True), attention), sharing=True)
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-5)
    assert found.keys() == expected.keys() != set()
    for name, gradient in expected.items():
        assert float((found[name] - gradient).abs().max()) <= 1e-6 * float(gradient.abs().max()), name


def test_answers_to_one_prompt_are_preferred_the_same(base: Path) -> None:
    pairs = [Pair(sample(f"c{n}", 30 + n, 21, PROMPT), sample(f"r{n}", 36 - n, 21, PROMPT)) for n in range(3)]
    objective = Dpo(0.3, torch.tensor([[-40.0, -60.0], [-50.0, -52.0], [-44.0, -41.0]], dtype=torch.float64))

    def loss(*, sharing: bool) -> tuple[float, int, dict[str, Tensor]]:
        model = moved(base, of("lora", objective="dpo", prefix_sharing=sharing))
        laid = batch_units([[(0, pairs[0]), (2, pairs[2])], [(1, pairs[1])]], 2, prefix_sharing=sharing)
        total = objective.total(model(laid.ids_BT, laid.positions_BT, laid.targets_BT), laid)
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach()), laid.ids_BT.numel(), {n: p.grad for n, p in model.trainable().items() if p.grad is not None}

    (apart, wide, expected), (shared, narrow, found) = loss(sharing=False), loss(sharing=True)
    assert shared == pytest.approx(apart, rel=1e-6)
    assert narrow == 2 * (29 + 15 + 11 + 13) < wide
    for name, gradient in expected.items():
        assert float((found[name] - gradient).abs().max()) <= 1e-5 * float(gradient.abs().max()), name


@pytest.mark.parametrize("attention", [SAMPLES, "sdpa", "eager"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_samples_with_a_common_prefix_are_isolated(base: Path, attention: str, precision: str) -> None:
    model = load_model(base, Training(precision=precision, prefix_sharing=True)).eval()
    model.causal.set_attn_implementation(attention)
    for shared in (0, 11):
        prove_isolation(model.hidden, 280, dtype=DTYPES[precision], shared=shared)
        prove_gradients(model, 280, shared=shared)


def test_flex_attention_sees_the_same_in_its_forward_pass(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import flex_attention as theirs

    monkeypatch.setattr(theirs, "compile_friendly_flex_attention", lambda query, key, value, training=False, **rest: flex_attention(query, key, value, **rest))
    model = load_model(base, Training(prefix_sharing=True)).eval()
    laid = batch_rows(SEQUENCES, 2, prefix_sharing=True)
    with torch.no_grad():
        expected = model.hidden(laid.ids_BT, laid.positions_BT)
        model.causal.set_attn_implementation("flex_attention")
        torch.testing.assert_close(model.hidden(laid.ids_BT, laid.positions_BT), expected, rtol=1e-4, atol=1e-4)
    prove_isolation(model.hidden, 280, dtype=torch.float32, shared=11)


def test_a_prefix_that_is_not_seen_is_refused(base: Path) -> None:
    model = load_model(base, Training()).eval()
    model.causal.set_attn_implementation("sdpa")  # and the mask transformers makes of positions
    prove_isolation(model.hidden, 280, dtype=torch.float32)
    with pytest.raises(LeakingAttention, match="scores differently"):
        prove_isolation(model.hidden, 280, dtype=torch.float32, shared=11)
    with pytest.raises(LeakingAttention, match="misses its own tokens"):
        prove_gradients(model, 280, shared=11)


def test_a_sample_that_sees_more_of_the_one_before_than_their_prefix_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(positions_BT: Tensor) -> Tensor:
        seen_BTT = visible(positions_BT)
        seen_BTT[:, :, 24:, 23] |= seen_BTT[:, :, 24:, 10]  # who sees the prefix sees the last token of A too
        return seen_BTT

    monkeypatch.setattr("train.attention.visible", leaking)
    model = load_model(base, Training(prefix_sharing=True)).eval()
    model.causal.set_attn_implementation("sdpa")
    with pytest.raises(LeakingAttention, match="see the one before it"):
        prove_isolation(model.hidden, 280, dtype=torch.float32, shared=11)
    with pytest.raises(LeakingAttention, match="reaches its neighbours"):
        prove_gradients(model, 280, shared=11)


@pytest.mark.parametrize("choice", [{"attention": "flash", "precision": "bf16-true"}, {"lora": Lora(dropout=0.1)}])
def test_what_cannot_share_is_refused(choice: dict[str, Any]) -> None:
    assert not Training(**choice).prefix_sharing
    with pytest.raises(ValueError, match="prefix_sharing"):
        Training(prefix_sharing=True, **choice)


def test_a_model_with_a_window_is_refused(base: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    from train.model import adapt

    small = MistralForCausalLM(
        MistralConfig(vocab_size=300, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, sliding_window=8)
    )
    with pytest.raises(BadInput, match="every layer attends to the whole sample"):
        adapt(small, Training(prefix_sharing=True))


def test_old_plans_keep_their_bytes() -> None:
    assert "prefix_sharing" not in Training().model_dump()
    assert Training(prefix_sharing=True).model_dump()["prefix_sharing"] is True


# --- from the config to the end of a run ---


@pytest.fixture(scope="session")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose template begins with a system message, as those of many models do."""
    return write_base(tmp_path_factory.mktemp("weights") / "kind", system="Be kind.")


def planned(base: Path, build: Path, **training: Any) -> bytes:
    config = RunConfig(name="tiny", use=USE, base=str(base), build=str(build), training=Training(**(TINY | {"lora": Lora(rank=4, alpha=8)} | training)))
    return resolve(config, coop=COOP, base=base, build=build, code=CODE)


def test_a_plan_shares_what_all_rows_begin_with(base: Path, kind: Path, build: Path) -> None:
    shares, apart = planned(kind, build, max_steps=None), planned(kind, build, max_steps=None, prefix_sharing=False)
    assert read_plan(shares).training.prefix_sharing
    assert "prefix_sharing" not in loads(apart, floats=True)["training"]
    for silent in (planned(base, build), planned(kind, build, lora=Lora(dropout=0.1)), planned(kind, build, attention="flash", precision="bf16-true")):
        assert not read_plan(silent).training.prefix_sharing
    tokens = plan_tokens(read_plan(shares), kind, read_build(build), torch.device("cpu"), None)
    together, alone = (size_of(read_plan(plan), base=kind, build=build) for plan in (shares, apart))
    assert (together.tokens, together.supervised) == (alone.tokens, alone.supervised)
    assert together.sequences < alone.sequences
    rows = 3 * len(tokens.train)
    assert together.shared == tokens.train.prefix * (rows - together.sequences) > 0 == alone.shared
    assert alone.filled < together.filled <= 1
    assert f"{together.shared} of the tokens read are beginnings" in describe(shares, size=together)
    assert "beginnings" not in describe(apart, size=alone)


def test_a_window_in_the_config_leaves_sharing_out_and_refuses_who_asks_for_it(kind: Path, build: Path, tmp_path: Path) -> None:
    import json
    import shutil

    other = Path(shutil.copytree(kind, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "mistral", "sliding_window": 64}))
    assert not read_plan(planned(other, build)).training.prefix_sharing
    with pytest.raises(BadInput, match="every layer attends to the whole sample"):
        planned(other, build, prefix_sharing=True)


def test_a_run_that_shares_resumes_bit_for_bit_and_counts_what_it_read(kind: Path, build: Path, go: Any, tmp_path: Path) -> None:
    plan = planned(kind, build, checkpoint_every_steps=100)
    assert go(tmp_path / "straight", plan, base=kind)["status"] == "completed"
    assert go(tmp_path / "parts", plan, base=kind, progress=interrupt_at(3))["status"] == "halted"
    assert go(tmp_path / "parts", plan, base=kind)["starts"] == 2
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")
    steps = [line for line in lines(tmp_path / "straight/metrics.jsonl") if "loss" in line]
    assert all(0 < line["computed"] < line["tokens"] - 12 for line in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    samples = plan_tokens(read_plan(plan), kind, read_build(build), torch.device("cpu"), None).train
    lengths = {sample.record: len(sample.ids) for sample in samples}
    for step, traced in zip(steps, lines(tmp_path / "straight/trace.jsonl"), strict=True):
        assert step["tokens"] == sum(lengths[record] for record in traced["records"])


def test_those_that_begin_alike_stand_side_by_side_in_a_sequence(kind: Path, build: Path) -> None:
    plan = read_plan(planned(kind, build))
    dataset = StepDataset(schedule_of(plan_tokens(plan, kind, read_build(build), torch.device("cpu"), None).train, plan), pad=2)
    for step in dataset.schedule.after(0):
        laid = dataset._batch(step)
        apart = sum(dataset.schedule.samples[number].inputs for sequence in step.sequences for number in sequence)
        prefix = dataset.schedule.samples.prefix * sum(len(sequence) - 1 for sequence in step.sequences)
        assert laid.computed < apart - prefix
        assert laid.computed == sum(int((one.positions_BT >= 0).sum()) for one in laid.passes) - padded(laid)


def padded(batch: StepBatch) -> int:
    return sum(int((one.ids_BT == 2).flip(1).cumprod(1).sum()) for one in batch.passes)
