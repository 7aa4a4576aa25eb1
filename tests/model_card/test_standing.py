"""How a release stands is its own question: what the log, a site or the clock says of it never makes it invalid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.report import Status, StepFailed, StepUnknown
from governance_hooks.statement import shift
from model_card.verify import verify


@dataclass
class Said:
    """What the log or a site says, as attestations and site do."""

    status: str
    stale: bool = False

    @property
    def line(self) -> str:
        return f"{self.status} by somebody"


def says(monkeypatch: pytest.MonkeyPatch, log: Any = None, site: Any = None) -> list[Any]:
    """Have the log and the site say something; return what they were asked."""
    asked: list[Any] = []

    def answering(name: str, answer: Any) -> Any:
        def call(*_arguments: Any, **settings: Any) -> Any:
            asked.append((name, settings))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    for name, answer in (("status_of", log), ("freshness", site)):
        if answer is not None:
            monkeypatch.setattr(f"model_card.links.standing.{name}", answering(name, answer))
    return asked


@pytest.mark.parametrize("status", ["superseded", "withdrawn"])
def test_what_the_log_says_is_exit_code_3_and_still_valid(bundle: Path, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    asked = says(monkeypatch, log=Said(status))
    report = verify(bundle)
    assert (report.exit_code, report.verdict, report.valid, report.passed) == (3, status, True, False)
    assert (report.steps[13].status, report.steps[13].why) == (Status.NOTE, f"{status} by somebody")
    assert asked == [("status_of", {"at": None})]
    assert report.words.startswith(f"VALID, AND {status.upper()}")


def test_a_broken_link_counts_more_than_how_the_release_stands(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, log=Said("withdrawn"))
    (bundle / "README.md").write_bytes(b"")
    assert (verify(bundle).exit_code, verify(bundle).verdict) == (1, "invalid")
    (bundle / "README.md").unlink()
    assert (verify(bundle).exit_code, verify(bundle).verdict) == (2, "unchecked")


@pytest.mark.parametrize(
    ("site", "verdict", "code"),
    [
        (Said("current"), "valid", 0),
        (Said("current", stale=True), "stale", 4),
        (Said("superseded", stale=True), "superseded", 3),
        (Said("withdrawn"), "withdrawn", 3),
        (StepFailed("rolled back"), "invalid", 1),
        (StepUnknown("no such folder"), "unchecked", 2),
    ],
)
def test_a_site_is_newer_than_the_folder(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Any, verdict: str, code: int) -> None:
    asked = says(monkeypatch, log=Said("current"), site=site)
    report = verify(bundle, now=shift("2031-01-01T00:00:00Z", 0), site=tmp_path, remember=tmp_path / "seen")
    assert (report.verdict, report.exit_code) == (verdict, code), report.text()
    assert asked[-1] == ("freshness", {"now": "2031-01-01T00:00:00Z", "remember": tmp_path / "seen"})


def test_a_site_without_a_moment_cannot_be_asked(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, log=Said("current"), site=Said("current"))
    report = verify(bundle, site=tmp_path)
    assert (report.exit_code, "give --now too" in report.steps[13].todo) == (2, True)


def test_before_the_release_went_out_nobody_knows_how_it_stands(signed: Any, tmp_path: Path) -> None:
    release = signed.assemble(tmp_path / "bundle")
    (release.folder / "proof.jsonl.gz").write_bytes(signed.village.coop.proof().dumps())
    report = verify(release.folder)
    assert (report.steps[13].status, report.standing) == (Status.UNKNOWN, "unknown")
