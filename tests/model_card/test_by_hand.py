"""The commands of docs/verify-by-hand.md, run as they stand there: they hold for a real release and stop at a forged one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.proof import Proof, read_proof
from tests.model_card.test_verify import edit, rehash

PAGE = Path(__file__).resolve().parents[2] / "docs/verify-by-hand.md"


def by_hand(folder: Path) -> subprocess.CompletedProcess[str]:
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=False)


def test_the_commands_hold_for_a_real_release_and_write_nothing(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    done = by_hand(whole)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split()[0] for line in done.stdout.splitlines() if line[0].isdigit()]
    assert sorted({int(number) for number in told}) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14]
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_the_commands_use_what_every_machine_has() -> None:
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    imported = set(re.findall(r"^(?:import|from) ([a-z0-9_, ]+?)(?:;| import|$)", text, re.MULTILINE))
    assert {name.strip() for names in imported for name in names.split(",")} <= {"base64", "json", "os", "hashlib"}
    assert "coop verify" not in text


def extra(folder: Path) -> None:
    (folder / "extra").write_bytes(b"")


def other_weights(folder: Path) -> None:
    path = folder / "adapter/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    rehash(folder)


def without_a_ballot(folder: Path) -> None:
    proof = read_proof((folder / "proof.jsonl.gz").read_bytes())
    kept = tuple(entry for number, entry in enumerate(proof.entries) if number != len(proof.entries) - 3)
    (folder / "proof.jsonl.gz").write_bytes(Proof(proof.checkpoint, kept).dumps())


def other_signature(folder: Path) -> None:
    proof = read_proof((folder / "proof.jsonl.gz").read_bytes())
    lines = proof.checkpoint.split("\n")
    lines[4] = lines[4][:-9] + ("A" if lines[4][-9] != "A" else "B") + lines[4][-8:]
    (folder / "proof.jsonl.gz").write_bytes(Proof("\n".join(lines), proof.entries).dumps())


def boast(folder: Path) -> None:
    edit(folder, "card.json", lambda card: card["run"]["steps"].update(value=5000))
    document = json.loads((folder / "release.json").read_bytes())
    document["files"] = [
        one | {"sha256": sha256((folder / one["path"]).read_bytes()), "size": (folder / one["path"]).stat().st_size} for one in document["files"]
    ]
    (folder / "release.json").write_bytes(dumps(document))


@pytest.mark.parametrize(
    ("forge", "last", "words"),
    [
        (extra, 0, "extra"),
        (other_weights, 3, "StopIteration"),
        (without_a_ballot, 1, "do not hash to the root"),
        (other_signature, 1, "checkpoint not signed"),
        (boast, 3, "StopIteration"),
    ],
)
def test_the_commands_stop_at_a_forged_release(bundle: Path, forge: Callable[[Path], None], last: int, words: str) -> None:
    """`last` is the last line that held; a release that members never voted on is not in the log."""
    forge(bundle)
    done = by_hand(bundle)
    assert done.returncode != 0, done.stdout
    assert words in done.stdout + done.stderr
    held = [int(number) for number in re.findall(r"^(\d+) ", done.stdout, re.MULTILINE)]
    assert (held or [0])[-1] == last
