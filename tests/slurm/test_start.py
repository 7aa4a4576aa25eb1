"""Second layer: the whole check on the controller when a job starts; what it refuses is held with a message, and no node is drained."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.payloads.runs import RunSegment
from governance_hooks.statement import now, shift
from tests.slurm.enforced import SCRIPT, SLEEP, Enforced

pytestmark = pytest.mark.slurm


def test_a_script_edited_after_its_approval_does_not_start(enforced: Enforced) -> None:
    script = SCRIPT + "echo and something else\n"
    job = enforced.sbatch(enforced.order(), script=script)
    assert "its batch script is not the one that was ordered" in enforced.denied(job)
    assert "may not start" in enforced.cluster.output(job)  # the user's own log says it, too
    held = ["scontrol", "release", str(job)]  # by an admin: its user cannot release it
    enforced.cluster.wait_for(lambda: enforced.cluster.run(*held, user=enforced.cluster.member, check=False).returncode != 0)
    denied = [json.loads(line) for line in (enforced.path / "ledger.jsonl").read_text().splitlines() if '"deny"' in line]
    assert (denied[-1]["job"], denied[-1]["code"]) == (job, 10)


def test_an_approval_halted_while_the_job_is_pending_does_not_start_it_and_a_lapsed_halt_does(enforced: Enforced) -> None:
    voted = enforced.vote("halted", max_starts=2, max_devices=2, max_minutes=30)
    enforced.refresh()
    lapsed = enforced.vote("lapsed", max_starts=2, max_devices=2, max_minutes=30)
    enforced.refresh()
    job, other = (enforced.sbatch(enforced.order(voted=one), "--hold") for one in (voted, lapsed))
    until = shift(now(), 2)
    for one, end in ((voted, shift(now(), 3600)), (lapsed, until)):
        enforced.say("coop.halt/v1", {"proposal": one.proposal, "until": end}, enforced.village.members[3])
    enforced.refresh()
    enforced.cluster.scontrol("release", str(job))
    assert "this approval is halted by" in enforced.denied(job)
    enforced.cluster.wait_for(lambda: now() > until)
    enforced.cluster.scontrol("release", str(other))
    enforced.cluster.wait_state(other, "COMPLETED")


def test_an_approval_that_is_used_up_starts_nothing(enforced: Enforced) -> None:
    voted = enforced.vote("once", max_starts=1, max_devices=2, max_minutes=30)
    enforced.refresh()
    first, second = (enforced.sbatch(enforced.order(voted=voted, nodes=nodes), "--hold") for nodes in (1, 2))
    enforced.cluster.scontrol("release", str(first))
    enforced.cluster.wait_state(first, "COMPLETED")
    enforced.cluster.scontrol("release", str(second))
    assert "approval is used up: 1 of 1 starts" in enforced.denied(second)  # the first start is only in the outbox: it counts already
    assert "approval is used up" in enforced.why(enforced.order(voted=voted))


def test_a_start_of_a_complete_run_leaves_the_queue_and_uses_nothing(enforced: Enforced, tmp_path: Path) -> None:
    voted = enforced.vote("done", max_starts=2, max_devices=2, max_minutes=30)
    enforced.refresh()
    order = enforced.order(voted=voted)
    where = enforced.cluster.folder / "done"
    places = {"base": str(enforced.approved.base), "build": str(enforced.approved.build), "run": str(where)}
    (enforced.path / "inbox" / order / "places.json").write_bytes(dumps(places))
    job = enforced.sbatch(order, "--hold")
    where.mkdir()
    (where / "run.json").write_bytes(dumps({"status": "completed", "run": f"run-{voted.proposal[7:13]}", "plan": sha256(voted.plan)}))
    stated = len(list((enforced.path / "outbox").iterdir()))
    enforced.cluster.scontrol("release", str(job))
    assert f"is complete: its result is in {where}; next: coop collect" in enforced.cancelled(job)
    denied = [json.loads(line) for line in (enforced.path / "ledger.jsonl").read_text().splitlines() if '"deny"' in line]
    assert (denied[-1]["job"], denied[-1]["code"]) == (job, 11)
    assert (len(list((enforced.path / "outbox").iterdir())), (enforced.path / "orders" / f"{order}.job").exists()) == (stated, False)
    assert enforced.cluster.drained() == {}


def test_an_order_serves_one_job(enforced: Enforced) -> None:
    order = enforced.order()
    first, second = (enforced.sbatch(order, "--hold") for _ in range(2))
    enforced.cluster.scontrol("release", str(first))
    enforced.cluster.wait_state(first, "COMPLETED")
    enforced.cluster.scontrol("release", str(second))
    assert "its order has been used by another job" in enforced.denied(second)


def test_what_job_submit_missed_is_seen_at_the_start(enforced: Enforced) -> None:
    """Nothing but the order itself is believed: not even orders/HEX.ok."""
    other = enforced.vote("other", max_starts=1, max_devices=2, max_minutes=30)
    enforced.refresh()
    cases = {
        enforced.order(plan=other.plan): "is no run proposal about",
        enforced.order(devices=8): "8 devices asked, 4 voted",
        enforced.order(minutes=2000): "2000 minutes asked, 1000 voted",
        enforced.order(key=enforced.key): "not signed by the operators key alone",
        enforced.order(expires=shift(now(), 1)): "this order has expired",
        enforced.order(user=0): "its order is for another user",
        enforced.order(nodes=1, devices=1): "it was given 2 nodes, the order says 1",
        enforced.order(array="1-2%1"): "the order says array 1-2%1",
        "ab" * 32: "order abababababab is not here",
    }
    sizes = {"8 devices": ["--gpus-per-node=4", "--nodes=2"], "2000 minutes": ["--time=2000"], "given 2 nodes": ["--nodes=2", "--gpus=2"]}
    jobs = {}
    for order, why in cases.items():
        more = next((options for part, options in sizes.items() if part in why), [])
        jobs[enforced.sbatch(enforced.force(order), *more, "--hold")] = why
    enforced.cluster.scontrol("release", ",".join(map(str, jobs)))
    for job, why in jobs.items():
        assert why in enforced.denied(job)


def test_devices_and_minutes_beyond_the_order_are_seen_even_if_nobody_looked_before(enforced: Enforced) -> None:
    order = enforced.force(enforced.order(devices=2))
    many = enforced.sbatch(order, "--gpus-per-node=3")
    assert "it was given 3 devices, the order says 2" in enforced.denied(many)
    enforced.cluster.run("scancel", str(many))
    long = enforced.sbatch(enforced.force(order), "--time=60")
    assert "it asks 60 minutes, the order says 10" in enforced.denied(long)


def test_a_build_that_is_not_there_or_another_one_starts_nothing(enforced: Enforced) -> None:
    order = enforced.order()
    job = enforced.sbatch(order, "--hold")
    ledger = enforced.approved.build / "ledger.jsonl"
    kept = ledger.read_bytes()
    try:
        ledger.write_bytes(kept.replace(b'"spa"', b'"glg"', 1))
        enforced.cluster.scontrol("release", str(job))
        assert "step 6" in enforced.denied(job)
    finally:
        ledger.write_bytes(kept)


def test_a_start_gets_no_more_time_than_is_left_of_the_vote(enforced: Enforced) -> None:
    voted = enforced.vote("short", max_starts=5, max_devices=2, max_minutes=6)
    enforced.refresh()
    first = enforced.sbatch(enforced.order(voted=voted, minutes=6))
    enforced.cluster.wait_state(first, "COMPLETED")
    outbox = enforced.folder.outbox()
    with outbox.locked():  # as if it had taken four minutes
        run = f"run-{voted.proposal[7:13]}"
        said = {"run": run, "start": 1, "job": first, "restart": 0, "nodes": 1, "devices": 1, "seconds": 240, "outcome": "preempted"}
        for part in ("ended", "clearance"):
            (enforced.path / part / f"{first}.0.json").unlink()
        outbox.state("coop.run-segment/v1", RunSegment(**said, energy_wh=None, energy_from=None), issued=shift(now(), 0))
    order = enforced.order(SLEEP, voted=voted, minutes=6)
    second = enforced.sbatch(order, script=SLEEP)
    enforced.cluster.wait_state(second, "RUNNING")
    assert enforced.cluster.job(second)["TimeLimit"] == "00:02:00"
    clearance = json.loads((enforced.path / "clearance" / f"{second}.0.json").read_text())["payload"]
    assert clearance["minutes"] == 2


def test_a_requeued_job_is_checked_and_counted_again(enforced: Enforced) -> None:
    script = '#!/bin/bash -p\necho trained\n[ "${SLURM_RESTART_COUNT:-0}" = 1 ] || sleep 600\n'
    job = enforced.sbatch(enforced.order(script), "--open-mode=append", script=script)
    cluster = enforced.cluster
    cluster.wait_for(lambda: "trained" in cluster.output(job))
    cluster.run("scontrol", "requeue", str(job), user=cluster.member)
    cluster.wait_state(job, "COMPLETED")
    kinds = [path.name.partition("-")[2] for path in sorted((enforced.path / "outbox").glob("*.entry"))]
    assert kinds[-3:] == ["run-start.entry", "run-segment.entry", "run-start.entry"]


def replace(enforced: Enforced, name: str, text: str) -> Path:
    path = Path(enforced.installation.site.hooks) / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_check_that_crashes_or_takes_too_long_refuses(enforced: Enforced) -> None:
    hook = Path(enforced.installation.site.hooks) / "prolog_slurmctld.sh"
    python = Path(enforced.installation.site.python)
    kept = python.read_text()
    try:
        python.write_text("#!/bin/sh\nexit 3\n")
        assert "could not be made (code 3)" in enforced.denied(enforced.sbatch(enforced.order()))
        python.write_text(f"#!/bin/sh\nkill -{signal.SIGSEGV.value} $$\n")
        assert "could not be made (code 139)" in enforced.denied(enforced.sbatch(enforced.order()))
        python.write_text("#!/bin/sh\nexec sleep 600\n")
        replace(enforced, hook.name, hook.read_text().replace("SECONDS_ALLOWED=120", "SECONDS_ALLOWED=1"))
        assert "took longer than 1 s" in enforced.denied(enforced.sbatch(enforced.order()))
    finally:
        python.write_text(kept)


def test_a_user_with_line_breaks_in_the_name_of_a_job_cannot_describe_another_job(enforced: Enforced) -> None:
    name = "x\n   NumNodes=1 NumCPUs=1 NumTasks=1\n   JOB_GRES=gpu:h100:1"
    job = enforced.sbatch(enforced.order(), f"--job-name={name}")
    assert "is not clear about its nodes" in enforced.denied(job)


def test_the_clearance_is_what_stock_ssh_keygen_verifies(enforced: Enforced) -> None:
    job = enforced.sbatch(enforced.order(SLEEP), script=SLEEP)
    enforced.cluster.wait_state(job, "RUNNING")
    body = (enforced.path / "clearance" / f"{job}.0.json").read_text()
    said = json.loads(body)["payload"]
    assert (said["job"], said["user"], said["devices"], said["nodes"]) == (job, 65534, 1, 1)
    assert said["start"] == sha256(_body(enforced, job))
    command = ["ssh-keygen", "-Y", "verify", "-f", str(enforced.path / "allowed_signers"), "-I", "s-north", "-n", "coop-statement@v1"]
    done = enforced.cluster.run(*command, "-s", str(enforced.path / "clearance" / f"{job}.0.sig"), stdin=body)
    assert "Good" in done.stdout
    assert (enforced.path / "clearance" / f"{job}.0.json").stat().st_mode & 0o022 == 0


def _body(enforced: Enforced, job: int) -> bytes:
    from governance_hooks.site.document import body_and_signature

    return body_and_signature((enforced.path / "clearance" / f"{job}.0.start").read_bytes())[0]


def test_consent_withdrawn_while_the_job_is_pending_starts_nothing() -> None:
    site = Enforced()  # its own: afterwards no plan about this build starts anything
    try:
        job = site.sbatch(site.order(), "--hold")
        member = site.village.members[0]
        site.say("coop.withdrawal/v1", {"consent": site.approved.consents[member]}, member)
        site.refresh()
        site.cluster.scontrol("release", str(job))
        assert "step 7" in site.denied(job)
    finally:
        site.close()
