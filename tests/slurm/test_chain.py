"""A run at a site, from the vote to the card, under a real SLURM: chained, preempted, stopped; four processes on two nodes that share this machine."""

from __future__ import annotations

import pytest

from commonweights.workspace import open_workspace
from tests.slurm.sent import Lender
from tests.slurm.sent import lender as lender

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
STEPS = 300


@pytest.fixture(scope="module")
def chained(lender: Lender) -> dict[str, int]:
    """The run that nothing interrupts, with its evaluation and its card."""
    lender.vote("chain", STEPS)
    jobs = lender.submit("chain")
    with lender.pumping():
        for kind in ("train", "eval", "card"):
            state = lender.wait(jobs[kind], "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")["JobState"]
            assert state == "COMPLETED", lender.written("chain") + lender.cluster.log("slurmctld")[-3000:]
        lender.wait_for(lambda: _segments(lender, "chain") == 1)
    return jobs


def _segments(lender: Lender, run: str) -> int:
    with open_workspace(lender.home, read_only=True) as space:
        return len(space.coop.register.run(run).segments)


def test_plan_vote_submit_train_evaluate_card_as_one_chain(lender: Lender, chained: dict[str, int]) -> None:
    with open_workspace(lender.home, read_only=True) as space:
        run = space.coop.register.run("chain")
    assert (run.sites, run.status, run.evaluation_passed is not None) == (["north"], "completed", True)
    assert (run.segments[1].outcome, run.segments[1].devices, run.segments[1].nodes, run.segments[1].job) == ("completed", 4, 2, chained["train"])
    record = lender.record("chain")
    assert (record["processes"], record["steps"], record["starts"]) == (4, STEPS, 1)
    assert "4 tasks on 2 nodes are ready" in lender.written("chain")
    assert (lender.home / "runs" / "chain" / "card" / "README.md").is_file()
    assert "all checks hold" in lender("audit").out or lender("audit").code == 0
    assert lender.cluster.drained() == {}
