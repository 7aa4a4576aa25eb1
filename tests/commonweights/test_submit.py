"""`coop submit` and `coop jobs` with a site that answers as a test says, and stand-ins for SLURM's programs; tests/slurm has the real ones."""

from __future__ import annotations

import io
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.plan import Limits
from governance_hooks.site.order import order_of, read_order
from governance_hooks.statement import now, shift
from governance_hooks.training import Training
from slurm.job import read_job, read_submitted
from slurm.reasons import explain
from tests.village import RULES, Approved, Village

PROFILE = "partition: coop\ngres: gpu:h100\ndevices_per_node: 1\ncpus_per_device: 2\npython: /env/bin/python\nsite: {site}\nbase: {base}\n"
SBATCH = """#!/bin/bash
n=$(($(cat "$DIR/count" 2>/dev/null || echo 40) + 1))
for one in "$@"; do case $one in ${REFUSED:-none}) echo "sbatch: error: coop: job REFUSED: the order has expired" >&2; exit 1;; esac; done
echo $n >"$DIR/count"; echo "$PWD: $*" >>"$DIR/sent"; env >"$DIR/environment"; echo "$n;village"
"""


class Lent:
    """An approved village with a site whose folder the test plays."""

    def __init__(self, approved: Approved, folder: Path) -> None:
        self.approved, self.site, self.bin = approved, folder / "site", folder / "bin"
        self.root = approved.village.root
        for name in ("inbox", "orders", "clearance", "outbox"):
            (self.site / name).mkdir(parents=True)
        approved.village.site("north")
        approved.plan = approved.make_plan(training=Training(strategy="ddp"))
        approved.plan_bytes = dumps(approved.plan.model_dump())
        approved.proposal = approved.village.approve("run", sha256(approved.plan_bytes), uses=2)
        (self.root / "plans").mkdir()
        (self.root / "plans" / "first-run.json").write_bytes(approved.plan_bytes)
        (self.root / "sites").mkdir(exist_ok=True)
        (self.root / "sites" / "north.yaml").write_text(PROFILE.format(site=self.site, base=approved.base))
        self.program("sbatch", SBATCH)
        self.program("scancel", '#!/bin/bash\necho "$@" >>"$DIR/cancelled"\n')

    def program(self, name: str, text: str) -> None:
        self.bin.mkdir(exist_ok=True)
        path = self.bin / name
        path.write_text(text.replace("$DIR", str(self.bin)))
        path.chmod(0o755)

    def orders(self) -> dict[str, Any]:
        """The orders in the inbox by kind, read as the site reads them."""
        register = self.approved.village.coop.register
        found = [read_order((one / "order.json").read_bytes(), register, at=now()) for one in (self.site / "inbox").iterdir() if one.is_dir()]
        return {order_of(one).kind: one for one in found}


@pytest.fixture
def lent(founded: Callable[..., Village], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lent:
    at_once = RULES.model_copy(update={"minimum_period_s": 0}).model_dump()  # a vote that is over when it opens: the command line has no clock to turn
    made = Lent(Approved(founded(kinds={"run": at_once, "release": at_once})), tmp_path / "north")
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    return made


@pytest.fixture
def answering(lent: Lent) -> Iterator[Callable[[str], None]]:
    """A site that answers every order in its inbox with a file of this kind: ok or no."""
    done, threads = threading.Event(), list[threading.Thread]()

    def begin(suffix: str) -> None:
        def answer() -> None:
            while not done.wait(0.02):
                for one in (lent.site / "inbox").glob("[0-9a-f]*"):
                    if len(one.name) == 64:
                        (lent.site / "orders" / f"{one.name}.{suffix}").write_text("approval is halted (gate, step 5)\n")

        threads.append(threading.Thread(target=answer))
        threads[0].start()

    yield begin
    done.set()
    for thread in threads:
        thread.join()


def submit(coop: Any, lent: Lent, *more: str) -> Any:
    return coop("-C", lent.root, "submit", "first-run", "--site", "north", *more)


def test_an_approved_run_becomes_three_jobs_in_a_chain_each_under_an_order_for_its_very_script(coop: Any, lent: Lent, answering: Any) -> None:
    answering("ok")
    done = submit(coop, lent, "--yes", "--json")
    assert done.code == 0, done.err + done.out
    folder = Path(done.json["folder"])
    orders = lent.orders()
    for kind, devices, nodes in (("train", 2, 2), ("eval", 1, 1), ("card", 0, 1)):
        order = order_of(orders[kind])
        assert order.script == sha256((folder / f"{kind}.sbatch").read_bytes())
        assert (order.devices, order.nodes, order.user, order.array) == (devices, nodes, os.getuid(), None)
        assert (order.plan, order.proposal) == (sha256(lent.approved.plan_bytes), lent.approved.proposal)
    words = [line.partition(": ")[2] for line in (lent.bin / "sent").read_text().splitlines()]
    hexes = {kind: one.id.removeprefix("sha256:") for kind, one in orders.items()}
    assert words == [
        f"--parsable --comment=coop:{hexes['train']} train.sbatch",
        f"--parsable --comment=coop:{hexes['eval']} --dependency=afterany:41 --kill-on-invalid-dep=yes eval.sbatch",
        f"--parsable --comment=coop:{hexes['card']} --dependency=afterok:42 --kill-on-invalid-dep=yes card.sbatch",
    ]
    submitted = read_submitted(folder)
    assert submitted is not None
    assert {kind: one.job for kind, one in submitted.jobs.items()} == {"train": 41, "eval": 42, "card": 43} == done.json["jobs"]
    assert (lent.site / "inbox" / "proof.coop").is_file()
    assert read_job(folder).job.run == "first-run"
    places = loads(next((lent.site / "inbox").glob("*/places.json")).read_bytes())
    assert places == {"base": str(lent.approved.base), "build": str(lent.approved.build), "run": str(lent.root / "runs" / "first-run")}


def test_nothing_of_the_senders_environment_goes_along_that_the_script_does_not_name(coop: Any, lent: Lent, answering: Any, monkeypatch: Any) -> None:
    answering("ok")
    for name in ("PYTHONPATH", "LD_PRELOAD", "BASH_ENV", "COOP_KEY_PASSPHRASE", "SBATCH_PARTITION"):
        monkeypatch.setenv(name, "")
    assert submit(coop, lent, "--yes", "--no-eval").code == 0
    names = {line.partition("=")[0] for line in (lent.bin / "environment").read_text().splitlines()}
    assert not names & {"PYTHONPATH", "LD_PRELOAD", "BASH_ENV", "COOP_KEY_PASSPHRASE", "SBATCH_PARTITION"}


def test_a_chain_of_starts_is_an_array_and_the_evaluation_waits_for_all_of_it(coop: Any, lent: Lent, answering: Any) -> None:
    answering("ok")
    assert submit(coop, lent, "--yes", "--array", "3").code == 0
    assert order_of(lent.orders()["train"]).array == "1-3%1"
    assert "--dependency=afterany:41" in (lent.bin / "sent").read_text()
    assert "#SBATCH --array=1-3%1\n" in (lent.root / "jobs/first-run/1/train.sbatch").read_text()


@pytest.mark.parametrize("logged", [False, True])
def test_a_run_that_is_complete_is_not_sent_again_whether_the_log_knows_it_yet_or_not(coop: Any, lent: Lent, logged: bool) -> None:
    folder, plan = lent.root / "runs" / "first-run", sha256(lent.approved.plan_bytes)
    if logged:
        village, start = lent.approved.village, {"run": "first-run", "plan": plan, "proposal": lent.approved.proposal, "start": 1, "counted": []}
        village.say("coop.run-start/v1", start, "operator")
        village.say("coop.run-end/v1", {"run": "first-run", "status": "completed", "record": plan, "outputs": plan}, "operator")
    else:
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(dumps({"status": "completed", "run": "first-run", "plan": plan, "steps": 3}))
    before = lent.approved.village.coop.log.size
    done = submit(coop, lent, "--yes", "--json")
    assert (done.code, done.json["error"]) == (5, "Complete")
    assert done.json["what"] == f"run first-run is complete: its result is in {folder}"
    assert ("coop collect" in done.json["next"], "coop eval first-run" in done.json["next"]) == (not logged, True)
    assert (list((lent.site / "inbox").iterdir()), (lent.root / "jobs").exists(), lent.approved.village.coop.log.size) == ([], False, before)


def test_a_dry_run_shows_table_and_scripts_and_leaves_nothing_behind(coop: Any, lent: Lent) -> None:
    done = submit(coop, lent, "--dry-run")
    assert done.code == 0, done.err
    assert "PASS" in done.out
    assert "#SBATCH --gpus-per-node=h100:1" in done.out
    assert not (lent.root / "jobs").exists()
    assert not list((lent.site / "inbox").iterdir())


def test_what_the_gate_blocks_is_shown_and_never_signed(coop: Any, lent: Lent) -> None:
    village = lent.approved.village
    village.say("coop.halt/v1", {"proposal": lent.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    for more in ((), ("--dry-run",), ("--yes",)):
        done = submit(coop, lent, *more)
        assert done.code == 1
        assert "halted" in done.err + done.out
        assert "#SBATCH" in done.err + done.out
    assert not (lent.root / "jobs").exists()
    assert not list((lent.site / "inbox").iterdir())


def test_without_a_yes_nothing_is_signed(coop: Any, lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert submit(coop, lent).code == 130
    assert not (lent.root / "jobs").exists()


def test_a_refusal_of_the_site_is_passed_on_in_its_own_words_and_nothing_is_queued(coop: Any, lent: Lent, answering: Any) -> None:
    answering("no")
    done = submit(coop, lent, "--yes")
    assert done.code == 1
    assert "approval is halted (gate, step 5)" in done.err
    assert not (lent.bin / "sent").exists()


def test_a_site_that_does_not_answer_is_waited_for_no_longer_than_told(coop: Any, lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]
    clock = SimpleNamespace(monotonic=lambda: slept[0], sleep=lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    monkeypatch.setattr("slurm.delivery.time", clock)
    done = submit(coop, lent, "--yes", "--wait", "7")
    assert (done.code, 7 <= slept[0] < 9) == (1, True)
    assert "has not looked at 3 of 3 orders" in done.err
    assert "coop slurm sync" in done.err


def test_if_a_later_job_is_refused_the_earlier_ones_are_taken_back(coop: Any, lent: Lent, answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering("ok")
    lent.program("sbatch", SBATCH.replace("${REFUSED:-none}", "card.sbatch"))
    done = submit(coop, lent, "--yes")
    assert done.code == 1
    assert "coop: job REFUSED: the order has expired" in done.err
    assert (lent.bin / "cancelled").read_text() == "41 42\n"
    assert not (lent.root / "jobs/first-run/1/submitted.json").exists()


def test_without_sbatch_the_commands_are_told(coop: Any, lent: Lent, answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering("ok")
    (lent.bin / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(lent.bin))
    done = submit(coop, lent, "--yes")
    assert done.code == 1
    assert "there is no sbatch on this machine" in done.err
    assert str(lent.root / "jobs/first-run/1") in done.err
    assert "--dependency=afterany:NUMBER_OF_TRAIN --kill-on-invalid-dep=yes eval.sbatch" in done.err


def test_without_the_sites_folder_what_to_carry_where_is_told(coop: Any, lent: Lent) -> None:
    lent.site.rename(lent.site.with_name("elsewhere"))
    done = submit(coop, lent, "--yes")
    assert done.code == 1
    assert f"into {lent.site}/inbox" in done.err
    inbox = lent.root / "jobs/first-run/1/inbox"
    assert (inbox / "proof.coop").is_file()
    assert len([one for one in inbox.iterdir() if (one / "order.json").is_file() and (one / "plan.json").is_file()]) == 3
    assert "--comment=coop:" in done.err


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--devices", "3"), "more devices than the plan allows"),
        (("--nodes", "1"), "nodes of equal size"),
        (("--run", "../x"), "no name of a run"),
    ],
)  # fmt: skip
def test_a_shape_nobody_voted_on_is_refused(coop: Any, lent: Lent, more: tuple[str, ...], why: str) -> None:
    done = submit(coop, lent, "--yes", *more)
    assert done.code == 2
    assert why in done.err


def test_a_site_without_a_profile_or_unknown_to_the_log_is_refused(coop: Any, lent: Lent) -> None:
    done = coop("-C", lent.root, "submit", "first-run", "--site", "south", "--yes")
    assert (done.code, "no profile of site south" in done.err) == (2, True)
    (lent.root / "sites" / "south.yaml").write_text((lent.root / "sites" / "north.yaml").read_text())
    done = coop("-C", lent.root, "submit", "first-run", "--site", "south", "--yes")
    assert (done.code, "south is no site of this cooperative" in done.err) == (1, True)


def test_the_same_plan_goes_to_any_site_the_vote_allows_and_to_no_other(coop: Any, lent: Lent) -> None:
    approved, village = lent.approved, lent.approved.village
    village.site("south")
    text = (lent.root / "sites" / "north.yaml").read_text()
    (lent.root / "sites" / "south.yaml").write_text(text.replace("partition: coop", "partition: dgx").replace("gpu:h100", "gpu:b200"))
    both = [coop("-C", lent.root, "--json", "submit", "first-run", "--site", name, "--dry-run").json for name in ("north", "south")]
    assert "--partition=coop" in both[0]["scripts"]["train"]
    assert "--gpus-per-node=b200:1" in both[1]["scripts"]["train"]
    assert both[1]["gate"]["passed"]
    limited = approved.make_plan(name="limited", training=Training(strategy="ddp"), limits=Limits(max_starts=2, max_devices=2, max_minutes=30, sites=["north"]))
    data = dumps(limited.model_dump())
    village.approve("run", sha256(data), uses=2)
    (lent.root / "plans" / "limited.json").write_bytes(data)
    narrow = approved.make_plan(name="narrow", training=Training(strategy="ddp", sequences_per_step=1))
    (lent.root / "plans" / "narrow.json").write_bytes(dumps(narrow.model_dump()))
    idle = coop("-C", lent.root, "submit", "narrow", "--site", "north", "--dry-run", "--devices", "2")
    assert (idle.code, "some would idle" in idle.err) == (2, True)
    assert "--nodes=1\n" in coop("-C", lent.root, "submit", "narrow", "--site", "north", "--dry-run").out
    done = coop("-C", lent.root, "submit", "limited", "--site", "south", "--yes")
    assert (done.code, "members voted for north" in done.err) == (1, True)
    assert coop("-C", lent.root, "submit", "limited", "--site", "north", "--dry-run").code == 0


def test_qos_vote_is_the_one_made_of_the_plan(coop: Any, lent: Lent) -> None:
    profile = lent.root / "sites" / "north.yaml"
    profile.write_text(profile.read_text() + "qos: vote\n")
    scripts = coop("-C", lent.root, "--json", "submit", "first-run", "--site", "north", "--dry-run").json["scripts"]
    assert all(f"#SBATCH --qos=coop-{sha256(lent.approved.plan_bytes)[7:19]}\n" in text for text in scripts.values())


def test_a_name_that_leads_out_of_the_folder_is_no_site(coop: Any, lent: Lent) -> None:
    done = coop("-C", lent.root, "submit", "first-run", "--site", "../sites/north", "--yes")
    assert (done.code, "no name of a site" in done.err) == (2, True)


@pytest.mark.parametrize("verb", ["train", "eval", "card"])
def test_a_job_takes_its_folder_or_a_name_and_not_both(coop: Any, lent: Lent, verb: str) -> None:
    assert coop("-C", lent.root, verb).code == 2
    assert coop("-C", lent.root, verb, "first-run", "--job", lent.root).code == 2


def test_a_job_is_told_nothing_on_the_command_line_that_its_folder_says(coop: Any, lent: Lent) -> None:
    done = coop("-C", lent.root, "train", "--job", lent.root, "--devices", "9")
    assert (done.code, "a job's folder says all of this" in done.err) == (2, True)


def test_a_second_submission_leaves_the_first_ones_folder_as_it_is(coop: Any, lent: Lent, answering: Any) -> None:
    answering("ok")
    assert submit(coop, lent, "--yes").code == 0
    before = {path: path.read_bytes() for path in (lent.root / "jobs/first-run/1").rglob("*") if path.is_file()}
    assert submit(coop, lent, "--yes", "--devices", "1").code == 0
    assert {path: path.read_bytes() for path in (lent.root / "jobs/first-run/1").rglob("*") if path.is_file()} == before
    assert (lent.root / "jobs/first-run/2/train.sbatch").is_file()


SQUEUE = '#!/bin/bash\nprintf "%s\\n" "41|RUNNING|1:02|8:58|2|node[1-2]|None|first-run-train|coop:HEX" "42|PENDING|0:00|10:00|1||Dependency|x|coop:other"\n'
SHOW = """#!/bin/bash
cat <<'END'
JobId=41 JobName=first-run-train
   UserId=root(0) GroupId=root(0) MCS_label=N/A
   JobState=PENDING Reason=JobHeldAdmin Dependency=(null)
   Requeue=1 Restarts=1 BatchFlag=1 Reboot=0 ExitCode=0:0
   Command=/somewhere/JobState=COMPLETED train.sbatch
   Comment=coop:HEX
   AdminComment=coop: job 41 may not start: consent is withdrawn (gate, step 7: consent in force)
END
"""


@pytest.fixture
def queued(coop: Any, lent: Lent, answering: Any) -> Lent:
    answering("ok")
    assert submit(coop, lent, "--yes").code == 0
    name = lent.orders()["train"].id.removeprefix("sha256:")
    lent.program("squeue", SQUEUE.replace("HEX", name))
    lent.program("scontrol", SHOW.replace("HEX", name))
    (lent.root / "jobs/first-run/1/first-run-train-41-r0.out").write_text("0: training: 10 of 20\n0: \x1b[31mtraining: 12 of 20\n\n")
    return lent


def test_jobs_shows_queue_plan_what_is_left_and_the_end_of_the_log(coop: Any, queued: Lent) -> None:
    done = coop("-C", queued.root, "--json", "jobs")
    assert done.code == 0, done.err
    (row,) = done.json["jobs"]
    assert (row["job"], row["state"], row["nodes"], row["plan"]) == ("41", "RUNNING", "node[1-2]", sha256(queued.approved.plan_bytes))
    assert row["approval"].startswith("2 of 2 starts, 30 of 30 min, until ")
    assert row["log"] == ["0:  [31mtraining: 12 of 20"]
    text = coop("-C", queued.root, "jobs").out
    assert "first-run" in text
    assert "2 of 2 starts" in text
    assert len(coop("-C", queued.root, "--json", "jobs", "--all").json["jobs"]) == 3


def test_a_halted_approval_is_shown_with_the_job(coop: Any, queued: Lent) -> None:
    village = queued.approved.village
    village.say("coop.halt/v1", {"proposal": queued.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    assert "HALTED by" in coop("-C", queued.root, "jobs").out


def test_without_squeue_the_folders_still_say_what_was_sent(coop: Any, queued: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    (queued.bin / "squeue").unlink()
    monkeypatch.setenv("PATH", str(queued.bin))
    done = coop("-C", queued.root, "jobs")
    assert (done.code, "there is no squeue" in done.err, "first-run" in done.out) == (0, True, True)


def test_why_says_what_the_site_said_and_what_to_do(coop: Any, queued: Lent) -> None:
    (queued.site / "ledger.jsonl").write_text(
        '{"at":"2026-11-23T00:00:00Z","code":10,"event":"deny","job":41,"restart":1}\n{"event":"deny","job":4,"restart":1}\nhalf a li'
    )
    done = coop("-C", queued.root, "jobs", "why", "41")
    assert done.code == 0, done.err
    assert "train of run first-run): PENDING, JobHeldAdmin, 1 restarts" in done.out
    assert "consent is withdrawn (gate, step 7" in done.out
    assert "2026-11-23T00:00:00Z deny: code 10, restart 1" in done.out
    assert done.out.count("deny") == 1
    assert "scontrol release 41" in done.out
    assert "training: 12 of 20" in done.out
    value = coop("-C", queued.root, "--json", "jobs", "why", "41").json
    assert (value["reason"], value["restarts"], value["run"]) == ("JobHeldAdmin", 1, "first-run")


def test_why_tells_that_the_site_refuses_an_order_unless_it_has_started_this_very_job(coop: Any, queued: Lent) -> None:
    order = queued.site / "orders" / queued.orders()["train"].id.removeprefix("sha256:")
    order.with_suffix(".no").write_text("approval is halted\n")
    assert "order refused: approval is halted" in coop("-C", queued.root, "jobs", "why", "41").out
    order.with_suffix(".job").write_text("41\n")
    assert "order refused" not in coop("-C", queued.root, "jobs", "why", "41").out


def test_why_takes_numbers_alone(coop: Any, queued: Lent) -> None:
    assert coop("-C", queued.root, "jobs", "why", "--all").code == 2
    assert "no number of a job" in coop("-C", queued.root, "jobs", "why", "41;id").err


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("PENDING", "Resources", "not free"),
        ("PENDING", "DependencyNeverSatisfied", "can never start"),
        ("PENDING", "QOSGrpGRESMinutes", "budget of the vote"),
        ("PENDING", "launch_failed_requeued_held", "could not start it"),
        ("PENDING", "launch failed requeued held", "could not start it"),
        ("PENDING", "job_requeued_in_held_state", "refused at its start"),
        ("PENDING", "Brand_New_Reason", "SLURM says PENDING, Brand_New_Reason"),
        ("COMPLETED", "None", "it is done"),
        ("FAILED", "NonZeroExitCode", "its script failed"),
        ("TIMEOUT", "TimeLimit", "ran out of time"),
        ("CANCELLED", "None", "cancelled"),
    ],
)  # fmt: skip
def test_every_reason_gets_plain_words(state: str, reason: str, words: str) -> None:
    what, todo = explain(state, reason, "41")
    assert words in what
    assert todo
    assert "{" not in todo


def test_job_folders_of_other_cooperatives_and_torn_ones_are_passed_over(coop: Any, queued: Lent) -> None:
    path = queued.root / "jobs/first-run/1/job.json"
    other = json.loads(path.read_bytes()) | {"coop": sha256(b"others")}
    for number, text in (("7", json.dumps(other, sort_keys=True, separators=(",", ":"))), ("8", "{"), ("9", "[]")):
        (queued.root / "jobs/first-run" / number).mkdir()
        (queued.root / "jobs/first-run" / number / "job.json").write_text(text)
        (queued.root / "jobs/first-run" / number / "plan.json").write_bytes(queued.approved.plan_bytes)
    assert coop("-C", queued.root, "jobs").code == 0


def test_orders_and_plan_in_a_job_folder_are_readable_by_the_site(coop: Any, lent: Lent, answering: Any) -> None:
    answering("ok")
    assert submit(coop, lent, "--yes").code == 0
    for path in (lent.site / "inbox").rglob("*"):
        assert path.stat().st_mode & (stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)), path
