"""A release with everything that loads: each byte of each file is bound, and what was made can be made again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from model_card.verify import verify

FILES, WEIGHTS, DERIVED, CARD = "files match release.json", "weights are the run's output", "merged and GGUF weights are derived", "card renders identically"
EXPECTED = {
    "README.md": CARD,
    "card": CARD,
    "card.json": CARD,
    "run.json": WEIGHTS,
    "adapter": WEIGHTS,
    "gguf": DERIVED,
    "derived": DERIVED,
    "plan.json": "run vote",
    "data": "data is the voted dataset",
    "data/croissant.json": CARD,
    "previous": CARD,
    "statements": CARD,
    "eval": "evaluation under the voted policy",
    "stake": "evaluation under the voted policy",
    "privacy": "leak test under the voted policy",
    "attestations": "attestations signed by stewards",
    "release.json": "release vote",
    "proof.jsonl.gz": "cooperative and log",
}
"""File or folder -> the link that must fail beside the first (others may fail with it)."""


def expected(path: str, *, adapter: bool) -> set[str]:
    top = path.split("/")[0]
    link = EXPECTED.get(path) or EXPECTED.get(top) or (DERIVED if adapter else WEIGHTS)
    return {link} if top in ("release.json", "proof.jsonl.gz", "attestations") else {FILES, link}


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def test_everything_holds_and_is_named(whole: Path) -> None:
    report = verify(whole)
    assert report.exit_code == 0, report.text()
    made = next(step for step in report.steps if step.name == DERIVED)
    assert "GGUF f16; GGUF q8_0" in made.checked
    assert ("merged by coop.merge/v1" in made.checked) == (whole / "adapter").is_dir()


def test_one_flipped_bit_in_any_file_fails_the_right_link(whole: Path) -> None:
    adapter, draw = (whole / "adapter").is_dir(), random.Random(5)
    paths = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file())
    assert len(paths) >= 18
    for name in paths:
        path = whole / name
        data = path.read_bytes()
        for position in {0, draw.randrange(len(data)), *([] if name.startswith("card/") else [len(data) - 1])}:
            path.write_bytes(flipped(data, position, draw.randrange(8)))
            report = verify(whole)
            failed = {step.name for step in report.steps if step.status == "FAIL"}
            assert report.exit_code == 1, f"{name} byte {position}\n{report.text()}"
            assert failed >= expected(name, adapter=adapter), f"{name} byte {position}\n{report.text()}"
        path.write_bytes(data)
    assert verify(whole).exit_code == 0


@pytest.mark.parametrize("name", ["gguf/village-lm-f16.gguf", "model.safetensors", "tokenizer.json", "derived/village-lm-q8_0.json"])
def test_a_missing_file_is_unknown_never_a_pass(whole: Path, name: str) -> None:
    (whole / name).unlink()
    report = verify(whole)
    assert report.exit_code == 2, report.text()
    assert name in report.steps[0].why
