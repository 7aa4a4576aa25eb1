"""Link 10: the leak test of a release follows the voted policy, is the one that was signed, and every number of it follows from the canaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance_hooks.canonical import sha256
from governance_hooks.leak import judge_leak, read_leak
from governance_hooks.leak_differential import judge_differential
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence
from governance_hooks.state.runs import Run
from model_card.records import CardRecords

__all__ = ["CANARIES", "DIFFERENTIAL", "LEAK", "NotPassed", "check_leak", "differential_words", "leak_words"]

LEAK, CANARIES, DIFFERENTIAL = "privacy/leak.json", "privacy/canaries.jsonl", "privacy/differential.json"
_DISTRUST = "do not use these weights as a release"


class NotPassed(StepFailed):
    """The test is sound, and did not pass what members voted: they may waive it."""


def check_leak(records: CardRecords, files: Mapping[str, bytes], run: Run | None = None) -> str:
    """Return what was found when the leak test was recomputed.

    Args:
        records: plan and run record of the release.
        files: the other files of the bundle by path.
        run: the run as the log knows it; with it the records must be those the operator signed, and a test that did not pass needs the members' waiver.

    Raises:
        StepFailed: the plan asks for a test and there is none, it did not pass, or it is not of these weights or not the signed one.
        BadInput: a record is malformed, or a number in it does not follow.
    """
    plan, policy = records.plan, records.plan.evaluation.leak
    there = [path for path in (LEAK, CANARIES, DIFFERENTIAL) if path in files]
    if not there and policy is None:
        return Sentence("no leak policy was voted, and no leak test is in the release: how much the weights give away is not known")
    missing = [path for path in _wanted(records) if path not in files]
    if missing:
        why = f"the voted plan asks for a leak test, and {', '.join(missing)} is missing" if policy is not None else f"{', '.join(missing)} is missing"
        raise StepFailed(why, todo="coop leak RUN, or download the release again, whole")
    if plan.canaries is None:
        raise StepFailed("the release holds a leak test, and the plan has no canaries", todo=_DISTRUST)
    record = read_leak(files[LEAK])
    weights = [entry.model_dump(mode="json") for entry in record.weights]
    for name, found, expected in (
        ("run", record.run, records.run.get("run")),
        ("plan", record.plan, records.plan_source.sha256),
        ("set of weights", weights, records.run.get("outputs")),
    ):
        if found != expected:
            raise StepFailed(f"the leak test is of another {name}", todo=_DISTRUST)
    judged = judge_leak(plan, files[LEAK], files[CANARIES])
    compared = judge_differential(plan, files[DIFFERENTIAL], plan_digest=records.plan_source.sha256, weights=weights) if DIFFERENTIAL in files else None
    passed = None if policy is None else judged["passed"] and (compared is None or compared["passed"])
    if run is not None:
        _require_signed(run, files, passed)
    numbers = judged["numbers"]
    whole = numbers["extraction"]["whole"]
    line = Sentence(
        "{count} made-up texts (canaries) judged again: epsilon at least {epsilon:g}, {found} of {of} repeated word for word",
        count=numbers["made"],
        epsilon=numbers["epsilon"]["lower_bound"],
        found=whole["count"],
        of=whole["of"],
    )
    if compared is not None:
        line = Sentence("{said}; against the release before, AUC {auc:g}", said=line, auc=compared["numbers"]["auc"]["value"])
    if policy is None:
        return Sentence("{said}; no leak policy was voted", said=line)
    verdicts = judged["criteria"] | (compared["criteria"] if compared is not None else {})
    odd = [f"{name} {verdict}" for name, verdict in verdicts.items() if verdict != "PASS"]
    if passed:
        allowed = Sentence("INSUFFICIENT, which the policy allows: {criteria}", criteria=", ".join(odd)) if odd else Sentence("PASS")
        return Sentence("{first}; {second}", first=line, second=allowed)
    waiver = run.waived_before_release() if run is not None else records.votes.get("run", {}).get("waiver")
    if waiver is None:
        raise NotPassed(Sentence("the weights did not pass the leak policy members voted: {criteria}", criteria=", ".join(odd)), todo=_DISTRUST)
    told = {"criteria": ", ".join(odd), "waiver": waiver[:19]}
    return Sentence("{said}; NOT passed ({criteria}), which members waived by their vote {waiver}", said=line, **told)


def _wanted(records: CardRecords) -> list[str]:
    policy = records.plan.evaluation.leak
    return [LEAK, CANARIES, *([DIFFERENTIAL] if policy is not None and policy.differential is not None else [])]


def _require_signed(run: Run, files: Mapping[str, bytes], passed: bool | None) -> None:
    if passed is None and run.leak is None:
        return  # measured without a policy: nothing hangs on it, and nobody signed it
    compared = sha256(files[DIFFERENTIAL]) if DIFFERENTIAL in files else None
    if (run.leak, run.leak_differential, run.leak_passed) != (sha256(files[LEAK]), compared, passed):
        raise StepFailed("the leak test is not the one the operator signed in the log", todo="do not trust the card's numbers")


def leak_words(document: Mapping[str, Any]) -> list[str]:
    """Return in plain words what a leak record says, line by line."""
    numbers, criteria = document["numbers"], document["criteria"]
    epsilon, tpr, exposure, extraction = numbers["epsilon"], numbers["tpr"], numbers["exposure"], numbers["extraction"]
    confidence = f"{numbers['confidence']:.0%}"
    best = max(epsilon["sets"], key=lambda one: (one["right"] / one["guesses"], one["guesses"]), default={"right": 0, "guesses": 0})
    control = numbers["control"]
    lines = [
        f"{numbers['made']} lines nobody wrote; a coin put {numbers['included']} of them into training. Somebody who has the weights guesses which:",
        f"  how private at most   epsilon is at least {epsilon['lower_bound']:g} ({confidence} sure; with delta {epsilon['delta']:g}: {epsilon['with_delta']:g}). "
        f"0 would be no trace; this test could have shown up to {epsilon['ceiling']:g}",
        f"  guesses               {best['right']} of {best['guesses']} right, where the guesser was surest; chance is half",
        f"  told apart            {numbers['auc']['calibrated']['value']:.0%} of pairs of one in and one out ({numbers['auc']['calibrated']['low']:.0%} to {numbers['auc']['calibrated']['high']:.0%}); chance is 50%",
        f"  recognised            {tpr['count']} of {tpr['of']} with {tpr['false_alarms']} false alarms among {tpr['others']} ({tpr['low']:.1%} to {tpr['high']:.1%})",
        f"  repeated              {extraction['whole']['count']} of {extraction['whole']['of']} word for word after the prompt, {extraction['half']['count']} after half the answer "
        f"(at most {extraction['whole']['high']:.1%})",
        f"  exposure              {exposure['included']:.2f} bits of at most {exposure['ceiling']:.2f}; of those left out {exposure['others']:.2f}",
        f"  control               the weights before training: epsilon {control['base']['lower_bound']:g}; coins dealt anew: above zero in "
        f"{control['shuffled']['above_zero']} of {control['shuffled']['of']}",
    ]
    if document["verdict"] is None:
        return [*lines, "No leak policy was voted, so nothing follows from it for a release."]
    return [*lines, "  ".join(f"{name} {verdict}" for name, verdict in criteria.items()), f"{document['verdict']}: {_outcome(document)}"]


def _outcome(document: Mapping[str, Any]) -> str:
    if document["verdict"] == "PASS":
        return "within what members voted. This is a lower bound: somebody cleverer may find more."
    if document["verdict"] == "FAIL":
        return "the weights give away more than members voted; no release without a waiver (coop propose waiver RUN)."
    allowed = "the policy allows a release" if document["passed"] else "no release without a waiver (coop propose waiver RUN)"
    return f"the test cannot tell; {allowed}."


def differential_words(document: Mapping[str, Any]) -> list[str]:
    """Return in plain words what a comparison of two releases says, line by line."""
    numbers, members = document["numbers"], document["members"]
    auc, tpr, dealt = numbers["auc"], numbers["tpr"], numbers["permutation"]
    lines = [
        f"Compared with the release of run {document['previous']['run']}: {numbers['left']} lines nobody wrote were in that one and are in this no more, {numbers['never']} never were in any.",
        f"  told apart            {auc['value']:.0%} of pairs of one that left and one that never was in ({auc['low']:.0%} to {auc['high']:.0%}); chance is 50%",
        f"  recognised            {tpr['count']} of {tpr['of']} with {tpr['false_alarms']} false alarms among {tpr['others']}",
        f"  by chance             as well or better in {dealt['as_high']} of {dealt['of']} deals of the coins",
        f"  members               {members['left']} of {members['previous']} left, {members['joined']} joined",
    ]
    if document["flags"]:
        lines.append("  FLAG: so few left that whoever compares the public lists of contributors learns much about each of them")
    if document["verdict"] is None:
        return [*lines, "No limit was voted for this comparison."]
    words = "  ".join(f"{name} {verdict}" for name, verdict in document["criteria"].items())
    return [*lines, words, f"{document['verdict']}: {'within' if document['passed'] else 'NOT within'} what members voted."]
