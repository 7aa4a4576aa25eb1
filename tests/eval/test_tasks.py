"""Tasks from the file members voted on to the verdict, over the tiny model of these tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.task_data import describe_file
from eval.report import evaluate, partial_of
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.plan import EvaluationPolicy, read_plan
from governance_hooks.task_verdict import judge_evaluation
from governance_hooks.tasks import METRICS, Task

XCOPA = [
    {"id": f"xcopa-{language}-val-{i}", "language": language, "split": "val", "premise": f"{words[0]} {i}.", "question": ("cause", "effect")[i % 2],
     "choices": [f"{words[1]} {i}.", f"{words[2]} {i}."], "label": i % 3 % 2, "changed": False}
    for language, words in {"et": ("Mees avas kraani", "Vesi voolas", "Aken suleti"), "it": ("L'uomo apre", "L'acqua scorre", "La porta chiude")}.items()
    for i in range(8)
]  # fmt: skip
MGSM = [{"id": f"mgsm-es-{i}", "language": "es", "split": "test", "question": f"{i} y {i}?", "answer": str(2 * i)} for i in range(6)]
OPEN = [{"id": f"open-{i}", "language": "est", "prompt": f"Kus on {i}?", "reference": f"Siin on {i}."} for i in range(6)]
HARM = [{"id": f"harm-{language}-{i}", "language": language, "prompt": f"forbidden request {i}"} for language in ("spa", "zul") for i in range(6)]
FILES = {"multiple_choice": XCOPA, "exact_match": MGSM, "open": OPEN, "preference": OPEN, "unsafe_compliance": HARM, "over_refusal": HARM}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path


def task_of(kind: str, data: Path, **changes: Any) -> Task:
    more: dict[str, Any] = {} if kind == "multiple_choice" else {"new_tokens": 6}
    name = str(changes.pop("name", kind.replace("_", "-")))
    if kind in FILES:
        path = write_lines(data / f"{kind}.jsonl", changes.pop("rows", FILES[kind]))
        described = describe_file(path, task=name, kind=kind, languages=None, per_language=changes.get("items_per_language"))  # type: ignore[arg-type]
        path.replace(data / described.sha256.removeprefix("sha256:"))
        more |= {"data": described.model_dump(), "languages": sorted(described.items)}
    return Task.model_validate({"name": name, "kind": kind, "metric": METRICS[kind][0], "tier": "advisory", "minimum_items": 5} | more | changes)


def voted(run: Any, tmp_path: Path, *kinds: str, **changes: Any) -> tuple[EvaluationPolicy, Path]:
    """Put tasks into the run's plan; return the policy and the folder of their files."""
    data = tmp_path / "evals"
    data.mkdir(exist_ok=True)
    policy = EvaluationPolicy(resamples=200, interval="t", tasks=[task_of(kind, data, **changes) for kind in kinds])
    plan = json.loads((run.run_dir / "plan.json").read_bytes())
    plan["evaluation"] = policy.model_dump(mode="json")
    (run.run_dir / "plan.json").write_bytes(dumps(plan))
    run.rerecord()
    return policy, data


def measured(run: Any, data: Path, **more: Any) -> dict[str, Any]:
    return evaluate(run.run_dir, base=run.base, build=run.build, data=data, threads=1, **more)


def items_of(run: Any, task: str) -> list[dict[str, Any]]:
    return [loads(line, floats=True) for line in (run.run_dir / f"eval/items/{task}.jsonl").read_bytes().splitlines()]


def test_every_kind_of_task_is_measured_and_judged_again_from_its_items(own_run: Any, tmp_path: Path) -> None:
    policy, data = voted(own_run, tmp_path, "multiple_choice", "exact_match", "open", "unsafe_compliance", "over_refusal")
    report = measured(own_run, data)
    written = loads((own_run.run_dir / "eval/report.json").read_bytes(), floats=True)
    assert written == loads(dumps(report), floats=True)
    items = {task.name: (own_run.run_dir / f"eval/items/{task.name}.jsonl").read_bytes() for task in policy.tasks}
    for name, raw in items.items():
        assert written["tasks"][name]["items"] == {"path": f"eval/items/{name}.jsonl", "size": len(raw), "sha256": sha256(raw)}
    rows = [loads(line, floats=True) for line in (own_run.run_dir / "eval/results.jsonl").read_bytes().splitlines()]
    plan = read_plan((own_run.run_dir / "plan.json").read_bytes())
    judged = loads(dumps(judge_evaluation(rows, items, policy, languages=plan.build.languages)), floats=True)
    assert {name: {key: value for key, value in outcome.items() if key != "items"} for name, outcome in written["tasks"].items()} == judged["tasks"]
    assert written["tasks"]["multiple-choice"]["languages"].keys() == {"est", "ita"}
    assert {row["cluster"] for row in items_of(own_run, "multiple-choice")} == {f"xcopa-val-{i}" for i in range(8)}
    assert not (own_run.run_dir / ".eval").exists()
    assert (own_run.run_dir / "eval/private").stat().st_mode & 0o777 == 0o700


def test_harmful_prompts_are_in_no_file_but_their_own(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "unsafe_compliance")
    measured(own_run, data)
    assert not [path for path in (own_run.run_dir / "eval").rglob("*") if path.is_file() and b"forbidden" in path.read_bytes()]
    zulu = [row for row in items_of(own_run, "unsafe-compliance") if row["language"] == "zul"]
    assert all((row["base"], row["tuned"]) == (None, None) for row in zulu)  # there is no rule for it: people judge it, or nobody


def test_labels_of_people_replace_the_rule(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "unsafe_compliance")
    labels = b"".join(dumps({"base": 1, "item": row["id"], "tuned": 0}) + b"\n" for row in HARM)
    report = measured(own_run, data, labels={"unsafe-compliance": labels})
    assert {(row["base"], row["tuned"]) for row in items_of(own_run, "unsafe-compliance")} == {(0, 1)}
    assert report["labels"] == {"unsafe-compliance": sha256(labels)}
    with pytest.raises(BadInput, match="takes none"):
        measured(own_run, data, labels={"heldout": labels})


def test_choices_and_exact_answers_are_those_of_the_harness_and_of_our_own_sums(own_run: Any, tmp_path: Path) -> None:
    from data_pipeline.task_data import read_task
    from eval.harness import _document, ask
    from eval.heldout import Answer, answer_losses
    from eval.weights import load_weights

    policy, data = voted(own_run, tmp_path, "multiple_choice", "exact_match")
    report = measured(own_run, data)
    weights, tokenizer = load_weights(own_run.base, own_run.run_dir / "adapter", "adapter")
    for task in policy.tasks:
        assert task.data is not None
        questions = read_task(data / task.data.sha256.removeprefix("sha256:"), task)
        scores, mean = ask(weights.tuned, tokenizer, task, questions)
        assert report["tasks"][task.name]["overall"]["tuned"] == pytest.approx(mean, abs=1e-6)
        assert {row["item"]: row["tuned"] for row in items_of(own_run, task.name)} == scores
        if task.kind != "multiple_choice":
            continue
        answers = []
        for one in questions:
            document = _document(one)
            start = tokenizer(document["text"], add_special_tokens=False)["input_ids"]
            for place, choice in enumerate(document["choices"]):
                ids = tokenizer(f"{document['text']} {choice}", add_special_tokens=False)["input_ids"]
                answers.append(Answer(f"{one.item}/{place}", one.language, one.cluster, tuple(ids), tuple(i >= len(start) for i in range(len(ids)))))
        losses = answer_losses(weights.tuned, answers)
        for one in questions:
            best = min(range(2), key=lambda place: losses[f"{one.item}/{place}"])
            assert scores[one.item] == float(best == one.label)


def test_an_evaluation_that_was_killed_goes_on_after_the_last_finished_task(own_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import eval.measure as measuring

    _, data = voted(own_run, tmp_path, "open", "over_refusal")
    whole = measured(own_run, data)
    before = {path.name: path.read_bytes() for path in (own_run.run_dir / "eval/items").iterdir()}

    asked: list[str] = []
    original = measuring._scores

    def dies_at_the_second(task: Task, *rest: Any) -> Any:
        asked.append(task.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return original(task, *rest)

    monkeypatch.setattr(measuring, "_scores", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        measured(own_run, data)
    assert (own_run.run_dir / ".eval/items/open.jsonl").is_file()
    again = measured(own_run, data)
    assert asked == ["open", "over-refusal", "over-refusal"]
    assert {path.name: path.read_bytes() for path in (own_run.run_dir / "eval/items").iterdir()} == before
    assert again | {"wall_s": 0} == whole | {"wall_s": 0}


def test_parts_of_another_plan_are_thrown_away_and_those_others_could_write_are_refused(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "open")
    partial, _ = partial_of(own_run.run_dir)
    partial.keep("items/open.jsonl", b"planted")
    voted(own_run, tmp_path, "over_refusal")
    assert partial_of(own_run.run_dir)[0].read("items/open.jsonl") is None
    (own_run.run_dir / ".eval").chmod(0o770)
    with pytest.raises(BadInput, match="written by others"):
        measured(own_run, data)


def test_heldout_answers_are_compared_with_the_members_own(own_run: Any, tmp_path: Path) -> None:
    from sacrebleu.metrics.chrf import CHRF

    _, data = voted(own_run, tmp_path, "heldout_chrf", languages=["est", "spa"], items_per_language=4)
    measured(own_run, data)
    rows = items_of(own_run, "heldout-chrf")
    ledger = {row["record"]: row for row in map(json.loads, (own_run.build / "ledger.jsonl").read_bytes().splitlines())}
    assert {row["language"]: sum(other["language"] == row["language"] for other in rows) for row in rows} == {"est": 4, "spa": 4}
    assert all((row["language"], row["cluster"]) == (ledger[row["item"]]["language"], ledger[row["item"]]["authors"][0]) for row in rows)
    answers = json.loads((own_run.run_dir / "eval/private/answers/heldout-chrf.json").read_bytes())
    from data_pipeline.manifest import read_build
    from data_pipeline.reader import rows as rows_of

    targets = {row.record: row.targets for row in rows_of(read_build(own_run.build), "heldout")}
    for row in rows:
        assert row["tuned"] == pytest.approx(CHRF().sentence_score(answers[row["item"]][1], [targets[row["item"]]]).score / 100, abs=1e-6)


def test_another_file_than_the_voted_one_is_refused(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "open")
    [file] = data.iterdir()
    file.write_bytes(file.read_bytes().replace(b"Kus", b"Kas", 1))
    with pytest.raises(BadInput, match="not the file members voted on"):
        measured(own_run, data)
    file.unlink()
    with pytest.raises(BadInput, match="not at hand"):
        measured(own_run, data)
    assert not (own_run.run_dir / "eval").exists()


def test_a_preference_task_waits_for_members(own_run: Any, tmp_path: Path) -> None:
    _, data = voted(own_run, tmp_path, "preference", comparison="threshold", threshold=0.5)
    with pytest.raises(Refused, match="waits for members"):
        measured(own_run, data)
    assert (own_run.run_dir / ".eval/private/answers/preference.json").is_file()
    assert not (own_run.run_dir / "eval").exists()


def test_a_comparison_with_an_earlier_release_takes_its_scores_from_the_voted_file(own_run: Any, tmp_path: Path) -> None:
    before = b"".join(dumps({"item": row["id"], "tuned": 0.25}) + b"\n" for row in OPEN)
    _, data = voted(own_run, tmp_path, "open", comparison="previous", previous={"release": sha256(b"r"), "sha256": sha256(before)})
    (data / sha256(before).removeprefix("sha256:")).write_bytes(before)
    report = measured(own_run, data)
    assert report["tasks"]["open"]["languages"]["est"]["previous"] == 0.25
    assert (own_run.run_dir / "eval/previous/open.jsonl").read_bytes() == before
    short = before.split(b"\n", 1)[1]
    _, data = voted(own_run, tmp_path, "open", comparison="previous", previous={"release": sha256(b"r"), "sha256": sha256(short)})
    (data / sha256(short).removeprefix("sha256:")).write_bytes(short)
    with pytest.raises(BadInput, match="did not measure these items"):
        measured(own_run, data)
