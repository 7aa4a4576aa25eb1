"""The budget of a vote as a QOS: what it says follows from the plan, and a real SLURM with accounts keeps to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Limits, Plan
from slurm.qos import Qos, apply_qos, check_enforced, qos_name, read_qos
from tests.slurm.cluster import Cluster
from tests.slurm.database import Accounts
from tests.slurm.test_sbatch import plan

ENFORCED = "AccountingStorageEnforce=associations,limits,qos,safe\nAccountingStorageTRES=gres/gpu\nPriorityType=priority/multifactor\n"


def voted(**limits: int) -> bytes:
    made = Plan.model_validate(plan().model_copy(update={"limits": Limits(**limits)}).model_dump())
    return dumps(made.model_dump(mode="json"))


def test_the_qos_allows_what_was_voted_and_is_named_by_the_plan() -> None:
    data = voted(max_devices=4, max_minutes=90, max_device_minutes=100)
    assert read_qos(data) == Qos(qos_name(sha256(data)), 4, 90, 100)
    assert read_qos(voted(max_devices=4, max_minutes=90)).device_minutes == 360
    assert read_qos(voted(max_devices=4, max_minutes=90, max_device_minutes=999)).device_minutes == 360


def test_the_commands_name_every_limit_and_an_account_is_no_way_to_another_command() -> None:
    qos = Qos("coop-0123456789ab", 4, 90, 100)
    add, change, allow = qos.commands("village")
    assert add[-3:] == ["add", "qos", "coop-0123456789ab"]
    assert change[-4:] == ["GrpTRESMins=gres/gpu=100", "GrpTRES=gres/gpu=4", "MaxWall=90", "Flags=DenyOnLimit,NoDecay"]
    assert allow[-4:] == ["account", "village", "set", "qos+=coop-0123456789ab"]
    assert len(qos.commands(None)) == 2
    for name in ("a b", "a,b", "--all", "x=y", "", "a\nb"):
        with pytest.raises(BadInput, match="no name of an account"):
            qos.commands(name)


@pytest.mark.slurm
def test_on_a_cluster_without_accounts_a_budget_is_refused(plain_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(plain_cluster.conf))
    with pytest.raises(CoopError, match="would not keep to a QOS: AccountingStorageType lacks accounting_storage/slurmdbd"):
        apply_qos(Qos("coop-x", 1, 1, 1), None)


@pytest.fixture(scope="module")
def accounts() -> Iterator[Cluster]:
    database = Accounts()
    try:
        cluster = Cluster(prepare=lambda cluster: database.prepare(cluster) + ENFORCED)
        for command in (("add", "account", "village"), ("add", "user", "nobody", "account=village")):
            cluster.run("sacctmgr", "--immediate", *command)
        yield cluster
        cluster.close()
    finally:
        database.close()


@pytest.mark.slow
@pytest.mark.slurmdbd
def test_a_real_slurm_keeps_to_the_budget_of_a_vote(accounts: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(accounts.conf))
    check_enforced()
    qos = read_qos(voted(max_devices=6, max_minutes=10, max_device_minutes=30))
    apply_qos(qos, "village")
    apply_qos(qos, "village")  # again: nothing is new
    shown = accounts.run("sacctmgr", "--noheader", "--parsable2", "show", "qos", qos.name, "format=Name,GrpTRESMins,GrpTRES,MaxWall,Flags").stdout
    assert shown.strip() == f"{qos.name}|gres/gpu=30|gres/gpu=6|00:10:00|DenyOnLimit,NoDecay"
    vote = f"--qos={qos.name}"

    def refusal(*options: str) -> str:
        done = accounts.submit("#!/bin/bash\ntrue\n", "--partition=coop", vote, *options)
        assert done.returncode, done.stdout
        return str(done.stderr)

    # More devices, more time or more device-minutes than were voted are refused at once.
    assert "QOSGrpGRES\n" in refusal("--gres=gpu:4", "--nodes=2", "--time=1")
    assert "QOSMaxWallDurationPerJobLimit" in refusal("--gres=gpu:1", "--time=11")
    assert "QOSGrpGRESMinutes" in refusal("--gres=gpu:4", "--time=8")
    # What was used counts: six devices for 12 s leave less of thirty device-minutes than another such job could take, and enough for four devices, even if it took a minute more.
    same = ("#!/bin/bash\nsleep 12\n", "--partition=coop", vote, "--nodes=2", "--gres=gpu:3", "--time=5")
    assert accounts.wait_state(accounts.sbatch(*same), "COMPLETED")
    second = accounts.sbatch(*same)
    accounts.wait_for(lambda: accounts.job(second)["Reason"] == "QOSGrpGRESMinutes")
    assert accounts.state(second) == "PENDING"
    assert accounts.wait_state(accounts.sbatch("#!/bin/bash\ntrue\n", "--partition=coop", vote, "--gres=gpu:4", "--time=5"), "COMPLETED")
    assert not accounts.drained()
    accounts.cancel_all()
