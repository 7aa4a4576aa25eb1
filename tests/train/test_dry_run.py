"""Processes that do not exist: what each would hold and read, found without a GPU and without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import CoopError
from governance_hooks.training import Lora, Training
from train.estimate.dry_run import dry_run
from train.estimate.memory import activations
from train.estimate.shape import read_shape


def test_a_sharded_step_runs_and_the_shards_are_the_model(base: Path) -> None:
    training = Training(strategy="fsdp2", sequences_per_step=7, sequences_per_forward=2, sequence_tokens=64, lora=Lora(rank=4))
    found = dry_run(base, training, 3)
    shape = read_shape(base)
    assert found["ran"]
    assert (found["shares"], found["passes"]) == ([3, 2, 2], [2, 1, 1])
    assert sum(found["parameter_bytes"]) == 4 * (shape.parameters + shape.trainable(training))
    assert sum(found["trained_bytes"]) == 4 * shape.trainable(training)
    assert max(found["parameter_bytes"]) < sum(found["parameter_bytes"]) / 2


def test_copies_hold_everything_and_keep_what_the_estimate_says(base: Path) -> None:
    training = Training(strategy="ddp", method="full", sequences_per_step=2, sequences_per_forward=1, sequence_tokens=256)
    found, shape = dry_run(base, training, 2), read_shape(base)
    assert found["parameter_bytes"] == [4 * shape.parameters] * 2
    assert found["activation_bytes"] == pytest.approx(activations(shape, training, 1), rel=0.05)


@pytest.mark.parametrize(
    ("training", "devices", "why"),
    [
        (Training(strategy="ddp", sequences_per_step=2), 3, "1 of 3 processes would have nothing to read"),
        (Training(strategy="single"), 2, "strategy single is one process"),
        (Training(strategy="zero3"), 2, "DeepSpeed cannot run on fake tensors"),
        (Training(attention="flash", precision="bf16-true"), 1, "need a GPU"),
    ],
)
def test_what_cannot_be_tried_is_said_and_not_passed_over(base: Path, training: Training, devices: int, why: str) -> None:
    found = dry_run(base, training, devices)
    assert not found["ran"]
    assert why in found["why"]
    assert sum(found["shares"]) == training.sequences_per_step


def test_a_step_that_breaks_is_an_error_with_its_reason(base: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    config: dict[str, Any] = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"num_key_value_heads": 3}))
    with pytest.raises(CoopError, match="dry run of 2 processes failed"):
        dry_run(other, Training(strategy="ddp", sequence_tokens=32), 2)
