"""The evaluation of a release, judged again from its per-record losses: the same check before the vote and by everyone after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.verdict import judge
from model_card.records import CardRecords

__all__ = ["judge_again"]

RESULTS = "eval/results.jsonl"
_DISTRUST = "do not trust the card's numbers; evaluate again: coop eval"


def _require(condition: bool, what: str, *, value: object = None, allowed: str | None = None) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=allowed, next=_DISTRUST)


def _check_coverage(rows: Sequence[dict[str, Any]], skipped: Sequence[dict[str, str]], ledger: Sequence[LedgerRow], *, at_most: float) -> None:
    heldout = {row.record: row for row in ledger if row.split == "heldout"}
    _require(all(entry["reason"] == "too_long" for entry in skipped), "a held-out record was skipped for a reason that does not count", allowed="too_long")
    _require(len(skipped) <= at_most * len(heldout), "too many held-out records were skipped", value=len(skipped), allowed=f"{at_most:.0%} of {len(heldout)}")
    measured = [row["item"] for row in rows]
    _require(measured == sorted(set(measured)), f"{RESULTS} is not sorted by record, each once")
    covered = sorted([*measured, *(entry["item"] for entry in skipped)])
    _require(
        covered == sorted(heldout), "the results do not cover exactly the held-out records of the ledger", value=len(covered), allowed=f"{len(heldout)} records"
    )
    for row in rows:
        line = heldout[row["item"]]
        _require(
            (row["language"], row["cluster"]) == (line.language, line.authors[0]), f"{RESULTS}: {row['item']} has another language or author in the ledger"
        )


def judge_again(records: CardRecords, files: Mapping[str, bytes], ledger: Sequence[LedgerRow]) -> dict[str, Any]:
    """Return the verdicts recomputed from the results among the files (by path in the bundle); they must be the report's, under the voted policy, over every held-out record.

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
    rows = [loads(line, floats=True, source=f"{RESULTS}, line {number}") for number, line in enumerate(results[:-1].split(b"\n"), 1)]
    judged: dict[str, Any] = loads(dumps(judge(rows, plan.evaluation, languages=plan.build.languages)), floats=True)
    _check_coverage(rows, report.get("skipped"), ledger, at_most=plan.training.max_dropped_fraction)
    differing = sorted(key for key, value in judged.items() if report.get(key) != value)
    _require(not differing, "the report's verdicts do not follow from the results", value=differing)
    return judged
