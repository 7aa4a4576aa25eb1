"""A run that is stopped, killed or cut off goes on where it was, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import CoopError
from tests.train.interrupted import exact, interrupt_at, lines
from train.callbacks.interruption import Interruption
from train.clock import WallClock

Plan = Callable[..., bytes]


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_run_stopped_in_mid_epoch_and_resumed_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, plan_of: Plan, go: Any, precision: str) -> None:
    plan = plan_of(precision=precision, checkpoint_every_steps=100)
    assert go(tmp_path / "straight", plan)["status"] == "completed"
    first = go(tmp_path / "parts", plan, progress=interrupt_at(3))
    assert (first["status"], first["reason"], first["outputs"]) == ("halted", "preempted", [])
    # The signal arrives after step 3 has been reported, so step 4 is the boundary at which it is obeyed; an epoch has more steps.
    assert first["steps"] == 4
    assert lines(tmp_path / "parts/metrics.jsonl")[-1]["step"] == 4
    second = go(tmp_path / "parts", plan)
    assert (second["status"], second["starts"], second["steps"]) == ("completed", 2, 8)
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


def test_a_run_interrupted_at_five_random_steps_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan = plan_of(epochs=6, max_steps=24, checkpoint_every_steps=100)
    assert go(tmp_path / "straight", plan)["status"] == "completed"
    for step in sorted(random.Random("five steps").sample(range(1, 22), 5)):
        assert go(tmp_path / "parts", plan, progress=interrupt_at(step))["status"] == "halted"
    last = go(tmp_path / "parts", plan)
    assert (last["status"], last["starts"], last["steps"]) == ("completed", 6, 24)
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


def test_a_run_killed_without_warning_resumes_from_its_checkpoint_and_counts_no_step_twice(
    tmp_path: Path, plan_of: Plan, go: Any, base: Path, build: Path
) -> None:
    plan = plan_of()
    go(tmp_path / "straight", plan)
    (tmp_path / "plan").write_bytes(plan)
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from governance_hooks.canonical import digest
        from train.run import train

        class Passing:
            unreleasable = None
            def start(self): pass
            def stop(self, *, force=False): return None
            def end(self, record): pass

        def progress(label, done, total):
            if label == "training" and done == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        folder, plan, base, build = map(Path, sys.argv[1:])
        train(folder, plan.read_bytes(), base=base, build=build, guard=Passing(), run_id=folder.name, coop=digest("the cooperative of the tests"),
              proposal=None, progress=progress, threads=1)
    """)
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "killed", tmp_path / "plan", base, build], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line["step"] for line in lines(tmp_path / "killed/trace.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "killed/run.json").exists()
    with (tmp_path / "killed/metrics.jsonl").open("ab") as file:
        file.write(b'{"step":7,"lo')  # as if it had died while writing
    record = go(tmp_path / "killed", plan)
    assert (record["status"], record["starts"], record["steps"]) == ("completed", 2, 8)
    assert exact(tmp_path / "killed") == exact(tmp_path / "straight")


def test_a_run_that_died_between_its_last_checkpoint_and_its_weights_still_writes_those(
    tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    go(tmp_path / "straight", plan)

    def broken(*arguments: Any, **options: Any) -> None:
        raise CoopError("the disk is gone")

    monkeypatch.setattr("train.run.save_weights", broken)
    with pytest.raises(CoopError, match="the disk is gone"):
        go(tmp_path / "died", plan)
    assert not (tmp_path / "died/adapter").exists()
    monkeypatch.undo()
    record = go(tmp_path / "died", plan)
    assert (record["status"], record["starts"], record["steps"]) == ("completed", 2, 8)
    assert exact(tmp_path / "died") == exact(tmp_path / "straight")


def test_a_second_ctrl_c_ends_the_run_at_once_and_it_still_resumes(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    def impatient(label: str, done: int, total: int) -> None:
        if label == "training" and done == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        go(tmp_path / "run", plan_of(), progress=impatient)
    record = json.loads((tmp_path / "run/run.json").read_bytes())
    assert (record["status"], record["reason"]) == ("halted", "interrupted")
    assert go(tmp_path / "run", plan_of())["status"] == "completed"
    trace = [line["step"] for line in lines(tmp_path / "run/trace.jsonl")]
    assert trace == list(range(1, 9))


def test_a_scheduler_s_signal_that_comes_when_the_run_is_done_kills_nobody() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        interruption = Interruption(WallClock(), 1)
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)  # unhandled it would end the tests here
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == [before[signal.SIGINT], before[signal.SIGTERM]]
        seen: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
        with Interruption(WallClock(), 1).listening():
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)  # who has a handler of their own gets it back
        assert seen == [signal.SIGUSR1]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_file_called_save_asks_for_one_checkpoint_at_the_next_step_and_changes_nothing_else(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan = plan_of(checkpoint_every_steps=100)
    go(tmp_path / "straight", plan)

    def progress(label: str, done: int, total: int) -> None:
        if label == "training" and done == 3:
            (tmp_path / "saved/save").touch()

    assert go(tmp_path / "saved", plan, progress=progress)["status"] == "completed"
    saved = [line["step"] for line in lines(tmp_path / "saved/checkpoints.jsonl")]
    assert saved == [4, 8]  # reported after the callbacks of step 3 have looked, and the one after the last step
    assert [line["step"] for line in lines(tmp_path / "straight/checkpoints.jsonl")] == [8]
    assert not (tmp_path / "saved/save").exists()
    assert exact(tmp_path / "saved")[:2] == exact(tmp_path / "straight")[:2]
