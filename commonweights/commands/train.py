"""`coop train`: run what members approved."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from commonweights.cli import Session
from commonweights.end_of_run import evaluate_run, log_end, read_record
from commonweights.progress import Progress, progress
from commonweights.run_card import emit_card
from commonweights.run_inputs import find_base, find_build
from commonweights.table import finish, show_report
from commonweights.voting import find_proposal as find_proposal_by_prefix
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.gate import Request, run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.ledger import read_ledger
from governance_hooks.links import find_proposal
from governance_hooks.memory import Memory
from governance_hooks.plan import read_plan
from governance_hooks.process_lock import process_lock
from governance_hooks.report import Report, StepFailed
from governance_hooks.rules.consents import counted
from governance_hooks.statement import now

if TYPE_CHECKING:
    from train.world import World

__all__ = ["REQUEUE", "approval_of", "check_run_name", "gate_plan", "read_plan_file", "run_plan", "train"]


REQUEUE: Final = 75
"""Exit code of a run that was asked to leave and saved: sysexits' EX_TEMPFAIL, try again."""


def read_plan_file(space: Workspace, name: str) -> bytes:
    """Return the bytes of a plan by name or path."""
    path = Path(name) if Path(name).is_file() else space.plan(name)
    if not path.is_file():
        raise BadInput(f"there is no plan {name}", next="coop plan CONFIG")
    return path.read_bytes()


def check_run_name(run: str) -> None:
    """Raise BadInput for what cannot be the name of a run, and of its folder."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", run):
        raise BadInput("this is no name of a run", value=run, allowed="a-z, 0-9, '.', '_' and '-', at most 64")


def gate_plan(space: Workspace, data: bytes, *, base: Path | None, run: str | None = None, proposal: str | None = None, **asked: Any) -> Report:
    """Run the gate for a plan as the cooperative's folder stands now; `run`, `proposal` and what else is `asked` as in `Request`."""
    return run_gate(replace(_request(space, data, base, run, proposal), **asked))


def approval_of(space: Workspace, data: bytes, run: str, chosen: str | None) -> str | None:
    """Return the run proposal under which a run starts, or goes on: one approval serves one run. None if there is none; the gate says so."""
    register = space.coop.register
    if chosen is None and run in register.runs:
        return register.runs[run].proposal
    others = {one.proposal for one in register.runs.values() if one.id != run}
    try:
        return find_proposal(register, "run", sha256(data), at=space.coop.clock(), chosen=chosen, besides=others).id
    except StepFailed:
        return chosen


def _request(space: Workspace, data: bytes, base: Path | None, run: str | None, proposal: str | None = None, devices: int = 1) -> Request:
    missing = space.root / "missing"
    try:
        plan = read_plan(data)
        found_base, found_build = find_base(plan, base), find_build(space, plan)
    except CoopError:  # the gate itself says what is wrong with the plan, the base or the build
        found_base, found_build = base or missing / "base", missing / "build"
    proof, memory = witnessed_proof(space).dumps(), Memory(space.coop.pin)
    return Request(
        plan=data, proof=proof, base=found_base, build=found_build, now=now(), pin=space.coop.pin, run=run, proposal=proposal, devices=devices, memory=memory
    )


def run_plan(
    space: Workspace,
    data: bytes,
    run: str,
    *,
    base: Path | None = None,
    chosen: str | None = None,
    evaluate: bool = True,
    wandb: bool = False,
    threads: int | None = None,
    world: World | None = None,
    country: str | None = None,
    show: Progress | None = None,
    passed: Callable[[Report], object] = lambda report: None,
) -> dict[str, object]:
    """Train, log, evaluate and document one approved run; go on where an earlier call was cut off.

    Args:
        country: of the machine, to state CO2 beside the energy; ISO 3166-1 alpha-3.
        chosen: digest of the run proposal to start under; None takes that of the run if it has started, else what `find_proposal` finds.
        world: the processes of the run, connected; this is the first one, and gives the others their order, or sends them home.
        passed: called with the gate's table before the start is logged.

    Raises:
        Blocked: the gate does not pass.
        CoopError: another process of this machine is at this run. No start was used.
    """
    from train.worker import ordering
    from train.world import World

    processes = world or World()
    with ExitStack() as held:
        order = held.enter_context(ordering(processes))  # first: whatever is wrong from here on, the others are sent home
        plan = read_plan(data)
        check_run_name(run)
        if country is not None:
            from train.energy import EnergyMeter

            EnergyMeter(country)  # before a start is used
        held.enter_context(process_lock(space.root / "runs" / f".{run}.lock", f"training run {run}"))
        space.coop.refresh()  # what the process that held it before has logged
        finished = (space.run(run) / "run.json").is_file() and read_record(space, run)["status"] == "completed"

        def finish(record: dict[str, object]) -> None:
            """The end-of-run hook: log how it ended, evaluate the weights of a completed run, and emit the card, of a failed run too."""
            log_end(space, run)
            if record["status"] == "completed" and evaluate:
                evaluate_run(space, run, base=find_base(plan, base), build=find_build(space, plan), threads=threads, show=show)
            if (space.run(run) / "run.json").is_file():
                emit_card(space, run)

        if finished:
            record = read_record(space, run)
            if space.coop.register.run(run).status != "completed":  # cut off before the end was logged: nothing is signed past a halt or a withdrawal
                run_gate(_request(space, data, base, run)).require()
            finish(record)
            return record
        proposal = approval_of(space, data, run, chosen)
        # The gate is run three times for a start: here, so that a blocked one uses no start; by the training process, with the start in the log and before
        # anything is loaded; and once all is loaded, right before the first step, so that nothing swapped meanwhile is trained on.
        passed(run_gate(_request(space, data, base, None, proposal, processes.size)).require())
        if proposal is None:
            raise BadInput("this plan was approved while the gate ran", next="run the same command again")
        register = space.coop.register
        count = len(register.runs[run].starts) if run in register.runs else 0
        rows, _ = read_ledger(find_build(space, plan) / "ledger.jsonl")
        limited = counted(register, rows, plan.use, at=space.coop.clock(), run=run)
        space.coop.operate("coop.run-start/v1", {"run": run, "plan": sha256(data), "proposal": proposal, "start": count + 1, "counted": limited})

        from train.run import train as train_plan

        started, seed = _request(space, data, base, run, proposal, processes.size), space.canary_seed(plan.name)
        order(started, space.run(run), coop=register.coop, canary_seed=seed, threads=threads)
        guard = Guard(started, fresh=lambda: witnessed_proof(space).dumps(), on_end=finish)
        return train_plan(
            space.run(run),
            data,
            base=started.base,
            build=started.build,
            guard=guard,
            run_id=run,
            coop=register.coop,
            proposal=proposal,
            canary_seed=seed,
            progress=show,
            status=show.status if show is not None else None,
            wandb=wandb,
            threads=threads,
            world=processes,
            country=country,
        )


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
    _end(session, name, record)


def _train_job(session: Session, job: Path, threads: int | None, passed: Callable[[Report], object]) -> None:
    """Train on a node of a site, where there is neither log nor operator's key."""
    from commonweights.node import train_job
    from train.console import quiet_libraries
    from train.launch import launched

    with quiet_libraries(), progress(quiet=session.json) as show, launched(1) as world:
        record = train_job(job, world=world, threads=threads, show=show, passed=passed)
    _end(session, str(record["run"]), record)


def _end(session: Session, name: str, record: dict[str, Any]) -> None:
    """Say how a run ended, and leave with the exit code that says so too."""
    from train.callbacks.interruption import PREEMPTED

    text = f"run {name}: {record['status']}" + (f" ({record['reason']})" if record["reason"] else f", {record['steps']} steps, loss {record['loss']}")
    session.show(
        {"run": name, "status": record["status"], "reason": record["reason"], "steps": record["steps"]},
        f"{text}\nlook at it: coop report {name}" + (f"\nnext: coop release assemble {name}" if record["status"] == "completed" else ""),
    )
    if record["status"] != "completed":
        raise click.exceptions.Exit(REQUEUE if record["reason"] == PREEMPTED else 1)
