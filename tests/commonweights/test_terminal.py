from __future__ import annotations

import sys

import pytest

from commonweights.table import show_report
from commonweights.terminal import fold
from governance_hooks.report import Report, Status, Step

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of a hundred columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("terminal")
def test_long_lines_are_broken_at_words_and_what_is_copied_stays_whole() -> None:
    text = "  " + "word " * 30 + DIGEST
    folded = fold(text)
    assert max(map(len, folded.splitlines())) <= 100
    assert all(line.startswith("  w") or line == f"  {DIGEST}" for line in folded.splitlines())
    assert DIGEST in folded
    assert fold("a  b\n" + "x" * 300) == "a  b\n" + "x" * 300


@pytest.mark.usefixtures("terminal")
def test_a_report_keeps_its_columns() -> None:
    report = Report("Gate", (Step(1, "a name", Status.FAIL, "", "word " * 40, todo="coop why"),))
    lines = show_report(report).splitlines()
    assert len(lines) > 3
    assert all(line.startswith(" " * 22 + "word") for line in lines[2:-1])
    assert lines[-1] == " " * 22 + "next: coop why"


def test_elsewhere_lines_stay_as_they_are() -> None:
    assert fold("word " * 60) == "word " * 60
