from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import Logger

from data_pipeline.tokens.sample import Sample
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import CoopError
from governance_hooks.plan import CANARY_LANGUAGE, Limits, Mix, read_plan
from governance_hooks.training import Training
from tests.train.conftest import CODE, COOP, TINY, USE, write_build
from train import optimizer
from train.config import RunConfig
from train.data_wait import DataWait
from train.layout import batch_rows
from train.objective import Sft
from train.plan import resolve
from train.record import records_root
from train.step_log import StepLog

Plan = Callable[..., bytes]


def test_a_run_tells_of_each_of_its_starts_also_of_those_that_failed_or_were_killed(
    tmp_path: Path, plan_of: Plan, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = plan_of(checkpoint_every_steps=2), tmp_path / "run"
    real = optimizer.MasterWeights.step
    steps: list[int] = []

    def poisoned(self: Any, *arguments: Any) -> float:
        steps.append(1)
        if len(steps) == 4:
            next(iter(self.masters.values())).grad.fill_(float("nan"))
        return real(self, *arguments)

    monkeypatch.setattr(optimizer.MasterWeights, "step", poisoned)
    with pytest.raises(CoopError, match="not finite"):
        go(folder, plan)
    failed = loads((folder / "run.json").read_bytes(), floats=True)
    assert failed["status"] == "failed"
    assert failed["energy"]["segments"] == 1

    starts = StepLog(folder / "starts.jsonl")  # a second start that kill -9 ended leaves its line and nothing else
    starts.append(starts.lines()[0] | {"step": 2})
    starts.close()
    record = go(folder, plan)
    assert [(one["start"], one["status"], one["cause"], one["from_step"], one["to_step"]) for one in record["segments"]] == [
        (1, "failed", "CoopError", 0, 3),
        (2, "killed", None, None, None),
        (3, "completed", None, 2, 8),
    ]
    measured = [one["energy"]["kwh"] for one in record["segments"] if one["energy"] is not None]
    assert len(measured) == 2
    assert record["energy"]["kwh"] == pytest.approx(sum(measured))
    assert (record["energy"]["estimated"], record["energy"]["segments_unmeasured"]) == (True, 1)
    assert record["environment"] == record["segments"][-1]["environment"] == sha256((folder / "environment.json").read_bytes())


def test_each_checkpoint_has_the_root_over_what_was_trained_so_far(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    record = go(tmp_path / "run", plan_of(checkpoint_every_steps=3))
    trace, roots = (StepLog(tmp_path / "run" / name).lines() for name in ("trace.jsonl", "checkpoints.jsonl"))
    assert [line["step"] for line in roots] == [3, 6, 8]
    for line in roots:
        so_far = {entry for one in trace if one["step"] <= line["step"] for entry in one["records"]}
        assert (line["records"], line["trained_root"]) == (len(so_far), records_root(so_far))
    assert roots[-1]["trained_root"] == record["trained_root"]


def test_the_record_holds_the_digest_of_every_file_that_proves_it(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    record = go(tmp_path / "run", plan_of(max_steps=2))
    assert [one["path"] for one in record["evidence"]] == ["checkpoints.jsonl", "environment.json", "metrics.jsonl", "starts.jsonl", "trace.jsonl"]
    for one in record["evidence"]:
        assert one["sha256"] == sha256((tmp_path / "run" / one["path"]).read_bytes())


def test_each_step_says_what_it_took_and_a_cpu_has_no_mfu(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    told: list[str] = []
    go(tmp_path / "run", plan_of(max_steps=3), progress=lambda label, done, total: None, status=told.append)
    steps = [line for line in StepLog(tmp_path / "run/metrics.jsonl").lines() if "loss" in line]
    for line in steps:
        assert line["supervised_per_s"] == pytest.approx(line["tokens_per_s"] * line["supervised"] / line["tokens"], rel=0.01)
        assert line["step_s"] > 0
        assert line["data_s"] >= 0
        assert line["memory_peak_bytes"] > 10 * 2**20
        assert "mfu" not in line
    assert len(told) == 3
    assert all(f"loss {line['loss']:.3f}" in text and "learned/s" in text and "MFU" not in text for line, text in zip(steps, told, strict=True))


def test_only_the_wait_for_data_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 10.5, 20.0, 20.25])
    monkeypatch.setattr("train.data_wait.time.perf_counter", lambda: next(moments))
    wait = DataWait()
    for action in ("[_TrainingEpochLoop].train_dataloader_next", "run_training_batch", "[_TrainingEpochLoop].train_dataloader_next"):
        wait.start(action)
        wait.stop(action)
    assert wait.take() == 0.75
    assert wait.take() == 0.0


def test_each_step_says_the_loss_of_each_language_and_together_they_are_the_loss(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    record = go(tmp_path / "run", plan_of(sequences_per_step=3, sequences_per_forward=1))
    steps = [line for line in StepLog(tmp_path / "run/metrics.jsonl").lines() if "loss" in line]
    assert len(steps) == 8
    for line in steps:
        assert set(line["languages"]) <= {"eus", "spa"}
        assert sum(one["supervised"] for one in line["languages"].values()) == line["supervised"]
        assert sum(one["nll"] for one in line["languages"].values()) / line["supervised"] == pytest.approx(line["loss"], rel=1e-6)
    for language in ("eus", "spa"):
        assert sum(line["languages"].get(language, {"supervised": 0})["supervised"] for line in steps) == record["tokens"][language]["supervised"]
    assert len({round(one["nll"] / one["supervised"], 9) for line in steps for one in line["languages"].values()}) > 8  # no copies of the mean


def test_the_loss_of_a_language_is_that_of_its_own_tokens_and_canaries_are_none() -> None:
    samples = [
        Sample(f"r{number}", language, "train", np.arange(10, 10 + length, dtype=np.uint16), start, length)
        for number, (language, length, start) in enumerate([("spa", 6, 2), ("eus", 5, 4), (CANARY_LANGUAGE, 4, 1), ("spa", 7, 5)])
    ]
    forwarded = batch_rows([samples[:2], samples[2:]], 0)
    nll = torch.arange(1, 11, dtype=torch.float32)  # 4 of spa, 1 of eus, 3 of a canary, 2 of spa
    assert Sft().by_language(nll, forwarded) == {"spa": 1 + 2 + 3 + 4 + 9 + 10, "eus": 5}
    assert Sft().by_language(torch.zeros(0), batch_rows([[]], 0)) == {}
    with pytest.raises(CoopError, match="other tokens than its samples name"):
        Sft().by_language(nll[:-1], forwarded)


class Listening(Logger):
    """Keeps the names of what it is told, in place of wandb."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.experiment = SimpleNamespace(finish=lambda: None)

    name = version = "listening"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.names |= set(metrics)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.fixture
def logged(tmp_path: Path, base: Path, canary_seed: Path, go: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], set[str]]:
    """Return a function that trains on a build with so many members more in Spanish, and returns the names of all that a logger was told."""

    def run(crowd: int) -> set[str]:
        (tmp_path / "data").mkdir()
        logger, made = Listening(), write_build(tmp_path / "data", crowd=crowd)
        monkeypatch.setattr("train.tracking.offline_wandb", lambda folder, run: logger)
        config = RunConfig(
            name="tiny", use=USE, base=str(base), build=str(made), mix=Mix(), training=Training(**(TINY | {"max_steps": 1})), limits=Limits(max_starts=9)
        )
        plan = resolve(config, coop=COOP, base=base, build=made, code=CODE, canary_seed=canary_seed)
        assert read_plan(plan).build.languages["spa"]["members"] == 2 + crowd
        go(tmp_path / "run", plan, build=made, wandb=True)
        kept = [line["validation"] for line in StepLog(tmp_path / "run/metrics.jsonl").lines() if "validation" in line]
        assert [sorted(one) for one in kept] == [["eus", "spa"]] * 2  # the cooperative's own folder has both
        return logger.names

    return run


@pytest.mark.parametrize(("crowd", "told"), [(2, set()), (3, {"validation/spa"})])
def test_a_logger_whose_files_may_be_published_gets_no_language_of_fewer_than_five_members(logged: Any, crowd: int, told: set[str]) -> None:
    names = logged(crowd)
    assert {name for name in names if name.startswith("validation")} == told
    training = names - told
    assert {"loss", "grad_norm", "tokens_per_s"} <= training
    assert not [name for name in training if {"spa", "eus", "languages"} & set(name.split("/"))]  # the training loss of a language goes nowhere
