from __future__ import annotations

from pathlib import Path
from typing import Any

from governance_hooks.canonical import dumps
from tests.village import Approved, segments_of

RUN = "run-1"


def started(approved: Approved) -> Path:
    """Log a start, and leave the folder a failed run leaves."""
    village = approved.village
    approved.start()
    [run] = village.coop.register.runs
    folder = village.root / "runs" / run
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(approved.plan_bytes)
    (folder / "starts.jsonl").write_bytes(dumps({"step": 1, "started": village.clock, "device": "cpu"}) + b"\n")
    record: dict[str, Any] = {
        "status": "failed", "reason": "CoopError: no luck", "steps": 3, "total_steps": 8, "loss": {"first": 3.0, "last": 2.5}, "wall_s": 90, "starts": 1, "tokens": {},
        "trained_records": 2, "trained_root": "sha256:00", "plan": "sha256:00", "device": "cpu",
    }  # fmt: skip
    (folder / "run.json").write_bytes(dumps(record | segments_of(village.clock)))
    return folder


def test_runs_are_listed_with_their_energy_and_a_failed_one_has_a_report(approved: Approved, coop: Any) -> None:
    folder = started(approved)
    listed = coop("-C", approved.village.root, "--json", "runs").json["runs"]
    assert [(row["run"], row["steps"], row["loss"], row["minutes"], row["kwh"]) for row in listed] == [(folder.name, "3/8", 2.5, 1.5, 0.00125)]
    assert folder.name in coop("-C", approved.village.root, "runs").out
    done = coop("-C", approved.village.root, "report", folder.name)
    assert done.code == 0, done.err
    assert "no luck" in (folder / "report.html").read_text()


def test_only_a_run_of_the_log_has_a_report(approved: Approved, coop: Any, tmp_path: Path) -> None:
    started(approved)
    done = coop("-C", approved.village.root, "report", "../../etc")
    assert done.code == 2
    assert "no run" in done.err
