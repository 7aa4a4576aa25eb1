"""`coop eval`: measure a run, take in what members judge, and recompute the verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.commands.leak import show_leak_test
from commonweights.end_of_run import evaluate_run, log_end, voted_plan
from commonweights.leaking import logged_leak_test
from commonweights.progress import progress
from commonweights.run_inputs import find_base, find_build
from commonweights.running import gate_plan
from commonweights.task_table import show_blocking, show_tasks
from commonweights.workspace import open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from governance_hooks.verdict import MINIMUM_CLUSTERS

__all__ = ["evaluate", "show_evaluation"]


def show_evaluation(report: dict[str, Any]) -> str:
    """Return the per-language table of a report."""
    lines = [f"{'language':<10}{'items':>6}{'base':>9}{'tuned':>9}{'change':>9}   95% interval        verdict"]
    for code, row in [*report["languages"].items(), ("overall", report["overall"])]:
        numbers = "".join("        -" if row[name] is None else f"{row[name]:>9.3f}" for name in ("base", "tuned", "difference"))
        interval = _none(row, report["policy"]) if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        lines.append(f"{code:<10}{row['items']:>6}{numbers}   {interval:<18}  {row['verdict']}{'  (better)' if row['improved'] else ''}")
    tasks = show_tasks(report)
    return "\n".join(lines) + (f"\n{tasks}" if tasks else "")


def _few_people(row: dict[str, Any], policy: dict[str, Any]) -> bool:
    """Tell whether a language has answers enough, but no interval since too few people gave them."""
    enough: bool = row["items"] >= policy["minimum_items"]
    return enough and policy.get("interval") == "t" and row["clusters"] < MINIMUM_CLUSTERS


def _none(row: dict[str, Any], policy: dict[str, Any]) -> str:
    """Return why a row has no interval."""
    if row["items"] < policy["minimum_items"]:
        return "too few answers"
    return f"too few people: {row['clusters']}" if _few_people(row, policy) else "all alike"


def _words(report: dict[str, Any]) -> str:
    verdict = "passed" if report["passed"] else "did NOT pass"
    parts = [f"{show_evaluation(report)}\n\n{verdict} the voted policy (held-out loss: nats per token of the answer; lower is better)", *reasons(report)]
    return "\n".join(parts)


def reasons(report: dict[str, Any]) -> list[str]:
    """Return why a run did not pass, and what may be done about it; nothing if it passed."""
    if report["passed"]:
        return []
    verdicts = {row["verdict"] for row in [*report["languages"].values(), report["overall"]]}
    lines = [f"measured worse than the base: {', '.join(report['worse'])}"] if report["worse"] else []
    if not any(row["verdict"] == "PASS" for row in report["languages"].values()):
        lines.append("no language passes: a release must be shown to be no worse than the base in at least one (docs/eval.md, Verdicts)")
        few = [code for code, row in report["languages"].items() if _few_people(row, report["policy"])]
        if few:
            lines.append(f"held-out answers of fewer than {MINIMUM_CLUSTERS} people, which show nothing about others: {', '.join(few)}")
    elif "FAIL" not in verdicts and "INSUFFICIENT" in verdicts and not show_blocking(report):
        lines.append("the policy allows no language that is INSUFFICIENT")
    if blocking := show_blocking(report):
        lines.append(blocking)
    elif report.get("waivable", True):
        lines.append(f"members may release it all the same: coop propose waiver {report['run']}")
    return lines


class _EvalGroup(click.Group):
    """Takes `coop eval RUN` for `coop eval run RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(name="eval", cls=_EvalGroup)
def evaluate() -> None:
    """Measure a run by the policy members voted before it.

    \b
    coop eval RUN                          held-out loss and every task, once
    coop eval RUN --check                  recompute the verdicts from what was measured
    coop eval pairs RUN --judge MEMBER     a blind sheet of answers before and after
    coop eval judge RUN FILE               take in what a member chose

    `coop eval RUN` is short for `coop eval run RUN`.
    """


@evaluate.command()
@click.argument("run", required=False)
@click.option("--job", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Instead of RUN, at a site: the job's folder from coop submit.")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each process [default: torch's choice].")
@click.option("--memory", type=click.FloatRange(0, min_open=True), help="GiB of main memory for weights; the rest stays in the files [default: what is free].")
@click.option("--devices", type=click.IntRange(1, 64), default=1, help="Processes that share the held-out answers, a GPU each where there are any.")
@click.option("--batch", type=click.IntRange(1, 1024), help="Prompts or choices of a task that go through the model at once; the report says it [default: 8].")
@click.option("--labels", multiple=True, metavar="TASK=FILE", help="What people say refused, in place of the rule: JSON lines of item, base, tuned.")
@click.option("--check", is_flag=True, help="Measure nothing: recompute every verdict from the items, and compare it with report and log.")
@click.pass_obj
def run(
    session: Session,
    run: str | None,
    job: Path | None,
    base: Path | None,
    threads: int | None,
    memory: float | None,
    devices: int,
    batch: int | None,
    labels: tuple[str, ...],
    check: bool,
) -> None:
    """Measure RUN: held-out answers by language, before and after, and the tasks of the policy members voted.

    A run is evaluated once: trying again until the numbers please would make them worthless. One that is killed goes on after the last
    finished task.

    \b
    coop eval run first
    coop eval run first --check
    """
    if (run is None) == (job is None):
        raise click.UsageError("give RUN, or --job FOLDER")
    if job is not None and (memory is not None or devices != 1 or batch is not None):
        raise click.UsageError("beside --job only --threads")
    if check:
        if run is None:
            raise click.UsageError("--check is for RUN")
        _check(session, run)
        return
    if run is None:
        from commonweights.node import evaluate_job

        assert job is not None
        with progress(quiet=session.json) as show:
            report = evaluate_job(job, threads=threads, show=show)
        session.show(report, _words(report))  # also of one that did not pass: its card says so
        return
    given = _labels(labels)
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        status = space.coop.register.run(run).status  # a run the log does not know ends here
        data = voted_plan(space, run)
        plan = read_plan(data)
        if status != "completed":  # nothing is signed past a halt or a withdrawal
            gate_plan(space, data, base=base, run=run).require()
        log_end(space, run)
        room = None if memory is None else int(memory * 2**30)
        found_base, found_build = find_base(plan, base), find_build(space, plan)
        how: dict[str, Any] = {"threads": threads, "memory": room, "processes": devices, "batch": batch}
        report = evaluate_run(space, run, base=found_base, build=found_build, show=show, labels=given, **how)
        tested = logged_leak_test(space, run)
    session.show(report | ({"leak": tested} if tested else {}), "\n\n".join([_words(report), *([show_leak_test(tested)] if tested else [])]))
    if not report["passed"] or any(one["passed"] is False for one in (tested or {}).values()):
        raise click.exceptions.Exit(1)


def _labels(given: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for text in given:
        task, equals, name = text.partition("=")
        path = Path(name)
        if not equals or not path.is_file() or task in found:
            raise BadInput("--labels: not TASK=FILE, each task once", value=text, allowed="for example over-refusal=labels.jsonl")
        found[task] = path.read_bytes()
    return found


def _check(session: Session, run: str) -> None:
    from commonweights.evaluation_check import check_evaluation

    with open_workspace(session.folder, read_only=True) as space:
        judged = check_evaluation(space, run)
    tasks = ", ".join(f"{name} {outcome['verdict']}" for name, outcome in judged.get("tasks", {}).items())
    words = f"every verdict of {run} follows from its items, under the policy members voted, and is what the log has; {'passed' if judged['passed'] else 'NOT passed'}"
    session.show(judged, words + (f"\ntasks: {tasks}" if tasks else ""))


@evaluate.command()
@click.argument("run")
@click.option("--judge", required=True, help="Id of the member who will judge.")
@click.option("--task", help="Which preference task [default: the only one].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the sheet [default: pairs-JUDGE.json].")
@click.pass_obj
def pairs(session: Session, run: str, judge: str, task: str | None, out: Path | None) -> None:
    """Write a blind sheet of RUN's answers for one member: two answers to each prompt, in an order that only a sealed key tells.

    \b
    coop eval pairs first --judge MEMBER
    """
    from commonweights.judging import write_sheet

    with open_workspace(session.folder, read_only=True) as space:
        path, sheet = write_sheet(space, run, task, judge, out or Path(f"pairs-{judge}.json"))
    session.show(
        {"sheet": str(path), "task": sheet["task"], "pairs": len(sheet["pairs"]), "commitment": sheet["commitment"]},
        f"sheet   {path} ({len(sheet['pairs'])} pairs)\nnext    {judge} chooses a, b or tie for each: coop eval judge {run} --sheet {path} --key KEY",
    )


@evaluate.command()
@click.argument("run")
@click.argument("answers", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ask for each pair of this sheet on the terminal, and write ANSWERS beside it.",
)
@click.option("--key", type=click.Path(path_type=Path), help="With --sheet: the judge's key; the answers are signed with it.")
@click.pass_obj
def judge(session: Session, run: str, answers: Path | None, sheet: Path | None, key: Path | None) -> None:
    """Take in what a member chose: ANSWERS, with ANSWERS.sig beside it, signed by a key of theirs that is in the log.

    \b
    coop eval judge first --sheet pairs-MEMBER.json      ask for each pair here
    coop eval judge first answers.json                   take in what was answered elsewhere
    """
    from commonweights.judging import ask_pairs, take_in

    if (answers is None) == (sheet is None):
        raise click.UsageError("give ANSWERS, or --sheet FILE")
    if sheet is not None:
        answers = ask_pairs(sheet, key)
    assert answers is not None
    with open_workspace(session.folder, read_only=True) as space:
        made = take_in(space, run, answers)
    session.show(
        {"judge": made.judge, "task": made.task, "choices": len(made.choices)},
        f"{made.judge} judged {len(made.choices)} pairs of {made.task}; signature holds\nnext    coop eval {run}, when all have judged",
    )
