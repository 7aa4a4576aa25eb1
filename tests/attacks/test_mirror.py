"""A mirror that hands out a changed release: it may not write on the reader's terminal, keep the machine busy, or hide anything."""

import json
import os
import pty
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.report import Status
from model_card.verify import verify
from model_card.weights import check_safetensors
from tests.attacks.forge import broken
from tests.model_card.conftest import tiny_safetensors

CLEAR = "\x1b[2J\x1b[H"
FORGED = f"{CLEAR}Verification of bundle\n  1  PASS     files match release.json\n\nVERIFIED: every link holds.\x1b[8m"


def on_a_terminal(*command: str | Path) -> tuple[int, bytes]:
    """Run a command whose output is a real terminal; return its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(list(command), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while data := os.read(ours, 65_536):
                text += data
        except OSError:  # how Linux says that the other side is closed
            pass
        code = process.wait()
    os.close(ours)
    return code, text


def test_a_file_name_cannot_write_on_the_terminal(bundle: Path) -> None:
    (bundle / "run.json").write_bytes(b"{}")
    (bundle / FORGED).write_bytes(b"")
    code, text = on_a_terminal(sys.executable, "-m", "commonweights.cli", "verify", bundle)
    assert code == 1
    assert b"\x1b[2J" not in text
    assert b"\x1b[8m" not in text
    assert rb"\x1b[2J\x1b[HVerification of bundle\n" in b" ".join(text.split())  # shown, harmless, and broken at words
    assert not [line for line in text.splitlines() if line.startswith(b"VERIFIED")]
    assert b"NOT VERIFIED." in text


@pytest.mark.parametrize("trick", ["\x1b[2K\rVERIFIED", "\x9b2J", "\u202eDEIFIREV", "a\nVERIFIED: every link holds.", "\x08\x08\x08\x08PASS"])
def test_a_key_of_a_json_file_cannot_write_on_the_terminal(bundle: Path, trick: str) -> None:
    for name in ("release.json", "run.json", "eval/report.json", "data/manifest.json"):
        document = json.loads((bundle / name).read_bytes())
        (bundle / name).write_bytes(dumps(document | {f"zz{trick}": 1}))
    report = verify(bundle)
    text = report.text()
    assert report.exit_code == 1
    assert trick not in text
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 1 + len(report.steps) + sum(bool(step.todo) for step in report.steps)


def test_the_name_in_the_table_is_escaped_too(bundle: Path) -> None:
    evil = bundle.rename(bundle.parent / "bundle\x1b[2J")
    assert verify(evil).text().splitlines()[0] == r"Verification of bundle\x1b[2J"


def test_what_no_vote_stands_behind_is_not_computed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = json.loads((bundle / "plan.json").read_bytes())
    plan["evaluation"]["resamples"] = 100_000
    (bundle / "plan.json").write_bytes(dumps(plan))
    row = {"language": "spa", "tokens": 1, "base": 1, "tuned": 1}
    lines = b"".join(dumps(row | {"item": f"r{number:06d}", "cluster": f"m{number}"}) + b"\n" for number in range(20_000))
    (bundle / "eval/results.jsonl").write_bytes(lines)
    report = json.loads((bundle / "eval/report.json").read_bytes())
    changed = report | {"policy": plan["evaluation"], "plan": sha256((bundle / "plan.json").read_bytes()), "results": sha256(lines)}
    (bundle / "eval/report.json").write_bytes(dumps(changed))

    def never(*_: object) -> None:
        raise AssertionError("minutes of work for a stranger")

    monkeypatch.setattr("model_card.links.evaluation.judge_again", never)
    monkeypatch.setattr("model_card.links.card.make_card", never)
    found = verify(bundle)
    broken(found, "run vote", "the run proposal is about another plan than plan.json")
    last = {step.name: step for step in found.steps}
    for name in ("evaluation under the voted policy", "card renders identically"):
        assert (last[name].status, last[name].why) == (Status.UNKNOWN, "needs the run vote (link 5)")


def safetensors(header: bytes) -> bytes:
    """Put another header before the data of a small file."""
    raw = tiny_safetensors()
    length = struct.unpack("<Q", raw[:8])[0]
    return struct.pack("<Q", len(header)) + header + raw[8 + length :]


def header() -> bytes:
    raw = tiny_safetensors()
    return raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]].strip()


TWICE = b'{"__metadata__":{"payload":"names of members ride along"},' + header()[1:]
OTHER = header().replace(b'"format": "pt"', b'"format": "or simply here, without any trick"')
MORE = header().replace(b'"format": "pt"', b'"format": "pt", "payload": "here"')
SHADOWED = header().replace(b'"dtype": "F32"', b'"dtype": "F16", "dtype": "F32"', 1)


@pytest.mark.parametrize(
    ("raw", "words"),
    [(TWICE, "a key stands twice"), (SHADOWED, "a key stands twice"), (OTHER, "other metadata than its format"), (MORE, "other metadata than its format")],
    ids=["metadata twice", "a field twice", "another format", "more metadata"],
)
def test_a_weights_header_hides_nothing(bundle: Path, raw: bytes, words: str) -> None:
    weights = bundle / "adapter/adapter_model.safetensors"
    assert safetensors(header()) != safetensors(raw)
    weights.write_bytes(safetensors(raw))
    with pytest.raises(BadInput, match=f"adapter_model.safetensors is not a plain safetensors file: .*{words}"):
        check_safetensors(weights)
    broken(verify(bundle), "files match release.json", "adapter/adapter_model.safetensors")


def test_the_header_the_tests_start_from_is_accepted(bundle: Path) -> None:
    weights = bundle / "adapter/adapter_model.safetensors"
    weights.write_bytes(safetensors(header()))
    assert check_safetensors(weights) == (2, 16)
