from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import CoopError
from governance_hooks.plan import read_plan
from governance_hooks.verdict import judge
from model_card.bundle import read_bundle
from model_card.release import add_proof, assemble, read_release
from model_card.verify import verify


def refuse(finished: Any, out: Path, match: str, **changes: Any) -> None:
    with pytest.raises(CoopError, match=match):
        finished.assemble(out, **changes)
    assert not out.exists()


def rerecord(finished: Any) -> None:
    """Make the run record and the report name the weights as they are now."""
    outputs = [
        {"path": f"adapter/{p.name}", "size": p.stat().st_size, "sha256": sha256(p.read_bytes())} for p in sorted((finished.run_dir / "adapter").iterdir())
    ]
    finished.edit("run.json", outputs=outputs)
    finished.edit("eval/report.json", weights=outputs)


def test_a_release_holds_exactly_its_files_as_copies(finished: Any, tmp_path: Path) -> None:
    release = finished.assemble(tmp_path / "out")
    bundle = read_bundle(release.folder)
    assert (bundle.wrong, bundle.missing) == ([], ["proof.jsonl.gz"])
    assert release == read_release(release.folder)
    assert release.digest == sha256((release.folder / "release.json").read_bytes())
    for path in (entry.path for entry in release.document.files):
        assert (release.folder / path).stat().st_nlink == 1
        assert not (release.folder / path).is_symlink()


def test_the_same_run_gives_the_same_release_digest(finished: Any, tmp_path: Path) -> None:
    assert finished.assemble(tmp_path / "a").digest == finished.assemble(tmp_path / "b").digest


def test_an_existing_folder_is_not_overwritten(finished: Any, tmp_path: Path) -> None:
    finished.assemble(tmp_path / "out")
    with pytest.raises(CoopError, match="exists already"):
        finished.assemble(tmp_path / "out")


@pytest.mark.parametrize("status", ["halted", "failed"])
def test_an_unfinished_run_is_refused(finished: Any, tmp_path: Path, status: str) -> None:
    finished.edit("run.json", status=status)
    refuse(finished, tmp_path / "out", "not completed")


def test_a_plan_for_all_weights_is_not_served_with_an_adapter(finished: Any, tmp_path: Path) -> None:
    training = json.loads((finished.run_dir / "plan.json").read_bytes())["training"]
    finished.edit("plan.json", training=training | {"method": "full", "lora": None})
    refuse(finished, tmp_path / "out", "model is missing")


@pytest.mark.parametrize(("field", "match"), [("coop", "names another cooperative"), ("proposal", "not made under this proposal")])
def test_a_run_record_of_another_cooperative_or_vote_is_refused(finished: Any, tmp_path: Path, field: str, match: str) -> None:
    finished.edit("run.json", **{field: sha256(b"another")})
    refuse(finished, tmp_path / "out", match)


def test_a_run_marked_unreleasable_is_refused(finished: Any, tmp_path: Path) -> None:
    finished.edit("run.json", unreleasable="a consent was withdrawn")
    refuse(finished, tmp_path / "out", "may not be released")


@pytest.mark.parametrize("name", ["eval/report.json", "eval/results.jsonl", "run.json", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"])
def test_a_missing_part_is_refused(finished: Any, tmp_path: Path, name: str) -> None:
    (finished.run_dir / name).unlink()
    refuse(finished, tmp_path / "out", "missing")


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "eval/results.jsonl", "plan.json"])
def test_a_file_changed_after_it_was_recorded_is_refused(finished: Any, tmp_path: Path, name: str) -> None:
    path = finished.run_dir / name
    data = path.read_bytes()
    path.write_bytes(data.replace(b"2", b"3", 1) if name.endswith(("json", "jsonl")) else data[:-1] + b"\x01")
    assert path.read_bytes() != data
    refuse(finished, tmp_path / "out", ".")


@pytest.mark.parametrize("name", ["manifest.json", "ledger.jsonl"])
def test_another_build_is_refused(finished: Any, tmp_path: Path, name: str) -> None:
    path = finished.build_dir / name
    path.write_bytes(path.read_bytes().replace(b"kin", b"run", 1))
    refuse(finished, tmp_path / "out", ".")


def test_an_evaluation_that_did_not_pass_is_refused_with_the_language(finished: Any, tmp_path: Path) -> None:
    results = [json.loads(line) for line in (finished.run_dir / "eval/results.jsonl").read_bytes().splitlines()]
    for row in results:
        if row["language"] == "nor":
            row["tuned"] = row["base"] + 20
    rewrite(finished, results)
    refuse(finished, tmp_path / "out", "(?s)did not pass.*nor")


def test_a_report_that_claims_to_have_passed_is_not_believed(finished: Any, tmp_path: Path) -> None:
    report = json.loads((finished.run_dir / "eval/report.json").read_bytes())
    report["languages"]["nor"]["verdict"] = "PASS"
    finished.edit("eval/report.json", languages=report["languages"])
    refuse(finished, tmp_path / "out", "do not follow")


def test_a_report_under_a_kinder_policy_is_refused(finished: Any, tmp_path: Path) -> None:
    report = json.loads((finished.run_dir / "eval/report.json").read_bytes())
    finished.edit("eval/report.json", policy=report["policy"] | {"margin": 5})
    refuse(finished, tmp_path / "out", "another policy")


def rewrite(finished: Any, results: list[dict[str, Any]]) -> None:
    plan = read_plan((finished.run_dir / "plan.json").read_bytes())
    lines = b"".join(dumps(row) + b"\n" for row in results)
    (finished.run_dir / "eval/results.jsonl").write_bytes(lines)
    finished.edit("eval/report.json", results=sha256(lines), **judge(results, plan.evaluation, languages=plan.build.languages))


def test_a_heldout_record_that_was_not_measured_is_refused(finished: Any, tmp_path: Path) -> None:
    results = [json.loads(line) for line in (finished.run_dir / "eval/results.jsonl").read_bytes().splitlines()]
    rewrite(finished, results[1:])
    refuse(finished, tmp_path / "out", "cover exactly")


def test_results_out_of_order_twice_or_of_another_author_are_refused(finished: Any, tmp_path: Path) -> None:
    results = [json.loads(line) for line in (finished.run_dir / "eval/results.jsonl").read_bytes().splitlines()]
    rewrite(finished, results[::-1])
    refuse(finished, tmp_path / "out", "not sorted")
    rewrite(finished, [results[0] | {"cluster": results[-1]["cluster"]}, *results[1:]])
    refuse(finished, tmp_path / "out", "another language or author")


def test_results_that_were_cut_off_are_refused(finished: Any, tmp_path: Path) -> None:
    path = finished.run_dir / "eval/results.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    finished.edit("eval/report.json", results=sha256(path.read_bytes()))
    refuse(finished, tmp_path / "out", "cut off")


@pytest.mark.parametrize("change", [{"run_proposal": sha256(b"other")}, {"coop": sha256(b"other")}, {"name": "Not a slug"}, {"created": "yesterday"}], ids=str)
def test_wrong_arguments_are_refused(finished: Any, tmp_path: Path, change: dict[str, str]) -> None:
    refuse(finished, tmp_path / "out", ".", **change)


def test_a_secret_in_a_record_is_refused_and_not_repeated(finished: Any, tmp_path: Path) -> None:
    token = "hf_" + "a1B2" * 9
    config = finished.run_dir / "adapter/adapter_config.json"
    config.write_bytes(dumps(json.loads(config.read_bytes()) | {"token": token}))
    rerecord(finished)
    with pytest.raises(CoopError, match="Hugging Face token") as caught:
        finished.assemble(tmp_path / "out")
    assert token not in str(caught.value)


def test_a_path_of_the_machine_is_refused(finished: Any, tmp_path: Path) -> None:
    config = finished.run_dir / "adapter/adapter_config.json"
    config.write_bytes(dumps(json.loads(config.read_bytes()) | {"revision": "/home/somebody/base"}))
    rerecord(finished)
    refuse(finished, tmp_path / "out", "path of this machine")


def test_a_path_in_a_sample_answer_is_no_leak_but_a_secret_is(finished: Any, tmp_path: Path) -> None:
    sample = {"language": "spa", "prompt": "p", "base": "cd /home/user", "tuned": "t"}
    finished.edit("eval/report.json", generations=[sample])
    finished.assemble(tmp_path / "out")
    finished.edit("eval/report.json", generations=[sample | {"tuned": "-----BEGIN OPENSSH PRIVATE KEY-----"}])
    refuse(finished, tmp_path / "secret", "private key")


def test_links_are_never_copied(finished: Any, tmp_path: Path) -> None:
    path = finished.run_dir / "adapter/adapter_model.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refuse(finished, tmp_path / "out", "missing")


def test_pickled_weights_are_refused(finished: Any, tmp_path: Path) -> None:
    (finished.run_dir / "adapter/adapter_model.safetensors").write_bytes(b"\x80\x04\x95" + b"x" * 200)
    rerecord(finished)
    refuse(finished, tmp_path / "out", "not a plain safetensors")


def test_only_a_proof_can_be_added_and_a_new_one_replaces_it_whole(finished: Any, tmp_path: Path) -> None:
    release = finished.assemble(tmp_path / "out")
    with pytest.raises(CoopError):
        add_proof(release.folder, b"{}")
    assert not (release.folder / "proof.jsonl.gz").exists()
    add_proof(release.folder, finished.village.coop.proof().dumps())
    assert (release.folder / "proof.jsonl.gz").is_file()


def test_progress_is_told(finished: Any, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assemble(
        finished.run_dir,
        finished.build_dir,
        tmp_path / "out",
        name="a",
        coop=finished.coop,
        run_proposal=finished.proposal,
        votes=finished.votes(),
        created="2026-11-22T13:00:00Z",
        progress=lambda *step: seen.append(step),
    )
    assert seen[-1][1] == seen[-1][2] > 0
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_an_assembled_release_without_votes_never_verifies(finished: Any, tmp_path: Path) -> None:
    assert verify(finished.assemble(tmp_path / "out").folder).exit_code != 0
