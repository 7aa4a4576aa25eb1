"""A member withdraws, or the oversight body halts, in another terminal while the run is on."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from governance_hooks.canonical import loads
from tests.commonweights.pipeline import CONFIG, decide, prepare


@pytest.mark.parametrize(
    ("words", "kind", "blocked"),
    [
        (["consent", "withdraw", "--key", "bela"], "withdrawn", "lack a consent in force"),
        (["halt", "PROPOSAL", "--key", "caro"], "halted", "halted by the oversight body"),
    ],
)
def test_the_run_stops_at_a_checkpoint_and_cannot_start_again(coop, home: Path, keys: dict[str, Path], tmp_path: Path, words, kind: str, blocked: str) -> None:
    prepare(coop, home, keys, tmp_path)
    training = CONFIG["training"] | {"max_steps": 3000, "epochs": 1000, "checkpoint_every_steps": 3, "validate_every_steps": 1000}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(CONFIG | {"name": "long", "training": training}), encoding="utf-8")
    assert coop("-C", home, "plan", tmp_path / "long.yaml").code == 0
    proposal = decide(coop, home, keys, "run", "long")
    command = [sys.executable, "-m", "commonweights.cli", "-C", str(home), "--json", "train", "long", "--base", str(tmp_path / "tiny"), "--threads", "1"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoints = home / "runs/long/checkpoints"
    while not (checkpoints.is_dir() and any(checkpoints.glob("step-*"))):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    spoken = [proposal if word == "PROPOSAL" else str(keys.get(word, word)) for word in words]
    assert coop("-C", home, *spoken).code == 0
    out, err = run.communicate(timeout=800)
    assert run.returncode == 1, out + err
    assert json.loads(out)["status"] == "halted"
    record = loads((home / "runs/long/run.json").read_bytes(), floats=True)
    assert record["reason"].startswith(kind)
    assert 3 <= record["steps"] < 3000
    assert record["outputs"] == []
    assert not (home / "runs/long/adapter").exists()
    assert coop("-C", home, "--json", "status").json["runs"] == [{"run": "long", "status": "halted", "starts": 1, "evaluated": False, "releases": []}]
    again = coop("-C", home, "train", "long", "--base", tmp_path / "tiny")
    assert (again.code, blocked in again.err) == (1, True)
    assert coop("-C", home, "audit").code == 0
