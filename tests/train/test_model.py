from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from governance_hooks.errors import BadInput
from governance_hooks.hooks.guard import Stop
from governance_hooks.inventory import inventory
from governance_hooks.plan import read_plan
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from train.blocks import apply_kernels
from train.model import AdaptedModel, load_model
from train.weights import save_weights

LORA = Lora(rank=4, alpha=8, dropout=0.2)
METHODS = ["lora", "dora", "full"]


def training(method: str = "lora", **changes: Any) -> Training:
    return Training(**({"precision": "32-true", "method": method} | ({} if method == "full" else {"lora": LORA}) | changes))


def moved(model: AdaptedModel) -> AdaptedModel:
    """The same model away from its start, where LoRA's addition is 0."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


IDS = torch.arange(10, 34).reshape(2, 12)
POSITIONS = torch.tensor([[*range(7), *range(5)], [*range(12)]])


def step(model: AdaptedModel) -> list[Tensor]:
    """Loss and gradients of one pass, with dropout."""
    torch.manual_seed(11)
    loss = model(IDS, POSITIONS, IDS).sum()
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.trainable().values() if parameter.grad is not None)]


@pytest.mark.parametrize("method", METHODS)
def test_only_what_the_method_says_is_trained(base: Path, method: str) -> None:
    model = load_model(base, training(method))
    names = set(model.trainable())
    whole = {name for name, _ in AutoModelForCausalLM.from_pretrained(base).named_parameters()}
    if method == "full":
        assert names == whole
        assert model.peft is None
    else:
        kinds = {".lora_A.", ".lora_B."} | ({".lora_magnitude_vector."} if method == "dora" else set())
        assert {next((kind for kind in kinds if kind in name), name) for name in names} == kinds
        assert len(names) == 2 * 7 * len(kinds)
    assert all(parameter.dtype == torch.float32 for parameter in model.trainable().values())
    assert model.training


@pytest.mark.parametrize("method", METHODS)
def test_the_start_follows_from_the_seed(base: Path, method: str) -> None:
    one, same, other = (load_model(base, training(method, seed=seed)).trainable() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert method == "full" or not all(torch.equal(one[name], other[name]) for name in one)


def test_a_low_rank_addition_to_the_output_projection_is_refused(base: Path) -> None:
    with pytest.raises(BadInput, match="output projection"):
        load_model(base, training(lora=Lora(target_modules=["q_proj", "lm_head"])))


def test_weights_that_are_quantized_already_are_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = AutoModelForCausalLM.from_pretrained

    def quantized(*args: Any, **options: Any) -> Any:
        model = load(*args, **options)
        model.is_quantized = True
        return model

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", quantized)
    with pytest.raises(BadInput, match="quantized already"):
        load_model(base, training())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_activations_computed_again_give_the_same_bits_with_dropout_too(base: Path, method: str, precision: str) -> None:
    kept, recomputed = (moved(load_model(base, training(method, precision=precision, gradient_checkpointing=on))) for on in (False, True))
    found, expected = step(recomputed), step(kept)
    assert len(found) == len(expected) > 1
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_activations_are_not_kept_when_they_are_computed_again(base: Path) -> None:
    sizes = []
    for on in (False, True):
        model, kept = load_model(base, training(gradient_checkpointing=on)), 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.hidden(IDS, POSITIONS)
        sizes.append(kept)
    assert sizes[1] < sizes[0] / 5


@pytest.mark.slow
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_compiled_blocks_agree_with_plain_ones_at_every_width(base: Path, gradient_checkpointing: bool) -> None:
    compiled, plain = (
        moved(load_model(base, training(lora=Lora(rank=4, alpha=8), compile=on, gradient_checkpointing=gradient_checkpointing))) for on in (True, False)
    )
    for width in (12, 5, 9):
        ids, positions = IDS[:, :width], POSITIONS[:, :width]
        losses = [model(ids, positions, ids).sum() for model in (compiled, plain)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)
    for name, parameter in plain.trainable().items():
        torch.testing.assert_close(compiled.trainable()[name].grad, parameter.grad, rtol=1e-4, atol=1e-4)


def test_an_architecture_liger_has_no_kernels_for_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []

    class Patches:
        MODEL_TYPE_TO_APPLY_LIGER_FN: ClassVar[dict[str, object]] = {}

        @staticmethod
        def _apply_liger_kernel_to_instance(**options: Any) -> None:
            called.append(options)

    package = type("liger_kernel.transformers", (), {"monkey_patch": Patches})
    monkeypatch.setitem(__import__("sys").modules, "liger_kernel", package)
    monkeypatch.setitem(__import__("sys").modules, "liger_kernel.transformers", package)
    model, plan = load_model(base, training()).causal, training(kernels="liger")
    with pytest.raises(BadInput, match="no kernels for this model"):
        apply_kernels(model, plan)
    monkeypatch.setattr(Patches, "MODEL_TYPE_TO_APPLY_LIGER_FN", {"llama": object()})
    apply_kernels(model, plan)
    assert called == [{"model": model, "cross_entropy": False, "fused_linear_cross_entropy": False}]


def written(base: Path, folder: Path, plan: bytes, **how: Any) -> tuple[AdaptedModel, Path]:
    """A model away from its start, and the folder it was saved to."""
    described = read_plan(plan)
    model = moved(load_model(base, described.training)).eval()
    folder.mkdir()
    trained = {name: parameter.detach().clone() for name, parameter in model.trainable().items()} if how else None
    save_weights(model, folder, base=base, plan=described, trained=trained)
    return model, folder


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_saved_weights_are_what_the_libraries_read_back(base: Path, tmp_path: Path, plan_of: Callable[..., bytes], method: str, precision: str) -> None:
    plan = plan_of(method=method, precision=precision, lora=None if method == "full" else LORA)
    model, folder = written(base, tmp_path / "saved", plan)
    if method == "full":
        read, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert read.lm_head.weight is read.model.embed_tokens.weight
        ours, theirs = AutoTokenizer.from_pretrained(base), AutoTokenizer.from_pretrained(folder)
        message = [{"role": "user", "content": "¿qué?"}]
        assert ours.apply_chat_template(message) == theirs.apply_chat_template(message)
    else:
        read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=model.causal.dtype), folder, autocast_adapter_dtype=False)
    read.eval()
    assert next(iter(read.parameters())).dtype == next(iter(model.trainable().values())).dtype
    model.causal.set_attn_implementation("sdpa")  # ours rounds less in bfloat16, and only the weights are compared
    with torch.no_grad():
        assert torch.equal(read(IDS).logits, model.lm(IDS).logits)


@pytest.mark.parametrize("method", METHODS)
def test_saved_weights_are_the_same_bytes_each_time_and_name_nothing_of_the_machine(
    base: Path, tmp_path: Path, plan_of: Callable[..., bytes], method: str
) -> None:
    plan = plan_of(method=method, lora=None if method == "full" else LORA)
    one, two, gathered = (written(base, tmp_path / name, plan, **how)[1] for name, how in (("one", {}), ("two", {}), ("gathered", {"whole": True})))
    assert inventory(one) == inventory(two) == inventory(gathered)
    for path in one.glob("*.json"):
        assert not any(text in path.read_text() for text in (str(base), str(tmp_path), str(Path.home()), "/tmp", "/home"))
    tensors = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    with safe_open(one / tensors, "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118 - no mapping
    if method != "full":
        assert json.loads((one / "adapter_config.json").read_bytes())["use_dora"] is (method == "dora")


@pytest.mark.parametrize("method", ["dora", "full"])
def test_a_run_leaves_its_weights_and_resumes_bit_for_bit(tmp_path: Path, plan_of: Callable[..., bytes], go: Callable[..., Any], method: str) -> None:
    plan = plan_of(method=method, lora=None if method == "full" else LORA, checkpoint_every_steps=2, max_steps=4)
    assert go(tmp_path / "straight", plan)["status"] == "completed"

    class Once(Passing):
        looks = 0

        def stop(self, *, force: bool = False) -> Stop | None:
            self.looks += 1
            return Stop("halted", "by the test") if self.looks == 2 else None

    assert go(tmp_path / "parts", plan, guard=Once())["status"] == "halted"
    record = go(tmp_path / "parts", plan)
    folder = "model" if method == "full" else "adapter"
    assert record["status"] == "completed"
    assert [entry["path"] for entry in record["outputs"]] == [f"{folder}/{path.name}" for path in sorted((tmp_path / "parts" / folder).iterdir())]
    assert inventory(tmp_path / "parts" / folder) == inventory(tmp_path / "straight" / folder)
