"""What happens when a run ends, in an order that a crash can interrupt anywhere: logged end, evaluation, card.

Each step looks at what is already there and does only what is missing, so `coop train` or `coop eval` simply goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from commonweights.progress import Progress
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import read_ledger
from governance_hooks.register import Register

__all__ = ["evaluate_run", "log_end", "read_record", "write_card"]


def read_record(space: Workspace, run: str) -> dict[str, Any]:
    """Return run.json."""
    path = space.run(run) / "run.json"
    if not path.is_file():
        raise BadInput(f"run {run} has no record yet", next="coop train PLAN")
    record: dict[str, Any] = loads(path.read_bytes(), floats=True, source=str(path))
    return record


def log_end(space: Workspace, run: str) -> None:
    """Log how the run ended, unless the log knows it; raise BadInput for a record that is not of this run, or not of these files."""
    data = (space.run(run) / "run.json").read_bytes()
    record = read_record(space, run)
    known = space.coop.register.run(run)
    if known.status == "completed" or known.record == sha256(data):
        return
    for name, expected in (("run", run), ("plan", known.plan), ("proposal", known.proposal), ("coop", space.coop.pin)):
        if record.get(name) != expected:
            raise BadInput(f"run.json of {run} names another {name} than the log", value=record.get(name), allowed=expected, next="find out who wrote it")
    for output in record["outputs"]:
        if file_entry(space.run(run), space.run(run) / output["path"]) != output:
            raise BadInput(f"{output['path']} of run {run} is not the file run.json names", next="find out who changed it")
    payload = {"run": run, "status": record["status"], "record": sha256(data), "outputs": digest(record["outputs"])}
    space.coop.operate("coop.run-end/v1", payload)


def evaluate_run(space: Workspace, run: str, *, base: Path, build: Path, threads: int | None = None, show: Progress | None = None) -> dict[str, Any]:
    """Evaluate a completed run once, log report and results, and return the report."""
    from eval.report import evaluate

    folder = space.run(run) / "eval"
    logged = space.coop.register.run(run).report
    if logged is None:  # a report nobody signed yet may have been planted: measure, whatever lies there
        evaluate(space.run(run), base=base, build=build, progress=show, threads=threads)
    data = (folder / "report.json").read_bytes()
    report: dict[str, Any] = loads(data, floats=True, source=str(folder / "report.json"))
    if logged is None:
        payload = {"run": run, "report": sha256(data), "results": sha256((folder / "results.jsonl").read_bytes()), "passed": report["passed"]}
        space.coop.operate("coop.evaluation/v1", payload)
    return report


def write_card(register: Register, run: str, folder: Path, build: Path) -> Path:
    """Write card.json and README.md of an evaluated run into its folder, from its files and the log; return where they are."""
    from model_card.readme import render

    from model_card.card import make_card
    from model_card.records import CardRecords
    from model_card.votes import votes_of

    consents = {consent for row in read_ledger(build / "ledger.jsonl")[0] for consent in row.consents}
    votes = votes_of(register, run=run, consents=consents)
    plan, record, manifest, report = ((folder / "plan.json"), (folder / "run.json"), (build / "manifest.json"), (folder / "eval" / "report.json"))
    records = CardRecords(run, register.coop, plan.read_bytes(), record.read_bytes(), manifest.read_bytes(), report.read_bytes(), votes)
    card = make_card(records)
    write_bytes(folder / "card" / "card.json", dumps(card))
    write_bytes(folder / "card" / "README.md", render(card).encode())
    return folder / "card"
