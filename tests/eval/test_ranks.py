"""Two processes measure what one measures, to the byte; one that may not begin stops both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval import ranks
from eval.ranks import Processes
from eval.report import evaluate
from governance_hooks.errors import CoopError


def test_two_processes_write_the_results_of_one_to_the_byte_also_with_little_memory(own_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    wanted = (own_run.run_dir / "eval/results.jsonl").read_bytes()
    measured: list[int] = []
    alone = ranks.answer_losses

    def counted(model: Any, answers: Any, **options: Any) -> dict[str, float]:
        measured.append(len(answers))
        return alone(model, answers, **options)

    monkeypatch.setattr(ranks, "answer_losses", counted)
    two = evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1, processes=2, memory=500_000)
    assert (own_run.run_dir / "eval/results.jsonl").read_bytes() == wanted
    assert {**two, "wall_s": 0} == {**one, "wall_s": 0}
    answers = len(wanted.splitlines())
    assert 0 < sum(measured) < 2 * answers  # twice (base, tuned), but a share only


def test_a_process_that_finds_other_inputs_stops_the_evaluation(own_run: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    start = ranks._start

    def tampered(asked: Processes, rank: int, port: int) -> Any:
        config = own_run.base / "config.json"  # after the first process has checked it
        config.write_text(json.dumps(json.loads(config.read_bytes()) | {"rope_theta": 1}))
        return start(asked, rank, port)

    monkeypatch.setattr(ranks, "_start", tampered)
    with pytest.raises(CoopError, match="another process of this evaluation could not begin"):
        evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1, processes=2)
    assert "process 1 of this evaluation" in capfd.readouterr().err
    assert not (own_run.run_dir / "eval").exists()


def test_memory_is_shared_and_each_process_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    asked = Processes(4, tmp_path, tmp_path, tmp_path, "cuda", 1000)
    assert asked.memory_of_one == 250
    assert [asked.device_of(rank) for rank in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert Processes(2, tmp_path, tmp_path, tmp_path).device_of(1) == "cpu"
    assert Processes(1, tmp_path, tmp_path, tmp_path, "cuda").device_of(0) == "cuda"
