"""A build under a real SLURM: the same bytes, the scripts an order can name, and what happens when a job is refused, fails or is ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_pipeline import cluster
from data_pipeline.build import build
from data_pipeline.cluster import OnCluster, Script, Slurm
from data_pipeline.handover import Work
from data_pipeline.manifest import Build
from data_pipeline.recipe import DEFAULT
from data_pipeline.shard import Job
from data_pipeline.source import PageFile
from data_pipeline.store import ContributionStore
from data_pipeline.trove import STAGES, Trove
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from tests.data_pipeline.conftest import COOP, USE
from tests.data_pipeline.varied import fill, tree
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm
SITE = Slurm("coop", minutes=5, memory_gb=1, setup=[f"export PYTHONPATH={Path(__file__).parents[2]}"])


@pytest.fixture
def slurm(plain_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that the commands of this process speak to."""
    monkeypatch.setenv("SLURM_CONF", str(plain_cluster.conf))
    monkeypatch.setattr(cluster, "POLL_S", 0.3)
    yield plain_cluster
    plain_cluster.cancel_all()


def made(folder: Path, name: str, **options: Any) -> Build:
    with ContributionStore(folder / "contributions.sqlite") as store:
        return build(
            store, folder / name, coop=COOP, log_size=7, log_root=sha256(b"log"), at="2026-11-22T13:00:00Z", use=USE,
            consent_for=lambda member, _language, _batch: sha256(member.encode()), **options,
        )  # fmt: skip


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A filled store, and the options of a build of it."""
    with ContributionStore(tmp_path / "contributions.sqlite") as store:
        return fill(store, 3)


def test_slurm_makes_the_bytes_the_pool_makes_and_each_script_is_known_before(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    asked = list[Script]()

    def orders(scripts: Sequence[Script]) -> list[str]:
        asked.extend(scripts)
        assert slurm.squeue() == []
        return [f"coop:{script.sha256[7:]}" for script in scripts]

    first = made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(SITE, orders)), shards=3, **options)
    assert tree(first.folder) == tree(made(tmp_path, "pool", **options).folder)
    assert [(one.stage, one.array) for one in asked] == [("prepare", "0-2"), ("join", "0-0"), ("finish", "0-2")]
    for number, script in zip(sorted({int(line.split("_")[0]) for line in slurm.squeue("--format=%i")}), asked, strict=True):
        written = slurm.run("scontrol", "write", "batch_script", str(number), "-").stdout.encode()
        assert (sha256(written), slurm.job(number)["Comment"]) == (script.sha256, f"coop:{script.sha256[7:]}")
        assert written.startswith(b"#!/bin/bash -p\n")
        assert b"--qos" not in written
    assert not (tmp_path / "parts").exists()


@pytest.mark.slow
def test_a_build_whose_jobs_failed_goes_on_where_it_was(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    broken = Slurm("coop", minutes=5, memory_gb=1, setup=[*SITE.setup, '[ "$SLURM_ARRAY_TASK_ID" != 1 ] || exit 3'])
    with pytest.raises(CoopError, match="did not do stage prepare of parts 1\n"):
        made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(broken)), shards=3, **options)
    slurm.wait_for(lambda: not slurm.run("squeue", "--noheader").stdout)  # what waits for a job that failed is taken away
    [work] = (tmp_path / "parts").iterdir()
    done = {path: path.stat().st_mtime_ns for path in work.glob("shard-*")}
    assert sorted(path.name for path in done) == ["shard-00000.arrow", "shard-00002.arrow"]
    again = list[str]()

    def orders(scripts: Sequence[Script]) -> list[None]:
        again.extend(script.stage for script in scripts)
        return [None for _ in scripts]

    class Watching(OnCluster):
        def run(self, work: Any, report: Any) -> None:
            super().run(work, report)
            assert {path: path.stat().st_mtime_ns for path in done} == done

    first = made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", Watching(SITE, orders)), shards=3, **options)
    assert again == ["prepare", "join", "finish"]
    assert tree(first.folder) == tree(made(tmp_path, "pool", **options).folder)


@pytest.mark.slow
def test_a_job_that_is_put_back_into_the_queue_does_its_part_again(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    taken_away = '[ "$SLURM_ARRAY_TASK_ID" != 1 ] || [ -n "$SLURM_RESTART_COUNT" ] || { scontrol requeue "$SLURM_JOB_ID"; sleep 600; }'
    site = Slurm("coop", minutes=5, memory_gb=1, setup=[*SITE.setup, taken_away])
    first = made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(site)), shards=2, **options)
    assert tree(first.folder) == tree(made(tmp_path, "pool", **options).folder)


def test_a_job_slurm_does_not_take_leaves_none_behind(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CoopError, match=r"does not take the jobs of stage prepare: .*invalid partition"):
        made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(Slurm("nowhere"))), **options)
    assert slurm.run("squeue", "--noheader").stdout == ""


def test_a_job_the_site_refuses_is_said_and_leaves_none_behind(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    def refuse() -> None:
        slurm.wait_for(lambda: len(slurm.run("squeue", "--noheader", "--format=%A").stdout.split()) == 3)
        job = slurm.run("squeue", "--noheader", "--format=%A", "--sort=i").stdout.split()[0]
        slurm.scontrol("update", f"JobId={job}", "AdminComment=coop: job may not start: the order has expired")
        slurm.scontrol("hold", job)

    admin = threading.Thread(target=refuse)
    admin.start()
    site = Slurm("coop", minutes=5, setup=SITE.setup, arguments={"begin": "now+1hour"})
    with pytest.raises(Refused, match="the order has expired"):
        made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(site)), **options)
    admin.join()
    slurm.wait_for(lambda: not slurm.run("squeue", "--noheader").stdout)
    assert [path.name for path in tmp_path.glob("parts/*/job.json")] == ["job.json"]


def test_a_refused_order_submits_nothing(slurm: Cluster, options: dict[str, Any], tmp_path: Path) -> None:
    before = slurm.squeue()

    def orders(scripts: Sequence[Script]) -> list[str]:
        raise CoopError("no order for this")

    with pytest.raises(CoopError, match="no order for this"):
        made(tmp_path, "slurm", steps=Trove(tmp_path / "parts", OnCluster(SITE, orders)), **options)
    assert slurm.squeue() == before


def test_a_path_that_would_be_another_option_in_a_script_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot hold this path"):
        made(tmp_path, "slurm", steps=Trove(tmp_path / "my parts", OnCluster(SITE)), **options)


def test_many_parts_are_dealt_out_to_a_thousand_jobs(tmp_path: Path) -> None:
    job = Job(tmp_path, {}, DEFAULT, 4000, COOP, 150)
    work = Work(job, tuple(PageFile(tmp_path / str(number), COOP) for number in range(2500)), COOP)
    site = Slurm("coop", account="lab", qos="low", at_once=8, cpus=4)
    prepare, join = (cluster._Array(work, stage, site) for stage in STAGES[:2])
    script = prepare.script()
    assert (script.array, prepare.tasks_per_job) == ("0-833%8", 3)
    assert {"#SBATCH --account=lab", "#SBATCH --qos=low", "#SBATCH --cpus-per-task=1"} <= set(script.data.decode().splitlines())
    assert "#SBATCH --cpus-per-task=4" in join.script().data.decode()


def test_a_task_is_started_by_slurm_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "data_pipeline.cluster", str(tmp_path), "sha256:" + 64 * "0", "prepare"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode
    assert "only a job of SLURM's runs this" in done.stderr
