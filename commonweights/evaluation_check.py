"""Recomputes the verdicts of a run's evaluation from its items, and compares them with the report and the log."""

from __future__ import annotations

from typing import Any

from commonweights.run_inputs import find_build
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import read_plan

__all__ = ["check_evaluation"]


def check_evaluation(space: Workspace, run: str) -> dict[str, Any]:
    """Return the recomputed verdicts of an evaluated run.

    Raises:
        BadInput: a file is missing, is not the one in the log, or the report does not follow from the items.
    """
    from model_card.evaluation import judge_again
    from model_card.records import CardRecords

    folder, known = space.run(run), space.coop.register.run(run)
    if known.report is None or not (folder / "eval" / "report.json").is_file():
        raise BadInput(f"run {run} is not evaluated", next=f"coop eval {run}")
    plan, report = (folder / "plan.json").read_bytes(), (folder / "eval" / "report.json").read_bytes()
    files = {
        f"eval/{path.relative_to(folder / 'eval').as_posix()}": path.read_bytes() for path in (folder / "eval").rglob("*.jsonl") if "private" not in path.parts
    }
    for what, found, logged in (("plan", plan, known.plan), ("report", report, known.report), ("results", files.get("eval/results.jsonl", b""), known.results)):
        if sha256(found) != logged:
            raise BadInput(f"the {what} of {run} is not the one in the log", value=sha256(found), allowed=str(logged), next="find out who changed it")
    build = find_build(space, read_plan(plan))
    records = CardRecords(run, space.coop.pin, plan, (folder / "run.json").read_bytes(), (build / "manifest.json").read_bytes(), report)
    judged = judge_again(records, files, read_ledger(build / "ledger.jsonl")[0])
    if (known.evaluation_passed, known.waivable) != (judged["passed"], judged.get("waivable", True)):
        raise BadInput(f"the log has another outcome of {run} than its items give", value=known.evaluation_passed, allowed=str(judged["passed"]))
    return judged
