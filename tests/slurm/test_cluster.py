"""The cluster the other tests of this room stand on: it is real, schedules its GPUs, and leaves nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm
SCRIPT = "#!/bin/bash -p\n"


def test_a_job_runs_on_two_nodes_and_sees_the_gpus_it_asked_for(plain_cluster: Cluster) -> None:
    step = "srun bash -c 'echo \"$SLURM_PROCID of $SLURM_NTASKS on $SLURMD_NODENAME with $CUDA_VISIBLE_DEVICES\"'\n"
    number = plain_cluster.sbatch(SCRIPT + step, "--partition=coop", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=2")
    plain_cluster.wait_state(number, "COMPLETED", "FAILED")
    assert sorted(plain_cluster.output(number).splitlines()) == ["0 of 2 on node1 with 0,1", "1 of 2 on node2 with 0,1"]


def test_more_gpus_than_a_node_has_are_not_given(plain_cluster: Cluster) -> None:
    assert "Requested node configuration is not available" in plain_cluster.submit(SCRIPT, "--gpus-per-node=5").stderr


def test_a_requeued_job_starts_again_soon(plain_cluster: Cluster) -> None:
    number = plain_cluster.sbatch(SCRIPT + 'echo "start $SLURM_RESTART_COUNT"; [ "${SLURM_RESTART_COUNT:-0}" = 1 ] || sleep 60\n', "--open-mode=append")
    plain_cluster.wait_for(lambda: "start" in plain_cluster.output(number))
    plain_cluster.scontrol("requeue", str(number))
    plain_cluster.wait_state(number, "COMPLETED")
    assert plain_cluster.output(number).splitlines()[-1] == "start 1"


def test_a_restarted_controller_knows_its_jobs(plain_cluster: Cluster) -> None:
    number = plain_cluster.sbatch(SCRIPT, "--hold", "--comment=kept")
    plain_cluster.stop_controller()
    plain_cluster.start_controller()
    assert (plain_cluster.state(number), plain_cluster.job(number)["Comment"]) == ("PENDING", "kept")
    plain_cluster.cancel_all()
    assert plain_cluster.drained() == {}


def test_nothing_is_left_when_it_ends() -> None:
    cluster = Cluster(nodes=1)
    cluster.sbatch(SCRIPT + "srun sleep 1000\n")
    cluster.wait_for(lambda: cluster.states() == {"node1": "mix"})
    named = f"SLURM_CONF={cluster.conf}".encode()
    cluster.close()
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            left += [process.name] if named in (process / "environ").read_bytes().split(b"\0") and "Z" not in (process / "stat").read_text().split()[2] else []
        except OSError:
            continue
    assert (left, cluster.folder.exists()) == ([], False)


@pytest.mark.shellcheck
def test_shellcheck_has_nothing_to_say_about_what_installs_slurm() -> None:
    parts = Path(__file__).parents[2] / ".ci" / "system-parts"
    done = subprocess.run(["shellcheck", str(parts)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
