"""A run at a site, from the vote to the card, under a real SLURM: chained, preempted, stopped; four processes on two nodes that share this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from commonweights.workspace import open_workspace
from tests.commonweights.pipeline import decide
from tests.slurm.sent import Lender, coop
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
    lender("audit")
    assert lender.cluster.drained() == {}


def test_the_release_of_such_a_run_is_verified_like_any_other(lender: Lender, chained: dict[str, int]) -> None:
    lender("release", "assemble", "chain", "--incomplete", "--no-derived")
    decide(coop, lender.home, lender.keys, "release", "chain")
    lender("release", "publish", "chain")
    verified = coop("--json", "verify", lender.home / "releases" / "chain")
    assert verified.code == 0, verified.out + verified.err


def _freeze(lender: Lender, job: int) -> int:
    """Stop the first process of a training in the middle of it: the others wait for it until SLURM's signal, before which SIGCONT comes, reaches them all.

    Return its number.
    """
    lender.wait_for(lambda: lender.steps(lender_run(lender, job)) >= 20)
    wanted = {f"SLURM_JOB_ID={job}".encode(), b"SLURM_PROCID=0"}
    frozen = list[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")  # srun and the shell around it have the same words, but later
            if wanted <= set((process / "environ").read_bytes().split(b"\0")) and words[1:3] == [b"-m", b"commonweights.cli"]:
                os.kill(int(process.name), signal.SIGSTOP)
                frozen.append(int(process.name))
        except OSError:
            continue
    (number,) = frozen
    return number


def lender_run(lender: Lender, job: int) -> str:
    return lender.cluster.job(job)["JobName"].removesuffix("-train")


def _as_if_nothing_had_happened(lender: Lender, run: str, job: int) -> None:
    state = lender.wait(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", seconds=800)
    assert state["JobState"] == "COMPLETED", lender.written(run) + lender.cluster.log("slurmctld")[-3000:]
    assert int(state["Restarts"]) >= 1
    record = lender.record(run)
    assert (record["status"], record["steps"], record["starts"]) == ("completed", STEPS, int(state["Restarts"]) + 1)
    assert record["segments"][-1]["from_step"] >= 20
    assert lender.weights(run) == lender.weights("chain")
    lender.sync()
    lender("collect", "--site", "north")
    with open_workspace(lender.home, read_only=True) as space:
        logged = space.coop.register.run(run)
    assert [one.outcome for one in logged.segments.values()] == ["preempted"] * int(state["Restarts"]) + ["completed"]
    assert (logged.status, len(logged.starts)) == ("completed", record["starts"])
    assert lender.cluster.drained() == {}


def test_preempted_by_a_higher_partition_it_goes_on_to_the_same_weights_bit_for_bit(lender: Lender, chained: dict[str, int]) -> None:
    lender.vote("urgent", STEPS)
    job = lender.submit("urgent", "--no-eval")["train"]
    _freeze(lender, job)
    other = lender.cluster.sbatch("#!/bin/bash -p\nsleep 1\n", "--partition=urgent", "--nodes=2", "--exclusive", "--time=1", user=lender.cluster.owner)
    lender.wait(other, "COMPLETED")
    _as_if_nothing_had_happened(lender, "urgent", job)


def test_at_the_end_of_its_time_it_is_put_back_and_goes_on_to_the_same_weights_bit_for_bit(lender: Lender, chained: dict[str, int]) -> None:
    lender.vote("short", STEPS, max_starts=4)
    lender.profile(minutes=5, notice_s=150)
    job = lender.submit("short", "--no-eval")["train"]
    lender.profile()
    assert lender.cluster.job(job)["TimeLimit"] == "00:05:00"
    _freeze(lender, job)
    _as_if_nothing_had_happened(lender, "short", job)


def test_sent_twice_it_is_trained_once_and_the_evaluation_behind_the_second_training_goes_on(lender: Lender) -> None:
    lender.vote("twice", STEPS)
    first = lender.submit("twice", "--no-eval")["train"]
    second = lender.submit("twice")
    with lender.pumping():
        assert lender.wait(first, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")["JobState"] == "COMPLETED", lender.written("twice")
        ended = lender.wait(second["train"], "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
        assert (ended["JobState"], "run twice is complete" in ended["AdminComment"]) == ("CANCELLED", True)
        for kind in ("eval", "card"):
            state = lender.wait(second[kind], "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")["JobState"]
            assert state == "COMPLETED", lender.written("twice") + lender.cluster.log("slurmctld")[-3000:]
    with open_workspace(lender.home, read_only=True) as space:
        run = space.coop.register.run("twice")
    assert (len(run.starts), run.status, run.evaluation_passed is not None) == (1, "completed", True)
    assert lender.record("twice")["starts"] == 1
    assert (lender.home / "runs" / "twice" / "card" / "README.md").is_file()
    again = coop("-C", lender.home, "submit", "twice", "--site", "north", "--yes")
    assert (again.code, "run twice is complete" in again.err) == (5, True)
    assert lender.cluster.drained() == {}


def test_behind_a_training_that_was_cancelled_nothing_is_measured_and_the_card_leaves_the_queue(lender: Lender) -> None:
    lender.vote("cut", STEPS)
    jobs = lender.submit("cut")
    lender.wait_for(lambda: lender.steps("cut") >= 20)
    lender.cluster.run("scancel", str(jobs["train"]))
    with lender.pumping():
        assert lender.wait(jobs["eval"], "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")["JobState"] == "FAILED"
        assert lender.wait(jobs["card"], "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")["JobState"] == "CANCELLED"
    assert "run cut is not trained to its end" in lender.written("cut")
    assert not (lender.home / "runs" / "cut" / "eval").exists()
    assert lender.cluster.drained() == {}


def test_a_withdrawal_between_two_segments_stops_the_second_and_the_command_line_says_why(lender: Lender) -> None:
    lender.vote("withdrawn", STEPS)
    jobs = lender.submit("withdrawn")
    job = jobs["train"]
    frozen = _freeze(lender, job)
    lender("consent", "withdraw", "--key", lender.keys["bela"])
    lender.cluster.run("scancel", "--signal=USR1", str(job))
    os.kill(frozen, signal.SIGCONT)
    lender.wait_for(lambda: lender.cluster.job(job)["Restarts"] == "1")
    steps = lender.steps("withdrawn")
    lender("collect", "--site", "north")
    lender.sync()
    lender.wait_for(lambda: "may not start" in lender.cluster.job(job).get("AdminComment", ""))
    lender.wait_for(lambda: "held" in lender.cluster.job(job)["Reason"].lower())
    said = lender("jobs", "why", str(job)).out
    assert "consent" in said
    assert "scontrol release" in said
    assert lender.steps("withdrawn") == steps < STEPS
    assert [lender.cluster.state(jobs[kind]) for kind in ("eval", "card")] == ["PENDING", "PENDING"]
    assert "held" in lender("jobs").out.lower()
    assert lender.cluster.drained() == {}
