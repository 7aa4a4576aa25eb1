"""The guard around a loop without a framework, and around one of Accelerate's, in one process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.gate import Request
from governance_hooks.hooks import accelerate as accelerate_hook
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.loop import governed
from governance_hooks.hooks.watch import Alone, Watch, find_peers
from governance_hooks.report import Blocked
from governance_hooks.statement import shift
from tests.village import Approved

STEPS = 8


def guard(a: Approved, ended: list[dict[str, Any]], every_s: float = 0) -> Guard:
    request = Request(
        plan=a.plan_bytes, proof=a.village.coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=a.village.coop.pin, run="run-1"
    )
    return Guard(request, fresh=lambda: a.village.coop.proof().dumps(), every_s=every_s, clock=lambda: a.village.clock, on_end=ended.append)


def halt(a: Approved) -> None:
    a.village.say("coop.halt/v1", {"proposal": a.proposal, "until": shift(a.village.clock, 600)}, a.village.members[4])


def plain(watched: Guard, act: Callable[[int], None]) -> int:
    with governed(watched) as run:
        for number in range(1, STEPS + 1):
            act(number)
            if run.step():
                break
    return run.steps


def accelerated(watched: Guard, act: Callable[[int], None]) -> int:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=3)
    model = torch.nn.Linear(2, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with accelerate_hook.governed(watched, accelerator) as run:
        for number in range(1, STEPS * 3 + 1):
            act((number + 2) // 3)
            with accelerator.accumulate(model):
                accelerator.backward(model(torch.ones(2)).mean())
                optimizer.step()
                optimizer.zero_grad()
            if run.step():
                break
    return run.steps


LOOPS = [plain, accelerated]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_block_without_a_logged_start_is_never_entered(approved: Approved, loop: Any) -> None:
    seen: list[int] = []
    with pytest.raises(Blocked, match="holds no start"):
        loop(guard(approved, []), seen.append)
    assert seen == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_halt_ends_the_loop_at_the_next_step(approved: Approved, loop: Any) -> None:
    approved.start()
    ended: list[dict[str, Any]] = []
    halted: list[int] = []

    def act(step: int) -> None:
        if step == 3 and not halted:
            halted.append(step)
            halt(approved)

    assert loop(guard(approved, ended), act) == 3
    assert [(record["status"], record["steps"]) for record in ended] == [("halted", 3)]
    assert "the oversight body halted this approval" in ended[0]["reason"]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_undisturbed_loop_ends(approved: Approved, loop: Any) -> None:
    approved.start()
    ended: list[dict[str, Any]] = []
    assert loop(guard(approved, ended), lambda step: None) == STEPS
    assert ended == [{"status": "completed", "reason": None, "steps": STEPS, "unreleasable": None}]


def test_a_loop_that_goes_on_after_a_stop_is_refused_its_next_step(approved: Approved) -> None:
    approved.start()
    ended: list[dict[str, Any]] = []
    taken: list[int] = []

    def heedless() -> None:
        with governed(guard(approved, ended)) as run:
            halt(approved)
            for _ in range(STEPS):
                run.step()
                taken.append(run.steps)

    with pytest.raises(Refused, match="this run was told to stop: the oversight body"):
        heedless()
    assert (taken, ended[0]["status"]) == ([1], "failed")


def test_a_checkpoint_looks_whatever_the_clock_says(approved: Approved) -> None:
    approved.start()
    with governed(guard(approved, [], every_s=1e9)) as run:
        halt(approved)
        assert run.step() is None
        assert run.checkpoint() is not None


def test_a_saved_state_of_accelerate_looks_whatever_the_clock_says(approved: Approved, tmp_path: Path) -> None:
    approved.start()
    accelerator = Accelerator(cpu=True)
    with accelerate_hook.governed(guard(approved, [], every_s=1e9), accelerator) as other:
        halt(approved)
        assert other.step() is None
        accelerator.save_state(str(tmp_path / "state"))
        assert other.stopped is not None
    accelerator.save_state(str(tmp_path / "after"))  # the hook is gone with the block


def test_the_end_looks_whatever_the_clock_says(approved: Approved) -> None:
    approved.start()
    ended: list[dict[str, Any]] = []
    with governed(guard(approved, ended, every_s=1e9)):
        halt(approved)
    assert ended[0]["status"] == "halted"


@pytest.mark.parametrize(("error", "status", "reason"), [(ValueError, "failed", "ValueError"), (KeyboardInterrupt, "halted", "interrupted")])
def test_an_error_in_the_block_ends_the_run_and_is_raised(approved: Approved, error: type[BaseException], status: str, reason: str) -> None:
    approved.start()
    ended: list[dict[str, Any]] = []

    def broken() -> None:
        with governed(guard(approved, ended)) as run:
            run.step()
            raise error

    with pytest.raises(error):
        broken()
    assert [(record["status"], record["reason"], record["steps"]) for record in ended] == [(status, reason, 1)]


def test_a_launcher_that_speaks_of_more_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="cannot all be told to stop"):
        find_peers()
    with pytest.raises(BadInput, match="cannot all be told to stop"):
        find_peers(4)
    assert isinstance(find_peers(1), Alone)


def test_others_that_cannot_be_reached_stop_this_one(approved: Approved) -> None:
    class Deaf(Alone):
        size, calls = 2, 0

        def most(self, values: Any) -> list[int]:
            self.calls += 1
            if self.calls > 1:
                raise CoopError("the 2 processes of this run do not reach each other")
            return list(values)

    approved.start()
    peers = Deaf()
    watch = Watch(guard(approved, []), peers)
    watch.start()
    stop = watch.step()
    assert stop is not None
    assert (stop.kind, stop.reason) == ("unchecked", "the 2 processes of this run do not reach each other")
    assert watch.step() is watch.finish() is stop
    assert peers.calls == 2  # nobody is called again


def test_the_loop_itself_imports_no_torch() -> None:
    import subprocess

    code = "import sys; import governance_hooks.hooks.loop as l; l.find_peers(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
