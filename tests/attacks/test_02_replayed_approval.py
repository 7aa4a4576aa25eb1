"""Threat 2: an approval is used for something else than members approved, or more often.

The attacker holds the operator's key, the log's key and every proof and statement ever made. Blocked: each use is an entry of the
log that names kind, digest and proposal, and is consumed; the gate and `coop verify` go by those entries, not by the approval.
"""

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.gate import run_gate
from governance_hooks.statement import parse, shift
from tests.attacks.forge import blocked, broken, forged_proof, history, only_broken, request_for
from tests.attacks.story import RUN, Story
from tests.village import Approved, Village, found

PLAN, OTHER = digest("the plan members read"), digest("another plan")


def start(proposal: str, **changes: object) -> dict[str, object]:
    return {"run": "run-1", "plan": PLAN, "proposal": proposal, "start": 1} | changes


def later(village: Village, kind: str, payload: dict[str, Any]) -> bytes:
    """Make an operator's statement of another second: the same bytes would be refused as such."""
    village.wait(1)
    return village.entry(kind, payload, "operator")


def completed(village: Village, run: str = "run-1", *, passed: bool = True) -> str:
    """Approve, run and evaluate a run; return its proposal."""
    proposal = village.approve("run", PLAN, uses=2)
    village.say("coop.run-start/v1", start(proposal, run=run), "operator")
    village.say("coop.run-end/v1", {"run": run, "status": "completed", "record": digest(run), "outputs": digest([])}, "operator")
    village.say("coop.evaluation/v1", {"run": run, "report": digest(run), "results": digest(run), "passed": passed}, "operator")
    return proposal


def test_a_second_run_cannot_use_the_approval_of_the_first(village: Village, tmp_path: Path) -> None:
    proposal = village.approve("run", PLAN, uses=2)
    village.say("coop.run-start/v1", start(proposal), "operator")
    blocked(village, later(village, "coop.run-start/v1", start(proposal, run="run-2")), "this approval is used by another run", tmp_path)


def test_another_plan_cannot_use_an_approval(village: Village) -> None:
    proposal = village.approve("run", PLAN)
    blocked(village, later(village, "coop.run-start/v1", start(proposal, plan=OTHER)), "members voted on another subject")


def test_an_approval_is_used_as_often_as_voted_and_no_oftener(village: Village) -> None:
    proposal = village.approve("run", PLAN, uses=2)
    for number in (1, 2):
        village.say("coop.run-start/v1", start(proposal, start=number), "operator")
    blocked(village, later(village, "coop.run-start/v1", start(proposal, start=3)), "this approval is used up")


def test_a_completed_run_is_not_started_again_on_what_is_left_of_its_approval(village: Village) -> None:
    proposal = completed(village)
    blocked(village, later(village, "coop.run-start/v1", start(proposal, start=2)), "this run is completed or belongs to another approval")


def test_an_old_start_is_not_replayed(village: Village) -> None:
    proposal = village.approve("run", PLAN, uses=2)
    old = village.say("coop.run-start/v1", start(proposal), "operator").entry
    blocked(village, old, "this statement is in the log already")


def test_the_gate_lets_nobody_start_on_an_approval_that_is_used_up(approved: Approved) -> None:
    approved.start()
    approved.start(start=2)
    only_broken(run_gate(request_for(approved)), "approval usable", "approval is used up: 2 of 2 starts")


def test_a_process_passes_the_gate_only_for_the_run_that_is_logged(approved: Approved) -> None:
    approved.start("run-1")
    only_broken(run_gate(request_for(approved, run="run-2")), "approval usable", "the log holds no start of run run-2 under this approval")


@pytest.mark.parametrize("kind", ["run", "payout"])
def test_nothing_but_the_approval_of_a_release_releases(village: Village, kind: str) -> None:
    completed(village)
    release = digest("release.json")
    proposal = village.approve(kind, release)
    blocked(village, later(village, "coop.release/v1", {"run": "run-1", "release": release, "proposal": proposal}), f"about a {kind}, not a release")


def test_the_approval_of_a_release_neither_starts_a_run_nor_pays(village: Village) -> None:
    proposal = village.approve("release", PLAN)
    blocked(village, later(village, "coop.run-start/v1", start(proposal)), "about a release, not a run")
    blocked(village, later(village, "coop.payout/v1", {"payout": PLAN, "proposal": proposal}), "about a release, not a payout")


def test_a_payout_is_made_once(village: Village) -> None:
    paid = {"payout": digest("payout.csv"), "proposal": village.approve("payout", digest("payout.csv"))}
    village.say("coop.payout/v1", paid, "operator")
    blocked(village, later(village, "coop.payout/v1", paid), "this payout is made already")


def test_a_release_goes_out_once(village: Village) -> None:
    completed(village)
    released = {"run": "run-1", "release": digest("release.json"), "proposal": village.approve("release", digest("release.json"))}
    village.say("coop.release/v1", released, "operator")
    blocked(village, later(village, "coop.release/v1", released), "this approval is used up")


@pytest.mark.parametrize("when", ["before the close", "after it expired"])
def test_an_approval_is_used_in_its_time(village: Village, when: str) -> None:
    if when == "before the close":
        proposal = village.propose("run", PLAN).id
        for member in village.members:
            village.ballot(member, proposal)
        blocked(village, later(village, "coop.run-start/v1", start(proposal)), "this vote is not closed yet")
    else:
        proposal = village.approve("run", PLAN)
        village.wait(village.coop.register.proposals[proposal].rules.expiry_s)
        blocked(village, village.entry("coop.run-start/v1", start(proposal), "operator"), "this approval has expired")


def test_a_vote_that_was_lost_is_no_approval(village: Village) -> None:
    proposal = village.propose("run", PLAN).id
    village.ballot(village.members[0], proposal)
    village.close(proposal)
    blocked(village, later(village, "coop.run-start/v1", start(proposal)), "members did not approve this: quorum missed")


def test_the_proof_of_one_cooperative_starts_nothing_in_another(approved: Approved, tmp_path: Path) -> None:
    found(tmp_path / "sister")
    with Cooperative.open(tmp_path / "sister") as sister:
        report = run_gate(request_for(approved, pin=sister.pin))
    broken(report, "proof is of this log", "the proof is of another cooperative")


def test_an_old_proof_with_the_approval_unused_does_not_pass_for_a_start_it_does_not_hold(approved: Approved) -> None:
    unused = approved.village.coop.proof().dumps()
    approved.start()
    only_broken(run_gate(request_for(approved, proof=unused, run=RUN)), "approval usable", "the log holds no start of run run-1 under this approval")


def test_more_starts_than_the_plan_allows_do_not_verify(tmp_path: Path) -> None:
    class Restarted(Story):
        uses, starts = 50, 10  # the plan says 3

    only_broken(Restarted(tmp_path).play(), "run vote", "the run was started more often than members voted", "got '10'")


def test_a_vote_on_more_starts_than_the_plan_allows_does_not_pass_the_gate(approved: Approved) -> None:
    more = approved.village.approve("run", sha256(approved.plan_bytes), uses=50)
    only_broken(run_gate(request_for(approved, proposal=more)), "within limits", "the vote allows 50 starts, the plan 2")


def test_a_release_logged_for_a_run_that_passed_does_not_release_the_run_that_did_not(tmp_path: Path) -> None:
    class Lent(Story):
        def publish(self, village: Village, payload: dict[str, str]) -> bytes:
            completed(village, "run-2")
            return super().publish(village, payload | {"run": "run-2"})

    broken(Lent(tmp_path).play(), "release vote", "the vote approves it, but the log holds no release of it for this run")


def test_the_same_approval_twice_in_one_log_is_found_by_whoever_reads_it(approved: Approved) -> None:
    village = approved.village
    approved.start()
    approved.start(start=2)
    third = village.entry("coop.run-start/v1", start(approved.proposal, plan=sha256(approved.plan_bytes), start=3), "operator", issued=shift(village.clock, 1))
    report = run_gate(request_for(approved, proof=forged_proof(village.coop, third, at=village.clock), run=RUN))
    broken(report, "proof is of this log", f"entry {len(history(village))} of the log is not allowed: this approval is used up")
    assert parse(third).author == "operator"
