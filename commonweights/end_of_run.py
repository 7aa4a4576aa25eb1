"""What happens when a run ends, in an order that a crash can interrupt anywhere: logged end, evaluation, card.

Each step looks at what is already there and does only what is missing, so `coop train` or `coop eval` simply goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from commonweights.leaking import leak_payload, make_leak_tests
from commonweights.names import names
from commonweights.progress import Progress
from commonweights.workspace import Workspace
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import read_plan
from governance_hooks.register import Register
from governance_hooks.statement import now

__all__ = ["card_files", "card_hook", "evaluate_run", "log_end", "read_record", "write_card"]

OUTLINE: Final = "coop.run-outline/v1"


def no_record(space: Workspace, run: str) -> BadInput:
    """Return the error of a run without a record: it goes on, or its name is not right."""
    known = list(space.coop.register.runs)
    if run in known:
        return BadInput(f"run {run} has no record yet", value=space.coop.register.runs[run].status, next=f"coop train {run}, which goes on with it")
    return BadInput(f"there is no run {run}", allowed=names(known, run), next="coop runs")


def read_record(space: Workspace, run: str) -> dict[str, Any]:
    """Return run.json."""
    path = space.run(run) / "run.json"
    if not path.is_file():
        raise no_record(space, run)
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


def voted_plan(space: Workspace, run: str) -> bytes:
    """Return the plan beside a run, which must be the one the log says it was started under: another could ask for less."""
    path, voted = space.run(run) / "plan.json", space.coop.register.run(run).plan
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data) != voted:
        raise BadInput(f"{path} is missing or not the plan of the run", value=sha256(data), allowed=voted, next=f"put plans/{run}.json back in its place")
    return data


def evaluate_run(
    space: Workspace,
    run: str,
    *,
    base: Path,
    build: Path,
    show: Progress | None = None,
    threads: int | None = None,
    memory: int | None = None,
    processes: int = 1,
    batch: int | None = None,
    labels: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Evaluate a completed run once, its leak test too if the plan asks for one, log both, and return the report.

    What is not explained here is as in `eval.report.evaluate`.
    """
    from eval.report import evaluate

    folder = space.run(run) / "eval"
    logged = space.coop.register.run(run).report
    signed: dict[str, Any] = {}
    if logged is None:  # a report nobody signed yet may have been planted: measure, whatever lies there
        plan = read_plan(voted_plan(space, run))
        if plan.evaluation.leak is not None:  # first: a lost seed is told before an hour of measuring
            signed["leak"] = leak_payload(space.run(run), plan, make_leak_tests(space, run, base=base, threads=threads, show=show))
        how: dict[str, Any] = {"threads": threads, "memory": memory, "processes": processes, "batch": batch}
        evaluate(space.run(run), base=base, build=build, data=space.evals, labels=labels, progress=show, **how)
    data = (folder / "report.json").read_bytes()
    report: dict[str, Any] = loads(data, floats=True, source=str(folder / "report.json"))
    if logged is None:
        payload = {"run": run, "report": sha256(data), "results": sha256((folder / "results.jsonl").read_bytes()), "passed": report["passed"]}
        if not report.get("waivable", True):
            payload["waivable"] = False
        space.coop.operate("coop.evaluation/v1", payload | signed)
    return report


_RUN_FILES: Final = (
    "plan.json",
    "run.json",
    "eval/report.json",
    "privacy/leak.json",
    "privacy/differential.json",
    "stake/shares.json",
    "previous/release.json",
    "previous/card.json",
)
_BUILD_FILES: Final = ("manifest.json", "ledger.jsonl")


def card_files(folder: Path, build: Path, *, evaluated: bool) -> dict[str, bytes]:
    """Return what a card is rendered from, of a run's folder and its build, by the paths a release has.

    Args:
        evaluated: whether the log knows the run's evaluation: a report nobody signed is not shown.
    """
    paths = {path: folder / path for path in _RUN_FILES if evaluated or not path.startswith(("eval/", "privacy/"))}
    paths |= {f"data/{name}": build / name for name in _BUILD_FILES}
    paths |= {
        path.relative_to(folder).as_posix(): path
        for place in ("statements", "derived")
        if not (folder / place).is_symlink()
        for path in sorted((folder / place).glob("*.json"))
    }
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file() and not path.is_symlink()}


def write_card(register: Register, run: str, folder: Path, build: Path) -> Path:
    """Write the card of a run and every page rendered from it into its folder, whole or not at all; return where they are.

    A run that failed, or is not evaluated yet, has a card too: it says so. The pages lie as they do in a release, so that their links lead somewhere.

    Raises:
        BadInput: a record is not the run's, or a statement's file holds another text than its author signed.
    """
    from model_card.card import make_card
    from model_card.records import CardRecords
    from model_card.renderers import render_all
    from model_card.votes import votes_of

    files = card_files(folder, build, evaluated=register.run(run).report is not None)
    consents = {consent for row in read_ledger(build / "ledger.jsonl")[0] for consent in row.consents}
    records = CardRecords.of(run, register.coop, files, votes_of(register, run=run, consents=consents, files=files))
    target = folder / "card"
    if target.is_symlink():  # the writer may write where the job's user may not
        raise BadInput(f"{target} is a link", next="remove it")
    with atomic_directory(target, replace=True) as pages:
        for path, data in render_all(make_card(records), records).items():
            (pages / path).parent.mkdir(parents=True, exist_ok=True)
            (pages / path).write_bytes(data)
    return target


def card_hook(register: Callable[[], Register], run: str, folder: Path, build: Path) -> Callable[[dict[str, Any]], None]:
    """Return the `on_end` of a Guard that leaves the card of a run in its folder, whatever loop trained it and however it ended.

    The folder holds plan.json. A loop that writes no run.json gets an outline of one: what the hook knows, and nothing made up.

    Args:
        register: returns the log's state when the run has ended.
    """

    def emit(ended: dict[str, Any]) -> None:
        state = register()
        known = state.run(run)
        if not (folder / "run.json").is_file() or _is_outline(folder / "run.json"):
            outline = {
                "format": OUTLINE, "run": run, "coop": state.coop, "plan": known.plan, "proposal": known.proposal, "status": ended["status"],
                "reason": ended["reason"], "steps": ended["steps"], "unreleasable": ended["unreleasable"], "ended": now(),
            }  # fmt: skip
            write_bytes(folder / "run.json", dumps(outline))
        write_card(state, run, folder, build)

    return emit


def _is_outline(path: Path) -> bool:
    document = loads(path.read_bytes(), floats=True, source=str(path))
    return isinstance(document, dict) and document.get("format") == OUTLINE
