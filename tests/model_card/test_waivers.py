"""Weights that did not pass go out only by the members' waiver, and everything that is published says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import CoopError, Refused
from governance_hooks.motions import Waive
from governance_hooks.plan import EvaluationPolicy, read_plan
from governance_hooks.state.runs import Run
from governance_hooks.verdict import judge
from model_card.evaluation import in_the_way
from model_card.release import Release, add_proof
from model_card.verify import LINKS, verify
from model_card.votes import votes_of

EVALUATION = [name for name, _ in LINKS].index("evaluation under the voted policy")


@pytest.fixture
def failed(finished: Any) -> Any:
    """A finished run whose weights are worse in Norwegian, as the operator has signed in the log."""
    results = finished.run_dir / "eval/results.jsonl"
    rows = [json.loads(line) for line in results.read_bytes().splitlines()]
    rows = [row | {"tuned": row["base"] + 20} if row["language"] == "nor" else row for row in rows]
    results.write_bytes(b"".join(dumps(row) + b"\n" for row in rows))
    plan = read_plan((finished.run_dir / "plan.json").read_bytes())
    finished.edit("eval/report.json", results=sha256(results.read_bytes()), **judge(rows, plan.evaluation, languages=plan.build.languages))
    payload = {"run": "run-1", "report": report_of(finished), "results": sha256(results.read_bytes()), "passed": False}
    finished.village.say("coop.evaluation/v1", payload, "operator")
    return finished


def report_of(finished: Any) -> str:
    return sha256((finished.run_dir / "eval/report.json").read_bytes())


def waive(failed: Any, choice: str = "for") -> str:
    decided: str = failed.village.decide(Waive(run="run-1", report=report_of(failed)), choice=choice)
    return decided


@pytest.fixture
def waived(failed: Any, tmp_path: Path) -> tuple[Any, str, Release]:
    """The same, waived and published."""
    waiver = waive(failed)
    release = failed.assemble(tmp_path / "bundle")
    failed.publish(release)
    return failed, waiver, release


def test_without_a_waiver_or_with_a_rejected_one_nothing_is_assembled(failed: Any, tmp_path: Path) -> None:
    with pytest.raises(CoopError, match=r"(?s)did not pass.*nor FAIL.*coop propose waiver run-1"):
        failed.assemble(tmp_path / "out")
    waive(failed, "against")
    with pytest.raises(CoopError, match="did not pass"):
        failed.assemble(tmp_path / "out")


def test_what_stands_in_the_way_is_named_where_every_language_passes() -> None:
    row = {"verdict": "PASS"}
    judged = {"languages": {"nor": row, "spa": {"verdict": "INSUFFICIENT"}}, "overall": row, "blocking": [{"task": "xcopa", "verdict": "INSUFFICIENT"}]}
    assert in_the_way(judged, EvaluationPolicy()) == ["xcopa INSUFFICIENT"]
    assert in_the_way(judged, EvaluationPolicy(allow_insufficient=False)) == ["spa INSUFFICIENT", "xcopa INSUFFICIENT"]
    assert in_the_way({"languages": {"nor": row}, "overall": {"verdict": "FAIL"}}, EvaluationPolicy()) == ["overall FAIL"]


def test_a_waiver_takes_effect_after_its_challenge_window_and_not_before(failed: Any, tmp_path: Path) -> None:
    village = failed.village
    proposal = village.move(Waive(run="run-1", report=report_of(failed))).id
    village.carry(proposal)
    with pytest.raises(CoopError, match="did not pass"):
        failed.assemble(tmp_path / "out")
    village.stamp(village.coop.register.proposals[proposal].rules.challenge_s)
    failed.assemble(tmp_path / "out")


def test_a_waived_release_verifies_and_says_that_it_did_not_pass(waived: tuple[Any, str, Release]) -> None:
    failed, waiver, release = waived
    report = verify(release.folder, pin=failed.coop)
    assert report.exit_code == 0, report.text()
    assert f"NOT passed (nor FAIL, overall FAIL), which members waived by their vote {waiver[:19]}" in report.steps[EVALUATION].checked
    readme = (release.folder / "README.md").read_text(encoding="utf-8")
    assert f"Outcome: **not passed; members decided by vote `{waiver}` to release it all the same**" in readme
    card = loads((release.folder / "card.json").read_bytes(), floats=True)
    assert card["votes"]["run"]["waiver"]["value"] == waiver
    assert card["evaluation"]["passed"]["value"] is False


def test_what_comes_after_the_release_changes_nothing_about_it(waived: tuple[Any, str, Release]) -> None:
    failed, _, release = waived
    votes, village = failed.votes(), failed.village
    with pytest.raises(Refused, match="waived already"):
        village.move(Waive(run="run-1", report=report_of(failed)))
    village.stamp(90 * 86_400)
    add_proof(release.folder, village.coop.proof().dumps())
    assert failed.votes() == votes
    assert verify(release.folder, pin=failed.coop).exit_code == 0


def test_a_waiver_that_came_after_a_release_is_no_excuse_for_it() -> None:
    run = Run("r", "plan", "proposal", waiver="sha256:" + "0" * 64, waived=7)
    assert run.waived_before_release() == run.waiver
    run.releases["sha256:" + "1" * 64] = 6
    assert run.waived_before_release() is None


def test_a_passed_release_has_no_word_of_a_waiver(bundle: Path) -> None:
    assert "waive" not in verify(bundle).steps[EVALUATION].checked
    assert "all the same" not in (bundle / "README.md").read_text(encoding="utf-8")


def test_a_waiver_the_log_does_not_know_helps_nobody(failed: Any, tmp_path: Path) -> None:
    votes = failed.votes()
    invented = votes | {"run": votes["run"] | {"waiver": "sha256:" + "0" * 64}}
    release = failed.assemble(tmp_path / "bundle", votes=invented)  # who has the files can write what they like
    with pytest.raises(Refused, match="did not pass"):
        failed.publish(release)
    add_proof(release.folder, failed.village.coop.proof().dumps())
    step = verify(release.folder).steps[EVALUATION]
    assert (step.status, step.why) == ("FAIL", "the weights did not pass the policy members voted")


def test_the_votes_on_a_card_name_the_waiver_only_once_it_is_in_effect(failed: Any) -> None:
    assert failed.votes()["run"]["waiver"] is None
    waiver = waive(failed)
    register = failed.village.coop.register
    assert votes_of(register, run="run-1", consents=())["run"]["waiver"] == waiver
