"""Twelve forged releases, each refused at the line that is there for it: by whoever can write every file, hash, and even have members vote for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.plan import read_plan
from governance_hooks.proof import Proof, read_proof
from governance_hooks.statement import shift
from governance_hooks.verdict import judge
from model_card.release import add_proof
from model_card.verification import Verification
from model_card.verify import verify
from tests.attacks.forge import proof_of
from tests.model_card.test_verify import edit, rehash

Forgery = Callable[[Any, Path], Verification]


def named(report: Verification, number: int, *words: str, status: str = "FAIL") -> None:
    """Assert that a link has this verdict, with these words."""
    step = report.steps[number - 1]
    assert step.status == status, report.text()
    for word in words:
        assert word in step.why, step.why


def voted(signed: Any, tmp_path: Path, change: Callable[[Path], None] = lambda bundle: None, **fields: Any) -> Verification:
    """Change a bundle, make release.json fit, let members vote for it, publish it, and verify it."""
    release = signed.assemble(tmp_path / "forged")
    change(release.folder)
    fitting = {"record": "run.json", "report": "eval/report.json", "plan": "plan.json", "build": "data/manifest.json"}
    signed.publish(rehash(release.folder, **({name: sha256((release.folder / path).read_bytes()) for name, path in fitting.items()} | fields)))
    return verify(release.folder)


@pytest.fixture
def honest(signed: Any, tmp_path: Path) -> Path:
    """An honest release of the same run."""
    release = signed.assemble(tmp_path / "honest")
    signed.publish(release)
    assert verify(release.folder).exit_code == 0
    return Path(release.folder)


def test_1_the_vote_on_another_run(signed: Any, tmp_path: Path) -> None:
    other = signed.village.approve("run", sha256(b"another plan"))
    named(voted(signed, tmp_path, run_proposal=other), 5, "about another plan")


def test_2_a_policy_voted_after_the_run(signed: Any, tmp_path: Path) -> None:
    plan = json.loads((signed.run_dir / "plan.json").read_bytes())
    plan["evaluation"]["margin"] = 9
    later = signed.village.approve("run", sha256(dumps(plan)))

    def swap(bundle: Path) -> None:
        (bundle / "plan.json").write_bytes(dumps(plan))
        edit(bundle, "eval/report.json", lambda report: report.update(policy=plan["evaluation"], plan=sha256(dumps(plan))))

    report = voted(signed, tmp_path, swap, run_proposal=later)
    named(report, 5, "under another proposal or plan")
    named(report, 9, "needs the run vote", status="UNKNOWN")


def test_3_a_swapped_card(signed: Any, tmp_path: Path) -> None:
    def swap(bundle: Path) -> None:
        edit(
            bundle,
            "card.json",
            lambda card: card["evaluation"]["worse"].update(value=[]) or card.update(limits={"value": "none", "source": "x", "sha256": None}),
        )

    named(voted(signed, tmp_path, swap), 12, "card.json is not what the records render to")


def test_4_a_language_left_out_of_the_evaluation(finished: Any, tmp_path: Path) -> None:
    """The operator signs the shorter evaluation as well: the ledger says whose answers are missing."""
    path, report = finished.run_dir / "eval/results.jsonl", finished.run_dir / "eval/report.json"
    release = finished.assemble(tmp_path / "forged")
    rows = [row for row in map(json.loads, path.read_bytes().splitlines()) if row["language"] != "nor"]
    plan = read_plan((finished.run_dir / "plan.json").read_bytes())
    judged = judge(rows, plan.evaluation, languages=plan.build.languages)
    lines = b"".join(dumps(row) + b"\n" for row in rows)
    (release.folder / "eval/results.jsonl").write_bytes(lines)
    edit(release.folder, "eval/report.json", lambda document: document.update(judged, results=sha256(lines)))
    shorter = (release.folder / "eval/report.json").read_bytes()
    payload = {"run": "run-1", "report": sha256(shorter), "results": sha256(lines), "passed": judged["passed"]}
    finished.village.say("coop.evaluation/v1", payload, "operator")
    finished.publish(rehash(release.folder, report=sha256(shorter)))
    assert sha256(report.read_bytes()) != sha256(shorter)
    named(verify(release.folder), 9, "do not cover exactly the held-out rows")


def test_5_a_stale_status(signed: Any, honest: Path) -> None:
    """A mirror keeps serving the proof from before a halt: without a question about now it is valid for ever, with one it is stale."""
    village = signed.village
    proposal = village.coop.register.releases[sha256((honest / "release.json").read_bytes())]
    village.wait(8 * 86_400)
    now = village.clock
    assert (verify(honest).exit_code, verify(honest).verdict) == (0, "valid")
    frozen = verify(honest, now=now)
    assert (frozen.exit_code, frozen.verdict, frozen.valid) == (4, "stale", True)
    named(frozen, 14, "old, 604800 s allowed", status="NOTE")
    village.say("coop.halt/v1", {"proposal": proposal, "until": shift(now, 3600)}, village.members[3])
    add_proof(honest, village.coop.proof().dumps())
    fresh = verify(honest, now=now)
    assert (fresh.exit_code, fresh.verdict) == (3, "halted")


def test_6_removed_ballots(signed: Any, honest: Path) -> None:
    """Left out of the file they break the root; left out of a log signed anew they break what was counted at its close."""
    proof = read_proof((honest / "proof.jsonl.gz").read_bytes())
    kept = tuple(entry for entry in proof.entries if b'"type":"coop.ballot/v1"' not in entry)
    assert len(kept) < len(proof.entries)
    (honest / "proof.jsonl.gz").write_bytes(Proof(proof.checkpoint, kept).dumps())
    named(verify(honest), 2, "another number of entries than its checkpoint covers")
    (honest / "proof.jsonl.gz").write_bytes(proof_of(signed.village.coop, kept, at=signed.village.clock))
    report = verify(honest)
    assert report.steps[1].status == "PASS"
    named(report, 3, "of the log is not allowed")


def test_7_an_extra_file(honest: Path) -> None:
    (honest / "modeling_llama.py").write_text("import os")
    named(verify(honest), 1, "modeling_llama.py is not part of the release")


def test_8_a_symbolic_link(honest: Path, tmp_path: Path) -> None:
    (honest / "adapter/adapter_model.safetensors").rename(tmp_path / "elsewhere")
    (honest / "adapter/adapter_model.safetensors").symlink_to(tmp_path / "elsewhere")
    named(verify(honest), 1, "adapter/adapter_model.safetensors is a link")


@pytest.mark.parametrize("path", ["../outside.json", "/etc/passwd", "card/../../x.json", "card//x.json", "card/./x.json", "card\\x.json", "CARD.JSON"])
def test_9_a_path_that_leads_elsewhere(signed: Any, honest: Path, path: str) -> None:
    document = json.loads((honest / "release.json").read_bytes())
    document["files"] = sorted([*document["files"], document["files"][0] | {"path": path}], key=lambda entry: entry["path"])
    (honest / "release.json").write_bytes(dumps(document))
    report = verify(honest)
    named(report, 1, "files")
    assert report.exit_code == 1


@pytest.mark.parametrize(
    "digest",
    [
        "sha1:2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "md5:" + "0" * 32,
        "sha512:" + "0" * 128,
        "0" * 64,
        "sha256:" + "A" * 64,
        "sha256:n4bQgYhMfWWaL-qgxVrQFaO_TxsrC0Is0V1sFbDwCgg",
    ],
)
def test_10_a_hash_of_another_format(honest: Path, digest: str) -> None:
    document = json.loads((honest / "release.json").read_bytes())
    document["files"][0]["sha256"] = digest
    (honest / "release.json").write_bytes(dumps(document))
    named(verify(honest), 1, "files.0.sha256")


def test_10_a_record_with_the_hash_of_a_file_of_another_format(whole: Path) -> None:
    note, other = whole / "derived/village-lm-q8_0.json", whole / "gguf/village-lm-f16.gguf"
    document = json.loads(note.read_bytes()) | {"size": other.stat().st_size, "sha256": sha256(other.read_bytes())}
    note.write_bytes(dumps(document))
    rehash(whole)
    report = verify(whole)
    assert report.steps[0].status == "PASS"
    named(report, 11, "names another size than gguf/village-lm-q8_0.gguf has")
    (whole / "gguf/village-lm-q8_0.gguf").write_bytes(other.read_bytes())
    rehash(whole)
    named(verify(whole), 11, "is of another type than q8_0")


def test_12_a_checkpoint_dated_in_the_future(signed: Any, honest: Path) -> None:
    """It would look fresh for a year."""
    later = shift(signed.village.clock, 365 * 86_400)
    (honest / "proof.jsonl.gz").write_bytes(proof_of(signed.village.coop, read_proof((honest / "proof.jsonl.gz").read_bytes()).entries, at=later))
    named(verify(honest, now=signed.village.clock), 2, "dated in the future")


def test_12_a_release_dated_after_it_went_out(signed: Any, tmp_path: Path) -> None:
    named(voted(signed, tmp_path, created=shift(signed.village.clock, 365 * 86_400)), 4, "after the log says it went out")


def test_a_release_that_supersedes_what_never_went_out(signed: Any, tmp_path: Path) -> None:
    named(voted(signed, tmp_path, supersedes=[sha256(b"nothing")]), 4, "does not know as an earlier release")
