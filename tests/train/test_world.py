from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance_hooks.errors import BadInput, CoopError
from train.launch import launched
from train.world import World

TORCHRUN = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {name: value for name, value in os.environ.items() if not name.startswith("SLURM") and name not in TORCHRUN})


def test_a_process_by_itself_is_alone_and_agrees_with_itself() -> None:
    world = World.from_environment()
    assert (world.rank, world.size, world.nodes) == (0, 1, 1)
    assert world.sum([1.5, 2.0]) == [1.5, 2.0]
    assert world.most([3]) == [3]
    assert world.tell(b"go") == b"go"
    with pytest.raises(ValueError, match="inside"), world.together("trying"):
        raise ValueError("inside")


def test_torchrun_s_variables_say_which_process_this_is() -> None:
    os.environ.update({"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"})
    assert World.from_environment() == World(5, 8, 1, 4)
    assert World.from_environment().nodes == 2
    os.environ["LOCAL_WORLD_SIZE"] = "3"
    with pytest.raises(BadInput, match="unlike numbers"):
        World.from_environment()
    del os.environ["RANK"]
    with pytest.raises(BadInput, match="not which one this is"):
        World.from_environment()


def test_an_srun_step_becomes_torchrun_s_variables(tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'node3\\nnode4\\n'\n")
    (tmp_path / "scontrol").chmod(0o755)
    os.environ.update({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "node[3-4]"})
    os.environ.update({"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert World.from_environment() == World(3, 4, 1, 2)
    assert os.environ["MASTER_ADDR"] == "node3"
    assert os.environ["MASTER_PORT"] == str(20000 + 77 * 7)


def test_a_batch_step_without_srun_is_one_process() -> None:
    os.environ.update({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "77"})
    assert World.from_environment().size == 1


def test_a_launcher_and_an_option_that_differ_are_refused() -> None:
    os.environ.update({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"})
    with pytest.raises(CoopError, match="differ"), launched(3):
        pass


def test_processes_that_do_not_come_are_named() -> None:
    os.environ.update({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"})
    with pytest.raises(CoopError, match="do not reach each other"):
        World.from_environment().connect(timeout_s=1)
