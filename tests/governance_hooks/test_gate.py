"""Every step of the gate has a test in which it blocks, with the words a user sees."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import governance_hooks.gate as gate_module
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.gate import Request, run_gate
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import Code
from governance_hooks.proof import Proof
from governance_hooks.report import Blocked, Report, Status
from governance_hooks.statement import shift
from tests.village import Approved


def request(a: Approved, **changes: object) -> Request:
    base = Request(plan=a.plan_bytes, proof=a.village.coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=a.village.coop.pin)
    return replace(base, **changes)  # type: ignore[arg-type]


def blocks(report: Report, number: int, words: str) -> None:
    """Exactly this step says why, and the run is blocked."""
    step = report.steps[number - 1]
    assert step.status is not Status.PASS, report.text()
    assert words in step.why, report.text()
    assert not report.passed
    with pytest.raises(Blocked, match="BLOCKED"):
        report.require()


def test_a_voted_run_with_everything_in_place_passes_all_nine_steps(approved: Approved) -> None:
    report = run_gate(request(approved))
    assert report.passed, report.text()
    assert [step.number for step in report.steps] == list(range(1, 10))
    assert report.exit_code == 0


def test_step_1_blocks_an_edited_plan(approved: Approved) -> None:
    plan = loads(approved.plan_bytes, floats=True)
    plan["training"]["learning_rate"] = 0.01
    blocks(run_gate(request(approved, plan=dumps(plan))), 1, "members never voted on exactly this")


def test_step_1_blocks_a_plan_that_is_not_canonical(approved: Approved) -> None:
    report = run_gate(request(approved, plan=approved.plan_bytes + b"\n"))
    blocks(report, 1, "never voted")
    blocks(report, 8, "canonical form")


def test_step_2_blocks_a_proof_of_another_cooperative(approved: Approved) -> None:
    blocks(run_gate(request(approved, pin=sha256(b"ours"))), 2, "of another cooperative")


def test_step_2_blocks_a_proof_with_a_forged_entry(approved: Approved) -> None:
    proof = approved.village.coop.proof()
    forged = loads(proof.entries[-2])
    forged["body"]["payload"]["choice"] = "against"
    changed = Proof(proof.checkpoint, (*proof.entries[:-2], dumps(forged), proof.entries[-1]))
    blocks(run_gate(request(approved, proof=changed.dumps())), 2, "do not hash to the checkpoint's root")


def test_step_2_blocks_the_plan_of_another_cooperative(approved: Approved) -> None:
    plan = dumps(loads(approved.plan_bytes, floats=True) | {"coop": sha256(b"other")})
    blocks(run_gate(request(approved, plan=plan)), 2, "plan is of another cooperative")


def test_step_3_blocks_a_stale_checkpoint_and_one_from_the_future(approved: Approved) -> None:
    blocks(run_gate(request(approved, now=shift(approved.village.clock, 8 * 86_400))), 3, "old, 604800 s allowed")
    blocks(run_gate(request(approved, now=shift(approved.village.clock, -7200))), 3, "in the future")


def test_step_3_blocks_a_checkpoint_another_key_signed(approved: Approved) -> None:
    from governance_hooks.checkpoint import NoteKey, sign_checkpoint

    key = NoteKey.generate("village.example/log", approved.village.root / "thief.key")
    entries = approved.village.coop.proof().entries
    note = sign_checkpoint(key, len(entries), approved.village.coop.log.root(), 2_000_000_000)
    report = run_gate(request(approved, proof=Proof(note, entries).dumps()))
    blocks(report, 3, "not signed by the log's key")
    blocks(report, 2, "not signed by the log's key")


def test_step_4_blocks_while_the_vote_is_open_and_when_members_said_no(approved: Approved) -> None:
    village = approved.village
    plan = approved.make_plan(name="second-run")
    data = dumps(plan.model_dump())
    proposal = village.propose("run", sha256(data), uses=2).id
    blocks(run_gate(request(approved, plan=data)), 4, "still open: 0 of 5")
    for member in village.members:
        village.ballot(member, proposal, "against")
    village.close(proposal)
    blocks(run_gate(request(approved, plan=data)), 4, "members did not approve it")


def chosen(report: Report) -> str:
    """The proposal the gate judged, as its first step names it."""
    return report.steps[0].checked.rpartition(" ")[2]


@pytest.fixture
def twice(approved: Approved) -> tuple[Approved, str, str]:
    """A plan that members approved twice; the first approval expires first."""
    approved.village.wait(600)
    return approved, approved.proposal, approved.village.approve("run", sha256(approved.plan_bytes), uses=2)


def starts(approved: Approved, proposal: str, run: str) -> None:
    for number in (1, 2):
        approved.village.say(
            "coop.run-start/v1", {"run": run, "plan": sha256(approved.plan_bytes), "proposal": proposal, "start": number, "counted": []}, "operator"
        )


def test_of_two_approvals_the_one_with_starts_left_that_expires_first_is_used(twice: tuple[Approved, str, str]) -> None:
    approved, first, second = twice
    assert chosen(run_gate(request(approved)).require()) == first[:19]
    assert chosen(run_gate(request(approved, now=shift(approved.village.clock, 86_400 - 600))).require()) == second[:19]  # the first is over then
    starts(approved, first, "run-1")
    assert chosen(run_gate(request(approved)).require()) == second[:19]
    starts(approved, second, "run-2")
    blocks(run_gate(request(approved)), 5, "approval is used up")


def test_a_used_up_second_approval_does_not_hide_the_starts_left_of_the_first(twice: tuple[Approved, str, str]) -> None:
    approved, first, second = twice
    starts(approved, second, "run-2")
    assert chosen(run_gate(request(approved)).require()) == first[:19]


def test_a_run_that_has_started_is_judged_by_its_own_approval(twice: tuple[Approved, str, str]) -> None:
    approved, first, second = twice
    starts(approved, second, "run-2")
    assert chosen(run_gate(request(approved, run="run-2")).require()) == second[:19]
    blocks(run_gate(request(approved, run="run-2", proposal=first)), 5, "no start of run run-2 under this approval")


def test_a_halt_of_one_approval_is_evaded_by_another_only_where_somebody_chooses_that(twice: tuple[Approved, str, str]) -> None:
    approved, first, second = twice
    approved.village.say("coop.halt/v1", {"proposal": first, "until": shift(approved.village.clock, 600)}, approved.village.members[4])
    blocks(run_gate(request(approved)), 5, "halted by the oversight body")
    assert chosen(run_gate(request(approved, proposal=second)).require()) == second[:19]


def test_step_1_blocks_a_chosen_proposal_about_something_else(twice: tuple[Approved, str, str]) -> None:
    approved, *_ = twice
    other = approved.village.approve("run", digest("another plan"))
    for proposal in (other, digest("no proposal")):
        blocks(run_gate(request(approved, proposal=proposal)), 1, "is no run proposal about")


def test_step_5_blocks_a_halted_an_expired_and_a_used_up_approval(approved: Approved) -> None:
    village = approved.village
    blocks(run_gate(request(approved, now=shift(village.clock, 86_400))), 5, "expired")
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 600)}, village.members[4])
    blocks(run_gate(request(approved)), 5, "halted by the oversight body")
    village.wait(601)
    approved.start(start=1)
    approved.start(start=2)
    blocks(run_gate(request(approved)), 5, "used up: 2 of 2")


def test_step_5_blocks_a_process_whose_start_is_not_in_the_log(approved: Approved) -> None:
    blocks(run_gate(request(approved, run="run-1")), 5, "holds no start of run run-1")
    approved.start("run-1")
    assert run_gate(request(approved, run="run-1")).passed


@pytest.mark.parametrize(
    "name", ["base/model.safetensors", "base/config.json", "builds/one/manifest.json", "builds/one/ledger.jsonl", "builds/one/records.parquet"]
)
def test_step_6_blocks_one_flipped_byte(approved: Approved, name: str) -> None:
    path = approved.village.root / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    report = run_gate(request(approved))
    assert report.steps[5].status is Status.FAIL, report.text()
    assert not report.passed


@pytest.mark.parametrize("name", ["base", "builds/one/manifest.json", "builds/one/ledger.jsonl", "builds/one/records.parquet"])
def test_step_6_blocks_a_missing_part(approved: Approved, name: str) -> None:
    (approved.village.root / name).rename(approved.village.root / "elsewhere")
    report = run_gate(request(approved))
    assert report.steps[5].status is Status.UNKNOWN, report.text()
    assert report.exit_code == 2


def test_step_6_blocks_an_added_file_and_a_link(approved: Approved) -> None:
    (approved.base / "sneaky.py").write_text("import os")
    blocks(run_gate(request(approved)), 6, "not the voted ones: sneaky.py")
    (approved.base / "sneaky.py").unlink()
    weights = approved.base / "model.safetensors"
    weights.rename(approved.village.root / "away")
    weights.symlink_to(approved.village.root / "away")
    blocks(run_gate(request(approved)), 6, "not a regular file")


def test_step_6_blocks_other_code_and_other_library_versions(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    code = approved.plan.code
    monkeypatch.setattr(gate_module, "installed_code", lambda: Code(digest=sha256(b"patched"), packages=code.packages))
    blocks(run_gate(request(approved)), 6, "not the voted code")
    monkeypatch.setattr(gate_module, "installed_code", lambda: Code(digest=code.digest, packages=code.packages | {"torch": "0.0.1"}))
    blocks(run_gate(request(approved)), 6, "torch 0.0.1 (voted")


def test_step_6_blocks_a_build_the_log_does_not_know(approved: Approved) -> None:
    manifest = loads((approved.build / "manifest.json").read_bytes())
    manifest["at"] = "2020-01-01T00:00:00Z"
    (approved.build / "manifest.json").write_bytes(dumps(manifest))
    plan = approved.make_plan()
    data = dumps(plan.model_copy(update={"build": plan.build.model_copy(update={"manifest": digest(manifest)})}).model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 6, "the log does not know this dataset")


def test_step_7_blocks_after_a_withdrawal(approved: Approved) -> None:
    village = approved.village
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[1])
    blocks(run_gate(request(approved)), 7, f"3 texts lack a consent in force of 1 member(s), first {village.members[1]}")


def test_step_7_blocks_a_consent_that_expired_meanwhile(approved: Approved) -> None:
    village, member = approved.village, approved.village.members[0]
    village.consent(member, expires=shift(village.clock, 100))
    village.say("coop.withdrawal/v1", {"consent": approved.consents[member]}, member)
    assert run_gate(request(approved)).passed
    blocks(run_gate(request(approved, now=shift(village.clock, 101))), 7, "lack a consent in force")


def test_step_7_blocks_a_co_author_who_never_consented(approved: Approved) -> None:
    rows, _ = read_ledger(approved.build / "ledger.jsonl")
    silent = approved.village.members[4]
    edited = replace(rows[0], authors=sorted([*rows[0].authors, silent]), consents=rows[0].consents * 2)
    approved.write_build([edited, *rows[1:]])
    data = dumps(approved.make_plan().model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 7, f"first {silent}")


def test_step_7_blocks_records_nobody_contributed(approved: Approved) -> None:
    """The operator slips records into the build, under a real batch, and even gets them voted."""
    rows, _ = read_ledger(approved.build / "ledger.jsonl")
    invented = replace(rows[0], record="zz-invented", content=sha256(b"x"), commitment=sha256(b"y"))
    approved.write_build([*rows, invented])
    data = dumps(approved.make_plan().model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 7, "4 texts in spa name batch")
    approved.write_build([*rows, replace(invented, batch=sha256(b"no batch"))])
    data = dumps(approved.make_plan(name="again").model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 7, "name a batch the log does not know")


def test_step_7_blocks_a_record_in_the_place_of_one_its_member_signed_for(approved: Approved) -> None:
    """The counts fit: only the commitments in the batch tell that this text is nobody's."""
    rows, _ = read_ledger(approved.build / "ledger.jsonl")
    swapped = [replace(row, content=sha256(b"x"), commitment=sha256(b"y")) if row is rows[0] else row for row in rows]
    approved.write_build(swapped)
    data = dumps(approved.make_plan().model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 7, f"text {rows[0].record} is not one its member signed for in batch")


def test_step_7_blocks_batches_that_are_not_what_members_signed(approved: Approved) -> None:
    batch = next(iter(approved.village.batches))
    approved.village.batches[batch] = [*approved.village.batches[batch], sha256(b"slipped in")]
    rows, _ = read_ledger(approved.build / "ledger.jsonl")
    approved.write_build(rows)
    data = dumps(approved.make_plan().model_dump())
    approved.village.approve("run", sha256(data), uses=2)
    blocks(run_gate(request(approved, plan=data)), 7, "do not make the root its member signed")


def test_step_8_blocks_a_field_nobody_knows(approved: Approved) -> None:
    plan = loads(approved.plan_bytes, floats=True)
    plan["training"]["learning_rat"] = 0.1
    data = dumps(plan)
    approved.village.approve("run", sha256(data), uses=2)
    report = run_gate(request(approved, plan=data))
    blocks(report, 8, "unknown field training.learning_rat")
    assert report.steps[3].status is Status.PASS  # voted all the same, and blocked all the same


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"devices": 3}, "3 devices asked, 2 voted"), ({"minutes": 31}, "31 minutes asked, 30 voted")],
)
def test_step_9_blocks_a_request_beyond_the_limits(approved: Approved, changes: dict[str, object], words: str) -> None:
    blocks(run_gate(request(approved, **changes)), 9, words)


def test_step_9_blocks_an_approval_for_more_starts_than_the_plan(approved: Approved) -> None:
    data = dumps(approved.make_plan(name="third").model_dump())
    approved.village.approve("run", sha256(data), uses=50)
    blocks(run_gate(request(approved, plan=data)), 9, "the vote allows 50 starts, the plan 2")


def test_garbage_blocks_with_reasons_and_without_a_traceback(approved: Approved, tmp_path: Path) -> None:
    report = run_gate(Request(plan=b"\x00", proof=b"{}", base=tmp_path / "no", build=tmp_path / "no", now=approved.village.clock))
    assert not report.passed
    assert all(step.status is not Status.PASS for step in report.steps)
    assert "the check itself broke" not in report.text()


def test_the_table_says_what_why_and_what_next(approved: Approved) -> None:
    approved.village.say("coop.withdrawal/v1", {"consent": None}, approved.village.members[0])
    text = run_gate(request(approved)).text()
    assert re.search(r"7  FAIL     consent in force +3 texts lack a consent in force", text)
    assert "next: coop build again without them" in text
