"""One changed byte anywhere in a release is found, and the right link is named."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from model_card.bundle import read_bundle
from model_card.layout import rule_of
from model_card.renderers import PAGES
from model_card.verify import verify

EXPECTED = {
    "data/batches.jsonl": {"files match release.json", "data is the voted dataset"},
    "data/ledger.jsonl": {"files match release.json", "data is the voted dataset"},
    "data/manifest.json": {"files match release.json", "data is the voted dataset"},
    "eval/report.json": {"files match release.json", "evaluation under the voted policy"},
    "eval/results.jsonl": {"files match release.json", "evaluation under the voted policy"},
    "plan.json": {"files match release.json", "run vote"},
    "run.json": {"files match release.json", "weights are the run's output"},
    "adapter/adapter_config.json": {"files match release.json", "weights are the run's output"},
    "adapter/adapter_model.safetensors": {"files match release.json", "weights are the run's output"},
    "release.json": {"release vote"},
    "proof.jsonl.gz": {"cooperative and log"},
} | {path: {"files match release.json", "card renders identically"} for path in ("README.md", "card.json", "card/summary.eng.md", *PAGES)}
"""The links that must fail (others may fail with them)."""

FULL_CHECKS = 12


def flip(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def failing(bundle: Path) -> set[str]:
    report = verify(bundle)
    assert report.exit_code == 1, report.text()
    return {step.name for step in report.steps if step.status == "FAIL"}


def test_every_file_of_a_release_has_an_expectation(bundle: Path) -> None:
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(EXPECTED) <= found
    pages = found - set(EXPECTED)
    assert all((rule := rule_of(page)) is not None and rule.role == "card" for page in pages)  # tests/model_card/test_whole.py flips bits in these too


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_flipped_bit_fails_verification_at_the_right_link(bundle: Path, name: str) -> None:
    path, draw = bundle / name, random.Random(name)
    whole = path.read_bytes()
    count = {"release.json": 60, "proof.jsonl.gz": 40}.get(name, FULL_CHECKS)
    for position in {0, len(whole) - 1, *draw.sample(range(len(whole)), min(count, len(whole)))}:
        path.write_bytes(flip(whole, position, draw.randrange(8)))
        assert failing(bundle) >= EXPECTED[name], f"{name} byte {position}"
    path.write_bytes(whole)
    assert verify(bundle).exit_code == 0


@pytest.mark.parametrize("name", [name for name in sorted(EXPECTED) if name not in ("data/ledger.jsonl", "card.json", "release.json", "proof.jsonl.gz")])
def test_no_byte_of_a_listed_file_can_change_unseen(bundle: Path, name: str) -> None:
    path = bundle / name
    whole = path.read_bytes()
    for position in range(0, len(whole), 1 if len(whole) < 500 else len(whole) // 60):
        path.write_bytes(flip(whole, position, position % 8))
        assert any(name in wrong for wrong in read_bundle(bundle).wrong)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_cut_an_emptied_and_a_lengthened_file_fail(bundle: Path, name: str) -> None:
    path = bundle / name
    whole = path.read_bytes()
    for changed in (whole[:-1], whole[: len(whole) // 2], b"", whole + b"\n", whole + b" "):
        path.write_bytes(changed)
        assert failing(bundle) >= EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_missing_file_is_unknown_never_a_pass(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    report = verify(bundle)
    assert report.exit_code == 2, report.text()
    assert report.steps[0].status == "UNKNOWN"
    assert name in report.steps[0].why


@pytest.mark.parametrize("junk", [b"null", b"[]", b"{}", b"5", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"format":"coop.run/v1"}'], ids=repr)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_junk_in_place_of_any_record_fails_cleanly(bundle: Path, name: str, junk: bytes) -> None:
    (bundle / name).write_bytes(junk)
    assert failing(bundle) >= EXPECTED[name] - {"release vote"}
    assert not any("check itself broke" in step.why for step in verify(bundle).steps)
