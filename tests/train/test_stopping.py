"""What stops a run, or keeps it from starting: its guard, its limits, a changed input, a loss that is not finite."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.hooks.guard import Stop
from governance_hooks.plan import Limits, read_plan
from governance_hooks.report import Blocked, Report
from tests.passing import Passing
from tests.train.interrupted import interrupt_at
from train import optimizer
from train.isolation import LeakingAttention
from train.segment import check_processes
from train.world import World

Plan = Callable[..., bytes]


def test_the_guard_stops_the_run_at_the_next_step(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    class Withdrawn(Passing):
        looks = 0

        def stop(self, *, force: bool = False) -> Stop | None:
            self.looks += 1
            return Stop("withdrawn", "m-one withdrew") if self.looks >= 3 else None

    record = go(tmp_path / "run", plan_of(), guard=Withdrawn())
    assert (record["status"], record["reason"], record["steps"], record["outputs"]) == ("halted", "withdrawn: m-one withdrew", 3, [])
    assert not (tmp_path / "run/adapter").exists()
    assert go(tmp_path / "run", plan_of())["status"] == "completed"


@pytest.mark.parametrize(("looks", "steps"), [(1, 4), (3, 8)])
def test_a_withdrawal_is_seen_at_every_checkpoint_and_after_the_last_step(tmp_path: Path, plan_of: Plan, go: Any, looks: int, steps: int) -> None:
    """Whatever the guard's clock says: the checkpoints are at steps 4 and 8, the last look comes after them."""

    class Late(Passing):
        forced = 0

        def stop(self, *, force: bool = False) -> Stop | None:
            self.forced += force
            return Stop("withdrawn", "m-two withdrew") if self.forced == looks else None

    record = go(tmp_path / "run", plan_of(), guard=Late())
    assert (record["status"], record["reason"], record["steps"], record["outputs"]) == ("halted", "withdrawn: m-two withdrew", steps, [])
    assert not (tmp_path / "run/adapter").exists()


def test_a_blocked_run_writes_and_loads_nothing(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    class Blocking(Passing):
        def start(self) -> None:
            raise Blocked(Report("run", ()))

    with pytest.raises(Blocked):
        go(tmp_path / "run", plan_of(), guard=Blocking())
    assert not (tmp_path / "run").exists()


def test_a_changed_base_or_build_is_refused(tmp_path: Path, plan_of: Plan, go: Any, base: Path, build: Path) -> None:
    plan = plan_of()
    shutil.copytree(base, tmp_path / "base")
    config = tmp_path / "base/config.json"
    config.write_bytes(config.read_bytes().replace(b'"vocab_size"', b'"vocab_size" '))
    with pytest.raises(BadInput, match="not those of the plan"):
        go(tmp_path / "run", plan, base=tmp_path / "base")
    shutil.copytree(build, tmp_path / "build")
    manifest = tmp_path / "build/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"13:00:00Z", b"13:00:01Z"))
    with pytest.raises(BadInput, match="not the one of the plan"):
        go(tmp_path / "run", plan, build=tmp_path / "build")
    shutil.copytree(build, tmp_path / "swapped")
    rows = tmp_path / "swapped/records.parquet"
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    with pytest.raises(CoopError):
        go(tmp_path / "run", plan, build=tmp_path / "swapped")
    assert not (tmp_path / "run/adapter").exists()


def test_limits_of_the_plan_hold(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(limits=Limits(max_starts=2, max_minutes=1))
    with pytest.raises(BadInput, match="more devices than the plan allows"):
        check_processes(read_plan(plan), World(size=2))
    monkeypatch.setattr("train.clock.WallClock.seconds", lambda self: 61.0 if self._start else 0.0)
    with pytest.raises(CoopError, match="voted time"):
        go(tmp_path / "run", plan)
    monkeypatch.undo()
    starts = []
    for _ in range(2):
        record = go(tmp_path / "run", plan, progress=interrupt_at(len(starts)))
        starts.append(record["starts"])
    assert starts == [1, 2]
    with pytest.raises(CoopError, match="as often as the plan allows"):
        go(tmp_path / "run", plan)


def test_the_time_limit_counts_all_segments_and_stops_at_a_step(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(limits=Limits(max_starts=5, max_minutes=1))
    go(tmp_path / "run", plan, progress=interrupt_at(1))
    record = json.loads((tmp_path / "run/run.json").read_bytes())
    record["wall_s"] = 58
    (tmp_path / "run/run.json").write_bytes(dumps(record))
    ticks = iter(range(10_000))
    monkeypatch.setattr("train.clock.time.monotonic", lambda: next(ticks) * 0.2)
    stopped = go(tmp_path / "run", plan)
    assert stopped["status"] == "halted"
    assert "the voted time" in stopped["reason"]
    assert 2 < stopped["steps"] < 8


def test_a_loss_that_is_not_finite_fails_the_run_before_it_reaches_the_weights(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(checkpoint_every_steps=1)
    real = optimizer.MasterWeights.step

    def poisoned(self: Any, *arguments: Any) -> float:
        next(iter(self.masters.values())).grad.fill_(float("nan"))
        return real(self, *arguments)

    go(tmp_path / "run", plan, progress=interrupt_at(1))
    before = (tmp_path / "run/checkpoints/step-00000002/tensors-00000.safetensors").read_bytes()
    monkeypatch.setattr(optimizer.MasterWeights, "step", poisoned)
    guard = Passing()
    with pytest.raises(CoopError, match="gradient norm of optimizer step 3 is not finite"):
        go(tmp_path / "run", plan, guard=guard)
    assert [record["status"] for record in guard.ended] == ["failed"]
    record = json.loads((tmp_path / "run/run.json").read_bytes())
    assert (record["status"], record["steps"], record["outputs"]) == ("failed", 2, [])
    assert "not finite" in record["reason"]
    assert (tmp_path / "run/checkpoints/step-00000002/tensors-00000.safetensors").read_bytes() == before
    monkeypatch.undo()
    assert go(tmp_path / "run", plan)["status"] == "completed"


def test_an_attention_that_leaks_stops_the_run_before_the_first_step(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(self: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._decoder[0](input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
        return states

    monkeypatch.setattr("train.model.AdaptedModel.hidden", leaking)
    with pytest.raises(LeakingAttention):  # eager: on a CPU ours takes sdpa's place, and has no mask to get wrong
        go(tmp_path / "run", plan_of(attention="eager"))
    assert json.loads((tmp_path / "run/run.json").read_bytes())["steps"] == 0


def test_a_disk_too_small_for_the_checkpoints_stops_the_run_before_the_first_step(
    tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr("train.checkpoint.shutil.disk_usage", lambda path: real(path)._replace(free=10_000))
    with pytest.raises(CoopError, match="too little disk space"):
        go(tmp_path / "run", plan_of())
    record = json.loads((tmp_path / "run/run.json").read_bytes())
    assert (record["status"], record["steps"]) == ("failed", 0)
    assert not (tmp_path / "run/metrics.jsonl").exists()
    monkeypatch.undo()
    assert go(tmp_path / "run", plan_of())["status"] == "completed"
