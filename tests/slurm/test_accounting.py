"""Under a real SLURM each start of a cleared job becomes one segment with its seconds and devices, however it ended; nothing else does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import slurm
from slurm.segments import settle
from tests.slurm.cluster import Cluster
from tests.slurm.lent import Lent
from tests.village import Approved

pytestmark = pytest.mark.slurm

PARTITIONS = """\
PartitionName=free Nodes=node3 Default=YES MaxTime=INFINITE State=UP
PartitionName=low Nodes=node[1-2] PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE State=UP
PartitionName=high Nodes=node[1-2] PriorityTier=9 PreemptMode=off MaxTime=INFINITE State=UP
"""
HOSTILE = 'a"b\\c\n{"end":0},gpu:9;$(touch /tmp/no)`x`\x7f%s%n'


def accounting(cluster: Cluster) -> str:
    """Install jobcomp.lua for a site in the cluster's folder."""
    text = (Path(slurm.__file__).parent / "jobcomp.lua").read_text()
    (cluster.folder / "jobcomp.lua").write_text(text.replace('"/var/lib/coop-site"', f'"{cluster.folder}/site"'))
    for part in ("ended", "clearance"):
        (cluster.folder / "site" / part).mkdir(parents=True)
    return "JobCompType=jobcomp/lua\nPreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(partitions=PARTITIONS, prepare=accounting)
    yield cluster
    cluster.close()


def second(shown: str) -> int:
    return int(datetime.fromisoformat(shown).timestamp())


class Accounted(Lent):
    """A site whose jobs are real."""

    def __init__(self, approved: Approved, folder: Path, cluster: Cluster) -> None:
        super().__init__(approved, folder)
        self.cluster, self.starts = cluster, 0
        for part in ("clearance", "ended"):
            (folder / part).rmdir()
            (folder / part).symlink_to(cluster.folder / "site" / part)

    def clear_next(self, job: int) -> int:
        """Clear the next start of a job as the controller's prolog does; return its number."""
        submitted, restarts = self.shown(job, "SubmitTime", "RestartCnt")
        self.starts += 1
        self.clear(job, int(restarts), self.begin(start=self.starts), submitted=second(submitted))
        return self.starts

    def shown(self, job: int, *fields: str) -> list[str]:
        """Return fields of a job; `scontrol show job` would mix them with what stands in its name."""
        options = ("--noheader", "--states=all", "--jobs", str(job), "--Format", ",".join(f"{field}:30" for field in fields))
        return str(self.cluster.run("squeue", *options).stdout).split()

    def submit(self, script: str, *options: str) -> tuple[int, int]:
        """Submit a held job, clear it, let it go; return its number and that of its start."""
        job = self.cluster.sbatch(f"#!/bin/bash\n{script}\n", "--hold", *options)
        start = self.clear_next(job)
        self.cluster.scontrol("release", str(job))
        return job, start

    def settled(self, *jobs: int) -> dict[int, tuple[str, int, int, int]]:
        """Return outcome, nodes, devices and seconds of each start, once these jobs have left the queue."""
        self.cluster.wait_for(lambda: not self.cluster.run("squeue", "--noheader", "--format=%A", "--jobs", ",".join(map(str, jobs))).stdout)
        settle(self.folder, self.outbox)
        return {one.start: (one.outcome, one.nodes, one.devices, one.seconds) for one in self.segments()}


@pytest.fixture
def site(approved: Approved, tmp_path: Path, cluster: Cluster) -> Iterator[Accounted]:
    yield Accounted(approved, tmp_path / "site", cluster)
    cluster.cancel_all()


def test_completed_failed_and_cancelled_jobs_are_stated_whatever_they_are_called(site: Accounted, cluster: Cluster) -> None:
    names = ("--job-name", HOSTILE, "--comment", HOSTILE)
    done, a = site.submit("sleep 2", "--partition=low", "--nodes=2", "--gpus-per-node=2", *names)
    failed, b = site.submit("sleep 1; exit 3", "--gres=gpu:h100:1", *names)
    cancelled, c = site.submit("sleep 600", "--gres=gpu:3", *names)
    uncleared = cluster.sbatch("#!/bin/bash\nsleep 1\n", "--partition=low", *names)
    never = cluster.sbatch("#!/bin/bash\n", "--begin=now+1000", *names)
    cluster.wait_for(lambda: site.shown(cancelled, "State") == ["RUNNING"])
    cluster.run("scancel", str(cancelled), str(never))
    found = site.settled(done, failed, cancelled, uncleared)
    assert found.keys() == {a, b, c}
    assert found[a][:3] == ("completed", 2, 4)
    assert found[b][:3] == ("failed", 1, 1)
    assert found[c][:3] == ("cancelled", 1, 3)
    for job, start in ((done, a), (failed, b), (cancelled, c)):
        began, ended = map(second, site.shown(job, "StartTime", "EndTime"))
        assert found[start][3] == ended - began
    assert not list((site.folder / "ended").iterdir())


def test_slurmctld_goes_on_when_nothing_can_be_written_down(site: Accounted, cluster: Cluster) -> None:
    (cluster.folder / "site" / "ended").rename(cluster.folder / "site" / "gone")
    try:
        job, _ = site.submit("true")
        assert cluster.wait_state(job, "COMPLETED")
        cluster.wait_for(lambda: "coop jobcomp: " in cluster.log("slurmctld"))
        assert cluster.wait_state(cluster.sbatch("#!/bin/bash\ntrue\n"), "COMPLETED")
    finally:
        (cluster.folder / "site" / "gone").rename(cluster.folder / "site" / "ended")


@pytest.mark.slow
def test_a_requeued_preempted_timed_out_job_and_one_on_a_lost_node_are_stated_start_by_start(site: Accounted, cluster: Cluster) -> None:
    began = time.time()
    late, timeout = site.submit("sleep 600", "--time=1", "--gres=gpu:1")
    lost, on_lost = site.submit("sleep 600", "--partition=high", "--nodelist=node2", "--no-requeue", "--gres=gpu:2")
    cluster.wait_state(late, "RUNNING")
    cluster.scontrol("update", f"JobId={late}", f"EndTime={(datetime.now() + timedelta(seconds=30)).isoformat(timespec='seconds')}")
    cluster.wait_state(lost, "RUNNING")
    cluster.scontrol("update", "NodeName=node2", "State=DOWN", "Reason=test")
    cluster.wait_state(lost, "NODE_FAIL")
    cluster.scontrol("update", "NodeName=node2", "State=IDLE")
    job, first = site.submit("[ $((SLURM_RESTART_COUNT)) = 2 ] || sleep 600", "--partition=low", "--nodes=2", "--gpus-per-node=4", "--exclusive", "--requeue")
    cluster.wait_state(job, "RUNNING")
    cluster.scontrol("requeue", str(job))
    cluster.wait_for(lambda: cluster.job(job)["Restarts"] == "1" and cluster.state(job) == "PENDING")
    second = site.clear_next(job)
    cluster.wait_state(job, "RUNNING")
    higher, on_higher = site.submit("sleep 1", "--partition=high", "--nodes=1", "--gres=gpu:1")
    cluster.wait_for(lambda: cluster.job(job)["Restarts"] == "2" and cluster.state(job) == "PENDING")
    third = site.clear_next(job)
    cluster.wait_state(late, "TIMEOUT")
    found = site.settled(late, lost, job, higher)
    assert {start: row[:3] for start, row in found.items()} == {
        timeout: ("timeout", 1, 1),
        on_lost: ("node-failure", 1, 2),
        first: ("preempted", 2, 8),
        second: ("preempted", 2, 8),
        third: ("completed", 2, 8),
        on_higher: ("completed", 1, 1),
    }
    for one, start in ((late, timeout), (lost, on_lost), (job, third), (higher, on_higher)):
        started, ended = (int(datetime.fromisoformat(shown).timestamp()) for shown in site.shown(one, "StartTime", "EndTime"))
        assert found[start][3] == ended - started
    assert all(0 <= row[3] <= time.time() - began + 1 for row in found.values())
