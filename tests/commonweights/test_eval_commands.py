"""Tasks by the command line: voted in a plan, measured, judged by members, recomputed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.sshsig import load_private_key
from tests.commonweights.pipeline import CONFIG, decide, prepare

CHOICES = [
    {"id": f"c-{language}-{i}", "language": language, "prompt": f"{word} {i}", "choices": ["respuesta", "erantzuna"], "label": i % 2}
    for language, word in (("spa", "pregunta"), ("eus", "galdera"))
    for i in range(8)
]
PROMPTS = [{"id": f"p-{i}", "language": "spa", "prompt": f"pregunta {i}"} for i in range(6)]
TASKS: list[dict[str, Any]] = [
    {"name": "choices", "kind": "multiple_choice", "file": "choices.jsonl", "tier": "advisory", "minimum_items": 5},
    {
        "name": "pairs",
        "kind": "preference",
        "file": "prompts.jsonl",
        "tier": "advisory",
        "comparison": "threshold",
        "threshold": 0.5,
        "new_tokens": 5,
        "minimum_items": 5,
    },
]


def write_files(folder: Path) -> None:
    for name, rows in (("choices", CHOICES), ("prompts", PROMPTS)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_config(folder: Path, tasks: list[dict[str, Any]]) -> Path:
    path = folder / "first.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"evaluation": CONFIG["evaluation"] | {"tasks": tasks}}), encoding="utf-8")
    return path


@pytest.fixture
def planned(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A plan with two tasks."""
    prepare(coop, home, keys, tmp_path)
    write_files(tmp_path)
    done = coop("-C", home, "plan", write_config(tmp_path, TASKS), "--force")
    assert done.code == 0, done.err
    assert "choices: questions with choices, no worse than the base by more than 0 of 100 in any language; advisory (blocks nothing)." in done.out
    assert "members choose blindly" in done.out
    return tmp_path


def test_tasks_are_voted_measured_judged_by_members_and_recomputed(coop, planned: Path, home: Path, keys: dict[str, Path]) -> None:
    base = ["--base", planned / "tiny"]
    plan = loads((home / "plans/first.json").read_bytes(), floats=True)
    named = {task["name"]: task["data"] for task in plan["evaluation"]["tasks"]}
    assert named["choices"]["sha256"] == sha256((planned / "choices.jsonl").read_bytes())
    assert named["choices"]["items"] == {"eus": 8, "spa": 8}
    assert not [task for task in plan["evaluation"]["tasks"] if "file" in task]
    assert (home / "evals").stat().st_mode & 0o777 == 0o700

    decide(coop, home, keys, "run", "first")
    waiting = coop("-C", home, "train", "first", *base)
    assert (waiting.code, "waits for members' judgements" in waiting.err) == (1, True)
    roll = coop("-C", home, "--json", "eval", "pairs", "first", "--judge", "m-nobody")
    assert (roll.code, "not a member" in roll.out) == (1, True)

    from commonweights.workspace import open_workspace

    with open_workspace(home, read_only=True) as space:
        ids = {name: space.coop.register.holder(load_private_key(keys[name]).public.raw) for name in ("anna", "bela", "caro")}
    for name in ("anna", "bela"):
        sheet = planned / f"{name}.json"
        assert coop("-C", home, "eval", "pairs", "first", "--judge", ids[name], "--out", sheet).code == 0
        document = loads(sheet.read_bytes())
        assert len(document["pairs"]) == 6
        made = dumps(
            {
                "format": "coop.judgement/v1",
                "run": "first",
                "task": "pairs",
                "judge": ids[name],
                "sheet": sha256(sheet.read_bytes()),
                "choices": {f"p-{i}": "a" for i in range(6)},
            }
        )
        answers = planned / f"{name}.judged.json"
        answers.write_bytes(made)
        unsigned = coop("-C", home, "eval", "judge", "first", answers)
        assert (unsigned.code, "is not beside it" in unsigned.err) == (2, True)
        signature = answers.with_name(answers.name + ".sig")
        signature.write_text(load_private_key(keys["caro"]).sign(made))
        forged = coop("-C", home, "eval", "judge", "first", answers)
        assert (forged.code, "not signed by the judge" in forged.err) == (1, True)
        signature.write_text(load_private_key(keys[name]).sign(made))
        assert coop("-C", home, "eval", "judge", "first", answers).code == 0
    again = dumps(loads(made) | {"choices": {"p-0": "b"}})
    answers.write_bytes(again)
    signature.write_text(load_private_key(keys["bela"]).sign(again))
    second = coop("-C", home, "eval", "judge", "first", answers)
    assert (second.code, "judged this task already" in second.err) == (1, True)

    done = coop("-C", home, "--json", "eval", "first", *base)
    assert done.code == 0, done.out
    assert done.json["tasks"]["pairs"]["overall"]["items"] == 12
    assert done.json["preference"]["pairs"]["judges"] == 2
    rows = (home / "runs/first/eval/items/pairs.jsonl").read_bytes()
    assert not any(member.encode() in rows for member in ids.values())
    shown = coop("-C", home, "eval", "first", *base)
    assert "choices (multiple choice, advisory)" in shown.out
    assert "Scores are points of 100" in shown.out

    checked = coop("-C", home, "eval", "first", "--check")
    assert (checked.code, "follows from its items" in checked.out) == (0, True)
    items = home / "runs/first/eval/items/choices.jsonl"
    kept = items.read_bytes()
    items.write_bytes(kept.replace(b'"tuned":0', b'"tuned":1', 1))
    swapped = coop("-C", home, "eval", "first", "--check")
    assert (swapped.code, "not the file the report names" in swapped.err) == (2, True)
    items.write_bytes(kept)
    late = coop("-C", home, "eval", "pairs", "first", "--judge", ids["caro"])
    assert (late.code, "evaluated already" in late.err) == (1, True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"thershold": 0.5}, "did you mean 'threshold'"), ({"kind": "multipel_choice"}, "multiple_choice"), ({"file": "nothing.jsonl"}, "cannot be read"),
        ({"languages": ["fin"]}, "no item in fin"), ({"comparison": "threshold"}, "has a threshold"), ({"metric": "chrf"}, "accuracy"), ({"file": 5}, "no path"),
        ({"previous": "no-release", "comparison": "previous"}, "not there"),
    ],
    ids=str,
)  # fmt: skip
def test_a_task_that_is_not_exactly_right_is_refused_with_what_would_be(coop, tmp_path: Path, home: Path, change: dict[str, Any], match: str) -> None:
    write_files(tmp_path)
    done = coop("-C", home, "plan", write_config(tmp_path, [TASKS[0] | change]))
    assert done.code == 2
    assert match in done.err
    assert not (home / "evals").exists()
