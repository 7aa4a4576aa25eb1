"""The training's script under a real SLURM, with a few lines of shell in place of the training: signals, requeue, chains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.profile import Profile
from slurm.sbatch import Layout, render
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm
SITE = Profile(partition="coop", gres="gpu:h100", devices_per_node=2, cpus_per_device=1)
Send = Callable[..., int]


@pytest.fixture
def send(plain_cluster: Cluster, tmp_path: Path) -> Send:
    """Return what sends a training of four tasks on two nodes, each of which runs some lines of bash in the job's folder."""

    def submit(body: str, *, preflight: str = "exit 0", array: int | None = None) -> int:
        for name, text in (("body", body), ("preflight", preflight)):
            (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
            (tmp_path / name).chmod(0o755)
        folder = tmp_path / "job"
        folder.mkdir()
        text = render(
            "train", "voices", Layout(2, 2, 1), minutes=5, command=[str(tmp_path / "body")], preflight=[str(tmp_path / "preflight")], profile=SITE, folder=folder,
            array=array,
        )  # fmt: skip
        return plain_cluster.sbatch(text, user=plain_cluster.owner)

    return submit


def ends(cluster: Cluster, job: int, state: str) -> dict[str, str]:
    found = cluster.wait_state(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", seconds=300)
    assert found["JobState"] == state, cluster.output(job)
    return found


def test_four_tasks_get_one_address_and_their_ranks_and_each_start_has_its_own_log(plain_cluster: Cluster, send: Send, tmp_path: Path) -> None:
    job = send('echo "$SLURM_PROCID $MASTER_ADDR $MASTER_PORT $OMP_NUM_THREADS $CUDA_VISIBLE_DEVICES"')
    ends(plain_cluster, job, "COMPLETED")
    lines = sorted((tmp_path / "job" / f"voices-train-{job}-r0.out").read_text().splitlines())
    assert lines == [f"{rank}: {rank} 127.0.0.1 {20000 + job} 1 0,1" for rank in range(4)]


def test_told_to_save_by_slurm_it_is_put_back_and_goes_on(plain_cluster: Cluster, send: Send, tmp_path: Path) -> None:
    job = send('[ -z "$SLURM_RESTART_COUNT" ] || exit 0\ntrap "exit 75" USR1\ntouch "began-$SLURM_PROCID"\nwhile :; do sleep 0.1; done')
    plain_cluster.wait_for(lambda: len(list((tmp_path / "job").glob("began-*"))) == 4)
    plain_cluster.run("scancel", "--signal=USR1", str(job))
    plain_cluster.wait_for(lambda: plain_cluster.job(job)["Restarts"] == "1")
    ends(plain_cluster, job, "COMPLETED")
    assert (tmp_path / "job" / f"voices-train-{job}-r1.out").is_file()
    assert not list((tmp_path / "job").glob("*.preempted"))


def test_a_signal_before_the_training_listens_costs_a_start_and_no_job(plain_cluster: Cluster, send: Send, tmp_path: Path) -> None:
    job = send('[ -z "$SLURM_RESTART_COUNT" ] || exit 0\ntouch "began-$SLURM_PROCID"\nexec sleep 600')
    plain_cluster.wait_for(lambda: len(list((tmp_path / "job").glob("began-*"))) == 4)
    plain_cluster.run("scancel", "--signal=USR1", str(job))
    assert ends(plain_cluster, job, "COMPLETED")["Restarts"] == "1"


def test_one_task_that_fails_ends_the_others_and_the_job_at_once(plain_cluster: Cluster, send: Send) -> None:
    job = send('[ "$SLURM_PROCID" != 3 ] || exit 7\nsleep 600')
    found = ends(plain_cluster, job, "FAILED")
    assert (found["ExitCode"], found["Restarts"]) == ("143:0", "0")  # srun says the highest of all: three tasks were ended by SIGTERM


def test_a_preflight_that_fails_ends_the_job_before_anything_is_trained(plain_cluster: Cluster, send: Send, tmp_path: Path) -> None:
    job = send("touch trained", preflight='[ "$SLURM_PROCID" != 2 ] || { echo "preflight FAILED on $SLURMD_NODENAME"; exit 1; }')
    ends(plain_cluster, job, "FAILED")
    assert "preflight FAILED on node2" in plain_cluster.output(job)
    assert not (tmp_path / "job" / "trained").exists()


def test_of_a_chain_each_goes_on_where_the_one_before_stopped_and_the_last_takes_the_rest_out(plain_cluster: Cluster, send: Send, tmp_path: Path) -> None:
    job = send('echo "$SLURM_ARRAY_TASK_ID" >>tasks-$SLURM_PROCID\n[ "$SLURM_ARRAY_TASK_ID" = 2 ] || exit 75', array=4)
    plain_cluster.wait_for(lambda: not plain_cluster.run("squeue", "--noheader").stdout)
    assert (tmp_path / "job" / "tasks-0").read_text().split() == ["1", "2"]
    states = {line.split()[0]: line.split()[1] for line in plain_cluster.squeue() if line.startswith(f"{job}_")}
    assert (states[f"{job}_1"], states[f"{job}_2"]) == ("COMPLETED", "COMPLETED")
