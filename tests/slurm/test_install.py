"""Installation of the enforcement: what is written, that it can be taken out byte for byte, and that its check sees what is wrong on a live cluster."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from commonweights.cli import coop
from governance_hooks.canonical import digest
from governance_hooks.errors import BadInput
from governance_hooks.statement import now
from slurm.check import BYPASS, check
from slurm.install import Installation, conf_with, conf_without
from tests.slurm.enforced import SCRIPT, Enforced

CONF = "ClusterName=tiny\nSlurmUser=root\n  jobcompType = jobcomp/none\nPartitionName=gpu Nodes=ALL\nPartitionName=cpu Nodes=ALL"
HOOKS = Path("/etc/slurm/coop")


def planned(tmp_path: Path, conf: str = CONF, gated: str = "gpu") -> Installation:
    (tmp_path / "slurm.conf").write_text(conf)
    where = {"conf": tmp_path / "slurm.conf", "folder": tmp_path / "site", "key": tmp_path / "secret" / "key"}
    return Installation.plan(name="north", coop=digest("coop"), gated=[gated], **where)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@given(
    st.lists(st.sampled_from(["A=1", "# Prolog=/x", "JobCompType=jobcomp/none", "PrologFlags=X11", "JobSubmitPlugins=throttle", "", "#", "Include x"])),
    st.booleans(),
)
def test_our_lines_come_out_of_slurm_conf_as_they_went_in(lines: list[str], ended: bool) -> None:
    conf = "\n".join(lines) + "\n" * ended
    once = conf_with(conf, HOOKS)
    assert conf_without(once).rstrip("\n") == conf.rstrip("\n")
    assert conf_with(conf_without(once), HOOKS).rstrip() == once.rstrip()


def test_what_is_there_stays_in_force_beside_ours() -> None:
    conf = conf_with("JobSubmitPlugins=throttle\nPrologFlags=X11,Contain\n", HOOKS)
    assert "\nJobSubmitPlugins=throttle,lua\n" in conf
    assert "\nPrologFlags=Alloc,X11,Contain\n" in conf


@pytest.mark.parametrize("line", ["Prolog=/etc/slurm/mine.sh", "prologslurmctld=/x", "JobCompType=jobcomp/elasticsearch", "JobSubmitPlugins=lua"])
def test_a_hook_of_the_sites_own_is_not_overwritten(line: str) -> None:
    with pytest.raises(BadInput, match=r"has .* already"):
        conf_with(f"A=1\n{line}\n", HOOKS)


def test_installed_twice_is_installed_once_and_uninstalled_is_byte_for_byte_what_was(tmp_path: Path) -> None:
    before = planned(tmp_path)
    original = (tmp_path / "slurm.conf").read_bytes()
    assert {path.name for path in before.changes()} == {
        "allowed_signers", "site.json", "slurm.conf", "job_submit.lua", "jobcomp.lua", "prolog.sh", "prolog_slurmctld.sh"
    }  # fmt: skip
    assert "+PrologSlurmctld=" in before.diff()
    assert (tmp_path / "slurm.conf").read_bytes() == original  # a plan writes nothing there
    before.apply()
    first = everything(tmp_path)
    again = Installation.of(tmp_path / "site")
    assert (again.diff(), again.changes()) == ("", [])
    again.apply()
    assert everything(tmp_path) == first
    again.remove()
    assert (tmp_path / "slurm.conf").read_bytes() == original
    assert {name.split("/")[0] for name in everything(tmp_path)} == {"slurm.conf", "site", "secret"}


def test_what_an_admin_changed_since_is_kept(tmp_path: Path) -> None:
    planned(tmp_path).apply()
    with (tmp_path / "slurm.conf").open("a") as file:
        file.write("MinJobAge=60\n")
    Installation.of(tmp_path / "site").remove()
    assert (tmp_path / "slurm.conf").read_text() == CONF + "\nMinJobAge=60\n"


def test_what_cannot_be_installed_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such partition"):
        planned(tmp_path, gated="tpu")
    with pytest.raises(BadInput, match="SlurmUser that this machine does not know"):
        planned(tmp_path, conf=CONF.replace("SlurmUser=root", "SlurmUser=nobody-of-this-name"))
    assert everything(tmp_path).keys() == {"slurm.conf"}


def test_only_the_controller_reads_the_key_and_only_it_writes_orders(tmp_path: Path) -> None:
    planned(tmp_path).apply()
    modes = {name: oct((tmp_path / name).stat().st_mode & 0o7777) for name in ("secret", "secret/key", "site", "site/inbox", "site/orders", "site/clearance")}
    assert modes == {
        "secret": "0o700", "secret/key": "0o600", "site": "0o755", "site/inbox": "0o1777", "site/orders": "0o755", "site/clearance": "0o755"
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="the commands want root")
def test_the_command_shows_a_diff_asks_and_writes_nothing_on_no(tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text(CONF)
    options = ["--name", "north", "--pin", digest("coop"), "--gated", "gpu", "--conf", str(tmp_path / "slurm.conf"), "--site", str(tmp_path / "site")]
    run = CliRunner()
    done = run.invoke(coop, ["slurm", "install", *options, "--key", str(tmp_path / "secret" / "key")], input="n\n")
    assert done.exit_code == 1
    assert "+JobSubmitPlugins=lua" in done.output
    assert not (tmp_path / "site").exists()
    assert (tmp_path / "slurm.conf").read_text() == CONF
    done = run.invoke(coop, ["slurm", "install", *options, "--key", str(tmp_path / "secret" / "key")], input="y\n")
    assert done.exit_code == 0, done.output
    assert "site key: ssh-ed25519 " in done.output
    done = run.invoke(coop, ["slurm", "uninstall", "--site", str(tmp_path / "site"), "--yes"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "slurm.conf").read_text() == CONF


@pytest.fixture
def live(enforced: Enforced, monkeypatch: pytest.MonkeyPatch) -> Enforced:
    """This process asks the test's cluster."""
    monkeypatch.setenv("SLURM_CONF", str(enforced.cluster.conf))
    monkeypatch.setenv("TZ", "UTC")
    return enforced


def failing(live: Enforced) -> str:
    report = check(live.installation, at=now())
    return "; ".join(f"{step.name}: {step.why}" for step in report.blocking)


@pytest.mark.slurm
def test_a_good_installation_passes_its_check_and_says_what_it_cannot_prevent(live: Enforced) -> None:
    report = check(live.installation, at=now())
    assert report.passed, report.text()
    assert "sbatch, sbatch with an unknown order, srun and salloc are refused" in report.text()
    assert BYPASS[0].startswith("root and SlurmUser can switch all of this off")


@pytest.mark.slurm
def test_the_check_sees_a_gate_that_is_open(live: Enforced) -> None:
    (live.cluster.folder / "job_submit.lua").write_text("function slurm_job_submit() return 0 end function slurm_job_modify() return 0 end return 0\n")
    live.cluster.wait_for(lambda: live.cluster.submit(SCRIPT, "--test-only", "--partition=coop").returncode == 0)
    said = failing(live)
    assert "job_submit.lua is not as installed" in said
    assert "sbatch in partition coop was accepted without an order" in said
    assert live.cluster.drained() == {}


@pytest.mark.slurm
def test_the_check_sees_a_partition_without_a_gate_on_gated_nodes(live: Enforced) -> None:
    live.cluster.scontrol("update", "PartitionName=free", "Nodes=node[2-3]")
    try:
        assert "no way around: partitions without a gate hold gated nodes: free (node2)" in failing(live)
    finally:
        live.cluster.scontrol("update", "PartitionName=free", "Nodes=node3")


@pytest.mark.slurm
def test_the_check_sees_hooks_and_keys_that_others_can_write_or_read(live: Enforced) -> None:
    hook, key = Path(live.installation.site.hooks) / "prolog.sh", Path(live.installation.site.private_key)
    hook.parent.chmod(0o777)
    key.chmod(0o644)
    said = failing(live)
    assert f"{hook.parent} can be written by others (mode 0777)" in said
    assert "can be read by others than" in said
    live.installation.apply()
    shutil.copy(hook, f"{hook}.kept")
    hook.unlink()
    assert f"hooks as installed: {hook} is not there" in failing(live)
    Path(f"{hook}.kept").unlink()


@pytest.mark.slurm
def test_the_check_sees_an_environment_that_slurm_user_cannot_run(live: Enforced) -> None:
    python = Path(live.installation.site.python)
    kept = python.read_text()
    python.write_text("#!/bin/sh\nexit 1\n")
    try:
        assert "check can be run: " in failing(live)
    finally:
        python.write_text(kept)


@pytest.mark.slurm
def test_slurmctld_need_not_be_root() -> None:
    """The whole way with SlurmUser=slurm: a start is cleared, another refused and held; only the line in the job's own log is missing."""
    site = Enforced(user="slurm")
    try:
        job = site.sbatch(site.order())
        site.cluster.wait_state(job, "COMPLETED")
        assert site.cluster.output(job) == "trained\n"
        assert (site.path / "clearance" / f"{job}.0.json").owner() == "slurm"
        edited = site.sbatch(site.order(), script=SCRIPT + "true\n")
        assert "its batch script is not the one that was ordered" in site.denied(edited)
        assert site.cluster.output(edited) == ""
    finally:
        site.close()
