from __future__ import annotations

import io
import sys

import pytest

from commonweights import progress as module
from commonweights.progress import progress


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test moves."""
    now = [0.0]
    monkeypatch.setattr("commonweights.progress.time.monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then_with_the_newest_status_and_an_honest_time_left(moment: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        show("training", 40, 50)  # resumed: forty steps were done by somebody else's clock
        for step in (41, 42, 43):
            moment[0] += 2.0
            show.status(f"loss {step}")
            show("training", step, 50)
    assert capsys.readouterr().err.splitlines() == ["  training: 43 of 50, 6 s, 14 s left; loss 43"]


def test_a_status_is_told_once(moment: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        show.status("loss 2")
        for label in ("training", "evaluating"):
            moment[0] += 6.0
            show(label, 1, 5000)
        moment[0] += 600.0
        show("evaluating", 2, 5000)
    assert capsys.readouterr().err.splitlines() == [
        "  training: 1 of 5000, 0 s; loss 2",
        "  evaluating: 1 of 5000, 0 s",
        "  evaluating: 2 of 5000, 10 min, 833 h 00 min left",
    ]


def test_work_of_the_same_name_takes_its_own_time(moment: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        for pause in (0.0, 600.0):
            moment[0] += pause
            show("look for items", 1, 9)
            moment[0] += 3.0
            show("look for items", 9, 9)
    assert [line.partition(", ")[2] for line in capsys.readouterr().err.splitlines() if "9 of 9" in line] == ["3 s", "3 s"]


def test_quiet_shows_nothing(moment: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as show:
        show.status("loss 2")
        moment[0] += 60.0
        show("training", 1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("columns", ["80", "160"])
def test_a_terminal_gets_a_bar_with_the_status(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as show:
        assert isinstance(show, module._Bars)
        show.status("loss [2.000], 12,345 tokens/s, 4,567 learned/s, MFU 40%")
        show("training", 400, 500)
        assert show.bars is not None
        show.bars.refresh()
    shown = screen.getvalue()
    assert "training" in shown
    assert "400/500" in shown
    assert "left" in shown
    assert "-:--:--" in shown  # the time left, before it is known
    assert "loss [2.000], 12,345 tokens/s, 4,567 learned/s, MFU 40%" in shown
    assert "\u2026" not in shown  # nothing is cut
