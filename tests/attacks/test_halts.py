"""Halts of the oversight body that somebody would rather not have seen."""

from pathlib import Path

import pytest

from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import Refused
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.proof import read_proof
from governance_hooks.statement import shift
from tests.attacks.forge import broken, forged_proof, only_broken, request_for
from tests.attacks.story import RUN, Story
from tests.village import Approved, Village

WEEK = 7 * 86_400


def halt(village: Village, proposal: str, seconds: int = WEEK) -> str:
    """Halt an approval for some time from now; return until when."""
    until = shift(village.clock, seconds)
    village.say("coop.halt/v1", {"proposal": proposal, "until": until}, village.members[3])
    return until


def end(status: str, record: str = "x") -> dict[str, str]:
    return {"run": RUN, "status": status, "record": digest(record), "outputs": digest([record])}


def test_a_run_cannot_be_completed_while_it_is_halted(approved: Approved) -> None:
    village = approved.village
    approved.start()
    until = halt(village, approved.proposal)
    village.wait(60)
    with pytest.raises(Refused, match="this run is halted by the oversight body and cannot be completed") as refused:
        village.say("coop.run-end/v1", end("completed"), "operator")
    assert f"after {until}, when the halt lapses" in str(refused.value)
    assert village.coop.register.runs[RUN].status is None


def test_a_completion_during_a_halt_is_refused_by_every_reader_of_the_log(approved: Approved) -> None:
    village = approved.village
    approved.start()
    halt(village, approved.proposal)
    forged = forged_proof(village.coop, village.entry("coop.run-end/v1", end("completed"), "operator"), at=village.clock)
    with pytest.raises(Refused, match="of the log is not allowed: this run is halted by the oversight body"):
        read_proof(forged).replay(village.coop.pin)


def test_a_release_story_stops_where_a_halted_run_is_said_to_be_completed(tmp_path: Path) -> None:
    class Ignoring(Story):
        def after_start(self, village: Village) -> None:
            halt(village, self.proposal)
            village.wait(60)

    with pytest.raises(Refused, match="this run is halted by the oversight body and cannot be completed"):
        Ignoring(tmp_path).play()


@pytest.mark.parametrize("status", ["halted", "failed"])
def test_a_run_that_ended_is_not_completed_without_a_new_start(approved: Approved, status: str) -> None:
    village = approved.village
    approved.start()
    village.say("coop.run-end/v1", end(status), "operator")
    with pytest.raises(Refused, match="this run has not started again since its last end"):
        village.say("coop.run-end/v1", end("completed", "y"), "operator")
    approved.start(start=2)
    village.say("coop.run-end/v1", end("completed", "y"), "operator")
    assert village.coop.register.runs[RUN].status == "completed"


def test_a_run_that_ended_does_not_pass_the_gate_again_on_its_old_start(approved: Approved) -> None:
    approved.start()
    approved.village.say("coop.run-end/v1", end("failed"), "operator")
    only_broken(run_gate(request_for(approved, run=RUN)), "approval usable", "run run-1 has ended since its last start")


class HaltedRun(Story):
    """The run is halted after it completed, and released all the same."""

    def before_release(self, village: Village) -> None:
        halt(village, self.proposal)


def test_a_halted_run_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the run's approval is halted by the oversight body"):
        HaltedRun(tmp_path).play()


def test_a_release_of_a_halted_run_past_the_writer_does_not_verify(tmp_path: Path) -> None:
    class Forged(HaltedRun):
        def publish(self, village: Village, payload: dict[str, str]) -> bytes:
            return forged_proof(village.coop, village.entry("coop.release/v1", payload, "operator"), at=village.clock)

    broken(Forged(tmp_path).play(), "signatures and rules", "is not allowed: the run's approval is halted by the oversight body")


class LaterHalted(Story):
    def after_publication(self, village: Village) -> None:
        self.until = halt(village, self.proposal)


def test_who_asks_about_now_is_told_of_a_halt_of_the_run_since_the_release(tmp_path: Path) -> None:
    story = LaterHalted(tmp_path)
    assert story.play().passed  # an archived release keeps its answer
    from model_card.verify import verify

    report = verify(story.release.folder, pin=story.village.coop.pin, now=story.village.clock)
    assert (report.exit_code, report.verdict) == (3, "halted")
    assert f"the oversight body halted this run until {story.until}" in report.blocking[0].why


def test_a_second_approval_of_the_same_plan_does_not_hide_a_halt_of_the_runs_own(approved: Approved) -> None:
    village = approved.village
    approved.start()
    guard = Guard(request_for(approved, run=RUN), fresh=lambda: village.coop.proof().dumps(), every_s=0, clock=lambda: village.clock)
    guard.start()
    village.approve("run", sha256(approved.plan_bytes), uses=2)
    until = halt(village, approved.proposal, 3600)
    stop = guard.stop(force=True)
    assert stop is not None
    assert (stop.kind, stop.reason) == ("halted", f"the oversight body halted this approval until {until}")
