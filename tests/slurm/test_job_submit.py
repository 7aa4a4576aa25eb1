"""First layer: what may not even enter the queue of a gated partition, with a message its user understands."""

from __future__ import annotations

import re
import time

import pytest

from governance_hooks.statement import now, shift
from tests.slurm.enforced import SCRIPT, SLEEP, Enforced

pytestmark = pytest.mark.slurm


def refused(done: object, why: str) -> None:
    assert done.returncode != 0  # type: ignore[attr-defined]
    assert f"coop: job REFUSED: {why}" in done.stderr  # type: ignore[attr-defined]


def test_a_job_members_approved_runs_and_its_start_is_on_its_way_to_the_log(enforced: Enforced) -> None:
    job = enforced.sbatch(enforced.order())
    enforced.cluster.wait_state(job, "COMPLETED")
    assert enforced.cluster.output(job) == "trained\n"
    enforced.collect()  # the log takes it as it is
    run = next(run for run in enforced.coop.register.runs.values() if run.proposal == enforced.voted.proposal)
    assert set(run.sites) == {"north"}
    assert enforced.cluster.job(job)["AdminComment"].startswith("coop: order ")


def test_a_job_in_another_partition_needs_no_order(enforced: Enforced) -> None:
    enforced.cluster.wait_state(enforced.cluster.sbatch(SCRIPT), "COMPLETED")


def test_no_approval_no_job(enforced: Enforced) -> None:
    refused(enforced.cluster.submit(SCRIPT, "--partition=coop", "--time=5"), "it names no order")
    refused(enforced.cluster.submit(SCRIPT, "--partition=free,coop", "--time=5"), "it names no order")
    refused(enforced.cluster.submit(SCRIPT, "--partition=coop", "--comment=coop:" + "Ab" * 32), "it names no order")
    refused(enforced.cluster.submit(SCRIPT, "--partition=coop", "--comment=coop:../../../etc/passwd"), "it names no order")
    refused(enforced.submit("0" * 64), "order 000000000000 is not in force here")


def test_only_the_operators_word_about_this_site_counts(enforced: Enforced) -> None:
    forged = enforced.order(key=enforced.village.keys[enforced.village.members[0]])
    assert "not signed by the operators key alone" in enforced.why(forged)
    refused(enforced.submit(forged), f"order {forged[:12]} is not in force here")
    assert "for no site of the cooperative" in enforced.why(enforced.order(site="south"))


def test_an_approval_of_another_plan_does_not_do(enforced: Enforced) -> None:
    other = enforced.vote("another", max_starts=1, max_devices=2, max_minutes=30)
    enforced.refresh()
    order = enforced.order(plan=other.plan)  # that plan, under the approval of the shared one
    assert "is no run proposal about" in enforced.why(order)
    refused(enforced.submit(order), f"order {order[:12]} is not in force here")


def test_an_order_beyond_what_was_voted_is_not_in_force(enforced: Enforced) -> None:
    assert "8 devices asked, 4 voted" in enforced.why(enforced.order(devices=8))
    assert "2000 minutes asked, 1000 voted" in enforced.why(enforced.order(minutes=2000))


def test_an_expired_order_is_not_in_force(enforced: Enforced) -> None:
    order = enforced.order()
    said = enforced.path / "orders" / f"{order}.ok"
    said.write_text(re.sub("^expires=.*", f"expires={int(time.time()) - 1}", said.read_text(), flags=re.M))  # as if it had ended since `sync` looked
    refused(enforced.submit(order), "the order has expired")
    assert "this order has expired" in enforced.why(enforced.order(expires=shift(now(), -1)))


def test_a_job_asks_for_no_more_than_its_order_says(enforced: Enforced) -> None:
    order = enforced.order()
    refused(enforced.submit(order, "--gpus-per-node=3"), "3 GPUs asked, the order says 2")
    refused(enforced.submit(order, "--gpus-per-node=2", "--nodes=2"), "4 GPUs asked, the order says 2")
    refused(enforced.submit(order, "--gpus=4"), "4 GPUs asked")
    refused(enforced.submit(order, "--ntasks=4", "--gpus-per-task=1"), "4 GPUs asked")
    refused(enforced.submit(order, "--time=11"), "11 minutes asked, the order says 10")
    refused(enforced.submit(order, "--time=UNLIMITED"), "it has no --time")
    refused(enforced.submit(order, "--nodes=1-3"), "3 nodes asked, the order says 2")
    refused(enforced.submit(order, "--array=1-2%1"), "array 1-2%1 asked, the order says none")
    refused(enforced.submit(order, user="root"), "the order is for another user")


def test_an_array_is_exactly_the_one_ordered(enforced: Enforced) -> None:
    order = enforced.order(array="1-2%1")
    refused(enforced.submit(order), "array none asked, the order says 1-2%1")
    refused(enforced.submit(order, "--array=1-2"), "array 1-2 asked")
    refused(enforced.submit(order, "--array=1-3%1"), "array 1-3%1 asked")
    job = enforced.sbatch(order, "--array=1-2%1")
    enforced.cluster.wait_for(lambda: enforced.cluster.squeue(f"--jobs={job}", "--format=%T") == ["COMPLETED"] * 2)


def test_a_script_that_its_environment_can_change_is_refused(enforced: Enforced) -> None:
    order = enforced.order()
    for name in ("BASH_ENV", "ENV", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP"):
        refused(enforced.submit(order, env={name: "/dev/null"}), f"{name} in the environment")
    plain = enforced.order("#!/bin/bash\necho trained\n")
    refused(enforced.submit(plain, script="#!/bin/bash\necho trained\n"), "the script does not begin with #!/bin/bash -p")


def test_a_function_in_the_environment_changes_nothing(enforced: Enforced) -> None:
    script = "#!/bin/bash -p\ntrue() { :; }\necho trained\n"
    job = enforced.sbatch(enforced.order(script), script=script, env={"BASH_FUNC_echo%%": "() { printf changed; }"})
    enforced.cluster.wait_state(job, "COMPLETED")
    assert enforced.cluster.output(job) == "trained\n"


def test_what_nobody_has_seen_is_refused_srun_salloc_and_heterogeneous_jobs(enforced: Enforced) -> None:
    order = enforced.order()
    member = {"user": enforced.cluster.member, "check": False}
    for command in (["srun"], ["salloc", "--no-shell"]):
        refused(enforced.cluster.run(*command, *enforced.options(order), "true", **member), "only batch scripts run here")
    options = enforced.options(order)
    refused(enforced.cluster.run("sbatch", *options, ":", *options, stdin=SCRIPT, **member), "heterogeneous jobs cannot be voted on")


def test_a_job_is_not_moved_into_a_gated_partition_nor_changed_in_it(enforced: Enforced) -> None:
    cluster = enforced.cluster
    outside = cluster.sbatch(SCRIPT, "--hold", "--time=5")
    inside = enforced.sbatch(enforced.order(SLEEP), "--hold", script=SLEEP)

    def update(job: int, change: str) -> bool:
        return bool(cluster.run("scontrol", "update", f"JobId={job}", change, user=cluster.member, check=False).returncode == 0)

    assert not update(outside, "Partition=coop")
    assert not update(outside, "Partition=free,coop")
    for change in ("Comment=coop:" + "0" * 64, "TimeLimit=9", "NumNodes=3", "JobName=other", "AdminComment=approved"):
        assert not update(inside, change), change
    assert cluster.job(outside)["Partition"] == "free"
    assert cluster.job(inside)["TimeLimit"] == "00:05:00"
    for change in ("TimeLimit=4", "Nice=5"):  # less is nobody's loss
        assert update(inside, change), change
    assert cluster.run("scontrol", "release", str(inside), user=cluster.member, check=False).returncode == 0
    cluster.wait_state(inside, "RUNNING")


def test_a_defect_of_the_script_refuses(enforced: Enforced) -> None:
    order = enforced.order()
    (enforced.path / "orders" / f"{order}.ok").write_text("devices=many\n")
    refused(enforced.submit(order), "the check itself failed")
