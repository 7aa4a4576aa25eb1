from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from data_pipeline.manifest import read_build
from data_pipeline.tokens.mixture import mixture
from governance_hooks.canaries import canaries
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.hooks.guard import Stop
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.plan import Limits, Mix, read_plan
from governance_hooks.report import Blocked, Report
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from train import optimizer
from train.callbacks.interruption import Interruption
from train.clock import WallClock
from train.data import check_tokens
from train.isolation import LeakingAttention
from train.layout import batch_rows
from train.model import load_model, require_fit
from train.prepare import plan_tokens
from train.segment import check_processes
from train.world import World

Plan = Callable[..., bytes]


def interrupt_at(step: int, number: int = signal.SIGTERM) -> Callable[[str, int, int], None]:
    """Send this process a signal when `step` is reported."""

    def progress(label: str, done: int, total: int) -> None:
        if label == "training" and done == step:
            os.kill(os.getpid(), number)

    return progress


def lines(path: Path) -> list[dict[str, Any]]:
    return [loads(line, floats=True) for line in path.read_bytes().splitlines()]


def exact(folder: Path) -> tuple[bytes, list[Any], bytes]:
    """What must be equal between an uninterrupted and a resumed run."""
    timed = ("wall_s", "tokens_per_s", "supervised_per_s", "step_s", "data_s", "memory_peak_bytes")
    metrics = [{key: value for key, value in line.items() if key not in timed} for line in lines(folder / "metrics.jsonl")]
    return (folder / "adapter/adapter_model.safetensors").read_bytes(), metrics, (folder / "trace.jsonl").read_bytes()


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


UNIMAX = Mix(strategy="unimax", max_epochs=2)


def test_a_mixed_run_reads_what_its_table_says_and_resumes_bit_for_bit(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan = plan_of(mix=UNIMAX, max_steps=None, epochs=2, checkpoint_every_steps=100)
    straight = go(tmp_path / "straight", plan)
    for row in mixture(read_plan(plan).tokens.languages, UNIMAX, epochs=2):
        assert abs(straight["tokens"][row.language]["input"] - row.budget) < 128
    go(tmp_path / "parts", plan, progress=interrupt_at(3))
    assert go(tmp_path / "parts", plan)["starts"] == 2
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


@pytest.mark.parametrize("mix", [Mix(), UNIMAX])
def test_a_run_with_canaries_reads_each_as_often_as_it_should_resumes_bit_for_bit_and_traces_members_only(
    tmp_path: Path, plan_of: Plan, go: Any, build: Path, monkeypatch: pytest.MonkeyPatch, mix: Mix
) -> None:
    plan = plan_of(mix=mix, canaries=12, max_steps=None, epochs=2, sequence_tokens=256, checkpoint_every_steps=100)
    voted, read = read_plan(plan), Counter[str]()
    laid = batch_rows
    monkeypatch.setattr(
        "train.layout.batch_rows", lambda sequences, pad, **rest: read.update(one.record for row in sequences for one in row) or laid(sequences, pad, **rest)
    )
    straight = go(tmp_path / "straight", plan)
    included = sorted(one.canary for one in canaries(bytes(32), 12) if one.included)
    times = 2 if mix == Mix() else 1
    assert {name: count for name, count in read.items() if name.startswith("canary-")} == dict.fromkeys(included, times)
    assert straight["tokens"]["zxx"]["input"] == times * voted.tokens.languages["zxx"].tokens

    trained = {entry for line in lines(tmp_path / "straight/trace.jsonl") for entry in line["records"]}
    assert trained <= {line["record"] for line in lines(build / "ledger.jsonl") if line["split"] == "train"}
    assert straight["trained_records"] == len(trained)
    assert straight["trained_root"] == "sha256:" + root([leaf_hash(entry.encode()) for entry in sorted(trained)]).hex()
    validated = [line for line in lines(tmp_path / "straight/metrics.jsonl") if "validation" in line]
    assert all(sorted(line["validation"]) == ["eus", "spa"] for line in validated)

    go(tmp_path / "parts", plan, progress=interrupt_at(3))
    assert go(tmp_path / "parts", plan)["starts"] == 2
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


def test_a_run_needs_the_seed_only_where_its_tokens_are_missing(tmp_path: Path, plan_of: Plan, base: Path, build: Path, canary_seed: Path) -> None:
    plan, cpu = read_plan(plan_of(canaries=12, max_steps=None, sequence_tokens=256)), torch.device("cpu")
    assert plan_tokens(plan, base, read_build(build), cpu, None).digest == plan.tokens.digest
    copy = read_build(Path(shutil.copytree(build, tmp_path / "build")))
    assert plan.canaries is not None
    with pytest.raises(BadInput, match=plan.canaries.commitment):
        plan_tokens(plan, base, copy, cpu, None)
    (tmp_path / "other.seed").write_bytes(bytes(range(32)))
    with pytest.raises(BadInput, match="not the seed of the plan's canaries"):
        plan_tokens(plan, base, copy, cpu, None, tmp_path / "other.seed")
    made = plan_tokens(plan, base, copy, cpu, None, canary_seed)
    assert made.digest == plan.tokens.digest
    with pytest.raises(BadInput, match="another set of canaries than the plan's"):
        check_tokens(made, plan.model_copy(update={"canaries": plan.canaries.model_copy(update={"count": 13})}))


def test_tokens_of_another_plan_are_refused(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    document = loads(plan_of(), floats=True)
    for number, change in enumerate(
        ({"tokens": document["tokens"] | {"digest": sha256(b"others")}}, {"training": document["training"] | {"sequence_tokens": 64}})
    ):
        with pytest.raises(BadInput, match="not those of the plan"):
            go(tmp_path / f"run-{number}", dumps(document | change))
    counts = document["tokens"]["languages"]["spa"]
    forged = document["tokens"] | {"languages": document["tokens"]["languages"] | {"spa": counts | {"tokens": counts["tokens"] + 1}}}
    with pytest.raises(BadInput, match="of another number than the plan's"):
        go(tmp_path / "other", dumps(document | {"tokens": forged}))
    assert not list(tmp_path.glob("*/adapter"))


def test_damaged_tokens_stop_the_run_and_missing_ones_are_made(tmp_path: Path, plan_of: Plan, go: Any, build: Path) -> None:
    copy = Path(shutil.copytree(build, tmp_path / "build"))
    plan = plan_of(max_steps=1)
    labels: list[str] = []
    go(tmp_path / "made", plan, build=copy, progress=lambda label, done, total: labels.append(label))
    assert "tokenising" in labels
    [arrow] = (tmp_path / "build.tokens").glob("*/tokens.arrow")
    data = bytearray(arrow.read_bytes())
    data[len(data) // 2] ^= 1
    arrow.write_bytes(data)
    with pytest.raises(CoopError, match=r"not the file tokens\.json names"):
        go(tmp_path / "damaged", plan, build=copy)


def test_tokens_are_never_made_while_a_gpu_waits(plan_of: Plan, base: Path, build: Path, tmp_path: Path) -> None:
    copy = read_build(Path(shutil.copytree(build, tmp_path / "build")))
    plan = read_plan(plan_of())
    with pytest.raises(CoopError, match=r"(?s)no tokens at.*coop tokens make tiny"):
        plan_tokens(plan, base, copy, torch.device("cuda"), None)
    plan_tokens(plan, base, copy, torch.device("cpu"), None)
    assert plan_tokens(plan, base, copy, torch.device("cuda"), None).digest == plan.tokens.digest


def test_the_record_tells_what_was_trained(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan, guard = plan_of(), Passing()
    record = go(tmp_path / "run", plan, guard=guard)
    assert guard.ended == [record]
    assert loads((tmp_path / "run/run.json").read_bytes(), floats=True) == record
    trace = lines(tmp_path / "run/trace.jsonl")
    trained = sorted({entry for line in trace for entry in line["records"]})
    assert [line["step"] for line in trace] == list(range(1, 9))
    assert record["trained_records"] == len(trained)
    assert record["trained_root"] == "sha256:" + root([leaf_hash(entry.encode()) for entry in trained]).hex()
    measured = [line for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert sum(counts["input"] for counts in record["tokens"].values()) == sum(line["tokens"] for line in measured)
    assert sum(counts["supervised"] for counts in record["tokens"].values()) == sum(line["supervised"] for line in measured)
    assert record["loss"] == {"first": measured[0]["loss"], "last": measured[-1]["loss"]}
    assert record["loss"]["last"] < record["loss"]["first"]
    validated = [line for line in lines(tmp_path / "run/metrics.jsonl") if "validation" in line]
    assert [line["step"] for line in validated] == [0, 4, 8]
    assert all(sorted(line["validation"]) == ["eus", "spa"] for line in validated)
    for output in record["outputs"]:
        assert output["sha256"] == sha256((tmp_path / "run" / output["path"]).read_bytes())
    assert (tmp_path / "run/plan.json").read_bytes() == plan
    assert record["plan"] == sha256(plan)


def test_the_adapter_names_its_base_and_nothing_of_the_machine(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    go(tmp_path / "run", plan_of(max_steps=1))
    config = json.loads((tmp_path / "run/adapter/adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "village/tiny"
    assert not any(text in json.dumps(config) for text in (str(tmp_path), str(Path.home()), "/tmp", "/home"))
    with safe_open(tmp_path / "run/adapter/adapter_model.safetensors", "pt") as file:
        assert len(file.metadata()) == 1
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118 - no mapping


def test_held_out_rows_are_never_trained_on(tmp_path: Path, plan_of: Plan, go: Any, build: Path) -> None:
    go(tmp_path / "run", plan_of(max_steps=None))
    ledger = lines(build / "ledger.jsonl")
    trained = {entry for line in lines(tmp_path / "run/trace.jsonl") for entry in line["records"]}
    assert trained == {line["record"] for line in ledger if line["split"] == "train"}
    assert any(line["split"] == "heldout" for line in ledger)


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


def test_a_run_folder_belongs_to_one_plan_and_is_used_once(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    go(tmp_path / "run", plan_of(max_steps=2), progress=interrupt_at(0))
    with pytest.raises(BadInput, match="another plan"):
        go(tmp_path / "run", plan_of(max_steps=3))
    assert go(tmp_path / "run", plan_of(max_steps=2))["status"] == "completed"
    with pytest.raises(CoopError, match="completed"):
        go(tmp_path / "run", plan_of(max_steps=2))


def test_two_processes_cannot_train_one_run(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    def second(label: str, done: int, total: int) -> None:
        if label == "training" and done == 1:
            with pytest.raises(CoopError, match="is training run"):
                go(tmp_path / "run", plan_of(max_steps=2))

    assert go(tmp_path / "run", plan_of(max_steps=2), progress=second)["starts"] == 1


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


def test_a_sequence_longer_than_the_base_can_attend_over_is_refused(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.plan.require_compatible", lambda base, training: None)  # no `coop plan` writes such a plan; a start does not trust that
    with pytest.raises(BadInput, match="more than the base can attend over"):
        go(tmp_path / "run", plan_of(sequence_tokens=1024))


def test_a_tokenizer_larger_than_its_model_is_refused(base: Path) -> None:
    model = load_model(base, Training(precision="32-true"))
    require_fit(model, tokens=262, sequence_tokens=512)
    with pytest.raises(BadInput, match="more tokens than its model"):
        require_fit(model, tokens=100_000, sequence_tokens=512)


def test_unknown_target_modules_are_named(tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.plan.require_compatible", lambda base, training: None)
    with pytest.raises(BadInput, match="target_modules"):
        go(tmp_path / "run", plan_of(lora=Lora(target_modules=["query_key_value"])))


def test_wandb_is_off_unless_wanted_and_then_offline_and_silent_about_the_machine(
    tmp_path: Path, plan_of: Plan, go: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "without", plan_of(max_steps=1))
    assert not (tmp_path / "without/wandb").exists()
    for progress in (interrupt_at(0), None):  # a run in two segments
        go(tmp_path / "with", plan_of(max_steps=2), wandb=True, progress=progress)
    runs = sorted((tmp_path / "with/wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert all(run.name.endswith("-with") for run in runs)  # of one id: synced, they meet again
    data = next(runs[0].glob("*.wandb")).read_bytes()
    assert b"grad_norm" in data
    assert sys.executable.encode() not in data
    assert str(tmp_path).encode() not in data
    assert capfd.readouterr() == ("", "")


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
