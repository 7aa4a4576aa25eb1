from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.generate import without_prompt
from eval.prompts import PROMPTS
from eval.report import evaluate
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.verdict import judge


def test_a_report_follows_from_its_results(own_run: Any) -> None:
    report = evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    lines = (own_run.run_dir / "eval/results.jsonl").read_bytes()
    written = loads((own_run.run_dir / "eval/report.json").read_bytes(), floats=True)
    assert written == loads(dumps(report), floats=True)
    assert written["results"] == sha256(lines)
    rows = [loads(line, floats=True) for line in lines.splitlines()]
    assert [row["item"] for row in rows] == sorted(row["item"] for row in rows)
    ledger = [json.loads(line) for line in (own_run.build / "ledger.jsonl").read_bytes().splitlines()]
    heldout = {row["record"]: row for row in ledger if row["split"] == "heldout"}
    assert set(heldout) == {row["item"] for row in rows}
    assert all((row["language"], row["cluster"]) == (heldout[row["item"]]["language"], heldout[row["item"]]["authors"][0]) for row in rows)
    from governance_hooks.plan import read_plan

    plan = read_plan((own_run.run_dir / "plan.json").read_bytes())
    judged = loads(dumps(judge(rows, plan.evaluation, languages=plan.build.languages)), floats=True)
    assert {key: written[key] for key in judged} == judged


def test_a_second_evaluation_gives_the_same_bytes_but_for_the_time(own_run: Any) -> None:
    evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    first = {path.name: path.read_bytes() for path in (own_run.run_dir / "eval").iterdir()}
    evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    assert (own_run.run_dir / "eval/results.jsonl").read_bytes() == first["results.jsonl"]
    again = json.loads((own_run.run_dir / "eval/report.json").read_bytes())
    assert again | {"wall_s": 0} == json.loads(first["report.json"]) | {"wall_s": 0}


def test_sample_answers_use_our_questions_and_name_languages_without_one(own_run: Any) -> None:
    report = evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    assert [(g["language"], g["prompt"]) for g in report["generations"]] == [(language, PROMPTS[language][0]) for language in ("est", "spa")]
    assert report["languages_without_prompt"] == ["zul"]
    assert all(set(g) == {"language", "prompt", "base", "tuned"} for g in report["generations"])
    assert any(g["base"] != g["tuned"] for g in report["generations"])
    texts = {row for line in (own_run.run_dir / "eval/report.json").read_text().splitlines() for row in [line]}
    assert not any("ilanga" in text for text in texts)  # no member's text is in the report


def test_the_number_of_threads_is_recorded_and_restored(own_run: Any) -> None:
    before = torch.get_num_threads()
    assert evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)["threads"] == 1
    assert torch.get_num_threads() == before


def test_every_language_of_the_first_users_has_two_distinct_questions() -> None:
    languages = "ara ben deu eng fas fra heb hin ind ita jpn kor mal mar nep nld ori pol por rus spa swe tam tel tha tur ukr urd yor zho"
    assert without_prompt(re.findall("[a-z]{3}", languages)) == []
    assert all(len(questions) == len(set(questions)) == 2 for questions in PROMPTS.values())
    assert len({question for questions in PROMPTS.values() for question in questions}) == 2 * len(PROMPTS)


def refused(run: Any, match: str, **changes: Any) -> None:
    with pytest.raises(BadInput, match=match):
        evaluate(run.run_dir, **({"base": run.base, "build": run.build, "threads": 1} | changes))
    assert not (run.run_dir / "eval").exists()


def change(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "adapter/adapter_config.json"])
def test_other_weights_than_the_runs_are_refused(own_run: Any, name: str) -> None:
    change(own_run.run_dir / name)
    refused(own_run, "not what the run wrote")


def test_an_extra_file_beside_the_adapter_is_refused(own_run: Any) -> None:
    (own_run.run_dir / "adapter/adapter_model.bin").write_bytes(b"pickle")
    refused(own_run, "not what the run wrote")


def test_a_pickled_adapter_is_never_loaded(own_run: Any) -> None:
    (own_run.run_dir / "adapter/adapter_model.safetensors").rename(own_run.run_dir / "adapter/adapter_model.bin")
    own_run.rerecord()
    refused(own_run, "no adapter_model.safetensors")


def test_full_weights_are_measured_as_the_adapter_they_were_merged_from(run: Any, full_run: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(run.run_dir, tmp_path / "adapted")
    adapted, whole = (evaluate(folder, base=run.base, build=run.build, threads=1) for folder in (copy, full_run.run_dir))
    assert {entry["path"] for entry in whole["weights"]} >= {"model/model.safetensors", "model/config.json"}
    assert adapted["languages"].keys() == whole["languages"].keys()
    for language, row in adapted["languages"].items():
        for figure in ("base", "tuned"):
            assert whole["languages"][language][figure] == pytest.approx(row[figure], rel=1e-4)
    assert [sample["base"] for sample in whole["generations"]] == [sample["base"] for sample in adapted["generations"]]


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/config.json"])
def test_other_full_weights_than_the_runs_are_refused(full_run: Any, name: str) -> None:
    change(full_run.run_dir / name)
    refused(full_run, "not what the run wrote")


def test_a_pickled_model_is_never_loaded(full_run: Any) -> None:
    (full_run.run_dir / "model/model.safetensors").rename(full_run.run_dir / "model/pytorch_model.bin")
    full_run.rerecord()
    refused(full_run, "no model.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_another_base_is_refused(own_run: Any, name: str) -> None:
    change(own_run.base / name)
    refused(own_run, "not the base the plan names")


@pytest.mark.parametrize(
    ("name", "match"), [("manifest.json", "not the dataset"), ("ledger.jsonl", "differs from the manifest"), ("records.parquet", "differs")]
)
def test_another_build_is_refused(own_run: Any, name: str, match: str) -> None:
    change(own_run.build / name)
    refused(own_run, match)


def test_a_changed_plan_is_refused(own_run: Any) -> None:
    plan = json.loads((own_run.run_dir / "plan.json").read_bytes())
    plan["evaluation"]["margin"] = 5
    (own_run.run_dir / "plan.json").write_bytes(dumps(plan))
    refused(own_run, "another plan")


@pytest.mark.parametrize("status", ["halted", "failed"])
def test_an_unfinished_run_is_refused(own_run: Any, status: str) -> None:
    record = json.loads((own_run.run_dir / "run.json").read_bytes())
    (own_run.run_dir / "run.json").write_bytes(dumps(record | {"status": status}))
    refused(own_run, "not completed")


def test_a_folder_that_is_no_run_is_refused(own_run: Any, tmp_path: Path) -> None:
    shutil.rmtree(own_run.run_dir)
    own_run.run_dir.mkdir()
    refused(own_run, "cannot read")
