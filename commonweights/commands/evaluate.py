"""`coop eval`: measure a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.commands.leak import show_leak_test
from commonweights.commands.train import gate_plan
from commonweights.end_of_run import evaluate_run, log_end
from commonweights.leaking import logged_leak_test
from commonweights.progress import progress
from commonweights.run_inputs import find_base, find_build
from commonweights.workspace import open_workspace
from governance_hooks.plan import read_plan

__all__ = ["evaluate", "show_evaluation"]


def show_evaluation(report: dict[str, Any]) -> str:
    """Return the per-language table of a report."""
    lines = [f"{'language':<10}{'items':>6}{'base':>9}{'tuned':>9}{'change':>9}   95% interval        verdict"]
    for code, row in [*report["languages"].items(), ("overall", report["overall"])]:
        numbers = "".join("        -" if row[name] is None else f"{row[name]:>9.3f}" for name in ("base", "tuned", "difference"))
        interval = "too few answers" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        lines.append(f"{code:<10}{row['items']:>6}{numbers}   {interval:<18}  {row['verdict']}{'  (better)' if row['improved'] else ''}")
    return "\n".join(lines)


def _words(report: dict[str, Any]) -> str:
    verdict = "passed" if report["passed"] else "did NOT pass"
    return f"{show_evaluation(report)}\n\n{verdict} the voted policy (nats per token of the answer; lower is better)"


@click.command(name="eval")
@click.argument("run", required=False)
@click.option("--job", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Instead of RUN, at a site: the job's folder from coop submit.")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: torch's choice].")
@click.pass_obj
def evaluate(session: Session, run: str | None, job: Path | None, base: Path | None, threads: int | None) -> None:
    """Measure RUN on held-out answers by language, before and after, under the policy members voted.

    A run is evaluated once: trying again until the numbers please would make them worthless.
    """
    if (run is None) == (job is None):
        raise click.UsageError("give RUN, or --job FOLDER")
    if run is None:
        from commonweights.node import evaluate_job

        assert job is not None
        with progress(quiet=session.json) as show:
            report = evaluate_job(job, threads=threads, show=show)
        session.show(report, _words(report))  # also of one that did not pass: its card says so
        return
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        data = (space.run(run) / "plan.json").read_bytes()
        plan = read_plan(data)
        if space.coop.register.run(run).status != "completed":  # nothing is signed past a halt or a withdrawal
            gate_plan(space, data, base=base, run=run).require()
        log_end(space, run)
        report = evaluate_run(space, run, base=find_base(plan, base), build=find_build(space, plan), threads=threads, show=show)
        tested = logged_leak_test(space, run)
    session.show(report | ({"leak": tested} if tested else {}), "\n\n".join([_words(report), *([show_leak_test(tested)] if tested else [])]))
    if not report["passed"] or any(one["passed"] is False for one in (tested or {}).values()):
        raise click.exceptions.Exit(1)
