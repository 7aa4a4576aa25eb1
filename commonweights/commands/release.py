"""`coop release`: assemble a bundle, and publish it after its vote."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.attesting import LATER, sign_where_no_stewards
from commonweights.cli import Session
from commonweights.commands.release_site import SITE
from commonweights.commands.release_standing import ADDED
from commonweights.progress import Progress, progress
from commonweights.run_inputs import find_build
from commonweights.table import finish
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import read_ledger
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.plan import read_plan
from governance_hooks.report import Blocked, Report, StepFailed
from governance_hooks.statement import now

__all__ = ["assemble_release", "publish_release", "release"]


def assemble_release(space: Workspace, run: str, name: str, show: Progress | None = None) -> Path:
    """Assemble the bundle members will vote on; a finished one is returned as it is."""
    from model_card.release import assemble
    from model_card.votes import votes_of

    out = space.release(name)
    if (out / "release.json").is_file():
        return out
    plan = read_plan((space.run(run) / "plan.json").read_bytes())
    build = find_build(space, plan)
    consents = {consent for row in read_ledger(build / "ledger.jsonl")[0] for consent in row.consents}
    register = space.coop.register
    votes = votes_of(register, run=run, consents=consents)
    assemble(space.run(run), build, out, name=name, coop=register.coop, run_proposal=register.run(run).proposal, votes=votes, created=now(), progress=show)
    return out


def publish_release(space: Workspace, bundle: Path) -> Report:
    """Check every link, log the release under its vote, and put the proof of both votes into the bundle.

    Raises:
        Blocked: a link does not hold; nothing was logged.
        Refused: members did not approve exactly these bytes.
    """
    from model_card.release import add_proof, read_release
    from model_card.verify import verify

    digest = sha256((bundle / "release.json").read_bytes())
    made = read_release(bundle).document
    register = space.coop.register
    if digest not in register.releases:
        try:
            proposal = find_proposal(register, "release", digest, at=space.coop.clock())
            check_vote(proposal)
        except StepFailed as failed:
            raise BadInput(failed.why, next=failed.todo or None) from failed
        add_proof(bundle, witnessed_proof(space).dumps())
        before = verify(bundle, pin=space.coop.pin)
        odd = [step for step in before.blocking if step.name != "release vote"]  # which holds only after the release is logged
        if odd:
            raise Blocked(Report(before.subject, tuple(odd)))
        space.coop.operate("coop.release/v1", {"run": made.run, "release": digest, "proposal": proposal.id})
    add_proof(bundle, witnessed_proof(space).dumps())
    sign_where_no_stewards(space, bundle)
    return verify(bundle, pin=space.coop.pin)


@click.group()
def release() -> None:
    """Assemble a release bundle, have it voted on, publish it."""


@release.command()
@click.argument("run")
@click.option("--name", help="Name of the release [default: the run's name].")
@click.pass_obj
def assemble(session: Session, run: str, name: str | None) -> None:
    """Assemble the bundle of RUN: weights, card, records, every file by size and SHA-256. Then members vote on it."""
    chosen = name or run
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        out = assemble_release(space, run, chosen, show)
    digest = sha256((out / "release.json").read_bytes())
    session.show({"bundle": str(out), "digest": digest}, f"bundle  {out}\ndigest  {digest}\nnext    coop propose release {chosen}")


@release.command()
@click.argument("name")
@click.pass_obj
def publish(session: Session, name: str) -> None:
    """Publish the bundle NAME that members approved: log it, add the proof of both votes, verify the whole."""
    with open_workspace(session.folder) as space:
        bundle = space.release(name)
        if not (bundle / "release.json").is_file():
            raise BadInput(f"there is no release bundle {name}", next="coop release assemble RUN")
        report = publish_release(space, bundle)
        logged = sha256((bundle / "release.json").read_bytes()) in space.coop.register.releases
    unsigned = logged and all(step.name in LATER for step in report.blocking)
    finish(
        session,
        report,
        good=f"Released: {bundle} can be copied anywhere; anybody checks it with coop verify.",
        bad=f"Released, and in the log; the stewards have not signed it yet: coop release attest {name}" if unsigned else "NOT released.",
    )


for command in (*ADDED, *SITE):
    release.add_command(command)
