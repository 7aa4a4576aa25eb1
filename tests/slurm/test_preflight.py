"""The preflight: what is broken is named with its node, by whoever is left to say it, and within the time it was given."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm.preflight import Row, table
from tests.ports import free_port
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
SECONDS = "250"


def start(rank: int, at: str, *options: str, size: int = 2, **more: str) -> subprocess.Popen[str]:
    here = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "CUDA"))}
    slurm = {"SLURM_STEP_NUM_TASKS": str(size), "SLURM_STEP_NUM_NODES": str(size), "SLURM_PROCID": str(rank), "SLURM_LOCALID": "0"}
    names = {"SLURMD_NODENAME": f"node{rank + 1}", "SLURM_STEP_NODELIST": "node1,node2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": at}
    command = [sys.executable, "-m", "slurm.preflight", "--seconds", SECONDS, *options]
    environment = here | slurm | names | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def both(*second: str, **more: str) -> list[tuple[int, str, str]]:
    at = str(free_port())
    tasks = [start(0, at, "--json"), start(1, at, *second, **more)]
    said = [task.communicate(timeout=600) for task in tasks]
    return [(task.returncode, *words) for task, words in zip(tasks, said, strict=True)]


def test_two_tasks_that_are_well_are_ready(tmp_path: Path) -> None:
    first, second = both("--interface", "lo", "--folder", str(tmp_path / "not" / "yet"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    found = json.loads(first[1])
    assert (found["passed"], [row["node"] for row in found["rows"]]) == (True, ["node1", "node2"])
    assert found["rows"][1]["said"]["all-reduce"].startswith("gloo")
    assert found["rows"][1]["said"]["network"] == "lo"


@pytest.mark.parametrize(
    ("options", "environment", "column", "why"),
    [
        (("--free-gb", "1e9"), {}, "disk", "wanted"),
        (("--folder", "/proc/nothing"), {}, "disk", "proc"),
        (("--interface", "ib7"), {}, "network", "no interface ib7"),
        ((), {"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "0"}, "devices", "names 1 of 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_one_node_stops_both_and_names_it(options: tuple[str, ...], environment: dict[str, str], column: str, why: str) -> None:
    first, second = both(*options, **environment)
    assert (first[0], second[0]) == (1, 1)
    found = json.loads(first[1])
    assert found["rows"][0]["wrong"] == {}
    assert set(found["rows"][1]["wrong"]) == {column}
    assert why in found["rows"][1]["wrong"][column]


def test_a_task_that_never_comes_is_named_by_its_node() -> None:
    alone = start(0, str(free_port()), "--seconds", "2")
    out, _ = alone.communicate(timeout=600)
    assert alone.returncode == 1
    assert "preflight FAILED on node2 (rank 1): network: nothing heard within 2 s" in out


def test_without_the_first_task_the_others_say_so_themselves() -> None:
    alone = start(1, str(free_port()), "--seconds", "1")
    _, err = alone.communicate(timeout=600)
    assert alone.returncode == 1
    assert "preflight FAILED on node2 (rank 1): network: the first task at 127.0.0.1:" in err
    assert "frame #" not in err


def test_a_task_told_to_leave_while_it_waits_says_75_as_the_training_does() -> None:
    at = str(free_port())
    waiting = start(0, at)
    end = time.monotonic() + 300
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", int(at))):  # its store answers: it waits for the other
            assert time.monotonic() < end
            time.sleep(0.05)
    waiting.send_signal(signal.SIGUSR1)
    waiting.communicate(timeout=600)
    assert waiting.returncode == 75


def test_a_clock_that_is_off_is_a_fault_of_its_node() -> None:
    rows = [Row(0, "node1", {"clock": "the reference"}), Row(1, "node2", wrong={"clock": "+4000 s from the first task's, 300 s allowed"})]
    text = table(rows)
    assert "preflight FAILED on node2 (rank 1): clock: +4000 s" in text
    assert "ready" not in text


@pytest.mark.slurm
def test_on_a_cluster_four_tasks_of_two_nodes_meet_at_the_first_ones_address(plain_cluster: Cluster) -> None:
    script = (
        "#!/bin/bash -p\nfirst=$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | sed -n 1p)\n"
        "MASTER_ADDR=$(scontrol show node \"$first\" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')\nexport MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID))\n"
        f"export PYTHONPATH={ROOT} OMP_NUM_THREADS=1\nsrun {sys.executable} -m slurm.preflight --folder /tmp\n"
    )  # fmt: skip
    number = plain_cluster.sbatch(script, "--partition=coop", "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", user=plain_cluster.owner)
    plain_cluster.wait_state(number, "COMPLETED", "FAILED")
    output = plain_cluster.output(number)
    assert "preflight: 4 tasks on 2 nodes are ready" in output
    assert "2 named, none for torch: CPU" in output
