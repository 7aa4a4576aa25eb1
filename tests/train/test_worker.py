"""What the first process of a run tells the others: everything the gate is asked, and nothing when there is no run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.gate import Request
from tests.ports import free_port
from tests.village import Approved
from train.worker import _followed, _told

PLAIN = Request(plan=b"p", proof=b"q", base=Path("/b"), build=Path("/c"), now="2026-11-23T00:00:00Z")
OTHER: dict[str, Any] = {
    "plan": b"\x00\xff", "proof": b"\x1f\x8b", "base": Path("/base"), "build": Path("/build"), "now": "2026-11-23T00:00:01Z", "pin": sha256(b"pin"),
    "run": "first", "proposal": sha256(b"proposal"), "devices": 4, "minutes": 9, "max_age_s": 77, "site": "north", "pending": (b"one", b"two\xff"),
    "after": True, "inputs": False,
}  # fmt: skip


def test_every_field_of_a_request_but_the_memory_reaches_the_others() -> None:
    assert OTHER.keys() | {"memory"} == {field.name for field in fields(Request)}
    asked = replace(PLAIN, **OTHER)
    assert _followed(loads(dumps(_told(asked)))) == asked
    for name, value in OTHER.items():
        assert getattr(PLAIN, name) != value, name


@pytest.mark.parametrize(("wrong", "why"), [(["--run", "../first"], "no name of a run"), (["--country", "Atlantis"], "Atlantis")])
def test_processes_of_a_run_that_cannot_begin_are_sent_home_without_a_broken_connection(tmp_path: Path, approved: Approved, wrong: list[str], why: str) -> None:
    (tmp_path / "plan.json").write_bytes(approved.plan_bytes)
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "commonweights.cli", "-C", str(approved.village.root), "train", str(tmp_path / "plan.json"), *wrong]
    tasks = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    (_, first), (_, second) = (task.communicate(timeout=600) for task in tasks)
    assert (tasks[0].returncode, why in first) == (2, True), first
    assert (tasks[1].returncode, second) == (0, ""), second
