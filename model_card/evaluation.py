"""The evaluation of a release, judged again from its per-item results: the same check before the vote and by everyone after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.statistics import MICRO
from governance_hooks.task_items import chosen, read_items, read_previous
from governance_hooks.task_verdict import judge_evaluation
from governance_hooks.tasks import HELDOUT, Task
from model_card.records import CardRecords

__all__ = ["in_the_way", "judge_again"]

RESULTS = "eval/results.jsonl"
ITEMS: Final = "eval/items/"
PREVIOUS: Final = "eval/previous/"
_DISTRUST = "do not trust the card's numbers; evaluate again: coop eval"


def _require(condition: bool, what: str, *, value: object = None, allowed: str | None = None) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=allowed, next=_DISTRUST)


def _check_coverage(rows: Sequence[dict[str, Any]], skipped: Sequence[dict[str, str]], ledger: Sequence[LedgerRow], *, at_most: float) -> None:
    heldout = {row.record: row for row in ledger if row.split == "heldout"}
    _require(all(entry["reason"] == "too_long" for entry in skipped), "a held-out row was skipped for a reason that does not count", allowed="too_long")
    _require(len(skipped) <= at_most * len(heldout), "too many held-out rows were skipped", value=len(skipped), allowed=f"{at_most:.0%} of {len(heldout)}")
    measured = [row["item"] for row in rows]
    _require(measured == sorted(set(measured)), f"{RESULTS} is not sorted by record, each once")
    covered = sorted([*measured, *(entry["item"] for entry in skipped)])
    _require(covered == sorted(heldout), "the results do not cover exactly the held-out rows of the ledger", value=len(covered), allowed=f"{len(heldout)} rows")
    for row in rows:
        line = heldout[row["item"]]
        _require(
            (row["language"], row["cluster"]) == (line.language, line.authors[0]), f"{RESULTS}: {row['item']} has another language or author in the ledger"
        )


def _check_heldout_task(data: bytes, task: Task, ledger: Sequence[LedgerRow]) -> None:
    """Refuse a task on held-out records that asked others than the ledger and the policy give."""
    heldout = {row.record: row for row in ledger if row.split == "heldout" and row.language in task.languages}
    asked = chosen(((record, row.language) for record, row in heldout.items()), task.name, task.items_per_language)
    rows = read_items(data, task)
    _require(
        {row.item for row in rows} == asked,
        f"task {task.name} was not measured on exactly the held-out rows its policy names",
        value=len(rows),
        allowed=f"{len(asked)}",
    )
    for row in rows:
        line = heldout[row.item]
        _require((row.language, row.cluster) == (line.language, line.authors[0]), f"task {task.name}: {row.item} has another language or author in the ledger")


def _check_previous(data: bytes, task: Task, before: bytes | None) -> None:
    """Refuse scores of an earlier release that are not those of the file the policy names."""
    _require(before is not None, f"{PREVIOUS}{task.name}.jsonl is missing", allowed=task.previous.sha256 if task.previous else None)
    earlier = read_previous(before or b"", task)
    for row in read_items(data, task):
        scored = earlier.get(row.item)
        _require(scored is not None and round(scored * MICRO) == row.previous, f"task {task.name}: {row.item} scored otherwise in the earlier release")


def _tasks(report: Mapping[str, Any], policy: EvaluationPolicy, files: Mapping[str, bytes], ledger: Sequence[LedgerRow]) -> dict[str, bytes]:
    """Return the results of each measured task, which must be the files the report names, and all there are."""
    listed = {name: outcome["items"] for name, outcome in (report.get("tasks") or {}).items() if outcome["items"] is not None}
    found = {path.removeprefix(ITEMS).removesuffix(".jsonl"): data for path, data in files.items() if path.startswith(ITEMS)}
    _require(
        listed.keys() == found.keys(),
        "the results of the tasks are not those the report names",
        value=sorted(found),
        allowed=", ".join(sorted(listed)) or "none",
    )
    tasks = {task.name: task for task in policy.tasks}
    for name, data in found.items():
        path = f"{ITEMS}{name}.jsonl"
        _require(name in tasks, f"{path} is of no task the policy names", allowed=", ".join(tasks) or "no task")
        _require(
            listed[name] == {"path": path, "size": len(data), "sha256": sha256(data)},
            f"{path} is not the file the report names",
            value=sha256(data),
            allowed=str(listed[name]),
        )
        if tasks[name].kind in HELDOUT:
            _check_heldout_task(data, tasks[name], ledger)
        if tasks[name].comparison == "previous":
            _check_previous(data, tasks[name], files.get(f"{PREVIOUS}{name}.jsonl"))
    return found


def judge_again(records: CardRecords, files: Mapping[str, bytes], rows: Sequence[LedgerRow]) -> dict[str, Any]:
    """Return the verdicts recomputed from the per-item results; they must be the report's, under the voted policy, over every item.

    Args:
        records: plan, run, manifest and report.
        files: the bundle by path; eval/results.jsonl, eval/items/ and eval/previous/ are read.
        rows: of the build's ledger.

    Raises:
        BadInput: another policy, run, plan, build or weights; results that were changed, left out or added; or verdicts that do not follow.
    """
    report, plan, results = records.report, records.plan, files[RESULTS]
    _require(report.get("policy") == records.plan_source.get("evaluation"), "the evaluation used another policy than the voted plan's")
    for name, expected in (
        ("run", records.run.get("run")),
        ("plan", records.plan_source.sha256),
        ("build", records.manifest.sha256),
        ("results", sha256(results)),
    ):
        _require(report.get(name) == expected, f"the evaluation is of another {name}", value=report.get(name), allowed=str(expected))
    _require(report.get("weights") == records.run.get("outputs"), "the evaluation is of other weights than the run's")
    _require(results.endswith(b"\n"), f"{RESULTS} is empty or cut off")
    lines = [loads(line, floats=True, source=f"{RESULTS}, line {number}") for number, line in enumerate(results[:-1].split(b"\n"), 1)]
    items = _tasks(report.document, plan.evaluation, files, rows)
    judged: dict[str, Any] = loads(dumps(judge_evaluation(lines, items, plan.evaluation, languages=plan.build.languages)), floats=True)
    _check_coverage(lines, report.get("skipped"), rows, at_most=plan.training.max_dropped_fraction)
    stated = dict(report.document)
    if "tasks" in stated:  # the report says where each task's results are; what they mean is recomputed
        stated["tasks"] = {name: {key: value for key, value in outcome.items() if key != "items"} for name, outcome in stated["tasks"].items()}
    differing = sorted(key for key, value in judged.items() if stated.get(key) != value)
    _require(not differing, "the report's verdicts do not follow from the results", value=differing)
    return judged


def in_the_way(judged: Mapping[str, Any], policy: EvaluationPolicy) -> list[str]:
    """Return what of an evaluation stands in the way of a release: languages and tasks by name, with their verdicts."""
    bad = ("FAIL",) if policy.allow_insufficient else ("FAIL", "INSUFFICIENT")
    languages = [f"{language} {row['verdict']}" for language, row in [*judged["languages"].items(), ("overall", judged["overall"])] if row["verdict"] in bad]
    return languages + [f"{one['task']} {one['verdict']}" for one in judged.get("blocking", ())]
