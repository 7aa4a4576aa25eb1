"""What a run leaves behind, whose folder that is, and which models it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from tests.train.interrupted import interrupt_at, lines
from train.model import load_model, require_fit

Plan = Callable[..., bytes]


def test_the_record_tells_what_was_trained(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan, guard = plan_of(), Passing()
    record = go(tmp_path / "run", plan, guard=guard)
    assert guard.ended == [record]
    assert loads((tmp_path / "run/run.json").read_bytes(), floats=True) == record
    trace = lines(tmp_path / "run/trace.jsonl")
    trained = sorted({entry for line in trace for entry in line["records"]})
    assert [line["step"] for line in trace] == list(range(1, 9))
    assert record["trained_records"] == len(trained)
    assert record["trained_root"] == "sha256:" + root([leaf_hash(entry.encode()) for entry in trained]).hex()
    measured = [line for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert sum(counts["input"] for counts in record["tokens"].values()) == sum(line["tokens"] for line in measured)
    assert sum(counts["supervised"] for counts in record["tokens"].values()) == sum(line["supervised"] for line in measured)
    assert record["loss"] == {"first": measured[0]["loss"], "last": measured[-1]["loss"]}
    assert record["loss"]["last"] < record["loss"]["first"]
    validated = [line for line in lines(tmp_path / "run/metrics.jsonl") if "validation" in line]
    assert [line["step"] for line in validated] == [0, 4, 8]
    assert all(sorted(line["validation"]) == ["eus", "spa"] for line in validated)
    for output in record["outputs"]:
        assert output["sha256"] == sha256((tmp_path / "run" / output["path"]).read_bytes())
    assert (tmp_path / "run/plan.json").read_bytes() == plan
    assert record["plan"] == sha256(plan)


def test_the_adapter_names_its_base_and_nothing_of_the_machine(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    go(tmp_path / "run", plan_of(max_steps=1))
    config = json.loads((tmp_path / "run/adapter/adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "village/tiny"
    assert not any(text in json.dumps(config) for text in (str(tmp_path), str(Path.home()), "/tmp", "/home"))
    with safe_open(tmp_path / "run/adapter/adapter_model.safetensors", "pt") as file:
        assert len(file.metadata()) == 1
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118 - no mapping


def test_a_run_folder_belongs_to_one_plan_and_is_used_once(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    go(tmp_path / "run", plan_of(max_steps=2), progress=interrupt_at(0))
    with pytest.raises(BadInput, match="another plan"):
        go(tmp_path / "run", plan_of(max_steps=3))
    assert go(tmp_path / "run", plan_of(max_steps=2))["status"] == "completed"
    with pytest.raises(CoopError, match="completed"):
        go(tmp_path / "run", plan_of(max_steps=2))


def test_two_processes_cannot_train_one_run(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    def second(label: str, done: int, total: int) -> None:
        if label == "training" and done == 1:
            with pytest.raises(CoopError, match="is training run"):
                go(tmp_path / "run", plan_of(max_steps=2))

    assert go(tmp_path / "run", plan_of(max_steps=2), progress=second)["starts"] == 1


def test_a_sequence_longer_than_the_base_can_attend_over_is_refused(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.plan.require_compatible", lambda base, training: None)  # no `coop plan` writes such a plan; a start does not trust that
    with pytest.raises(BadInput, match="more than the base can attend over"):
        go(tmp_path / "run", plan_of(sequence_tokens=1024))


def test_a_tokenizer_larger_than_its_model_is_refused(base: Path) -> None:
    model = load_model(base, Training(precision="32-true"))
    require_fit(model, tokens=262, sequence_tokens=512)
    with pytest.raises(BadInput, match="more tokens than its model"):
        require_fit(model, tokens=100_000, sequence_tokens=512)


def test_unknown_target_modules_are_named(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.plan.require_compatible", lambda base, training: None)
    with pytest.raises(BadInput, match="target_modules"):
        go(tmp_path / "run", plan_of(lora=Lora(target_modules=["query_key_value"])))


def test_wandb_is_off_unless_wanted_and_then_offline_and_silent_about_the_machine(
    tmp_path: Path, plan_of: Plan, go: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "without", plan_of(max_steps=1))
    assert not (tmp_path / "without/wandb").exists()
    for progress in (interrupt_at(0), None):  # a run in two segments
        go(tmp_path / "with", plan_of(max_steps=2), wandb=True, progress=progress)
    runs = sorted((tmp_path / "with/wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert all(run.name.endswith("-with") for run in runs)  # of one id: synced, they meet again
    data = next(runs[0].glob("*.wandb")).read_bytes()
    assert b"grad_norm" in data
    assert sys.executable.encode() not in data
    assert str(tmp_path).encode() not in data
    assert capfd.readouterr() == ("", "")
