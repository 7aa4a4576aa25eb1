"""What jobs at a site left of a run: its end, its evaluation and its card, checked and put into the log by the cooperative's own writer.

A job signs nothing, and the account it runs under owns its files. So its word counts for what can be checked: the record against the log and the files it
names; the evaluation by judging the losses of each answer again, over every held-out record, and only where the site's key has cleared an evaluation of this very
run under the operator's order. The losses themselves remain the word of the account that ran the job, as the weights do; `coop eval` measures on a machine of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from commonweights.end_of_run import log_end
from commonweights.run_card import emit_card
from commonweights.run_inputs import find_build
from commonweights.workspace import Workspace
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.fields import Instant
from governance_hooks.leak import judge_leak, read_leak
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import File, Plan, explain_validation, read_plan
from governance_hooks.process_lock import process_lock
from governance_hooks.site.clearance import Clearance, clearance_of, read_clearance
from governance_hooks.site.order import Order, order_of, read_order
from governance_hooks.state.runs import Run
from governance_hooks.statement import MAX_ENTRY, entry, shift
from slurm.outbox import read_small

__all__ = ["Step", "cleared", "finish_run"]

MAX_RECORD: Final = 64 << 20
MAX_RESULTS: Final = 256 << 20
"""Bytes of a report and of its results that are read at all."""
MAX_ORDERS: Final = 10_000
SKEW_S: Final = 60
"""The clocks of nodes and controller of one cluster differ less, seconds."""

Step = Literal["ended", "evaluated", "card"]


class _Record(BaseModel):
    """What is read of run.json before anything else is done with it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    status: Literal["completed", "halted", "failed"]
    ended: Instant
    outputs: list[File]


def finish_run(space: Workspace, run: Run, sites: Iterable[Path]) -> Iterator[Step]:
    """Do for a run whose last start was at a site what is to be done and can be: log its end, log its evaluation, write its card; yield each step done.

    Args:
        sites: folders of the sites, where orders and clearances lie.

    Raises:
        CoopError: what lies there is not what the log and the plan say; nothing was logged of it.
    """
    folder = space.run(run.id)
    if not (folder / "run.json").exists() or ((folder / "card" / "card.json").exists() if run.status == "completed" else not _has_ended(folder, run)):
        return
    with process_lock(space.root / "runs" / f".{run.id}.lock", f"training run {run.id}"):
        if run.status != "completed":
            log_end(space, run.id)
            yield "ended"
        known = space.coop.register.run(run.id)
        if known.status != "completed":
            emit_card(space, run.id)
            yield "card"
            return
        if known.report is None and (folder / "eval" / "report.json").exists():
            _log_evaluation(space, known, sites)
            yield "evaluated"
        evaluated = space.coop.register.run(run.id)
        if evaluated.report is not None and not (folder / "card" / "card.json").exists():
            _check_files(space, evaluated)
            emit_card(space, run.id)
            yield "card"


def _has_ended(folder: Path, run: Run) -> bool:
    """Tell whether run.json is the record of the last start, and is not logged: while one goes on, or if it was killed, it is that of the start before."""
    if len(run.starts) not in run.segments:
        return False
    source = str(folder / "run.json")
    data = read_small(folder / "run.json", MAX_RECORD)
    loads(data, floats=True, source=source)
    try:
        record = _Record.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, _Record, source) from error
    return record.ended >= shift(run.started[-1], -SKEW_S) and sha256(data) != run.record


def _log_evaluation(space: Workspace, run: Run, sites: Iterable[Path]) -> None:
    """Log the evaluation an eval job left, judged again; raise CoopError if no such job was cleared, or the verdicts do not follow."""
    from model_card.evaluation import judge_again
    from model_card.records import CardRecords

    folder = space.run(run.id)
    job = next((clearance for site in sites for clearance in cleared(space, site, "eval", run)), None)
    if job is None:
        raise Refused(
            f"nobody was cleared to evaluate run {run.id}, so who wrote {folder / 'eval'} is not known",
            next=f"coop submit it again, or measure it here: coop eval {run.id}",
        )
    plan, record = _check_files(space, run)
    report, results = (read_small(folder / "eval" / name, MAX_RESULTS, owner=job.user) for name in ("report.json", "results.jsonl"))
    made = read_plan(plan)
    build = find_build(space, made)
    records = CardRecords(run.id, space.coop.pin, plan, record, (build / "manifest.json").read_bytes(), report)
    files = {"eval/results.jsonl": results}
    for path in (f"eval/{kind}/{task.name}.jsonl" for task in made.evaluation.tasks for kind in ("items", "previous")):
        if (folder / path).is_file():
            files[path] = read_small(folder / path, MAX_RESULTS, owner=job.user)
    judged = judge_again(records, files, read_ledger(build / "ledger.jsonl")[0])
    payload = {"run": run.id, "report": sha256(report), "results": sha256(results), "passed": judged["passed"]}
    if not judged.get("waivable", True):
        payload["waivable"] = False
    if made.evaluation.leak is not None:
        payload["leak"] = _leak_test(folder, made, record, job.user)
    space.coop.operate("coop.evaluation/v1", payload)


def _leak_test(folder: Path, plan: Plan, record: bytes, user: int) -> dict[str, object]:
    """Return what is signed of the leak test an eval job left, judged again; raise CoopError if it is missing, of other weights, or does not follow.

    A comparison with an earlier release is not made at a site: its weights are not there.
    """
    assert plan.evaluation.leak is not None
    if plan.evaluation.leak.differential is not None:
        raise Refused("the plan asks for a comparison with the release before, which is made where both are", next=f"coop eval {folder.name}")
    leak, items = (read_small(folder / "privacy" / name, MAX_RESULTS, owner=user) for name in ("leak.json", "canaries.jsonl"))
    found = read_leak(leak)
    for name, stated, expected in (
        ("plan", found.plan, sha256((folder / "plan.json").read_bytes())),
        ("run", found.run, folder.name),
        ("set of weights", [file.model_dump(mode="json") for file in found.weights], loads(record, floats=True)["outputs"]),
    ):
        if stated != expected:
            raise Refused(f"the leak test in {folder / 'privacy'} is of another {name}", value=stated, allowed=str(expected), next=f"coop eval {folder.name}")
    return {"record": sha256(leak), "differential": None, "passed": judge_leak(plan, leak, items)["passed"]}


def _check_files(space: Workspace, run: Run) -> tuple[bytes, bytes]:
    """Return plan and record of a run whose end is logged; raise Refused if one of its files is not the one in the log."""
    folder = space.run(run.id)
    found = {"plan.json": run.plan, "run.json": run.record} | ({"eval/report.json": run.report, "eval/results.jsonl": run.results} if run.report else {})
    data = {name: read_small(folder / name, MAX_RESULTS) for name in found}
    for name, expected in found.items():
        if sha256(data[name]) != expected:
            raise Refused(f"{folder / name} is not the file the log names", value=sha256(data[name]), allowed=expected, next="find out who changed it")
    return data["plan.json"], data["run.json"]


def cleared(space: Workspace, site: Path, kind: str, run: Run) -> Iterator[Clearance]:
    """Yield the clearances of jobs of this kind that a site gave under orders of the operator for exactly this run, and whose jobs have ended.

    What lies in a site's folder and is not signed by whoever should have signed it is passed over.
    """
    register = space.coop.register
    orders = {}
    for path in _some(site / "inbox", "*/order.json"):
        try:
            data = read_small(path, MAX_ENTRY)
            statement = read_order(data, register, at="2000-01-01T00:00:00Z")  # expired since or not: the site looked when it cleared the job
        except CoopError:
            continue
        order: Order = order_of(statement)
        if (order.kind, order.run, order.plan, order.proposal) == (kind, run.id, run.plan, run.proposal):
            orders[statement.id] = order
    for path in _some(site / "done", "*.json") if orders else ():
        try:
            found = _read_clearance(path, space, orders)
        except CoopError:
            continue
        if found is not None:
            yield found


def _read_clearance(path: Path, space: Workspace, orders: dict[str, Order]) -> Clearance | None:
    body = loads(read_small(path, MAX_ENTRY), source=str(path))
    order = orders.get(str(body["payload"].get("order"))) if isinstance(body, dict) and isinstance(body.get("payload"), dict) else None
    key = space.coop.register.sites[order.site].key if order is not None else None
    if order is None or key is None:
        return None
    document = entry(body, [read_small(path.with_suffix(".sig"), MAX_ENTRY).decode("ascii", "replace")])
    clearance = clearance_of(read_clearance(document, coop=space.coop.pin, site=order.site, key=key, at=str(body.get("issued"))))
    if clearance.user != order.user:
        raise BadInput(f"{path} is for another user than its order", value=clearance.user, allowed=str(order.user))
    return clearance


def _some(folder: Path, pattern: str) -> list[Path]:
    found = []
    for path in folder.glob(pattern):
        found.append(path)
        if len(found) > MAX_ORDERS:
            raise BadInput(f"{folder} holds too much", allowed=f"{MAX_ORDERS} files", next="clear it out")
    return sorted(found)
