"""Starts runs that members approved: the gate for a plan as the cooperative's folder stands, the approval it starts under, and the run itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweights.end_of_run import evaluate_run, log_end, read_record
from commonweights.names import names
from commonweights.progress import Progress
from commonweights.run_card import emit_card
from commonweights.run_inputs import find_base, find_build
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace
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

__all__ = ["approval_of", "check_run_name", "gate_plan", "read_plan_file", "run_plan"]


def read_plan_file(space: Workspace, name: str) -> bytes:
    """Return the bytes of a plan by name or path."""
    path = Path(name) if Path(name).is_file() else space.plan(name)
    if path.suffix in (".yaml", ".yml"):
        raise BadInput(f"{name} is a config: a plan is made of it, and voted on", allowed="the name of a plan, or its file", next=f"coop plan {name}")
    if not path.is_file():
        known = sorted(one.stem for one in space.plan("any").parent.glob("*.json"))
        raise BadInput(f"there is no plan {name}", allowed=names(known, name), next="coop plan CONFIG")
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
    from train.base_weights import cache_folder

    # Where nothing is, if they are not found: the gate itself says what is wrong with the plan, the base or the build.
    found_base, found_build = base or cache_folder() / "base", space.root / "builds" / "missing"
    with suppress(CoopError):
        plan = read_plan(data)
        found_base = base or cache_folder() / (plan.base.name.replace("/", "--").strip(".") or "base")
        with suppress(CoopError):
            found_base = find_base(plan, base)
        found_build = find_build(space, plan)
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
    from train.compatibility import require_processes
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
        require_processes(plan.training, processes.size)  # before a start is used
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
