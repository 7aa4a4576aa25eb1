"""`coop train --devices 2`: the real command, its real gate in each process, and a real log."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from governance_hooks.canonical import loads
from tests.commonweights.pipeline import CONFIG, decide, prepare


@pytest.fixture
def wide(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> list[str]:
    """The command of an approved run in two processes."""
    prepare(coop, home, keys, tmp_path)
    training = CONFIG["training"] | {"strategy": "ddp", "max_steps": 60, "epochs": 100, "checkpoint_every_steps": 3, "validate_every_steps": 1000}
    config = CONFIG | {"name": "wide", "training": training, "limits": {"max_devices": 3, "max_starts": 3}}
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert coop("-C", home, "plan", tmp_path / "wide.yaml").code == 0
    decide(coop, home, keys, "run", "wide")
    return [
        sys.executable,
        "-m",
        "commonweights.cli",
        "-C",
        str(home),
        "--json",
        "train",
        "wide",
        "--base",
        str(tmp_path / "tiny"),
        "--threads",
        "1",
        "--no-eval",
    ]


def test_a_preempted_run_of_two_processes_saves_says_75_and_goes_on(coop, wide: list[str], home: Path) -> None:
    run = subprocess.Popen([*wide, "--devices", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    checkpoints = home / "runs/wide/checkpoints"
    while not (checkpoints.is_dir() and any(checkpoints.glob("step-*"))):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    (follower,) = psutil.Process(run.pid).children()
    follower.send_signal(signal.SIGUSR1)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 75, out + err
    assert json.loads(out)["reason"] == "preempted"
    record = loads((home / "runs/wide/run.json").read_bytes(), floats=True)
    assert (record["processes"], record["status"]) == (2, "halted")
    assert not follower.is_running()
    alone = coop(*wide[3:])
    assert alone.code == 1
    assert "number of processes" in alone.json["what"]
    done = subprocess.run([*wide, "--devices", "2"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    record = loads((home / "runs/wide/run.json").read_bytes(), floats=True)
    assert (record["status"], record["starts"], record["steps"]) == ("completed", 3, 60)
    assert coop("-C", home, "audit").code == 0


def test_more_processes_than_voted_are_blocked_by_the_gate_and_idle_ones_use_no_start(coop, wide: list[str], home: Path) -> None:
    for devices, said in (("4", "4 devices asked, 3 voted"), ("3", "some would idle")):  # a step has two sequences
        blocked = subprocess.run([*wide, "--devices", devices], capture_output=True, text=True, check=False, timeout=600)
        assert blocked.returncode != 0
        assert said in blocked.stdout
    assert coop("-C", home, "--json", "runs").json["runs"] == []
