"""`coop why`: what blocks a thing, and what would unblock it."""

from __future__ import annotations

import click

from commonweights.cli import Session
from commonweights.names import names
from commonweights.running import gate_plan, read_plan_file
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.report import Report

__all__ = ["checks_of", "why"]


def _standing(session: Session, thing: str) -> str:
    """Say how a release that is out stands if it is not current."""
    from governance_hooks.canonical import sha256
    from governance_hooks.standing import status_of
    from governance_hooks.statement import now

    with open_workspace(session.folder, read_only=True) as space:
        path = space.release(thing) / "release.json"
        if not path.is_file():
            return ""
        found = status_of(space.coop.register, sha256(path.read_bytes()), at=now())
    return "" if found.status == "current" else f"release {thing} is {found.line}"


@click.command()
@click.argument("thing")
@click.pass_obj
def why(session: Session, thing: str) -> None:
    """Say in plain words what blocks THING (the name of a plan, run or release), and what would unblock it.

    \b
    coop why first-voices
    """
    with open_workspace(session.folder, read_only=True) as space:
        report = checks_of(space, thing)
    if report is None:
        session.show({"thing": thing, "blocked": []}, f"run {thing} is completed; next: coop release assemble {thing}")
        return
    lines = (
        [f"{thing} is not blocked: all {len(report.steps)} checks pass."]
        if report.passed
        else [f"{thing} is blocked by {len(report.blocking)} of {len(report.steps)} checks:"]
    )
    standing = _standing(session, thing)
    if standing:
        lines.append(f"  {standing}")
    for step in report.blocking:
        lines += [f"  {step.number}. {step.name}: {step.why}"] + ([f"     to unblock: {step.todo}"] if step.todo else [])
    session.show({"thing": thing, "blocked": [step.as_dict() for step in report.blocking]}, "\n".join(lines))
    if not report.passed:
        raise click.exceptions.Exit(report.exit_code)


def checks_of(space: Workspace, thing: str) -> Report | None:
    """Return the checks of the plan, run or release of this name; None for a completed run, which nothing blocks.

    Raises:
        BadInput: there is nothing of this name.
    """
    if (space.release(thing) / "release.json").is_file():
        from model_card.verify import verify

        return verify(space.release(thing), pin=space.coop.pin)
    if not space.plan(thing).is_file() and not space.run(thing).is_dir():
        known = {one.stem for one in space.plan("any").parent.glob("*.json")} | set(space.coop.register.runs)
        raise BadInput(f"there is no plan, run or release {thing}", allowed=names(sorted(known), thing), next="coop status")
    run = space.coop.register.runs.get(thing)
    if run is not None and run.status == "completed":
        return None
    plan = space.plan(thing) if space.plan(thing).is_file() else space.run(thing) / "plan.json"
    return gate_plan(space, read_plan_file(space, str(plan)), base=None)
