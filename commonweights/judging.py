"""Blind comparison by members: the sheets a run's evaluation writes for them, and the signed choices it takes in."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any, Final

import click

from commonweights.workspace import Workspace, load_key
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.plan import Plan
from governance_hooks.sshsig import verify
from governance_hooks.tasks import Task

__all__ = ["ask_pairs", "take_in", "write_sheet"]

MAX_SIGNATURE_BYTES: Final = 8192
MAX_SHEET_BYTES: Final = 64 << 20


def _task(plan: Plan, named: str | None) -> Task:
    tasks = {task.name: task for task in plan.evaluation.tasks if task.kind == "preference"}
    if not tasks or (named is not None and named not in tasks) or (named is None and len(tasks) > 1):
        raise BadInput("which preference task?", value=named, allowed=", ".join(sorted(tasks)) or "this plan has none")
    return tasks[named or next(iter(tasks))]


def _open(space: Workspace, run: str) -> None:
    if space.coop.register.run(run).report is not None:
        raise Refused(f"run {run} is evaluated already: no choice can count any more", next=f"coop eval {run}")


def write_sheet(space: Workspace, run: str, named: str | None, judge: str, out: Path) -> tuple[Path, dict[str, Any]]:
    """Write a member's blind sheet and keep a copy; return its path and the sheet.

    Raises:
        BadInput: no such task, or its answers are not generated yet.
        Refused: no member in good standing, or the run is evaluated already.
    """
    from data_pipeline.task_data import read_task
    from eval.preference import canonical_sheet, make_sheet
    from eval.report import partial_of

    _open(space, run)
    space.coop.register.member(judge)
    partial, plan = partial_of(space.run(run))
    task = _task(plan, named)
    kept = partial.read(f"private/answers/{task.name}.json")
    if kept is None:
        raise BadInput(f"the answers of task {task.name} are not there yet", next=f"coop eval {run}, which makes them and then waits for members")
    key = partial.read("private/pairs.key")
    if key is None:
        key = secrets.token_bytes(32)
        partial.keep("private/pairs.key", key)
    assert task.data is not None
    questions = read_task(space.evals / task.data.sha256.removeprefix("sha256:"), task)
    answers = {item: (pair[0], pair[1]) for item, pair in json.loads(kept).items()}
    sheet = make_sheet(run, task.name, judge, questions, answers, key)
    data = canonical_sheet(sheet)
    partial.keep(f"private/sheets/{task.name}/{judge}.json", data)
    write_bytes(out, data, mode=0o600)
    return out, sheet


def ask_pairs(sheet: Path, key: Path | None) -> Path:
    """Show each pair of a sheet on the terminal and write the choices beside it, signed; return their path."""
    if sheet.stat().st_size > MAX_SHEET_BYTES:
        raise BadInput(f"{sheet} is too large", allowed=f"{MAX_SHEET_BYTES} bytes")
    data = sheet.read_bytes()
    given = loads(data, source=str(sheet))
    if not isinstance(given, dict) or given.get("format") != "coop.pairs/v1":
        raise BadInput(f"{sheet} is no sheet of pairs", allowed="format coop.pairs/v1", next="coop eval pairs RUN --judge MEMBER")
    signer = load_key(key)  # before an hour of work, not after it
    choices: dict[str, str] = {}
    for number, pair in enumerate(given["pairs"], 1):
        shown = {name: click.unstyle(str(pair[name])) for name in ("prompt", "a", "b")}
        click.echo(f"\n{number} of {len(given['pairs'])}\n{shown['prompt']}\n\n  a: {shown['a']}\n\n  b: {shown['b']}\n")
        choice = click.prompt("better", type=click.Choice(["a", "b", "tie", "skip"]))
        if choice != "skip":
            choices[pair["pair"]] = choice
    if not choices:
        raise BadInput("nothing was judged", next=f"coop eval judge {given['run']} --sheet {sheet}")
    made = dumps(
        {"format": "coop.judgement/v1", "run": given["run"], "task": given["task"], "judge": given["judge"], "sheet": sha256(data), "choices": choices}
    )
    out = sheet.with_name(f"{sheet.stem}.judged.json")
    write_bytes(out, made, mode=0o600)
    write_bytes(out.with_name(out.name + ".sig"), signer.sign(made).encode(), mode=0o600)
    return out


def take_in(space: Workspace, run: str, answers: Path) -> Any:
    """Check a judge's choices and their signature, and keep them for the evaluation; return them.

    Raises:
        BadInput: no signature beside them, or they are not of the judge's own sheet.
        Refused: the signature is not of a key the judge has in the log, or they have judged already.
    """
    from eval.preference import MAX_JUDGEMENT_BYTES, read_judgement
    from eval.report import partial_of

    _open(space, run)
    signature = answers.with_name(answers.name + ".sig")
    if answers.stat().st_size > MAX_JUDGEMENT_BYTES or not signature.is_file() or signature.stat().st_size > MAX_SIGNATURE_BYTES:
        raise BadInput(f"{answers} is too large, or {signature.name} is not beside it", next=f"coop eval judge {run} --sheet SHEET --key KEY writes both")
    data = answers.read_bytes()
    owner = space.coop.register.holder(verify(signature.read_text("ascii", "replace"), data).raw)
    partial, plan = partial_of(space.run(run))
    claimed = loads(data, source=str(answers))
    judge, task = (str(claimed.get(name)) for name in ("judge", "task")) if isinstance(claimed, dict) else ("", "")
    if owner is None or owner != judge:
        raise Refused(f"{answers} is not signed by the judge it names", value=owner, allowed=judge)
    space.coop.register.member(judge)
    _task(plan, task)
    sheet = partial.read(f"private/sheets/{task}/{judge}.json")
    if sheet is None:
        raise BadInput(f"{judge} got no sheet of task {task}", next=f"coop eval pairs {run} --judge {judge}")
    made = read_judgement(data, sheet=sheet, source=str(answers))
    kept = f"private/judgements/{task}/{judge}.json"
    if partial.read(kept) not in (None, data):
        raise Refused(f"{judge} has judged this task already", value=answers.name)
    partial.keep(kept, data)
    partial.keep(kept + ".sig", signature.read_bytes())
    return made
