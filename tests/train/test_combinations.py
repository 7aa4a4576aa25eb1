"""Methods, objectives and settings in two processes: what is in the table of docs/train.md as run, is run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest
from governance_hooks.plan import Limits
from governance_hooks.training import Lora
from tests.passing import Passing
from tests.ports import free_port
from train.run import train

Plan = Callable[..., bytes]
ROOT = Path(__file__).parents[2]
COOP = digest("the cooperative of the tests")
pytestmark = pytest.mark.slow
SHARED: dict[str, Any] = {
    "sequences_per_step": 3, "sequences_per_forward": 1, "lora": Lora(rank=4, alpha=8), "limits": Limits(max_starts=9, max_devices=2), "max_steps": 4,
}  # fmt: skip
"""Three sequences a step in passes of one: two passes in one process, one and an empty one in the other; an epoch's last step may be smaller."""
FULL: dict[str, Any] = {"method": "full", "lora": None, "learning_rate": 1e-3}
SETTINGS: dict[str, dict[str, Any]] = {
    "dora": {"method": "dora"},
    "full": FULL,
    "lora, gradient checkpointing": {"gradient_checkpointing": True},
    "full, gradient checkpointing, chunked loss": FULL | {"gradient_checkpointing": True, "loss_chunk_tokens": 16},
    "lora, chunked loss": {"loss_chunk_tokens": 16},
    "lora with dropout": {"lora": Lora(rank=4, alpha=8, dropout=0.1)},
    "eager attention": {"attention": "eager"},
    "prefix sharing": {"prefix_sharing": True},
    "bfloat16, dora": {"precision": "bf16-true", "method": "dora"},
    "bfloat16, full": FULL | {"precision": "bf16-true"},
}
DEEPSPEED: dict[str, dict[str, Any]] = {
    "dora": {"method": "dora"},
    "full": FULL,
    "lora, chunked loss": {"loss_chunk_tokens": 16},
    "full, chunked loss": FULL | {"loss_chunk_tokens": 16},
    "offload": {"offload": True},
    "bfloat16": {"precision": "bf16-true"},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "eager attention": {"attention": "eager"},
    "prefix sharing": {"prefix_sharing": True},
    "bfloat16, dora": {"precision": "bf16-true", "method": "dora"},
    "bfloat16, full": FULL | {"precision": "bf16-true"},
}

COMPILED = ["ddp", "fsdp2", *(["zero2", "zero3"] if os.environ.get("COOP_COMPILED") == "all" else [])]
"""Minutes of compiling each; DeepSpeed's two, which passed, only where somebody asks: COOP_COMPILED=all."""


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def two_processes(tmp_path: Path, runs: list[tuple[Path, bytes]], base: Path, build: Path) -> str:
    """Make runs one after the other in the same two processes; return what both said on stderr."""
    listed = []
    for number, (folder, plan) in enumerate(runs):
        (tmp_path / f"plan-{number}").write_bytes(plan)
        listed.append({"run_dir": str(folder), "plan": str(tmp_path / f"plan-{number}"), "signals": []})
    asked = {"base": str(base), "build": str(build), "coop": COOP, "runs": listed}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    common = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.follower", str(tmp_path / "asked.json")],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for rank in range(2)
    ]  # fmt: skip
    return "\n".join(process.communicate(timeout=900)[1] for process in processes)


def compare(tmp_path: Path, plan_of: Plan, base: Path, build: Path, strategy: str, settings: dict[str, dict[str, Any]]) -> None:
    plans = {
        name: (plan_of(strategy=strategy, **(SHARED | changes)), plan_of(**(SHARED | {key: value for key, value in changes.items() if key != "offload"})))
        for name, changes in settings.items()
    }
    said = two_processes(tmp_path, [(tmp_path / f"two {name}", spread) for name, (spread, _) in plans.items()], base, build)
    for name, (_, alone) in plans.items():
        train(tmp_path / f"one {name}", alone, base=base, build=build, guard=Passing(), run_id="run", coop=COOP, proposal=None, threads=1)
        assert (tmp_path / f"two {name}/run.json").is_file(), said
        record = json.loads((tmp_path / f"two {name}/run.json").read_text())
        assert (record["status"], record["processes"]) == ("completed", 2), said
        # Dropout draws other numbers in each process, so only the first step, whose additions are zero, is the same.
        steps = slice(0, 1) if "dropout" in name else slice(None)
        rel = 2e-2 if settings[name].get("precision") == "bf16-true" else 1e-4
        assert losses(tmp_path / f"two {name}")[steps] == pytest.approx(losses(tmp_path / f"one {name}")[steps], rel=rel), name


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_every_method_and_setting_learns_in_two_processes_what_it_learns_in_one(tmp_path: Path, plan_of: Plan, base: Path, build: Path, strategy: str) -> None:
    compare(tmp_path, plan_of, base, build, strategy, SETTINGS)


@pytest.mark.compiler
@pytest.mark.parametrize("strategy", COMPILED)
def test_compiled_blocks_learn_packed_samples_in_two_processes_as_in_one(tmp_path: Path, plan_of: Plan, base: Path, build: Path, strategy: str) -> None:
    compare(tmp_path, plan_of, base, build, strategy, {"compile": {"compile": True, "max_steps": 2}})


@pytest.mark.compiler
@pytest.mark.parametrize("strategy", ["zero2", "zero3"])
def test_deepspeed_learns_what_one_process_learns(tmp_path: Path, plan_of: Plan, base: Path, build: Path, strategy: str) -> None:
    # DoRA and gradient checkpointing are refused with zero3 (tests/train/test_config.py, test_strategies.py).
    refused = {name for name, changes in DEEPSPEED.items() if changes.get("method") == "dora" or changes.get("gradient_checkpointing")}
    settings = {name: changes for name, changes in DEEPSPEED.items() if strategy == "zero2" or name not in refused}
    compare(tmp_path, plan_of, base, build, strategy, settings)
