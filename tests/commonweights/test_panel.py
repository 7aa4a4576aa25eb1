"""`coop panel`: opened by a member, drawn by the operator, drawn again by anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import governance_hooks.cooperative
from governance_hooks.statement import now, shift
from tests.village import found

pytestmark = pytest.mark.sortition


def test_a_panel_is_opened_drawn_once_and_drawn_again_from_a_proof(coop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, subject, targets = tmp_path / "coop", tmp_path / "question.txt", tmp_path / "targets.csv"
    found(root, founders=10)
    subject.write_text("What shall we train next?")
    targets.write_text("feature,value,min,max\njoined,founder,3,3\n")

    def run(*arguments: object, code: int = 0) -> Any:
        done = coop("-C", root, "--json", "panel", *arguments)
        assert done.code == code, done.out + done.err
        return done.json

    assert run("show") == {"panels": []}
    words = ["--subject", subject, "--targets", targets, "--key", root / "members" / "1", "--delay", 60]
    assert "cannot fill" in run("open", "--seats", 5, *words, code=2)["what"]
    assert "needs witnesses" in run("open", "--seats", 3, "--purpose", "oversight", *words, code=1)["what"]
    panel = run("open", "--seats", 3, *words)["panel"]
    assert "has not come" in run("draw", panel, "--targets", targets, code=1)["what"]
    later = shift(now(), 90)
    monkeypatch.setattr(governance_hooks.cooperative, "now", lambda: later)
    drawn = run("draw", panel, "--targets", targets)
    assert len(drawn["selected"]) == 3
    assert drawn["witnesses"] == 0
    assert "no second draw" in run("draw", panel, "--targets", targets, code=1)["what"]
    assert run("show", panel[7:19])["selected"] == drawn["selected"]
    assert coop("-C", root, "proof", tmp_path / "proof.json").code == 0
    report = run("verify", panel, "--targets", targets, "--proof", tmp_path / "proof.json")
    assert report["passed"]
    assert "NOT grinding-proof" in report["steps"][2]["checked"]
    targets.write_text("feature,value,min,max\njoined,founder,0,9\n")
    assert not run("verify", panel, "--targets", targets, code=1)["passed"]
