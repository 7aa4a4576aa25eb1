"""The batch script of a plan: as it is written, and as it runs with a scheduler that is not there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.plan import Base, BuildRef, Code, EvaluationPolicy, Limits, Mix, Plan, Policies, TokenCounts, TokensRef
from governance_hooks.training import Training
from slurm.sbatch import render

GOLDEN = Path(__file__).with_name("voices.sbatch")
COMMAND = ["coop", "-C", "/srv/our cooperative", "train", "voices"]


def plan(devices: int = 16) -> Plan:
    use = Use(
        purpose="dpv:NonCommercialResearch",
        processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
        recipients=["coop:PublicViaReleasedWeights"],
        licence="Apache-2.0",
    )
    return Plan(
        coop=digest("coop"),
        name="voices",
        use=use,
        base=Base(name="village/tiny", licence="Apache-2.0", digest=digest([]), files=[]),
        build=BuildRef(manifest=digest("b"), root=digest("r"), records=1, languages={"spa": {"train": 1, "heldout": 0, "members": 1}}),
        code=Code(digest=digest("c"), packages={}),
        tokens=TokensRef(digest=digest("t"), languages={"spa": TokenCounts(rows=1, tokens=2, supervised=1, too_long=0)}),
        mix=Mix(),
        training=Training(strategy="fsdp2"),
        evaluation=EvaluationPolicy(),
        limits=Limits(max_devices=devices, max_minutes=90),
        policies=Policies(),
    )


def test_the_script_is_the_one_kept_here() -> None:
    assert render(plan(), command=COMMAND, devices=16) == GOLDEN.read_text(encoding="utf-8")


def test_nodes_are_filled_equally_and_no_device_is_taken_that_was_not_voted() -> None:
    assert "--nodes=1\n" in render(plan(), command=COMMAND, devices=5)
    assert "--ntasks-per-node=4\n" in render(plan(), command=COMMAND, devices=16, devices_per_node=4)
    with pytest.raises(BadInput, match="nodes of equal size"):
        render(plan(), command=COMMAND, devices=9)
    with pytest.raises(BadInput, match="another number of devices"):
        render(plan(4), command=COMMAND, devices=5)


@pytest.mark.shellcheck
def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", "--shell=bash", str(GOLDEN)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Stand-ins for srun, which runs two tasks one after the other, for scontrol, and for coop, which leaves with $STATUS."""
    programs = {
        "scontrol": 'case "$1 $2" in "show hostnames") echo node7; echo node8;; "show node") echo "NodeName=$3 NodeAddr=10.0.0.7 Port=1";; *) echo "$@" >>calls;; esac',
        "srun": 'for option in "$@"; do case "$option" in --*) shift;; *) break;; esac; done; for rank in 0 1; do RANK=$rank "$@" || exit $?; done',
        "coop": 'echo "$MASTER_ADDR $MASTER_PORT $OMP_NUM_THREADS $RANK $#" >>tasks; exit "$STATUS"',
    }
    for name, body in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def run(cluster: Path, status: int) -> int:
    environment = os.environ | {
        "PATH": f"{cluster / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4021",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "STATUS": str(status),
    }
    return subprocess.run(["bash", str(GOLDEN)], cwd=cluster, env=environment, capture_output=True, check=False).returncode


def test_every_task_finds_the_first_and_gets_its_arguments_whole(cluster: Path) -> None:
    assert run(cluster, 0) == 0
    assert (cluster / "tasks").read_text().splitlines() == ["10.0.0.7 24021 8 0 4", "10.0.0.7 24021 8 1 4"]
    assert not (cluster / "calls").exists()


def test_a_preempted_run_is_put_back_once_and_leaves_nothing_behind(cluster: Path) -> None:
    assert run(cluster, 75) == 0
    assert (cluster / "calls").read_text() == "requeue 4021\n"
    assert len((cluster / "tasks").read_text().splitlines()) == 2
    assert not list(cluster.glob("*.preempted"))


@pytest.mark.parametrize("status", [1, 2, 137])
def test_a_failed_or_blocked_run_is_not_put_back(cluster: Path, status: int) -> None:
    assert run(cluster, status) == status
    assert not (cluster / "calls").exists()
