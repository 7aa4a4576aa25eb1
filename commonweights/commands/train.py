"""`coop train`: run what members approved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from commonweights.cli import Session
from commonweights.leaking import logged_leak_test
from commonweights.progress import progress
from commonweights.running import approval_of, gate_plan, read_plan_file, run_plan
from commonweights.table import finish, show_report
from commonweights.voting import find_proposal as find_proposal_by_prefix
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import Complete
from governance_hooks.plan import read_plan
from governance_hooks.report import Report

__all__ = ["REQUEUE", "train"]


REQUEUE: Final = 75
"""Exit code of a run that was asked to leave and saved: sysexits' EX_TEMPFAIL, try again."""


def _follow() -> None:
    """If this is not the run's first process, do as that one says, and leave with how it ended."""
    from train.world import World

    if World.from_environment().rank > 0:
        from train.worker import main

        raise click.exceptions.Exit(main())


@click.command()
@click.argument("plan", required=False)
@click.option("--job", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Instead of PLAN, at a site: the job's folder from coop submit.")
@click.option("--run", help="Name of the run [default: the plan's name].")
@click.option("--proposal", help="Start under this approval [default: the one with starts left that expires first; a run goes on under its own].")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--check", is_flag=True, help="Only show the gate's table.")
@click.option("--no-eval", is_flag=True, help="Stop after training; `coop eval` goes on later.")
@click.option("--wandb", is_flag=True, help="Also log to Weights & Biases, offline, into the run's folder.")
@click.option("--devices", type=click.IntRange(1), default=1, help="Processes to start here, a GPU each; inside torchrun or srun leave it out.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each process [default: torch's choice].")
@click.option("--country", envvar="COOP_COUNTRY", help="Where the machine stands (ISO 3166-1 alpha-3, or $COOP_COUNTRY): states CO2 beside the energy.")
@click.pass_obj
def train(
    session: Session,
    plan: str | None,
    job: Path | None,
    run: str | None,
    proposal: str | None,
    base: Path | None,
    check: bool,
    no_eval: bool,
    wandb: bool,
    devices: int,
    threads: int | None,
    country: str | None,
) -> None:
    """Train the PLAN members approved, evaluate it and write its card.

    The gate checks everything first. While training runs, a halt or a withdrawal stops it at the next step boundary,
    with a checkpoint. Run the same command again after a crash, kill or Ctrl-C: it resumes.

    Several processes (the plan's strategy is ddp, fsdp2, zero2 or zero3): `coop train PLAN --devices 8` on one machine, `torchrun ... -m
    commonweights.cli train PLAN` or `srun coop train PLAN` on many. SIGUSR1 or SIGTERM to any of them: all save the same step, and the exit code is 75,
    which means "start it again".

    \b
    coop train first --check        the gate's table alone
    coop train first                train, evaluate, write the card
    """
    if (plan is None) == (job is None):
        raise click.UsageError("give PLAN, or --job FOLDER")
    if job is not None and (run or proposal or base or check or no_eval or wandb or devices != 1):
        raise click.UsageError("a job's folder says all of this already: beside --job only --threads")
    if not check:
        _follow()

    def passed(report: Report) -> None:
        if not session.json:
            click.echo(show_report(report), err=True)

    if plan is None:
        assert job is not None
        _train_job(session, job, threads, passed)
        return
    with open_workspace(session.folder) as space:
        data = read_plan_file(space, plan)
        name = run or read_plan(data, source=plan).name

        chosen = find_proposal_by_prefix(space.coop, proposal).id if proposal else None
        if check:
            finish(session, gate_plan(space, data, base=base, proposal=approval_of(space, data, name, chosen)), good="This run may start.", bad="BLOCKED.")
            return
        from train.console import quiet_libraries
        from train.launch import launched

        with quiet_libraries(), progress(quiet=session.json) as show, launched(devices) as world:
            record = run_plan(
                space,
                data,
                name,
                base=base,
                chosen=chosen,
                evaluate=not no_eval,
                wandb=wandb,
                threads=threads,
                country=country,
                world=world,
                show=show,
                passed=passed,
            )
        outcome, then = _outcome(space, name), _then(space, name) if record["status"] == "completed" else None
    _end(session, name, record, outcome, then)


def _outcome(space: Workspace, run: str) -> list[str]:
    """Return in a few lines how the evaluation and the leak test of a run came out; nothing if there was none."""
    from commonweights.commands.evaluate import reasons

    path = space.run(run) / "eval" / "report.json"
    if space.coop.register.run(run).report is None or not path.is_file():
        return []
    report = loads(path.read_bytes(), floats=True)
    lines = [f"evaluation: {'passed' if report['passed'] else 'did NOT pass'} the voted policy; the table: coop eval {run}", *reasons(report)]
    tested = logged_leak_test(space, run)
    said = [f"{'against the release before: ' * (name != 'leak')}{one['verdict'] or 'no limit voted'}" for name, one in (tested or {}).items()]
    return lines + ([f"leak test: {', '.join(said)}; the numbers: coop leak {run}"] if said else [])


def _then(space: Workspace, run: str) -> str:
    """Return the command that comes after a completed run."""
    known = space.coop.register.run(run)
    if known.report is None:
        return f"coop eval {run}"
    if not known.passed and known.waiver is None:
        return f"coop propose waiver {run}" if known.waivable else "plan, vote and train anew: by the voted policy nobody may release it"
    plan = read_plan((space.run(run) / "plan.json").read_bytes())
    if plan.attribution is not None and not (space.run(run) / "stake" / "shares.json").is_file():
        return f"coop shares {run}, before anybody withdraws; then coop release assemble {run}"
    return f"coop release assemble {run}"


def _train_job(session: Session, job: Path, threads: int | None, passed: Callable[[Report], object]) -> None:
    """Train on a node of a site, where there is neither log nor operator's key."""
    from commonweights.node import train_job
    from train.console import quiet_libraries
    from train.launch import launched

    with quiet_libraries(), progress(quiet=session.json) as show, launched(1) as world:
        try:
            record = train_job(job, world=world, threads=threads, show=show, passed=passed)
        except Complete as error:  # as without a site: no failure, and evaluation and card, which wait for this job, may follow
            session.show({"status": "completed"} | error.as_dict(), str(error))
            return
    _end(session, str(record["run"]), record)


def _again(run: str, record: dict[str, Any]) -> str:
    """Return what comes after a run that was stopped."""
    from train.callbacks.interruption import INTERRUPTED, PREEMPTED

    if record["reason"] in (INTERRUPTED, PREEMPTED):
        return f"the same command goes on from step {record['steps']}"
    return f"coop why {run}"


def _end(session: Session, name: str, record: dict[str, Any], outcome: Sequence[str] = (), then: str | None = None) -> None:
    """Say how a run ended, and leave with the exit code that says so too."""
    from train.callbacks.interruption import PREEMPTED

    first, last = (record["loss"][name] for name in ("first", "last"))
    fell = f", loss {first:.3f} at first, {last:.3f} at last" if first is not None and last is not None else ""
    text = f"run {name}: {record['status']}" + (f" ({record['reason']})" if record["reason"] else f", {record['steps']} steps{fell}")
    text = "\n".join([text, *outcome])
    session.show(
        {"run": name, "status": record["status"], "reason": record["reason"], "steps": record["steps"]},
        f"{text}\nlook at it: coop report {name}" + (f"\nnext: {then or _again(name, record)}" if then or record["reason"] else ""),
    )
    if record["status"] != "completed":
        raise click.exceptions.Exit(REQUEUE if record["reason"] == PREEMPTED else 1)
