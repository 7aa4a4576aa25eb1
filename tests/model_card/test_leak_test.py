"""A release holds the leak test its plan asks for: recomputed, of these weights, signed, and passed or waived."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.leak_policy import DifferentialPolicy, LeakPolicy
from governance_hooks.motions import Waive
from governance_hooks.report import StepFailed
from governance_hooks.state.runs import Run
from model_card.leak_test import CANARIES, DIFFERENTIAL, LEAK, check_leak, differential_words, leak_words
from model_card.records import CardRecords
from model_card.verify import verify
from tests.governance_hooks.test_leak_differential import BEFORE, NEW, bytes_of, losses_of
from tests.governance_hooks.test_leak_differential import record_of as compared_of
from tests.leaky import OUTPUTS, SEED, items_of, lines_of, plan_of, record_of

STRICT = LeakPolicy(maximum_epsilon=1.0)


def release(policy: LeakPolicy | None = STRICT, *, leak: float = 0.0, waiver: str | None = None, seed: bytes = SEED) -> tuple[CardRecords, dict[str, bytes]]:
    """Return the records of a release with a leak test, as far as link 10 reads them, and its files."""
    plan, lines = plan_of(policy=policy, seed=seed), lines_of(leak=leak, seed=seed)
    run = {
        "format": "coop.run/v1", "run": "run-1", "coop": plan.coop, "plan": sha256(bytes_of(plan)), "proposal": None, "status": "completed", "unreleasable": None,
        "started": "2026-11-22T13:00:00Z", "ended": "2026-11-22T13:10:00Z", "trained_records": 18, "trained_root": plan.build.root, "outputs": OUTPUTS,
        "hardware": {"cpu": "a cpu", "cpus": 2, "memory_bytes": 1, "devices": []}, "environment": plan.build.root, "energy": None, "evidence": [],
        "segments": [{"start": 1, "started": "2026-11-22T13:00:00Z", "ended": None, "status": "killed", "cause": None, "from_step": None, "to_step": None,
                      "seconds": None, "device": "cpu", "environment": plan.build.root, "energy": None}],
    }  # fmt: skip
    records = CardRecords("village", plan.coop, bytes_of(plan), dumps(run), b"", b"", {"run": {"waiver": waiver}})
    return records, {LEAK: record_of(plan, lines, seed=seed), CANARIES: items_of(lines)}


def logged(files: dict[str, bytes], *, passed: bool | None = True, **changes: Any) -> Run:
    """Return the run as a log knows it that holds these files."""
    fields: dict[str, Any] = {
        "leak": sha256(files[LEAK]), "leak_differential": sha256(files[DIFFERENTIAL]) if DIFFERENTIAL in files else None, "leak_passed": passed,
    }  # fmt: skip
    return Run("run-1", "plan", "proposal", **(fields | changes))


def test_a_test_that_passed_is_recomputed_and_told() -> None:
    records, files = release()
    assert check_leak(records, files) == "200 made-up texts (canaries) judged again: epsilon at least 0, 0 of 105 repeated word for word; PASS"
    assert check_leak(records, files, logged(files)).endswith("PASS")


def test_a_plan_without_a_policy_says_that_none_was_voted() -> None:
    records, files = release(None)
    assert "no leak policy was voted" in check_leak(records, {})
    line = check_leak(records, files, Run("run-1", "plan", "proposal"))
    assert "200 made-up texts (canaries) judged again" in line
    assert "no leak policy was voted" in line


@pytest.mark.parametrize("gone", [(LEAK,), (CANARIES,), (LEAK, CANARIES)])
def test_a_missing_test_fails_where_the_plan_asks_for_one(gone: tuple[str, ...]) -> None:
    records, files = release()
    left = {path: data for path, data in files.items() if path not in gone}
    for run in (None, logged(files)):
        with pytest.raises(StepFailed, match=r"asks for a leak test, and privacy/.* is missing") as failed:
            check_leak(records, left, run)
        assert failed.value.status == "FAIL"


def test_half_a_test_fails_without_a_policy_too() -> None:
    records, files = release(None)
    with pytest.raises(StepFailed, match="is missing"):
        check_leak(records, {LEAK: files[LEAK]})


def test_a_leak_fails_without_a_waiver_and_is_told_with_one() -> None:
    records, files = release(leak=4.0)
    with pytest.raises(StepFailed, match="did not pass the leak policy members voted: epsilon FAIL"):
        check_leak(records, files)
    with pytest.raises(StepFailed, match="did not pass"):
        check_leak(records, files, logged(files, passed=False))
    waived = logged(files, passed=False, waiver="sha256:" + "a" * 64, waived=5)
    assert "NOT passed (epsilon FAIL, tpr FAIL), which members waived by their vote sha256:aaaa" in check_leak(records, files, waived)
    late = logged(files, passed=False, waiver="sha256:" + "a" * 64, waived=5, releases={"r": 4})
    with pytest.raises(StepFailed, match="did not pass"):
        check_leak(records, files, late)
    assert "which members waived" in check_leak(*release(leak=4.0, waiver="sha256:" + "b" * 64))


def test_insufficient_fails_unless_the_policy_allows_it_and_is_told_then() -> None:
    with pytest.raises(StepFailed, match="canaries INSUFFICIENT"):
        check_leak(*release(LeakPolicy(minimum_canaries=201)))
    assert "INSUFFICIENT, which the policy allows: canaries" in check_leak(*release(LeakPolicy(minimum_canaries=201, allow_insufficient=True)))


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [("run", "run-2", "another run"), ("plan", "sha256:" + "0" * 64, "another plan"), ("weights", [OUTPUTS[0] | {"size": 1}], "other")],
)
def test_a_test_of_something_else_fails(field: str, value: Any, why: str) -> None:
    records, files = release()
    harmed = dumps(json.loads(files[LEAK]) | {field: value})
    with pytest.raises(StepFailed, match=f"of {why}|of another set of weights"):
        check_leak(records, files | {LEAK: harmed})


def test_a_test_that_nobody_signed_fails() -> None:
    records, files = release()
    other = {LEAK: dumps(json.loads(files[LEAK]) | {"wall_s": 4})}
    for run in (logged(files | other), logged(files, leak=None, leak_passed=None), logged(files, passed=False), logged(files, leak_differential=sha256(b""))):
        with pytest.raises(StepFailed, match="not the one the operator signed"):
            check_leak(records, files, run)


def test_a_swapped_coin_is_refused_here_too() -> None:
    records, files = release()
    harmed = files[CANARIES].replace(b'"included":true', b'"included":false', 1)
    with pytest.raises(BadInput, match="not the file"):
        check_leak(records, files | {CANARIES: harmed})
    with pytest.raises(BadInput, match="coin"):
        check_leak(records, {CANARIES: harmed, LEAK: dumps(json.loads(files[LEAK]) | {"items": sha256(harmed)})})


def test_a_flipped_bit_anywhere_is_found() -> None:
    records, files = release()
    run, draw = logged(files), random.Random(4)
    for path in (LEAK, CANARIES):
        for _ in range(60):
            harmed = bytearray(files[path])
            harmed[draw.randrange(len(harmed))] ^= 1 << draw.randrange(8)
            with pytest.raises((BadInput, StepFailed)):
                check_leak(records, files | {path: bytes(harmed)}, run)


def test_a_comparison_that_was_voted_must_be_there_and_pass() -> None:
    policy = STRICT.model_copy(update={"differential": DifferentialPolicy(previous=sha256(bytes_of(BEFORE)))})
    records, files = release(policy, seed=NEW)
    with pytest.raises(StepFailed, match=r"differential\.json is missing"):
        check_leak(records, files)
    quiet, loud = (dumps(compared_of(records.plan, losses_of(shown)) | {"run": "run-1"}) for shown in (0.0, 3.0))
    assert "against the release before, AUC 0." in check_leak(records, files | {DIFFERENTIAL: quiet}, logged(files | {DIFFERENTIAL: quiet}))
    with pytest.raises(StepFailed, match="left_told_apart FAIL"):
        check_leak(records, files | {DIFFERENTIAL: loud}, logged(files | {DIFFERENTIAL: loud}, passed=False))
    with pytest.raises(StepFailed, match="not the one the operator signed"):
        check_leak(records, files | {DIFFERENTIAL: quiet}, logged(files))


def test_people_read_what_was_found() -> None:
    words = "\n".join(leak_words(json.loads(release(leak=4.0)[1][LEAK])))
    assert "a coin put 105 of them into training" in words
    assert "FAIL: the weights give away more than members voted" in words
    assert "lower bound" in "\n".join(leak_words(json.loads(release()[1][LEAK])))
    assert "No leak policy was voted" in "\n".join(leak_words(json.loads(release(None)[1][LEAK])))
    policy = STRICT.model_copy(update={"differential": DifferentialPolicy(previous=sha256(bytes_of(BEFORE)))})
    compared = compared_of(plan_of(seed=NEW, policy=policy), losses_of(3.0), members={"previous": 9, "now": 8, "left": 1, "joined": 0})
    told = "\n".join(differential_words(compared))
    assert "1 of 9 left" in told
    assert "FLAG" in told
    assert "NOT within what members voted" in told


@pytest.fixture
def measured(finished: Any) -> Any:
    """Return a function that signs the evaluation of a finished run, with a leak test of this outcome."""

    def sign(*, passed: bool, leak_passed: bool | None) -> str:
        report = sha256((finished.run_dir / "eval/report.json").read_bytes())
        payload: dict[str, Any] = {
            "run": "run-1",
            "report": report,
            "results": sha256((finished.run_dir / "eval/results.jsonl").read_bytes()),
            "passed": passed,
        }
        if leak_passed is not None:
            payload["leak"] = {"record": sha256(b"leak"), "differential": None, "passed": leak_passed}
        finished.village.say("coop.evaluation/v1", payload, "operator")
        return report

    return finished, sign


def out(finished: Any) -> None:
    release = sha256(b"release")
    finished.village.say("coop.release/v1", {"run": "run-1", "release": release, "proposal": finished.village.approve("release", release)}, "operator")


def test_the_log_takes_no_release_whose_leak_test_did_not_pass(measured: Any) -> None:
    finished, sign = measured
    sign(passed=True, leak_passed=False)
    with pytest.raises(Refused, match="leak test did not pass"):
        out(finished)


def test_members_can_waive_a_leak_test_they_have_read_and_no_other(measured: Any) -> None:
    finished, sign = measured
    report = sign(passed=True, leak_passed=False)
    village = finished.village
    for wrong in (None, sha256(b"another")):
        with pytest.raises(Refused, match="names the leak test that did not pass"):
            village.move(Waive(run="run-1", report=report, leak=wrong))
    village.decide(Waive(run="run-1", report=report, leak=sha256(b"leak")))
    out(finished)
    assert len(village.coop.register.run("run-1").releases) == 1


def test_a_waived_leak_test_does_not_make_the_evaluation_one_that_did_not_pass(measured: Any, tmp_path: Path) -> None:
    finished, sign = measured
    report = sign(passed=True, leak_passed=False)
    finished.village.decide(Waive(run="run-1", report=report, leak=sha256(b"leak")))
    release = finished.assemble(tmp_path / "bundle")
    finished.publish(release)
    step = next(step for step in verify(release.folder, pin=finished.coop).steps if step.name == "evaluation under the voted policy")
    assert step.status == "PASS"
    assert "NOT passed" not in step.checked


def test_a_waiver_of_a_failed_evaluation_names_no_leak_test_that_passed(measured: Any) -> None:
    finished, sign = measured
    report = sign(passed=False, leak_passed=True)
    with pytest.raises(Refused, match="names the leak test that did not pass"):
        finished.village.move(Waive(run="run-1", report=report, leak=sha256(b"leak")))
    finished.village.decide(Waive(run="run-1", report=report))
    out(finished)


@pytest.mark.parametrize("leak_passed", [None, True])
def test_a_run_without_or_with_a_passed_leak_test_goes_out_and_has_nothing_to_waive(measured: Any, leak_passed: bool | None) -> None:
    finished, sign = measured
    report = sign(passed=True, leak_passed=leak_passed)
    assert finished.village.coop.register.run("run-1").leak == (sha256(b"leak") if leak_passed else None)
    with pytest.raises(Refused, match="nothing to waive"):
        finished.village.move(Waive(run="run-1", report=report))
    out(finished)
