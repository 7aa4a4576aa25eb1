"""What a process on a node asks before it does anything: a clearance of this very start, and the whole gate; every rule blocks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonweights.node import Node, card_job, evaluate_job
from commonweights.progress import _Silence
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.report import Blocked
from governance_hooks.site.clearance import sign_clearance
from governance_hooks.site.document import body_and_signature
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import parse, shift
from slurm.job import Job, read_job, write_files
from slurm.outbox import Entry
from tests.slurm.lent import Lent
from tests.slurm.sent import coop
from tests.village import RULES, Approved, Village

JOB = 17


class Sent:
    """A job that was sent to the site `north`, and cleared there."""

    def __init__(self, approved: Approved, folder: Path, kind: str = "train") -> None:
        self.approved, self.lent, self.kind = approved, Lent(approved, folder / "site"), kind
        self.path, village = folder / "job", approved.village
        self.job = Job(
            coop=village.coop.pin, site="north", folder=str(self.lent.folder), run="run-1", plan=sha256(approved.plan_bytes), proposal=approved.proposal,
            devices=2, run_dir=str(folder / "run"), base=str(approved.base), build=str(approved.build), canary_seed=str(folder / "seed"), country=None,
        )  # fmt: skip
        self.path.mkdir()
        write_files(self.path, self.job, approved.plan_bytes, {})
        self.order = self.ordered(kind)
        self.start: Entry | None = self.lent.begin()
        self.clear()
        self.refresh()

    def ordered(self, kind: str, **changes: Any) -> str:
        order = self.lent.order(kind, **changes)
        (self.path / "orders").mkdir(exist_ok=True)
        (self.path / "orders" / f"{self.kind}.json").write_bytes((self.lent.folder / "inbox" / order.removeprefix("sha256:") / "order.json").read_bytes())
        return order

    def clear(self, **changes: Any) -> None:
        self.lent.clear(JOB, start=self.start if self.kind == "train" else None, **({"order": self.order} | changes))

    def refresh(self) -> None:
        (self.lent.folder / "proof.coop").write_bytes(self.approved.village.coop.proof().dumps())

    def node(self) -> Node:
        return Node.open(self.path, self.kind)  # type: ignore[arg-type]


@pytest.fixture
def at_once(founded: Callable[..., Village], monkeypatch: pytest.MonkeyPatch) -> Approved:
    quick = RULES.model_copy(update={"minimum_period_s": 0}).model_dump()
    monkeypatch.setenv("SLURM_JOB_ID", str(JOB))
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    return Approved(founded(kinds={"run": quick, "release": quick}))


@pytest.fixture
def sent(at_once: Approved, tmp_path: Path) -> Sent:
    return Sent(at_once, tmp_path)


def test_a_cleared_start_passes_the_whole_gate_though_the_log_does_not_hold_it_yet(sent: Sent) -> None:
    assert "run-1" not in sent.approved.village.coop.register.runs
    request = sent.node().request(devices=2)
    assert (request.site, len(request.pending), request.after, request.run) == ("north", 1, False, "run-1")
    assert run_gate(request).passed, run_gate(request).text()


def test_it_passes_as_well_once_the_log_holds_its_start(sent: Sent) -> None:
    assert sent.start is not None
    sent.approved.village.coop.append(sent.start.data)
    sent.refresh()
    assert run_gate(sent.node().request(devices=2)).passed
    sent.start.path.unlink()
    assert run_gate(sent.node().request(devices=2)).passed


def test_a_run_that_is_complete_is_left_as_it_is_and_its_job_does_not_fail(sent: Sent, tmp_path: Path) -> None:
    record = dumps({"status": "completed", "run": "run-1", "plan": sent.job.plan})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(record)
    done = coop("train", "--job", sent.path)
    assert done.code == 0, done.err
    assert f"run run-1 is complete: its result is in {tmp_path / 'run'}" in done.out
    assert "coop collect" in done.out
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir()] == [("run.json", record)]
    for suffix in ("json", "sig"):  # whoever is not cleared hears of that first
        (sent.lent.folder / "clearance" / f"{JOB}.0.{suffix}").unlink()
    assert coop("train", "--job", sent.path).code == 1


def test_outside_a_job_nothing_is_asked(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(BadInput, match="no job of a cluster"):
        sent.node()


def test_without_a_clearance_and_with_that_of_an_earlier_start_it_is_refused(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(Refused, match="start 1 of job 17 has no clearance"):
        sent.node().request(devices=2)
    for suffix in ("json", "sig", "start"):  # replayed under the name of the next start
        (sent.lent.folder / "clearance" / f"{JOB}.0.{suffix}").rename(sent.lent.folder / "clearance" / f"{JOB}.1.{suffix}")
    with pytest.raises(Refused, match="for another start"):
        sent.node().request(devices=2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"job": 18}, "another job"),
        ({"user": os.getuid() + 1}, "another user"),
        ({"order": digest("other")}, "another order"),
        ({"expires": "2026-01-01T00:00:00Z"}, "has expired"),
        ({"start": digest("none")}, "neither in the log nor"),
        ({"devices": 1}, "more processes than this start is cleared for"),
    ],
)  # fmt: skip
def test_a_clearance_for_anything_else_is_refused(sent: Sent, changes: dict[str, Any], why: str) -> None:
    path = sent.lent.folder / "clearance" / f"{JOB}.0.json"
    cleared = sent.lent.clear(JOB, start=sent.start, order=sent.order)
    wrong = cleared.model_copy(update=changes)
    signed = sign_clearance(wrong, coop=sent.job.coop, site="north", key=sent.lent.key, issued=sent.approved.village.clock)
    body, signature = body_and_signature(signed)
    path.write_bytes(body)
    path.with_suffix(".sig").write_text(signature)
    with pytest.raises(Refused, match=why):
        sent.node().request(devices=2)


def test_a_forged_or_changed_clearance_is_refused(sent: Sent, tmp_path: Path) -> None:
    path = sent.lent.folder / "clearance" / f"{JOB}.0.json"
    cleared = sent.lent.clear(JOB, start=sent.start, order=sent.order)
    good = path.read_bytes()
    path.write_bytes(dumps(loads(good) | {"payload": loads(good)["payload"] | {"devices": 9}}))
    with pytest.raises(CoopError):
        sent.node().request(devices=2)
    forged = sign_clearance(cleared, coop=sent.job.coop, site="north", key=generate_key(tmp_path / "mine"), issued=sent.approved.village.clock)
    body, signature = body_and_signature(forged)
    path.write_bytes(body)
    path.with_suffix(".sig").write_text(signature)
    with pytest.raises(Refused, match="not signed by the key of site north alone"):
        sent.node().request(devices=2)


@pytest.mark.parametrize(("changes", "why"), [({"kind": "eval"}, "another kind"), ({"run": "other"}, "another run")])
def test_an_order_for_something_else_does_not_serve_this_job(sent: Sent, changes: dict[str, Any], why: str) -> None:
    sent.order = sent.ordered(changes.get("kind", "train"), **{key: value for key, value in changes.items() if key != "kind"})
    sent.clear()
    with pytest.raises(Refused, match=why):
        sent.node().request(devices=2)


def test_a_withdrawal_blocks_at_the_node_too(sent: Sent) -> None:
    village, (member, consent) = sent.approved.village, next(iter(sent.approved.consents.items()))
    village.say("coop.withdrawal/v1", {"consent": consent}, member)
    sent.refresh()
    report = run_gate(sent.node().request(devices=2))
    assert [step.number for step in report.blocking] == [7], report.text()


@pytest.mark.parametrize("logged", [True, False])
def test_a_halt_blocks_at_the_node_too_whether_the_log_holds_the_start_or_not(sent: Sent, logged: bool) -> None:
    village = sent.approved.village
    assert sent.start is not None
    if logged:
        village.coop.append(sent.start.data)
    village.say("coop.halt/v1", {"proposal": sent.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    sent.refresh()
    with pytest.raises(CoopError, match="halted"):
        run_gate(sent.node().request(devices=2)).require()


@pytest.mark.parametrize("logged", [True, False])
def test_a_halt_stops_a_training_that_goes_on_once_the_sites_proof_holds_it(sent: Sent, logged: bool) -> None:
    village, node = sent.approved.village, sent.node()
    guard = Guard(node.request(devices=2), fresh=node.proof)
    guard.start()
    assert sent.start is not None
    if logged:
        village.coop.append(sent.start.data)
    village.wait(1)
    village.say("coop.halt/v1", {"proposal": sent.approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    assert guard.stop(force=True) is None  # nobody has told the site yet
    sent.refresh()
    stop = guard.stop(force=True)
    assert stop is not None
    assert (stop.kind, "halted" in stop.reason) == ("halted", True)


def test_a_training_stops_when_the_sites_proof_is_gone_or_rolled_back(sent: Sent) -> None:
    node, path = sent.node(), sent.lent.folder / "proof.coop"
    old = path.read_bytes()
    sent.approved.village.stamp()
    sent.refresh()
    guard = Guard(node.request(devices=2), fresh=node.proof)
    guard.start()
    path.write_bytes(old)
    stop = guard.stop(force=True)
    assert stop is not None
    assert "rolled back" in stop.reason
    path.unlink()
    stop = guard.stop(force=True)
    assert stop is not None
    assert stop.kind == "unchecked"


def test_a_proof_of_another_cooperative_or_none_is_refused(sent: Sent) -> None:
    path = sent.path / "job.json"
    path.write_bytes(dumps(json.loads(path.read_bytes()) | {"coop": sha256(b"other")}))
    with pytest.raises(Refused, match="another cooperative"):
        sent.node().request(devices=2)
    (sent.lent.folder / "proof.coop").unlink()
    with pytest.raises(BadInput, match=r"proof\.coop"):
        sent.node().request(devices=2)


def test_a_job_folder_whose_plan_was_changed_is_refused(sent: Sent) -> None:
    (sent.path / "plan.json").write_bytes(sent.approved.plan_bytes + b" ")
    with pytest.raises(BadInput, match="not the plan this job was sent for"):
        read_job(sent.path)
    (sent.path / "job.json").write_bytes(b'{"format":"coop.job/v1","kind":1}')
    with pytest.raises(BadInput, match=r"unknown field kind|is missing"):
        read_job(sent.path)


def test_an_evaluation_of_a_halted_approval_does_not_begin(at_once: Approved, tmp_path: Path) -> None:
    sent, village = Sent(at_once, tmp_path, "eval"), at_once.village
    village.say("coop.halt/v1", {"proposal": at_once.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    sent.refresh()
    with pytest.raises(CoopError, match="halted"):
        evaluate_job(sent.path, threads=1, show=_Silence())


def test_an_evaluation_needs_a_start_of_its_run(at_once: Approved, tmp_path: Path) -> None:
    sent = Sent(at_once, tmp_path, "eval")
    assert sent.start is not None
    sent.start.path.unlink()
    with pytest.raises(Blocked, match="no start of run run-1"):
        evaluate_job(sent.path, threads=1, show=_Silence())


def test_an_evaluation_of_a_run_that_is_not_complete_measures_nothing(at_once: Approved, tmp_path: Path) -> None:
    sent = Sent(at_once, tmp_path, "eval")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(dumps({"status": "failed", "run": "run-1", "plan": sent.job.plan}))
    done = coop("eval", "--job", sent.path)
    assert done.code == 1, done.out
    assert "run run-1 is not trained to its end" in done.err
    assert "coop submit run-1" in done.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_card_waits_for_the_evaluation_no_longer_than_told_and_takes_no_other(at_once: Approved, tmp_path: Path) -> None:
    sent = Sent(at_once, tmp_path, "card")
    (tmp_path / "run" / "eval").mkdir(parents=True)
    (tmp_path / "run" / "eval" / "report.json").write_bytes(b"{}")
    with pytest.raises(CoopError, match="did not hold the evaluation of run-1 within 0 s"):
        card_job(sent.path, show=_Silence(), seconds=0)
    village = at_once.village
    assert sent.start is not None
    village.coop.append(sent.start.data)
    assert parse(sent.start.data).id
    village.say("coop.run-end/v1", {"run": "run-1", "status": "completed", "record": sha256(b"r"), "outputs": digest([])}, "operator")
    village.say("coop.evaluation/v1", {"run": "run-1", "report": sha256(b"other"), "results": sha256(b"x"), "passed": True}, "operator")
    sent.refresh()
    with pytest.raises(Refused, match="another evaluation"):
        card_job(sent.path, show=_Silence(), seconds=0)
