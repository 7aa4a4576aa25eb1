"""Two real processes over gloo train a tiny model: what one process makes, several make too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from governance_hooks.canonical import digest, loads
from governance_hooks.errors import BadInput
from governance_hooks.plan import Limits, read_plan
from governance_hooks.training import Lora
from tests.passing import Passing
from tests.ports import free_port
from train.run import train
from train.strategies.strategy import strategy_of
from train.world import World

Plan = Callable[..., bytes]
DEEPSPEED = [pytest.mark.slow, pytest.mark.compiler]
STRATEGIES = ["ddp", "fsdp2", pytest.param("zero2", marks=DEEPSPEED), pytest.param("zero3", marks=DEEPSPEED)]
COOP = digest("the cooperative of the tests")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def together(base: Path, build: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any] | None, str]]:
    """Return a function that runs a plan in several processes; it gives the record of the first one and what all said on stderr.

    The run in `before` is made first, by the same processes and undisturbed.
    """

    def run(
        folder: Path, plan: bytes, *, size: int = 2, signals: list[tuple[int, int, int]] | None = None, before: Path | None = None
    ) -> tuple[dict[str, Any] | None, str]:
        (tmp_path / "plan").write_bytes(plan)
        runs = [*([(before, [])] if before else []), (folder, signals or [])]
        listed = [{"run_dir": str(one), "plan": str(tmp_path / "plan"), "signals": sent} for one, sent in runs]
        (tmp_path / "asked.json").write_text(json.dumps({"base": str(base), "build": str(build), "coop": COOP, "runs": listed}))
        common = os.environ | {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.follower", str(tmp_path / "asked.json")],
                env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for rank in range(size)
        ]
        said = [process.communicate(timeout=600) for process in processes]
        record = next((json.loads(line) for line in reversed(said[0][0].splitlines()) if line.startswith("{")), None)
        return record, "\n".join(err for _, err in said)

    return run


def alone(folder: Path, plan: bytes, base: Path, build: Path) -> dict[str, Any]:
    return train(folder, plan, base=base, build=build, guard=Passing(), run_id="run", coop=COOP, proposal=None, threads=1)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def norms(folder: Path) -> list[float]:
    return [line["grad_norm"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def by_language(folder: Path) -> list[dict[str, float]]:
    lines = [line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]
    return [{language: one["nll"] / one["supervised"] for language, one in line["languages"].items()} for line in lines]


def validations(folder: Path) -> list[dict[str, float]]:
    return [line["validation"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "validation" in line]


# Three sequences a step, two processes: their shares are uneven, and an epoch's last step may leave one without any.
UNEVEN: dict[str, Any] = {"sequences_per_step": 3, "lora": Lora(rank=4, alpha=8), "limits": Limits(max_starts=9, max_devices=2), "max_steps": 6}


def first_gradients(folder: Path) -> dict[str, torch.Tensor]:
    """The gradients of the first step, as AdamW's first moment keeps them; shards put together."""
    shards = [load_file(path) for path in sorted((folder / "checkpoints/step-00000001").glob("tensors-*"))]
    names = [name for name in shards[0] if name.startswith("exp_avg/")]
    return {name: torch.cat([shard[name] for shard in shards]) for name in names}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_make_what_one_makes(tmp_path: Path, plan_of: Plan, base: Path, build: Path, together: Any, strategy: str) -> None:
    kept = UNEVEN | {"checkpoint_every_steps": 1, "keep_checkpoints": 6}
    record, said = together(tmp_path / "two", plan_of(strategy=strategy, **kept))
    assert record is not None, said
    assert (record["status"], record["steps"], record["processes"]) == ("completed", 6, 2)
    single = alone(tmp_path / "one", plan_of(**kept), base, build)
    for counted in ("parameters", "trainable_parameters"):  # of the model, however it was spread
        assert record[counted] == single[counted] > 0
    gradients, of_one = first_gradients(tmp_path / "two"), first_gradients(tmp_path / "one")
    assert gradients.keys() == of_one.keys() != set()
    for name, gradient in of_one.items():  # to 1e-6 of each parameter's largest element
        assert float((gradients[name] - gradient).abs().max()) <= 1e-6 * float(gradient.abs().max()), name
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    for two, one in zip(by_language(tmp_path / "two"), by_language(tmp_path / "one"), strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    assert norms(tmp_path / "two") == pytest.approx(norms(tmp_path / "one"), rel=1e-4)
    for two, one in zip(validations(tmp_path / "two"), validations(tmp_path / "one"), strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    assert (tmp_path / "two/trace.jsonl").read_bytes() == (tmp_path / "one/trace.jsonl").read_bytes()
    found, expected = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in ("two", "one"))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_signal_to_one_process_stops_both_at_one_step_and_the_resumed_run_is_bit_for_bit(tmp_path: Path, plan_of: Plan, together: Any, strategy: str) -> None:
    plan = plan_of(strategy=strategy, **(UNEVEN | {"precision": "bf16-true" if strategy in ("ddp", "fsdp2") else "32-true"}))
    first, said = together(tmp_path / "parts", plan, signals=[(1, 2, signal.SIGUSR1)], before=tmp_path / "straight")
    assert first is not None, said
    assert json.loads((tmp_path / "straight/run.json").read_text())["status"] == "completed"
    assert (first["status"], first["reason"], first["steps"]) == ("halted", "preempted", 3)
    states = list((tmp_path / "parts/checkpoints").glob("step-*/state.json"))
    assert [loads(path.read_bytes(), floats=True)["step"] for path in states] == [3]
    shards = sorted(path.name for path in states[0].parent.glob("tensors-*"))
    assert len(shards) == (2 if strategy == "fsdp2" else 1)
    second, said = together(tmp_path / "parts", plan)
    assert second is not None, said
    assert (second["status"], second["starts"]) == ("completed", 2)
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert losses(tmp_path / "parts") == losses(tmp_path / "straight")


@pytest.mark.parametrize("strategy", ["fsdp2", pytest.param("zero3", marks=DEEPSPEED)])
def test_all_weights_are_trained_in_shards_and_saved_whole(tmp_path: Path, plan_of: Plan, base: Path, build: Path, together: Any, strategy: str) -> None:
    full: dict[str, Any] = {"method": "full", "lora": None, "learning_rate": 1e-3, "loss_chunk_tokens": 16, "checkpoint_every_steps": 1, "keep_checkpoints": 6}
    record, said = together(tmp_path / "two", plan_of(strategy=strategy, **(UNEVEN | full)))
    assert record is not None, said
    assert record["status"] == "completed"
    alone(tmp_path / "one", plan_of(**(UNEVEN | full)), base, build)
    gradients, of_one = first_gradients(tmp_path / "two"), first_gradients(tmp_path / "one")
    assert gradients.keys() == of_one.keys() != set()
    for name, gradient in of_one.items():  # to 1e-6 of each parameter's largest element
        assert float((gradients[name] - gradient).abs().max()) <= 1e-6 * float(gradient.abs().max()), name
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    found, expected = (load_file(tmp_path / name / "model/model.safetensors") for name in ("two", "one"))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-2, atol=1e-4)


def test_a_process_that_cannot_start_stops_the_others_too(tmp_path: Path, plan_of: Plan, together: Any) -> None:
    record, said = together(tmp_path / "run", plan_of(strategy="ddp", **(UNEVEN | {"limits": Limits(max_devices=1)})))
    assert record is None
    assert said.count("more devices than the plan allows") == 2
    record, said = together(tmp_path / "run", plan_of(**UNEVEN))
    assert record is None
    assert said.count("a plan with strategy single runs in one process") == 2
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


def test_more_processes_than_sequences_in_a_step_are_refused(plan_of: Plan) -> None:
    with pytest.raises(BadInput, match="some would idle"):
        strategy_of(read_plan(plan_of(strategy="ddp")).training, World(size=3, local_size=3))


def test_gradient_checkpointing_is_refused_with_zero3(plan_of: Plan) -> None:
    # No `coop plan` writes such a plan any more; a start does not trust that.
    training = read_plan(plan_of(strategy="zero3", sequences_per_step=2)).training.model_copy(update={"gradient_checkpointing": True})
    with pytest.raises(BadInput, match="does not work with zero3"):
        strategy_of(training, World(size=2, local_size=2))
