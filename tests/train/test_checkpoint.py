from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train import checkpoint, checkpoint_writer
from train.checkpoint_writer import CheckpointWriter
from train.model import load_model
from train.module import TrainingModule
from train.world import World

PLAN = "sha256:" + "a" * 64


@pytest.fixture
def module(base: Path) -> TrainingModule:
    training = Training(precision="32-true", lora=Lora(rank=4, alpha=8))
    made = TrainingModule(load_model(base, training), training, 100)
    made.configure_optimizers()
    made.first_loss = made.last_loss = 2.5
    made.tokens = {"spa": (10, 4)}
    return made


@pytest.fixture
def saved(module: TrainingModule, tmp_path: Path) -> Callable[..., Path]:
    def save(*steps: int, keep: int = 3) -> Path:
        writer = CheckpointWriter(tmp_path, World(), plan=PLAN, keep=keep)
        for step in steps:
            module.completed_steps = step
            writer.start(module)
            writer.poll()
        writer.finish()
        return tmp_path

    return save


def test_only_the_newest_are_kept(saved: Callable[..., Path]) -> None:
    root = saved(4, 8, 12, 16, keep=2)
    assert sorted(path.name for path in root.iterdir()) == ["step-00000012", "step-00000016"]


def test_a_checkpoint_holds_the_adapter_and_not_the_base(saved: Callable[..., Path], module: TrainingModule) -> None:
    root = saved(4)
    trainable = sum(parameter.numel() for parameter in module.model.trainable().values())
    assert (root / "step-00000004/tensors-00000.safetensors").stat().st_size < 4 * trainable * 3 + 20_000
    assert sorted(path.name for path in (root / "step-00000004").iterdir()) == ["complete.json", "state.json", "tensors-00000.safetensors"]


def test_what_a_killed_writer_left_is_not_a_checkpoint_and_is_cleared(saved: Callable[..., Path]) -> None:
    root = saved(4, 8)
    (root / "step-00000008/complete.json").unlink()
    (root / ".tmp-abc").mkdir()
    found = checkpoint.newest(root)
    assert found is not None
    assert found[1].step == 4
    assert [path.name for path in root.iterdir()] == ["step-00000004"]
    assert checkpoint.newest(root / "nowhere") is None


@pytest.mark.parametrize("name", ["tensors-00000.safetensors", "state.json"])
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
    checkpoint.resume(found[1], module, plan=PLAN)
    checkpoint.load_tensors(found[0], module)
    assert (module.completed_steps, module.tokens, module.first_loss, module.last_loss) == (4, {"spa": (10, 4)}, 2.5, 2.5)
    assert all(torch.equal(parameter, before[name]) for name, parameter in module.model.trainable().items())


def test_a_checkpoint_of_another_plan_is_refused(saved: Callable[..., Path], module: TrainingModule) -> None:
    found = checkpoint.newest(saved(4))
    assert found is not None
    with pytest.raises(CoopError, match="another plan"):
        checkpoint.resume(found[1], module, plan="sha256:" + "b" * 64)


def test_a_full_disk_is_noticed_before_training(module: TrainingModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    checkpoint.preflight(tmp_path, module, 2)
    monkeypatch.setattr("train.checkpoint.shutil.disk_usage", lambda path: Usage(10_000))
    with pytest.raises(CoopError, match="too little disk space"):
        checkpoint.preflight(tmp_path, module, 2)


def test_a_checkpoint_of_more_processes_is_refused(saved: Callable[..., Path], module: TrainingModule) -> None:
    found = checkpoint.newest(saved(4))
    assert found is not None
    with pytest.raises(CoopError, match="number of processes"):
        checkpoint.resume(replace(found[1], processes=2), module, plan=PLAN)


def test_what_is_trained_on_while_a_checkpoint_is_written_is_not_in_it(module: TrainingModule, tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, World(), plan=PLAN, keep=3)
    before = module.weights.state()
    module.completed_steps = 4
    writer.start(module)
    with torch.no_grad():
        for parameter in module.model.trainable().values():
            parameter.add_(1)
    writer.finish()
    written = load_file(tmp_path / "step-00000004/tensors-00000.safetensors")
    assert written.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in written.items())


def test_training_goes_on_while_a_checkpoint_is_written(module: TrainingModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, real = threading.Event(), checkpoint_writer.save_file

    def slow(tensors: dict[str, torch.Tensor], path: Path) -> None:
        assert disk.wait(60)
        real(tensors, path)

    monkeypatch.setattr("train.checkpoint_writer.save_file", slow)
    writer = CheckpointWriter(tmp_path, World(), plan=PLAN, keep=3)
    module.completed_steps = 4
    writer.start(module)  # comes back, and so does each look at later steps, though the disk has not
    for _ in range(3):
        writer.poll()
    assert not checkpoint.folders(tmp_path)
    disk.set()
    writer.finish()
    assert [step for step, _ in checkpoint.folders(tmp_path)] == [4]


def test_a_checkpoint_that_cannot_be_written_stops_the_run(module: TrainingModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.checkpoint_writer.save_file", full)
    writer = CheckpointWriter(tmp_path, World(), plan=PLAN, keep=3)
    module.completed_steps = 4
    writer.start(module)
    with pytest.raises(CoopError, match="No space left"):
        writer.finish()
    assert checkpoint.newest(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
