"""When a run counts as complete by what lies in its folder: only by the record of exactly this run and plan."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import Complete, Refused
from slurm.completed import is_complete, require_complete, require_incomplete

RECORD = {"status": "completed", "run": "voices", "plan": "sha256:p", "steps": 7, "loss": {"last": 1.5}}


def test_the_record_of_this_run_and_plan_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(dumps(RECORD))
    assert is_complete(tmp_path, "voices", "sha256:p")
    with pytest.raises(Complete, match="run voices is complete: its result is in"):
        require_incomplete(tmp_path, "voices", "sha256:p", logged="halted")


@pytest.mark.parametrize("changed", [{"status": "halted"}, {"status": "failed"}, {"run": "other"}, {"plan": "sha256:q"}, {"status": 1}])
def test_any_other_record_does_not(tmp_path: Path, changed: dict[str, object]) -> None:
    (tmp_path / "run.json").write_bytes(dumps(RECORD | changed))
    assert not is_complete(tmp_path, "voices", "sha256:p")
    require_incomplete(tmp_path, "voices", "sha256:p", logged="running")


def test_nor_does_what_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert not is_complete(tmp_path, "voices", "sha256:p")
    for data in (b"", b"[" * 100_000, b"\xff", dumps(RECORD)[:-1], dumps(RECORD | {"x": "y" * (16 << 20)})):
        path.write_bytes(data)
        assert not is_complete(tmp_path, "voices", "sha256:p")
    (tmp_path / "real.json").write_bytes(dumps(RECORD))
    path.unlink()
    path.symlink_to("real.json")
    assert not is_complete(tmp_path, "voices", "sha256:p")
    path.unlink()
    os.mkfifo(path)
    assert not is_complete(tmp_path, "voices", "sha256:p")


def test_the_log_is_enough(tmp_path: Path) -> None:
    with pytest.raises(Complete) as found:
        require_incomplete(None, "voices", "sha256:p", logged="completed")
    assert (found.value.exit_code, "coop collect" in str(found.value)) == (5, False)
    require_incomplete(None, "voices", "sha256:p", logged=None)


def test_only_a_complete_run_is_evaluated(tmp_path: Path) -> None:
    for record in (None, {"status": "halted"}, {"status": "failed"}, {"run": "other"}, {"plan": "sha256:q"}):
        if record is not None:
            (tmp_path / "run.json").write_bytes(dumps(RECORD | record))
        with pytest.raises(Refused, match="run voices is not trained to its end") as found:
            require_complete(tmp_path, "voices", "sha256:p")
        assert "coop submit voices" in str(found.value)
    (tmp_path / "run.json").write_bytes(dumps(RECORD))
    require_complete(tmp_path, "voices", "sha256:p")
