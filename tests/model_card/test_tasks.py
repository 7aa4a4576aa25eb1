"""Tasks of the voted policy through the log, the check before the vote, and everybody's check after it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.ledger import parse_ledger
from governance_hooks.motions import Waive
from governance_hooks.plan import EvaluationPolicy, read_plan
from governance_hooks.task_items import ids_digest, write_items
from governance_hooks.task_verdict import judge_evaluation
from governance_hooks.tasks import Task
from model_card.evaluation import judge_again
from model_card.records import CardRecords

LANGUAGES = ["est", "ita"]


def rows_of(tuned: float) -> list[dict[str, Any]]:
    draw = random.Random(3)
    return [
        {
            "item": f"q-{language}-{i:03}",
            "language": language,
            "cluster": f"q-{i:03}",
            "base": int(draw.random() < 0.4),
            "tuned": int(draw.random() < tuned),
            "overlap": 0,
            "longest": 0,
        }
        for language in LANGUAGES
        for i in range(80)
    ]


def task_of(rows: list[dict[str, Any]], **changes: Any) -> Task:
    data = {
        "name": "q.jsonl", "size": 9, "sha256": sha256(b"q"), "items": dict.fromkeys(LANGUAGES, 80),
        "ids": ids_digest((row["item"], row["language"], row["cluster"]) for row in rows),
    }  # fmt: skip
    return Task.model_validate({"name": "questions", "kind": "multiple_choice", "metric": "accuracy", "data": data, "languages": LANGUAGES} | changes)


class Evaluated:
    """The records of a finished run as if its plan had had tasks, and the files of its evaluation."""

    def __init__(self, finished: Any, items: dict[str, bytes], *tasks: Task) -> None:
        self.rows = parse_ledger((finished.build_dir / "ledger.jsonl").read_bytes(), source="ledger.jsonl")[0]
        plan = json.loads((finished.run_dir / "plan.json").read_bytes())
        self.policy = EvaluationPolicy(resamples=200, tasks=list(tasks))
        plan["evaluation"] = self.policy.model_dump(mode="json")
        self.plan = dumps(plan)
        self.run = dumps(json.loads((finished.run_dir / "run.json").read_bytes()) | {"plan": sha256(self.plan)})
        self.manifest, self.coop = (finished.build_dir / "manifest.json").read_bytes(), finished.coop
        results = (finished.run_dir / "eval/results.jsonl").read_bytes()
        self.files = {"eval/results.jsonl": results} | {f"eval/items/{name}.jsonl": data for name, data in items.items()}
        self.report = json.loads((finished.run_dir / "eval/report.json").read_bytes()) | {"plan": sha256(self.plan), "policy": plan["evaluation"]}
        rows = [loads(line, floats=True) for line in results.splitlines()]
        judged = judge_evaluation(rows, items, self.policy, languages=read_plan(self.plan).build.languages)
        for name, outcome in judged["tasks"].items():
            outcome["items"] = {"path": f"eval/items/{name}.jsonl", "size": len(items[name]), "sha256": sha256(items[name])} if name in items else None
        self.report |= judged

    def judge(self) -> dict[str, Any]:
        return judge_again(CardRecords("x", self.coop, self.plan, self.run, self.manifest, dumps(self.report)), self.files, self.rows)


@pytest.fixture
def evaluated(finished: Any) -> Evaluated:
    rows = rows_of(0.8)
    task = task_of(rows)
    return Evaluated(finished, {"questions": write_items(rows, task)}, task)


def test_tasks_are_judged_again_from_their_items(evaluated: Evaluated) -> None:
    judged = evaluated.judge()
    assert judged["tasks"]["questions"]["verdict"] == "PASS"
    assert (judged["blocking"], judged["waivable"]) == ([], True)


def test_other_items_than_the_report_names_are_refused(evaluated: Evaluated) -> None:
    path = "eval/items/questions.jsonl"
    good = evaluated.files[path]
    swapped = write_items(rows_of(0.95), evaluated.policy.tasks[0])
    for bad, match in ((swapped, "not the file the report names"), (good.replace(b'"tuned":0', b'"tuned":1', 1), "not the file the report names")):
        evaluated.files[path] = bad
        with pytest.raises(BadInput, match=match):
            evaluated.judge()
    evaluated.files[path] = swapped  # and the report with it, but not its verdicts
    evaluated.report["tasks"]["questions"]["items"] = {"path": path, "size": len(swapped), "sha256": sha256(swapped)}
    with pytest.raises(BadInput, match="do not follow"):
        evaluated.judge()


def test_results_that_are_left_out_or_that_nobody_voted_on_are_refused(evaluated: Evaluated) -> None:
    evaluated.files["eval/items/pretty.jsonl"] = b"{}\n"
    with pytest.raises(BadInput, match="not those the report names"):
        evaluated.judge()
    del evaluated.files["eval/items/pretty.jsonl"], evaluated.files["eval/items/questions.jsonl"]
    with pytest.raises(BadInput, match="not those the report names"):
        evaluated.judge()


def test_a_dropped_language_is_refused(finished: Any) -> None:
    rows = rows_of(0.8)
    task = task_of(rows)
    made = Evaluated(finished, {"questions": write_items(rows, task)}, task)
    kept = b"".join(dumps(row) + b"\n" for row in rows if row["language"] != "est")
    made.files["eval/items/questions.jsonl"] = kept
    made.report["tasks"]["questions"]["items"] |= {"size": len(kept), "sha256": sha256(kept)}
    with pytest.raises(BadInput, match="not as many items"):
        made.judge()


def test_a_policy_changed_after_the_vote_is_refused(evaluated: Evaluated) -> None:
    evaluated.report["policy"] = evaluated.report["policy"] | {"tasks": [task_of(rows_of(0.8), tier="advisory").model_dump(mode="json")]}
    with pytest.raises(BadInput, match="another policy"):
        evaluated.judge()


def test_a_missing_required_task_does_not_pass_and_cannot_be_said_to(finished: Any) -> None:
    made = Evaluated(finished, {}, task_of(rows_of(0.8)))
    judged = made.judge()
    assert (judged["passed"], judged["waivable"]) == (False, False)
    made.report["passed"] = True
    with pytest.raises(BadInput, match="do not follow"):
        made.judge()


def test_an_invented_figure_of_a_task_is_refused(evaluated: Evaluated) -> None:
    evaluated.report["tasks"]["questions"]["languages"]["est"]["tuned"] = 0.99
    with pytest.raises(BadInput, match="do not follow"):
        evaluated.judge()


def test_a_heldout_task_asks_exactly_the_records_the_ledger_gives(finished: Any) -> None:
    ledger = parse_ledger((finished.build_dir / "ledger.jsonl").read_bytes(), source="ledger.jsonl")[0]
    task = Task.model_validate(
        {"name": "answers", "kind": "heldout_chrf", "metric": "chrf", "languages": ["spa"], "new_tokens": 9, "tier": "advisory", "minimum_items": 5}
    )
    rows = [
        {"item": row.record, "language": "spa", "cluster": row.authors[0], "base": 0.25, "tuned": 0.5, "overlap": 0, "longest": 0}
        for row in ledger
        if row.split == "heldout" and row.language == "spa"
    ]
    assert Evaluated(finished, {"answers": write_items(rows, task)}, task).judge()["tasks"]["answers"]["overall"]["items"] == len(rows)
    with pytest.raises(BadInput, match="exactly the held-out rows"):
        Evaluated(finished, {"answers": write_items(rows[1:], task)}, task).judge()
    with pytest.raises(BadInput, match="another language or author"):
        Evaluated(finished, {"answers": write_items([rows[0] | {"cluster": "m-0"}, *rows[1:]], task)}, task).judge()


@pytest.fixture
def unwaivable(finished: Any) -> Any:
    """The finished run, whose evaluation the operator has signed as not passed and not to be waived."""
    report = finished.run_dir / "eval/report.json"
    finished.edit("eval/report.json", passed=False)
    payload = {
        "run": "run-1",
        "report": sha256(report.read_bytes()),
        "results": sha256((finished.run_dir / "eval/results.jsonl").read_bytes()),
        "passed": False,
    }
    finished.village.say("coop.evaluation/v1", payload | {"waivable": False}, "operator")
    return finished


def test_what_the_policy_lets_nobody_waive_no_vote_can_release(unwaivable: Any) -> None:
    register = unwaivable.village.coop.register
    assert register.run("run-1").waivable is False
    with pytest.raises(Refused, match="lets nobody waive"):
        unwaivable.village.decide(Waive(run="run-1", report=sha256((unwaivable.run_dir / "eval/report.json").read_bytes())))
    approved = unwaivable.village.approve("release", sha256(b"a release"))
    with pytest.raises(Refused, match="lets nobody waive"):
        unwaivable.village.say("coop.release/v1", {"run": "run-1", "release": sha256(b"a release"), "proposal": approved}, "operator")


def test_other_files_of_a_bundle_change_nothing(evaluated: Evaluated) -> None:
    before = evaluated.judge()
    evaluated.files["eval/private/answers/x.json"] = b"{}"
    assert evaluated.judge() == before
