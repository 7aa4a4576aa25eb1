"""From a job to the log: cleared by the controller, written down by SLURM, settled, collected; what was used is counted at the next start."""

from __future__ import annotations

import pytest

from commonweights.collecting import Collector
from commonweights.workspace import Workspace
from governance_hooks.statement import now
from slurm.segments import lost, write_off
from slurm.sync import sync
from tests.slurm.enforced import SLEEP, Enforced

pytestmark = pytest.mark.slurm


def test_each_start_of_a_job_reaches_the_log_with_what_it_used_and_the_site_stands_on_it(enforced: Enforced) -> None:
    collector = Collector(Workspace(enforced.coop), {"north": enforced.path})
    assert [event.error for event in collector.round()] == [None]
    run = "twice"
    voted = enforced.vote(run, max_starts=3, max_devices=4, max_minutes=60, max_device_minutes=60)
    enforced.refresh()
    order = enforced.order(SLEEP, voted=voted, run=run, devices=3)
    job = enforced.sbatch(order, "--gpus-per-node=3", "--requeue", script=SLEEP)
    enforced.cluster.wait_state(job, "RUNNING")
    assert lost(enforced.path, {f"{job}.0"}) == []
    assert lost(enforced.path, set()) == [f"{job}.0"]
    enforced.cluster.scontrol("requeue", str(job))
    enforced.cluster.wait_for(lambda: enforced.cluster.state(job) == "RUNNING" and enforced.cluster.job(job)["Restarts"] == "1")
    enforced.cluster.run("scancel", str(job))
    enforced.cluster.wait_state(job, "CANCELLED")
    enforced.cluster.wait_for(lambda: list((enforced.path / "ended").glob("[0-9]*")))
    assert sync(enforced.folder, at=now()).ended == (f"{job}.1",)  # the prolog of the second start has settled the first
    enforced.village.clock = max(enforced.village.clock, now())
    events = collector.round()
    assert [event.what for event in events] == ["appended"] * 4 + ["proof"], events
    found = enforced.coop.register.run(run)
    assert found.sites == ["north", "north"]
    assert {number: (one.job, one.restart, one.devices, one.outcome) for number, one in found.segments.items()} == {
        1: (job, 0, 3, "preempted"),
        2: (job, 1, 3, "cancelled"),
    }
    assert sync(enforced.folder, at=now()).taken
    assert not lost(enforced.path, set())
    assert enforced.cluster.drained() == {}


def test_a_run_does_not_go_on_while_nobody_knows_what_its_last_start_used(enforced: Enforced) -> None:
    run = "unknown"
    voted = enforced.vote(run, max_starts=3, max_devices=1, max_minutes=60)
    enforced.refresh()
    order = enforced.order(SLEEP, run=run, voted=voted, devices=1)
    job = enforced.sbatch(order, "--requeue", script=SLEEP)
    enforced.cluster.wait_state(job, "RUNNING")
    ended, aside = enforced.path / "ended", enforced.path / "aside"
    ended.rename(aside)  # as if the disk were full
    enforced.cluster.scontrol("requeue", str(job))
    enforced.cluster.wait_for(lambda: enforced.cluster.job(job)["Restarts"] == "1")
    aside.rename(ended)
    why = f"may not start: start {job}.0 of this run goes on, or nobody wrote down its end"
    enforced.cluster.wait_for(lambda: why in enforced.cluster.job(job)["AdminComment"] and enforced.cluster.job(job)["Priority"] == "0")
    enforced.cluster.run("scancel", str(job))
    assert [one.name for one in write_off(enforced.path, enforced.folder.outbox(), f"{job}.0")] == [f"{job}.0"]
    again = enforced.sbatch(enforced.order(SLEEP, run=run, voted=voted, devices=1), script=SLEEP)
    enforced.cluster.wait_state(again, "RUNNING")
