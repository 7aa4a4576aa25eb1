from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train import checkpoint
from train.model import load_model
from train.module import TrainingModule

PLAN = "sha256:" + "a" * 64


@pytest.fixture
def module(base: Path) -> TrainingModule:
    training = Training(precision="32-true", lora=Lora(rank=4, alpha=8))
    made = TrainingModule(load_model(base, training), training, 100)
    made.first_loss = made.last_loss = 2.5
    made.tokens = {"spa": (10, 4)}
    return made


@pytest.fixture
def saved(module: TrainingModule, tmp_path: Path) -> Callable[..., Path]:
    def save(*steps: int, keep: int = 3) -> Path:
        for step in steps:
            module.completed_steps = step
            checkpoint.save(tmp_path, module, plan=PLAN, keep=keep)
        return tmp_path

    return save


def test_only_the_newest_are_kept(saved: Callable[..., Path]) -> None:
    root = saved(4, 8, 12, 16, keep=2)
    assert sorted(path.name for path in root.iterdir()) == ["step-00000012", "step-00000016"]


def test_a_checkpoint_holds_the_adapter_and_not_the_base(saved: Callable[..., Path], module: TrainingModule) -> None:
    root = saved(4)
    trainable = sum(parameter.numel() for parameter in module.model.trainable().values())
    assert (root / "step-00000004/tensors.safetensors").stat().st_size < 4 * trainable * 3 + 20_000
    assert sorted(path.name for path in (root / "step-00000004").iterdir()) == ["complete.json", "state.json", "tensors.safetensors"]


def test_what_a_killed_writer_left_is_not_a_checkpoint_and_is_cleared(saved: Callable[..., Path]) -> None:
    root = saved(4, 8)
    (root / "step-00000008/complete.json").unlink()
    (root / ".tmp-abc").mkdir()
    found = checkpoint.newest(root)
    assert found is not None
    assert found[1].step == 4
    assert [path.name for path in root.iterdir()] == ["step-00000004"]
    assert checkpoint.newest(root / "nowhere") is None


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused_not_skipped(saved: Callable[..., Path], name: str) -> None:
    root = saved(4, 8)
    path = root / "step-00000008" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CoopError, match="damaged"):
        checkpoint.newest(root)


def test_restore_brings_everything_back(saved: Callable[..., Path], module: TrainingModule) -> None:
    root = saved(4)
    before = {name: parameter.detach().clone() for name, parameter in module.model.trainable().items()}
    with torch.no_grad():
        for parameter in module.model.trainable().values():
            parameter.add_(1)
    module.completed_steps, module.tokens, module.first_loss = 0, {}, None
    found = checkpoint.newest(root)
    assert found is not None
    checkpoint.restore(*found, module, plan=PLAN)
    assert (module.completed_steps, module.tokens, module.first_loss, module.last_loss) == (4, {"spa": (10, 4)}, 2.5, 2.5)
    assert all(torch.equal(parameter, before[name]) for name, parameter in module.model.trainable().items())


def test_a_checkpoint_of_another_plan_is_refused(saved: Callable[..., Path], module: TrainingModule) -> None:
    found = checkpoint.newest(saved(4))
    assert found is not None
    with pytest.raises(CoopError, match="another plan"):
        checkpoint.restore(*found, module, plan="sha256:" + "b" * 64)


def test_a_full_disk_is_noticed_before_training(module: TrainingModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    checkpoint.preflight(tmp_path, module, 2)
    monkeypatch.setattr("train.checkpoint.shutil.disk_usage", lambda path: Usage(10_000))
    with pytest.raises(CoopError, match="too little disk space"):
        checkpoint.preflight(tmp_path, module, 2)
