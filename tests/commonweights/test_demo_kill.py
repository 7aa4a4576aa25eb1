"""The demo, killed with -9 at ten moments; after each the audit is green and the same command goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

COOP = [sys.executable, "-m", "commonweights.cli"]
ENV = os.environ | {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}


def entries(root: Path) -> int:
    """Log entries, as the file system shows them to somebody who does not lock the database."""
    import sqlite3

    if not (root / "log.sqlite").is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{root / 'log.sqlite'}?mode=ro", uri=True, timeout=0.2) as raw:
            return int(raw.execute("SELECT count(*) FROM entry").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def moments(root: Path, chance: random.Random) -> list[tuple[str, Callable[[], bool]]]:
    """Ten moments in the order of the story; each is a sight of work in progress, and then a random delay."""
    run, log = root / "runs/first-voices", chance.sample(range(2, 24), 3)
    return [
        *((f"log append {n}", lambda n=n: entries(root) >= n) for n in sorted(log)),
        ("build", lambda: any((root / "builds").glob(".tmp-*")) or (root / "builds/voices-1").is_dir()),
        ("run vote", lambda: entries(root) >= 33),
        ("training", lambda: (run / "metrics.jsonl").is_file()),
        ("checkpoint", lambda: any((run / "checkpoints").glob("*"))),
        ("second checkpoint", lambda: any((run / "checkpoints").glob("*4"))),
        ("evaluation", lambda: (run / "run.json").is_file()),
        ("release", lambda: any((root / "releases").glob("*")) or any((root / "releases").glob(".tmp-*"))),
    ]


def audit(root: Path) -> None:
    if not (root / "cooperative.json").is_file():
        return  # killed before there was a cooperative
    done = subprocess.run([*COOP, "-C", str(root), "audit"], capture_output=True, text=True, check=False, env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(1500)
def test_killed_ten_times_the_demo_loses_nothing_and_ends_verified(tmp_path: Path) -> None:
    root, chance = tmp_path / "coop", random.Random(20261122)
    killed = []
    for name, reached in moments(root, chance):
        with (tmp_path / "out.log").open("ab") as out:
            demo = subprocess.Popen([*COOP, "demo", str(root), "--quick"], stdout=out, stderr=subprocess.STDOUT, env=ENV)
            while demo.poll() is None and not reached():
                time.sleep(0.01)  # a busier look would take its processor time from the demo
            if demo.poll() is None:
                time.sleep(chance.random() * 0.05)
                os.kill(demo.pid, signal.SIGKILL)
                killed.append(name)
            demo.wait()
        audit(root)
    assert len(killed) == 10, (killed, (tmp_path / "out.log").read_text()[-3000:])
    last = subprocess.run([*COOP, "demo", str(root), "--quick"], capture_output=True, text=True, check=False, env=ENV)
    assert last.returncode == 0, last.stdout[-3000:] + last.stderr[-3000:]
    assert last.stdout.count("BLOCKED") >= 3
    audit(root)
    pin = json.loads((root / "cooperative.json").read_bytes())["coop"]
    verified = subprocess.run([*COOP, "verify", str(root / "releases/first-voices"), "--pin", pin], capture_output=True, text=True, check=False, env=ENV)
    assert verified.returncode == 0, verified.stdout
    record = json.loads((root / "runs/first-voices/run.json").read_bytes())
    assert (record["status"], record["steps"]) == ("completed", 10)
    assert not list(root.rglob(".tmp-*"))
