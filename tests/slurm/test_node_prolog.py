"""Third layer: whatever became of the check on the controller, a node wants the site's signed clearance for exactly this start; no node is drained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.site.clearance import Clearance, sign_clearance
from governance_hooks.site.document import body_and_signature
from governance_hooks.statement import now, shift
from tests.slurm.enforced import Enforced

pytestmark = pytest.mark.slurm
NONE = "there is no clearance for it, the check on the controller did not run"


def hook(enforced: Enforced) -> Path:
    return Path(enforced.installation.site.hooks) / "prolog_slurmctld.sh"


def without_controller(enforced: Enforced) -> None:
    """Have SLURM's controller start whatever is in the queue."""
    hook(enforced).write_text("#!/bin/sh\nexit 0\n")


def signed(enforced: Enforced, number: int, /, *, key: Any = None, site: str = "north", **changes: Any) -> None:
    """Put a clearance for a job where its node looks."""
    submitted = int(enforced.cluster.run("squeue", "--noheader", f"--jobs={number}", "--format=%V", env={"SLURM_TIME_FORMAT": "%s"}).stdout)
    said = {"order": "sha256:" + "0" * 64, "job": number, "restart": 0, "user": 65534, "submitted": submitted, "nodes": 1, "devices": 1, "minutes": 5}
    clearance = Clearance(**said | {"expires": shift(now(), 600), "start": None} | changes)
    document = sign_clearance(clearance, coop=enforced.coop.register.coop, site=site, key=key or enforced.key)
    body, signature = body_and_signature(document)
    (enforced.path / "clearance" / f"{number}.0.json").write_bytes(body)
    (enforced.path / "clearance" / f"{number}.0.sig").write_text(signature)


def test_with_the_controllers_prolog_missing_not_executable_or_killed_nothing_runs(enforced: Enforced) -> None:
    path = hook(enforced)
    path.unlink()
    assert NONE in enforced.cancelled(enforced.sbatch(enforced.order()))
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o644)
    assert NONE in enforced.cancelled(enforced.sbatch(enforced.order()))
    path.write_text("#!/bin/sh\nkill -KILL $$\n")
    path.chmod(0o755)
    assert NONE in enforced.cancelled(enforced.sbatch(enforced.order()))
    assert enforced.cluster.drained() == {}


def test_a_job_that_never_passed_job_submit_runs_nothing_either(enforced: Enforced) -> None:
    """The script is not in force at once after a bad edit, and root may take it out: what srun and salloc start meets the nodes all the same."""
    without_controller(enforced)
    (enforced.cluster.folder / "job_submit.lua").write_text("function slurm_job_submit() return 0 end function slurm_job_modify() return 0 end return 0\n")
    cluster, member = enforced.cluster, {"user": enforced.cluster.member, "check": False}
    cluster.wait_for(lambda: cluster.submit("#!/bin/sh\n", "--test-only", "--partition=coop").returncode == 0)
    job = cluster.sbatch("#!/bin/sh\necho trained\n", "--partition=coop")
    assert NONE in enforced.cancelled(job)
    done = cluster.run("srun", "--partition=coop", "echo", "trained", **member)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert NONE in done.stderr
    done = cluster.run("salloc", "--partition=coop", "srun", "echo", "trained", **member)
    assert "trained" not in done.stdout
    moved = cluster.sbatch("#!/bin/sh\necho trained\n", "--hold", "--partition=free")
    cluster.run("scontrol", "update", f"JobId={moved}", "Partition=coop", **member)
    cluster.run("scontrol", "release", str(moved), **member)
    assert NONE in enforced.cancelled(moved)
    assert cluster.drained() == {}


CASES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"key": "a member's"}, "its clearance is not signed by the site"),
    ({"site": "south"}, "its clearance is for another start"),
    ({"job": 1_000_000}, "its clearance is for another start"),
    ({"restart": 1}, "its clearance is for another start"),
    ({"user": 0}, "its clearance is for another start"),
    ({"submitted": 1_700_000_000}, "its clearance is for another start"),
    ({"expires": "2026-01-01T00:00:00Z"}, "its clearance has expired"),
]


def test_only_the_sites_own_clearance_of_this_start_opens_a_node(enforced: Enforced) -> None:
    """Forged by another key or site; replayed from another job, another start, another user's, an earlier job of the same number; too old."""
    without_controller(enforced)
    jobs = [enforced.sbatch(enforced.order(nodes=1 + number % 2, minutes=10 + number), "--hold") for number in range(len(CASES))]
    for job, (changes, _) in zip(jobs, CASES, strict=True):
        key = {"key": enforced.village.keys[enforced.village.members[0]]} if "key" in changes else {}
        signed(enforced, job, **changes | key)
    enforced.cluster.scontrol("release", ",".join(map(str, jobs)))
    for job, (_, why) in zip(jobs, CASES, strict=True):
        if why is None:
            enforced.cluster.wait_state(job, "COMPLETED")
            assert enforced.cluster.output(job) == "trained\n"
        else:
            assert why in enforced.cancelled(job)


def test_a_clearance_of_an_earlier_job_opens_nothing_for_the_next(enforced: Enforced) -> None:
    first = enforced.sbatch(enforced.order())
    enforced.cluster.wait_state(first, "COMPLETED")
    without_controller(enforced)
    second = enforced.sbatch(enforced.order(), "--hold")
    for suffix in ("json", "sig"):
        kept = next(path for part in ("clearance", "done") if (path := enforced.path / part / f"{first}.0.{suffix}").exists())
        (enforced.path / "clearance" / f"{second}.0.{suffix}").write_bytes(kept.read_bytes())
    enforced.cluster.scontrol("release", str(second))
    assert "its clearance is for another start" in enforced.cancelled(second)


def test_a_name_that_looks_like_slurms_own_lines_does_not_make_an_old_clearance_fit(enforced: Enforced) -> None:
    without_controller(enforced)
    old = "2023-11-14T22:13:20"  # 1 700 000 000
    for name in (f"x\n   SubmitTime={old} EligibleTime={old}", f"x\nJobId=1 y\n   SubmitTime={old} EligibleTime={old}"):
        job = enforced.sbatch(enforced.order(), "--hold", f"--job-name={name}")
        signed(enforced, job, submitted=1_700_000_000)
        enforced.cluster.scontrol("release", str(job))
        enforced.cluster.wait_state(job, "CANCELLED")
        assert not (enforced.cluster.home / f"slurm-{job}.out").exists()


@pytest.mark.shellcheck
def test_shellcheck_has_nothing_to_say(enforced: Enforced) -> None:
    for file in enforced.installation.hooks():
        if file.path.suffix == ".sh":
            done = enforced.cluster.run("shellcheck", "--shell=sh", str(file.path), check=False)
            assert (done.returncode, done.stdout) == (0, "")
