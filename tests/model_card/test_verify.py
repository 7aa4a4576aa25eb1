"""Each link blocks what it is there to block, also when everything else was forged to fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.plan import read_plan
from governance_hooks.proof import Proof, read_proof
from governance_hooks.report import Report
from governance_hooks.statement import shift
from governance_hooks.verdict import judge
from model_card.explain import NOT_PROVEN, PROVES
from model_card.layout import rule_of
from model_card.release import Release, add_proof, read_release
from model_card.verify import LINKS, verify

NAMES = [name for name, _ in LINKS]


def failed(report: Report) -> list[str]:
    assert report.exit_code == 1, report.text()
    return [step.name for step in report.steps if step.status == "FAIL"]


def edit(bundle: Path, path: str, change: Callable[[Any], None]) -> None:
    """Change a JSON record of a bundle and write it back canonically."""
    document = json.loads((bundle / path).read_bytes())
    change(document)
    (bundle / path).write_bytes(dumps(document))


def rehash(bundle: Path, **fields: Any) -> Release:
    """Make release.json fit the files again, as a forger would."""
    document = json.loads((bundle / "release.json").read_bytes()) | fields
    document["files"] = [
        {"path": path, "size": (bundle / path).stat().st_size, "sha256": sha256((bundle / path).read_bytes()), "role": rule.role}
        for path in sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*"))
        if (rule := rule_of(path)) is not None
    ]
    (bundle / "release.json").write_bytes(dumps(document))
    return read_release(bundle)


def test_a_released_bundle_passes_all_links(bundle: Path) -> None:
    report = verify(bundle)
    assert (report.exit_code, [step.name for step in report.steps]) == (0, NAMES)
    assert len(NAMES) == len(PROVES) == 14
    skipped = {step.number for step in report.steps if step.status == "SKIP"}
    assert skipped <= {10, 11, 13}
    assert all(step.status == "PASS" for step in report.steps if step.number not in skipped)
    assert "not pinned" in report.steps[1].checked


def test_the_pin_decides_which_cooperative_counts(bundle: Path) -> None:
    coop = read_release(bundle).document.coop
    assert "pinned cooperative" in verify(bundle, pin=coop).steps[1].checked
    assert verify(bundle, pin=coop).exit_code == 0
    assert "cooperative and log" in failed(verify(bundle, pin=sha256(b"another")))


def test_verification_writes_nothing(bundle: Path) -> None:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    verify(bundle)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_a_forged_release_that_fits_itself_still_has_no_vote(bundle: Path) -> None:
    edit(bundle, "card.json", lambda card: card.update(name={"value": "stolen", "source": "release.json#/name", "sha256": None}))
    rehash(bundle, name="stolen")
    report = verify(bundle)
    assert report.steps[0].status == "PASS"
    assert "release vote" in failed(report)


def test_before_the_vote_a_bundle_does_not_verify(signed: Any, tmp_path: Path) -> None:
    release = signed.assemble(tmp_path / "bundle")
    assert verify(release.folder).exit_code == 2  # no proof yet
    add_proof(release.folder, signed.village.coop.proof().dumps())
    assert failed(verify(release.folder)) == ["release vote"]


def test_an_open_and_a_lost_vote_release_nothing(signed: Any, tmp_path: Path) -> None:
    village, release = signed.village, signed.assemble(tmp_path / "bundle")
    proposal = village.propose("release", release.digest).id
    for member in village.members:
        village.ballot(member, proposal, "against")
    add_proof(release.folder, village.coop.proof().dumps())
    assert "still open" in next(step.why for step in verify(release.folder).steps if step.name == "release vote")
    village.close(proposal)
    add_proof(release.folder, village.coop.proof().dumps())
    assert failed(verify(release.folder)) == ["release vote"]


def test_an_approval_without_a_logged_release_is_not_enough(signed: Any, tmp_path: Path) -> None:
    release = signed.assemble(tmp_path / "bundle")
    signed.village.approve("release", release.digest)
    add_proof(release.folder, signed.village.coop.proof().dumps())
    assert failed(verify(release.folder)) == ["release vote"]


def test_a_halt_counts_at_the_time_asked_for_and_lapses(signed: Any, tmp_path: Path) -> None:
    village, release = signed.village, signed.assemble(tmp_path / "bundle")
    signed.publish(release)
    until = shift(village.clock, 600)
    proposal = village.coop.register.releases[release.digest]
    village.say("coop.halt/v1", {"proposal": proposal, "until": until}, village.members[3])
    add_proof(release.folder, village.coop.proof().dumps())
    halted = verify(release.folder, now=shift(village.clock, 1))
    assert (halted.exit_code, halted.verdict, halted.valid) == (3, "halted", True)
    assert f"halted this release until {until}" in halted.steps[13].why
    assert verify(release.folder, now=shift(until, 1)).exit_code == 0
    assert verify(release.folder).exit_code == 0


def test_a_withdrawal_after_the_release_vote_leaves_the_release_verifiable(signed: Any, tmp_path: Path) -> None:
    release = signed.assemble(tmp_path / "bundle")
    signed.publish(release)
    signed.village.say("coop.withdrawal/v1", {"consent": None}, signed.members[2])
    add_proof(release.folder, signed.village.coop.proof().dumps())
    assert verify(release.folder).exit_code == 0


def test_a_withdrawal_between_run_and_vote_blocks(signed: Any, tmp_path: Path) -> None:
    release = signed.assemble(tmp_path / "bundle")
    signed.village.say("coop.withdrawal/v1", {"consent": None}, signed.members[2])
    signed.publish(release)
    assert failed(verify(release.folder)) == ["consent in force"]


def cheat(signed: Any, tmp_path: Path, change: Callable[[Path], None], **fields: Any) -> list[str]:
    """Change a bundle before members vote on it, let them vote for the forged digest, and return the links that fail."""
    release = signed.assemble(tmp_path / "bundle")
    change(release.folder)
    signed.publish(rehash(release.folder, **fields))
    return failed(verify(release.folder))


def test_a_vote_cannot_make_other_weights_the_runs_output(signed: Any, tmp_path: Path) -> None:
    def swap(bundle: Path) -> None:
        path = bundle / "adapter/adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")

    assert cheat(signed, tmp_path, swap) == ["weights are the run's output"]


def test_a_vote_cannot_make_another_run_record_the_signed_one(signed: Any, tmp_path: Path) -> None:
    def longer(bundle: Path) -> None:
        edit(bundle, "run.json", lambda run: run.update(wall_s=1))

    release = signed.assemble(tmp_path / "other")
    longer(release.folder)
    signed.publish(rehash(release.folder, record=sha256((release.folder / "run.json").read_bytes())))
    assert "weights are the run's output" in failed(verify(release.folder))


def why(signed: Any, tmp_path: Path, link: str, change: Callable[[Path], None] = lambda bundle: None, **fields: Any) -> str:
    """Like `cheat`, but return the reason the link gives; digests named by release.json are made to fit, too."""
    release = signed.assemble(tmp_path / "bundle")
    change(release.folder)
    fitting = {"record": "run.json", "report": "eval/report.json", "plan": "plan.json", "build": "data/manifest.json"}
    digests = {name: sha256((release.folder / path).read_bytes()) for name, path in fitting.items()}
    signed.publish(rehash(release.folder, **(digests | fields)))
    report = verify(release.folder)
    assert report.exit_code == 1
    return next(step.why for step in report.steps if step.name == link and step.status == "FAIL")


def test_a_release_of_another_cooperative_does_not_fit_this_log(signed: Any, tmp_path: Path) -> None:
    assert "another cooperative than the log" in why(signed, tmp_path, "cooperative and log", coop=sha256(b"another"))


def test_the_vote_on_another_run_does_not_count_for_this_one(signed: Any, tmp_path: Path) -> None:
    other = signed.village.approve("run", sha256(b"another plan"))
    assert "about another plan" in why(signed, tmp_path, "run vote", run_proposal=other)


def test_a_release_that_names_another_plan_than_its_run_is_refused(signed: Any, tmp_path: Path) -> None:
    assert "names another plan" in why(signed, tmp_path, "weights are the run's output", plan=sha256(b"another plan"))


def test_a_second_vote_on_the_same_plan_after_the_run_does_not_count(signed: Any, tmp_path: Path) -> None:
    later = signed.village.approve("run", sha256((signed.run_dir / "plan.json").read_bytes()))
    assert "under another proposal" in why(signed, tmp_path, "run vote", run_proposal=later)


@pytest.mark.parametrize(
    ("path", "fields", "link", "reason"),
    [
        ("run.json", {"status": "halted"}, "weights are the run's output", "does not say that this run completed"),
        ("run.json", {"unreleasable": "a consent was withdrawn"}, "weights are the run's output", "may not be released"),
        ("run.json", {"steps": 6}, "weights are the run's output", "not the record the operator signed"),
        ("run.json", {"outputs": []}, "weights are the run's output", "not the output run.json names"),
        ("run.json", {"trained_root": sha256(b"x")}, "data is the voted dataset", "trained on other texts"),
        ("data/manifest.json", {"excluded": {}}, "data is the voted dataset", "not the dataset of the voted plan"),
        ("eval/report.json", {"run": "run-2"}, "evaluation under the voted policy", "of another run"),
        ("eval/report.json", {"plan": sha256(b"x")}, "evaluation under the voted policy", "of another plan"),
        ("eval/report.json", {"build": sha256(b"x")}, "evaluation under the voted policy", "of another build"),
        ("eval/report.json", {"results": sha256(b"x")}, "evaluation under the voted policy", "of another results"),
        ("eval/report.json", {"weights": []}, "evaluation under the voted policy", "of other weights"),
        ("eval/report.json", {"unproven": []}, "evaluation under the voted policy", "verdicts do not follow"),
        ("eval/report.json", {"generations": []}, "evaluation under the voted policy", "not the evaluation the operator signed"),
    ],
)
def test_each_record_has_a_reason_of_its_own(signed: Any, tmp_path: Path, path: str, fields: dict[str, Any], link: str, reason: str) -> None:
    assert reason in why(signed, tmp_path, link, lambda bundle: edit(bundle, path, lambda document: document.update(fields)))


def test_a_kinder_policy_than_the_voted_one_is_named(signed: Any, tmp_path: Path) -> None:
    def kinder(bundle: Path) -> None:
        edit(bundle, "eval/report.json", lambda report: report["policy"].update(margin=9))

    assert "another policy" in why(signed, tmp_path, "evaluation under the voted policy", kinder)


def test_another_ledger_than_the_manifests_is_named(signed: Any, tmp_path: Path) -> None:
    def shorten(bundle: Path) -> None:
        path = bundle / "data/ledger.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))

    assert "ledger.jsonl is not the file the manifest names" in why(signed, tmp_path, "data is the voted dataset", shorten)


def test_a_vote_cannot_change_a_measured_loss(signed: Any, tmp_path: Path) -> None:
    def flatter(bundle: Path) -> None:
        path = bundle / "eval/results.jsonl"
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        rows[0]["tuned"] = 0
        path.write_bytes(b"".join(dumps(row) + b"\n" for row in rows))

    assert cheat(signed, tmp_path, flatter) == ["evaluation under the voted policy"]


def test_a_vote_cannot_drop_a_heldout_record(signed: Any, tmp_path: Path) -> None:
    def drop(bundle: Path) -> None:
        path = bundle / "eval/results.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[1:]))
        edit(bundle, "eval/report.json", lambda report: report.update(results=sha256(path.read_bytes())))

    assert "evaluation under the voted policy" in cheat(signed, tmp_path, drop)


def test_a_vote_cannot_embellish_the_card_or_the_readme(signed: Any, tmp_path: Path) -> None:
    def boast(bundle: Path) -> None:
        path = bundle / "README.md"
        path.write_bytes(path.read_bytes().replace(b"**not shown**", b"yes"))

    assert cheat(signed, tmp_path, boast) == ["card renders identically"]


def test_a_vote_cannot_relicense_what_members_gave_under_the_plan(signed: Any, tmp_path: Path) -> None:
    assert cheat(signed, tmp_path, lambda bundle: None, licence="CC-BY-4.0") == ["card renders identically"]


def test_the_proof_of_another_log_position_gives_the_same_card(bundle: Path, signed: Any) -> None:
    before = signed.votes()
    signed.village.consent(signed.members[0])
    signed.village.say("coop.withdrawal/v1", {"consent": None}, signed.members[1])
    assert signed.votes() == before


def test_a_checkpoint_signed_by_another_key_fails(bundle: Path) -> None:
    proof = read_proof((bundle / "proof.jsonl.gz").read_bytes())
    lines = proof.checkpoint.split("\n")
    lines[1] = str(int(lines[1]) - 1)
    (bundle / "proof.jsonl.gz").write_bytes(Proof("\n".join(lines), proof.entries).dumps())
    assert "cooperative and log" in failed(verify(bundle))


def test_a_ballot_left_out_of_the_proof_is_noticed(bundle: Path) -> None:
    proof = read_proof((bundle / "proof.jsonl.gz").read_bytes())
    ballot = next(i for i, entry in enumerate(proof.entries) if b'"type":"coop.ballot/v1"' in entry)
    (bundle / "proof.jsonl.gz").write_bytes(Proof(proof.checkpoint, proof.entries[:ballot] + proof.entries[ballot + 1 :]).dumps())
    assert {"cooperative and log", "signatures and rules"} <= set(failed(verify(bundle)))


def test_the_limits_of_verification_are_said() -> None:
    assert "does not prove" in NOT_PROVEN
    assert "training" in NOT_PROVEN


@pytest.mark.parametrize(
    ("how", "reason"), [({"log_build": False}, "does not know this dataset"), ({"log_root": sha256(b"other log")}, "built from another log")], ids=str
)
def test_a_build_the_log_does_not_know_is_named(odd: Any, tmp_path: Path, how: dict[str, Any], reason: str) -> None:
    with odd(tmp_path / "village", **how) as done:
        assert reason in why(done, tmp_path, "data is the voted dataset")


def test_an_operator_who_signs_that_a_failed_evaluation_passed_is_found_out(finished: Any, tmp_path: Path) -> None:
    release = finished.assemble(tmp_path / "bundle")
    path, report = release.folder / "eval/results.jsonl", release.folder / "eval/report.json"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows = [row | {"tuned": row["base"] + 20} for row in rows]
    path.write_bytes(b"".join(dumps(row) + b"\n" for row in rows))
    plan = read_plan((release.folder / "plan.json").read_bytes())
    judged = judge(rows, plan.evaluation, languages=plan.build.languages)
    assert judged["passed"] is False
    edit(release.folder, "eval/report.json", lambda document: document.update(judged, results=sha256(path.read_bytes())))
    payload = {"run": "run-1", "report": sha256(report.read_bytes()), "results": sha256(path.read_bytes()), "passed": True}
    finished.village.say("coop.evaluation/v1", payload, "operator")
    finished.publish(rehash(release.folder, report=sha256(report.read_bytes())))
    step = verify(release.folder).steps[NAMES.index("evaluation under the voted policy")]
    assert (step.status, step.why) == ("FAIL", "the weights did not pass the policy members voted")


def test_a_card_that_differs_from_its_records_is_named_even_if_the_page_fits(signed: Any, tmp_path: Path) -> None:
    def invent(bundle: Path) -> None:
        edit(bundle, "card.json", lambda card: card.update(extra={"not_collected": "nothing"}))

    assert "card.json is not what the records render to" in why(signed, tmp_path, "card renders identically", invent)


def test_a_card_of_another_renderer_is_unknown_and_never_a_pass(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_card.links.card.renderer_digest", lambda: "sha256:" + "0" * 64)
    report = verify(bundle)
    assert [step.name for step in report.blocking] == ["card renders identically"]
    assert "another version of commonweights" in report.blocking[0].why
    assert report.exit_code == 2
