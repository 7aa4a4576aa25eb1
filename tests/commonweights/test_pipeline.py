"""The whole chain by the command line, on a tiny model: contribute, consent, build, plan, vote, train, evaluate, release, verify."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from governance_hooks.canonical import dumps, loads
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.memory import Memory
from tests.commonweights.pipeline import CONFIG, decide, lines, prepare


@pytest.fixture
def ready(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Three members contributed, two consented, and a plan is written."""
    return prepare(coop, home, keys, tmp_path)


def approved(coop, home: Path) -> list[str]:
    """Return the commands that `coop status` gives for what members approved and nobody has used."""
    return [line.rpartition(": ")[2] for line in coop("-C", home, "--json", "status").json["todo"] if " is approved until " in line]


def test_from_contribution_to_verified_release(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    base = ["--base", ready / "tiny"]
    blocked = coop("-C", home, "train", "first", *base)
    assert blocked.code == 1
    assert "members never voted on exactly this" in blocked.err
    assert not (home / "runs" / "first").exists()

    decide(coop, home, keys, "run", "first", "for for against")
    assert approved(coop, home) == ["coop train first"]
    assert coop("-C", home, "train", "first", *base, "--check").code == 0
    trained = coop("-C", home, "train", "first", *base)
    assert trained.code == 0, trained.err
    assert "evaluation: passed the voted policy; the table: coop eval first" in trained.out
    report = loads((home / "runs/first/eval/report.json").read_bytes(), floats=True)
    assert report["passed"], report
    card = (home / "runs/first/card/README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["base_model_relation"] == "adapter"
    assert coop("-C", home, "train", "first", *base).code == 0  # nothing is done twice
    assert len(loads((home / "runs/first/run.json").read_bytes(), floats=True)["outputs"]) == 2

    assembled = coop("-C", home, "release", "assemble", "first", "--incomplete", *base)
    assert assembled.code == 0, assembled.err
    unvoted = coop("-C", home, "release", "publish", "first")
    assert (unvoted.code, "never voted on exactly this" in unvoted.err) == (2, True)
    assert approved(coop, home) == []
    decide(coop, home, keys, "release", "first")
    assert approved(coop, home) == ["coop release publish first"]
    published = coop("-C", home, "release", "publish", "first")
    assert published.code == 0, published.out + published.err
    assert approved(coop, home) == []
    pin = coop("-C", home, "--json", "status").json["coop"]
    verified = coop("--json", "verify", home / "releases/first", "--pin", pin)
    assert verified.code == 0, verified.out
    statuses = {step["number"]: step["status"] for step in verified.json["steps"]}
    assert {number for number, status in statuses.items() if status == "SKIP"} <= {10, 13}
    assert (len(statuses), set(statuses.values()) <= {"PASS", "SKIP"}, statuses[11]) == (14, True, "PASS")
    memory = Memory(pin)
    memory.path.write_text(sign_checkpoint(NoteKey.load(home / "keys" / "log.key"), 1, bytes(32), 1_800_000_000), encoding="utf-8")
    refused = coop("verify", home / "releases/first", "--pin", pin)
    assert refused.code == 1
    assert "the log is a fork" in refused.err
    memory.path.unlink()
    assert coop("verify", home / "releases/first", "--pin", "sha256:" + "0" * 64).code == 1
    assert coop("verify", home / "releases/nothing").code == 2

    alone = "from transformers import AutoModelForCausalLM; print(AutoModelForCausalLM.from_pretrained('.').num_parameters())"
    merged = subprocess.run([sys.executable, "-c", alone], cwd=home / "releases/first", capture_output=True, text=True, check=False)
    assert merged.returncode == 0, merged.stderr

    code = (home / "releases/first/README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    loaded = subprocess.run(
        [sys.executable, "-c", code.replace("BASE", str(ready / "tiny"))], cwd=home / "releases/first", capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr

    copy = ready / "copy"
    shutil.copytree(home / "releases/first", copy)
    weights = copy / "adapter/adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    broken = coop("verify", copy)
    assert (broken.code, "adapter/adapter_model.safetensors" in broken.out) == (1, True)
    weights.unlink()
    assert coop("verify", copy).code == 2
    assert coop("-C", home, "audit").code == 0
    free = coop("-C", home, "why", "first")
    assert (free.code, "first is not blocked: all 14 checks pass" in free.out) == (0, True)


def test_an_edited_plan_is_blocked_and_why_says_how_to_unblock(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    decide(coop, home, keys, "run", "first")
    path = home / "plans/first.json"
    plan = loads(path.read_bytes(), floats=True)
    plan["training"]["learning_rate"] = 0.02
    path.write_bytes(dumps(plan))
    done = coop("-C", home, "train", "first", "--base", ready / "tiny")
    assert (done.code, "BLOCKED" in done.err) == (1, True)
    why = coop("-C", home, "why", "first")
    assert "1. plan matches a proposal" in why.out
    assert "to unblock: coop propose run" in why.out


def test_a_withdrawal_after_the_vote_blocks_the_run(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    decide(coop, home, keys, "run", "first")
    coop("-C", home, "consent", "withdraw", "--key", keys["bela"])
    done = coop("-C", home, "train", "first", "--base", ready / "tiny")
    assert done.code == 1
    assert "40 texts lack a consent in force of 1 member(s)" in done.err
    rebuilt = coop("-C", home, "--json", "build", "make", "voices-2", "--heldout", "400").json
    assert set(rebuilt["languages"]) == {"spa"}
    shown = coop("-C", home, "build", "diff", "voices", "voices-2")
    assert "0 came, 40 went, 0 changed" in shown.out
    assert "no_consent: of " in shown.out
    assert coop("-C", home, "build", "verify", "voices-2").code == 0


def test_a_member_proves_what_is_theirs_and_after_leaving_that_nothing_is(coop, ready: Path, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    mine = coop("-C", home, "--json", "build", "prove", "voices", "--key", keys["bela"], "--out", proof).json
    assert mine["rows"] == 40
    alone = coop("--json", "build", "check", proof, "--root", mine["root"])  # no cooperative's folder at hand
    assert alone.json == {"member": mine["member"], "rows": 40, "root": mine["root"]}
    coop("-C", home, "consent", "withdraw", "--key", keys["bela"])
    coop("-C", home, "build", "make", "without-bela")
    gone = coop("-C", home, "--json", "build", "prove", "without-bela", mine["member"], "--out", proof).json
    assert gone["rows"] == 0
    assert coop("--json", "build", "check", proof, "--root", gone["root"]).json["rows"] == 0
    other = coop("build", "check", proof, "--root", mine["root"])
    assert (other.code, "about another dataset" in other.err) == (1, True)
    record = json.loads((home / "builds/voices/ledger.jsonl").read_text().splitlines()[0])["record"]
    assert f"{record} is in voices" in coop("-C", home, "build", "why", "voices", record).out


def test_a_preview_counts_what_a_withdrawal_would_take_away(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    shown = coop("-C", home, "--json", "consent", "preview", "--key", keys["anna"]).json
    assert (shown["own_records"], shown["built_on_yours"]) == (40, 0)


def test_a_contribution_cut_off_between_log_and_store_is_not_given_twice(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    from data_pipeline.store import ContributionStore

    file = tmp_path / "anna.jsonl"
    file.write_text(lines("anna", "spa"), encoding="utf-8")

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ContributionStore, "seal", cut_off)
        assert coop("-C", home, "contribute", file, "--key", keys["anna"]).code == 130
    assert coop("-C", home, "contribute", file, "--key", keys["anna"]).code == 0
    assert coop("-C", home, "--json", "status").json["contributed_records"] == 40
    assert coop("-C", home, "audit").code == 0


BAD = {
    "broken JSON": (b'{"inputs": "a", "targets"\n', "broken JSON"),
    "unknown language": (b'{"inputs": "a", "targets": "b", "language_code": "spanisch"}\n', "unknown language code"),
    "duplicate id": (b'{"inputs": "c", "targets": "d", "language_code": "spa", "record_id": "r1"}\n' * 2, "r1"),
    "empty completion": (b'{"inputs": "a", "targets": "  ", "language_code": "spa"}\n', "targets is empty"),
    "ten megabytes": (b'{"inputs": "a", "targets": "' + b"x" * 10_000_000 + b'", "language_code": "spa"}\n', "too long"),
    "invalid UTF-8": (b'{"inputs": "\xff", "targets": "b", "language_code": "spa"}\n', "UTF-8"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_line_stores_nothing_and_names_its_line(coop, home: Path, keys: dict[str, Path], tmp_path: Path, kind: str) -> None:
    bad, words = BAD[kind]
    file = tmp_path / "given.jsonl"
    file.write_bytes(b'{"inputs": "hola", "targets": "buenas", "language_code": "spa"}\n' + bad)
    done = coop("-C", home, "contribute", file, "--key", keys["anna"])
    assert done.code == 2
    assert words in done.err, done.err[:500]
    assert "given.jsonl:2:" in done.err or "given.jsonl:3:" in done.err
    assert "Traceback" not in done.err
    assert len(done.err) < 3000
    assert coop("-C", home, "--json", "status").json["contributed_records"] == 0
    file.write_bytes(file.read_bytes().split(b"\n")[0] + b"\n")
    assert coop("-C", home, "contribute", file, "--key", keys["anna"]).code == 0


def test_missing_base_weights_name_the_folder_and_the_command(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    (ready / "moved.yaml").write_text(yaml.safe_dump(CONFIG | {"base": "nowhere", "name": "second"}), encoding="utf-8")
    done = coop("-C", home, "plan", ready / "moved.yaml")
    assert (done.code, "no base weights at" in done.err, "coop base" in done.err) == (2, True, True)
    decide(coop, home, keys, "run", "first")
    shutil.rmtree(ready / "tiny")
    (ready / "tiny").mkdir()
    blocked = coop("-C", home, "train", "first", "--base", ready / "tiny")
    assert (blocked.code, "base weights are not the voted ones" in blocked.err) == (1, True)


def test_a_full_disk_leaves_no_half_written_release(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    """The kernel's limit on file size stands for the full disk: the write fails in the same place (builds and log: see their rooms)."""
    decide(coop, home, keys, "run", "first")
    assert coop("-C", home, "train", "first", "--base", ready / "tiny").code == 0
    program = f"""
import resource, sys
from pathlib import Path
from commonweights.commands.release import assemble_release
from commonweights.workspace import open_workspace
from governance_hooks.errors import CoopError
with open_workspace(Path({str(home)!r})) as space:
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
    try:
        assemble_release(space, "first", "first", derived=False)
    except CoopError as error:
        sys.exit(str(error))
"""
    full = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert full.returncode == 1, full.stdout + full.stderr
    assert "cannot write" in full.stderr, full.stderr
    assert "releases/first" in full.stderr, full.stderr
    assert "Traceback" not in full.stderr
    assert [path.name for path in (home / "releases").iterdir()] == [".lock"]
    assert coop("-C", home, "release", "assemble", "first", "--incomplete", "--no-derived").code == 0
    assert coop("-C", home, "audit").code == 0
