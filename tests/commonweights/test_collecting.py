"""The writer takes what sites signed, refuses what they may not say, finishes runs, and believes no evaluation nobody was cleared to make."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commonweights.collecting import Collector, Event
from commonweights.workspace import Workspace
from governance_hooks.canonical import dumps, sha256
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import read_ledger
from governance_hooks.process_lock import process_lock
from governance_hooks.proof import read_proof
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, shift
from governance_hooks.verdict import judge
from slurm.segments import settle
from tests.commonweights.conftest import Coop
from tests.slurm.lent import Lent
from tests.village import CONSENT, Approved, segments_of

RUN = "run-1"


@pytest.fixture
def lent(approved: Approved, tmp_path: Path) -> Lent:
    return Lent(approved, tmp_path / "site")


@pytest.fixture
def collector(lent: Lent) -> Collector:
    return Collector(Workspace(lent.village.coop), {"north": lent.folder})


def told(events: list[Event]) -> list[str]:
    """What was done, without the proofs that follow each change."""
    return [event.what for event in events if event.what != "proof"]


def trained(lent: Lent, *, start: int = 1, status: str = "completed", **changes: Any) -> Path:
    """Start the run at the site, train it and settle it, as jobs and controller do; return its folder."""
    a, village, order = lent.approved, lent.village, lent.order()
    lent.clear(start, start=lent.begin(start=start), order=order)
    village.wait(60)
    folder = village.root / "runs" / RUN
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_bytes(a.plan_bytes)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    outputs = [file_entry(folder, folder / "adapter" / "adapter_model.safetensors")] if status == "completed" else []
    record = {
        "format": "coop.run/v1", "run": RUN, "coop": village.coop.pin, "plan": sha256(a.plan_bytes), "proposal": a.proposal, "status": status, "reason": None,
        "unreleasable": None, "started": village.clock, "ended": village.clock, "wall_s": 12, "starts": start, "steps": 5, "total_steps": 5,
        "tokens": {"spa": {"input": 900, "supervised": 300}}, "dropped": {"too_long": 0}, "loss": {"first": 3.5, "last": 2.25}, "trained_root": sha256(b"root"),
        "trained_records": 6, "device": "cpu (x86_64)", "threads": 1, "packages": {"torch": "2.13.0"}, "trainable_parameters": 16, "parameters": 1000,
        "outputs": outputs, **segments_of(village.clock, start),
    }  # fmt: skip
    (folder / "run.json").write_bytes(dumps(record | changes))
    lent.end(start, state=3 if status == "completed" else 5)
    settle(lent.folder, lent.outbox)
    return folder


def evaluated(lent: Lent, folder: Path, **changes: Any) -> None:
    """Leave the evaluation of a run, as an eval job does."""
    a, draw = lent.approved, random.Random(7)
    rows = [row for row in read_ledger(a.build / "ledger.jsonl")[0] if row.split == "heldout"]
    results = [
        {"item": row.record, "language": row.language, "cluster": row.authors[0], "tokens": 9, "base": round(draw.uniform(20, 30), 6), "tuned": 10.0}
        for row in rows
    ]
    lines = b"".join(dumps(row) + b"\n" for row in results)
    report = {
        "format": "coop.evaluation/v1", "run": RUN, "plan": sha256(a.plan_bytes), "build": a.plan.build.manifest,
        "weights": json.loads((folder / "run.json").read_bytes())["outputs"], "results": sha256(lines), "policy": a.plan.evaluation.model_dump(mode="json"),
        **judge(results, a.plan.evaluation, languages=a.plan.build.languages), "skipped": [],
        "generations": [{"language": "spa", "prompt": "¿Qué es el sol?", "base": "a star", "tuned": "una estrella"}], "languages_without_prompt": [],
        "device": "cpu", "threads": 1, "precision": "float32", "packages": {"torch": "2.13.0"}, "wall_s": 3,
    }  # fmt: skip
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "results.jsonl").write_bytes(lines)
    (folder / "eval" / "report.json").write_bytes(dumps(report | changes))


def cleared_eval(lent: Lent, job: int = 90, kind: str = "eval", run: str = RUN) -> None:
    """Have an evaluation ordered, cleared and ended."""
    lent.clear(job, order=lent.order(kind, run))
    lent.end(job)
    settle(lent.folder, lent.outbox)


def test_starts_and_segments_reach_the_log_once_and_each_site_gets_a_proof_that_holds_them(lent: Lent, collector: Collector) -> None:
    trained(lent, status="failed")
    events = collector.round()
    assert told(events) == ["appended", "appended", "ended", "card"]
    register = lent.village.coop.register
    assert register.run(RUN).segments[1].seconds == 60
    assert (register.run(RUN).status, register.run(RUN).report) == ("failed", None)
    assert read_proof((lent.folder / "inbox" / "proof.coop").read_bytes()).replay(lent.village.coop.pin).register.run(RUN).segments.keys() == {1}
    size = register.size
    assert collector.round() == []
    assert told(Collector(collector.space, collector.sites).round()) == []
    assert lent.village.coop.register.size == size


def test_what_the_log_refuses_stays_and_is_told_once_and_what_comes_after_goes_on(lent: Lent, collector: Collector) -> None:
    village = lent.village
    lent.begin(start=3)
    lent.begin(start=1)
    events = collector.round()
    assert told(events) == ["refused", "appended"]
    assert "counted one by one" in events[0].text
    assert len(lent.stated()) == 2
    assert collector.round() == []
    village.say("coop.halt/v1", {"proposal": lent.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    lent.begin(start=2)
    assert "halted" in collector.round()[0].text


def test_a_site_says_nothing_that_is_another_sites_or_a_members(lent: Lent, collector: Collector) -> None:
    village = lent.village
    south = village.site("south")
    stranger = generate_key(village.root / "stranger")
    start = lent.approved.started()
    said = [
        village.entry("coop.run-start/v1", start, "s-south", south),
        village.entry("coop.time/v1", {}, "operator"),
        village.entry("coop.consent/v1", CONSENT, village.members[0]),
        village.entry("coop.run-start/v1", start, "s-north", stranger),
        b"{}",
        village.entry("coop.run-start/v1", start, "s-north", lent.key)[:-3],
        village.entry("coop.run-start/v1", start, "s-north", lent.key).replace(b'"start":1', b'"start":2'),
    ]
    for number, data in enumerate(said, 1):
        (lent.folder / "outbox" / f"{number:012d}-run-start.entry").write_bytes(data)
    size = village.coop.register.size
    assert told(collector.round()) == ["refused"] * len(said)
    assert village.coop.register.size == size


def test_a_site_whose_folder_cannot_be_read_holds_up_no_other(lent: Lent, tmp_path: Path) -> None:
    lent.begin()
    collector = Collector(Workspace(lent.village.coop), {"far": tmp_path / "nowhere", "north": lent.folder})
    assert [event.what for event in collector.round()] == ["failed", "appended", "proof", "proof"]


def test_a_finished_run_is_ended_evaluated_and_gets_its_card_and_the_log_passes_its_audit(lent: Lent, collector: Collector) -> None:
    folder = trained(lent)
    evaluated(lent, folder)
    cleared_eval(lent)
    assert told(collector.round()) == ["appended", "appended", "ended", "evaluated", "card"]
    run = lent.village.coop.register.run(RUN)
    assert run.report == sha256((folder / "eval" / "report.json").read_bytes())
    assert (folder / "card" / "README.md").is_file()
    assert told(collector.round()) == []
    lent.village.coop.proof().replay(lent.village.coop.pin)


def test_the_end_is_not_logged_while_a_start_goes_on_or_of_a_start_before_one_that_was_killed(lent: Lent, collector: Collector) -> None:
    trained(lent, status="failed")
    lent.village.wait(120)
    lent.clear(2, start=lent.begin(start=2), order=lent.order())  # put back into the queue, and started, before anybody collected
    assert told(collector.round()) == ["appended", "appended", "appended"]
    lent.village.wait(60)
    lent.end(2, state=7)  # its node was lost: run.json still tells of the first start
    settle(lent.folder, lent.outbox)
    assert told(collector.round()) == ["appended"]
    assert lent.village.coop.register.run(RUN).status is None


def test_a_run_somebody_is_at_is_left_alone_until_later(lent: Lent, collector: Collector) -> None:
    trained(lent)
    with process_lock(lent.village.root / "runs" / f".{RUN}.lock", "training"):
        assert told(collector.round()) == ["appended", "appended", "failed"]
    assert told(collector.round()) == ["ended"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "run.json").write_bytes(b"{}"),
        lambda folder: (folder / "run.json").write_bytes(b'{"status":'),
        lambda folder: ((folder / "run.json").unlink(), os.mkfifo(folder / "run.json")),
        lambda folder: ((folder / "run.json").rename(folder / "x"), (folder / "run.json").symlink_to(folder / "x")),
        lambda folder: (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"others"),
        lambda folder: ((folder / "adapter" / "adapter_model.safetensors").unlink(), os.mkfifo(folder / "adapter" / "adapter_model.safetensors")),
    ],
    ids=["empty", "cut off", "pipe", "link", "other weights", "weights a pipe"],
)
def test_a_record_that_is_not_what_it_says_ends_nothing(lent: Lent, collector: Collector, spoil: Callable[[Path], object]) -> None:
    spoil(trained(lent))
    assert told(collector.round()) == ["appended", "appended", "failed"]
    assert lent.village.coop.register.run(RUN).status is None


@pytest.mark.parametrize("field", ["run", "plan", "proposal", "coop"])
def test_a_record_of_another_run_ends_nothing(lent: Lent, collector: Collector, field: str) -> None:
    trained(lent, **{field: "other" if field == "run" else sha256(b"other")})
    (failed,) = [event for event in collector.round() if event.error]
    assert f"names another {field} than the log" in failed.text


def refused_evaluation(lent: Lent, collector: Collector) -> str:
    (failed,) = [event for event in collector.round() if event.error]
    assert lent.village.coop.register.run(RUN).report is None
    return failed.text


def test_a_planted_evaluation_that_nobody_was_cleared_to_make_is_refused(lent: Lent, collector: Collector) -> None:
    evaluated(lent, trained(lent))
    assert "nobody was cleared to evaluate run run-1" in refused_evaluation(lent, collector)


def test_the_clearance_of_a_card_or_of_another_run_is_none_for_this_evaluation(lent: Lent, collector: Collector) -> None:
    evaluated(lent, trained(lent))
    cleared_eval(lent, 91, kind="card")
    cleared_eval(lent, 92, run="run-2")
    lent.clear(93, order=lent.order("eval"))  # still running
    assert "nobody was cleared" in refused_evaluation(lent, collector)


def test_an_order_or_clearance_somebody_else_signed_is_none(lent: Lent, collector: Collector) -> None:
    evaluated(lent, trained(lent))
    operator, lent.village.operator = lent.village.operator, generate_key(lent.village.root / "stranger")
    cleared_eval(lent, 91)
    lent.village.operator = operator
    order = lent.order("eval")
    lent.clear(92, order=order)
    body = json.loads((lent.folder / "clearance" / "92.0.json").read_bytes())
    (lent.folder / "done" / "92.0.json").write_bytes(dumps(body | {"payload": body["payload"] | {"job": 94}}))
    (lent.folder / "done" / "92.0.sig").write_bytes((lent.folder / "clearance" / "92.0.sig").read_bytes())
    assert "nobody was cleared" in refused_evaluation(lent, collector)


def test_an_evaluation_another_user_put_there_is_refused(lent: Lent, collector: Collector) -> None:
    evaluated(lent, trained(lent))
    order = lent.order("eval", user=os.getuid() + 1)
    lent.clear(91, order=order, user=os.getuid() + 1)
    lent.end(91)
    settle(lent.folder, lent.outbox)
    assert "another user's file" in refused_evaluation(lent, collector)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"passed": True}, "do not follow"),
        ({"policy": {"margin": 5.0}}, "policy"),
        ({"run": "run-2"}, "of another run"),
        ({"build": sha256(b"easier")}, "of another build"),
        ({"weights": []}, "other weights"),
    ],
    ids=["verdict", "policy", "run", "build", "weights"],
)
def test_an_evaluation_whose_verdicts_do_not_follow_is_refused(lent: Lent, collector: Collector, changes: dict[str, Any], why: str) -> None:
    folder = trained(lent)
    evaluated(lent, folder, **changes)
    cleared_eval(lent)
    assert why in refused_evaluation(lent, collector)


def test_an_evaluation_that_leaves_answers_out_is_refused(lent: Lent, collector: Collector) -> None:
    folder = trained(lent)
    evaluated(lent, folder)
    kept = (folder / "eval" / "results.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    (folder / "eval" / "results.jsonl").write_bytes(b"".join(kept))
    report = json.loads((folder / "eval" / "report.json").read_bytes())
    policy = lent.approved.plan.evaluation
    report |= judge([json.loads(line) for line in kept], policy, languages=["spa"]) | {"results": sha256(b"".join(kept))}
    (folder / "eval" / "report.json").write_bytes(dumps(report))
    cleared_eval(lent)
    assert "do not cover exactly the held-out rows" in refused_evaluation(lent, collector)


def test_a_record_changed_after_its_end_was_logged_is_neither_evaluated_nor_on_a_card(lent: Lent, collector: Collector) -> None:
    folder = trained(lent)
    assert told(collector.round()) == ["appended", "appended", "ended"]
    evaluated(lent, folder)
    cleared_eval(lent)
    (folder / "run.json").write_bytes(dumps(json.loads((folder / "run.json").read_bytes()) | {"steps": 6}))
    assert "not the file the log names" in refused_evaluation(lent, collector)


def test_the_card_is_written_nowhere_else(lent: Lent, collector: Collector, tmp_path: Path) -> None:
    folder = trained(lent)
    evaluated(lent, folder)
    cleared_eval(lent)
    (tmp_path / "mine").mkdir()
    (folder / "card").symlink_to(tmp_path / "mine")
    assert told(collector.round()) == ["appended", "appended", "ended", "evaluated", "failed"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_end_of_a_halted_run_is_refused_and_told(lent: Lent, collector: Collector) -> None:
    trained(lent)
    village = lent.village
    for statement in lent.stated():
        village.coop.append(statement.entry)
    village.say("coop.halt/v1", {"proposal": lent.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    (failed,) = [event for event in collector.round() if event.error]
    assert "cannot be completed" in failed.text


def test_a_checkpoint_that_grows_old_is_replaced_so_that_sites_can_go_on(lent: Lent, collector: Collector) -> None:
    collector.round()
    before = (lent.folder / "inbox" / "proof.coop").read_bytes()
    lent.village.wait(86_401)
    assert [event.what for event in collector.round()] == ["proof"]
    assert (lent.folder / "inbox" / "proof.coop").read_bytes() != before
    assert collector.round() == []


def test_the_watch_says_what_it_did_and_ends_on_a_signal(lent: Lent) -> None:
    village = lent.village
    (village.root / "sites").mkdir(exist_ok=True)
    (village.root / "sites" / "north.yaml").write_text(f"partition: gpu\nsite: {lent.folder}\n")
    command = [sys.executable, "-m", "commonweights.cli", "-C", str(village.root), "collect", "--watch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert "watching north every 1 s" in process.stdout.readline()
        while not (lent.folder / "inbox" / "proof.coop").exists():
            time.sleep(0.05)
        village.clock = max(village.clock, now())
        lent.begin()
        while "appended" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert (process.returncode, rest.splitlines()[-1].split("  ")[1]) == (0, "stopped")
    village.coop.refresh()
    assert RUN in village.coop.register.runs


def test_into_a_log_that_was_rolled_back_nothing_is_collected(lent: Lent, coop: Coop, tmp_path: Path) -> None:
    village = lent.village
    (village.root / "sites").mkdir(exist_ok=True)
    (village.root / "sites" / "north.yaml").write_text(f"partition: gpu\nsite: {lent.folder}\n")
    backup, log = tmp_path / "before.sqlite", village.coop.paths.log
    assert isinstance(log, Path)
    with closing(sqlite3.connect(log)) as source, closing(sqlite3.connect(backup)) as kept:
        source.backup(kept)
    lent.begin()
    assert "appended" in coop("-C", village.root, "collect").out
    with closing(sqlite3.connect(backup)) as kept, closing(sqlite3.connect(log)) as target:
        kept.backup(target)
    delivered = (lent.folder / "inbox" / "proof.coop").read_bytes()
    done = coop("-C", village.root, "collect")
    assert (done.code, "rolled back" in done.err) == (1, True)
    assert (lent.folder / "inbox" / "proof.coop").read_bytes() == delivered
