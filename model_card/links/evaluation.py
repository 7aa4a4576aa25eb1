"""Links 9 and 10: what was measured follows from the files, under the policy members voted before the run."""

from __future__ import annotations

from governance_hooks.canonical import sha256
from governance_hooks.report import StepFailed, StepSkipped
from governance_hooks.sentence import Sentence
from governance_hooks.stake.shares import check_shares
from model_card.evaluation import in_the_way, judge_again
from model_card.evidence import Evidence
from model_card.leak_test import check_leak

__all__ = ["evaluation", "leak_test"]


def evaluation(found: Evidence) -> str:
    """(9) The evaluation follows the voted policy, covers every held-out record, and its verdicts follow from what was measured of each."""
    found.require_run_vote()
    release, records, results = found.release, found.plain, found.get("eval/results.jsonl")
    judged = judge_again(records, found.files, found.rows)
    run = found.run
    waiver = run.waived_before_release()
    if not judged["passed"] and waiver is None:
        raise StepFailed(Sentence("the weights did not pass the policy members voted"), todo=Sentence("do not use these weights as a release"))
    if not (run.report == records.report.sha256 == release.report and run.results == sha256(results) and run.evaluation_passed is judged["passed"]):
        raise StepFailed("the report is not the evaluation the operator signed in the log", todo="do not trust the card's numbers")
    if run.waivable is not judged.get("waivable", True):
        raise StepFailed("the log says otherwise than the report whether members may waive it", todo="do not trust the card's numbers")
    shares = _shares(found)
    verdicts = [row["verdict"] for row in judged["languages"].values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("PASS", "FAIL", "INSUFFICIENT"))
    said = Sentence(
        "{count} held-out texts judged again: {verdicts} of {languages} languages; {skipped} skipped as too long",
        count=judged["overall"]["items"],
        verdicts=counts,
        languages=len(verdicts),
        skipped=len(records.report.get("skipped")),
    )
    if not judged["passed"]:
        odd = ", ".join(in_the_way(judged, records.plan.evaluation)) or Sentence("no language passes")
        said = Sentence("{said}; NOT passed ({criteria}), which members waived by their vote {waiver}", said=said, criteria=odd, waiver=str(waiver)[:19])
    return Sentence("{first}; {second}", first=said, second=shares) if shares else said


def _shares(found: Evidence) -> str:
    """Recompute the shares of the guilds, if there are any."""
    if "stake/shares.json" not in found.files:
        return ""
    return check_shares(found.get("plan.json"), found.files, run=found.release.run)


def leak_test(found: Evidence) -> str:
    """(10) The leak test is the one of the voted plan, and its numbers follow from what was measured of each canary."""
    found.require_run_vote()
    if found.plain.plan.evaluation.leak is None and "privacy/leak.json" not in found.files:
        raise StepSkipped(Sentence("members voted for no leak test of this run"), checked=Sentence("no leak test in this release"))
    return check_leak(found.records, found.files, run=found.run)
