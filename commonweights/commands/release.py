"""`coop release`: assemble a bundle, and publish it after its vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commonweights.adapters import finished_run
from commonweights.attesting import LATER, sign_where_no_stewards
from commonweights.cli import Session
from commonweights.commands.release_site import SITE
from commonweights.commands.release_standing import ADDED
from commonweights.deriving import Check, derived_weights
from commonweights.progress import Progress, progress
from commonweights.run_card import prepare_card
from commonweights.run_inputs import find_base
from commonweights.table import finish
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import remove_leftovers
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import read_ledger
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.process_lock import process_lock
from governance_hooks.report import Blocked, Report, StepFailed
from governance_hooks.statement import now
from model_card.layout import RELEASE

if TYPE_CHECKING:
    from model_card.schemas import ReleaseDocument

__all__ = ["assemble_release", "publish_release", "release"]


def assemble_release(
    space: Workspace,
    run: str,
    name: str,
    show: Progress | None = None,
    *,
    derived: bool = True,
    check: Check = "heldout",
    base: Path | None = None,
    supersedes: Sequence[str] | None = None,
    incomplete: bool = True,
    threads: int | None = None,
) -> Path:
    """Assemble the bundle members will vote on; a finished one of this run is returned as it is.

    Args:
        derived: whether to add merged and GGUF weights.
        check: what these are compared on before they are taken.
        base: folder of the base weights; None takes the cached ones.
        supersedes: digests of releases this one takes the place of; None takes those that went out under the same name, and are not superseded yet.
        incomplete: whether the card may lack what only people can state.
    """
    from model_card.release import assemble, gather, require_releasable
    from model_card.votes import votes_of

    out = _folder(space, run, name)
    if (out / RELEASE).is_file():
        return out
    finished = finished_run(space, run)
    if finished.build is None:
        raise BadInput(f"the dataset of run {run} is not here", value=finished.plan.build.manifest, next="restore the dataset's folder")
    consents = {consent for row in read_ledger(finished.build / "ledger.jsonl")[0] for consent in row.consents}
    register = space.coop.register
    prepare_card(space, run)
    votes = votes_of(register, run=run, consents=consents, files=gather(finished.folder, finished.build))
    replaced = _superseded(space, name, supersedes)
    # Before minutes go into weights that nobody may release.
    require_releasable(finished.folder, finished.build, name=name, coop=register.coop, run_proposal=register.run(run).proposal, votes=votes)

    def put(made: Path | None) -> None:
        assert finished.build is not None
        assemble(
            finished.folder,
            finished.build,
            out,
            name=name,
            coop=register.coop,
            run_proposal=register.run(run).proposal,
            votes=votes,
            created=now(),
            derived=made,
            supersedes=replaced,
            accept=None if incomplete else _require_people,
            progress=show,
        )

    with _alone(out.parent):
        if derived:
            weights = find_base(finished.plan, base)
            with derived_weights(finished, weights, out.parent, name, check=check, threads=threads, show=show) as made:
                put(made)
        else:
            put(None)
    return out


@contextmanager
def _alone(releases: Path) -> Iterator[None]:
    """Hold the folder of releases for this process, and remove what a killed one left there: gigabytes that look like nothing."""
    with process_lock(releases / ".lock", "assembling a release"):
        remove_leftovers(releases)
        yield


def _require_people(card: dict[str, Any]) -> None:
    """Refuse a card on which a field that only people can fill has neither a signed statement nor a signed reason."""
    from model_card.lint import require_release_card

    require_release_card(card)


def _document(folder: Path) -> ReleaseDocument | None:
    from model_card.release import read_release

    return read_release(folder).document if (folder / RELEASE).is_file() else None


def _folder(space: Workspace, run: str, name: str) -> Path:
    """Return where the bundle of a run belongs: a name that another run's release has taken goes on as NAME-RUN."""
    taken = _document(space.release(name))
    return space.release(name) if taken is None or taken.run == run else space.release(f"{name}-{run}")


def _superseded(space: Workspace, name: str, given: Sequence[str] | None) -> list[str]:
    """Return the releases a new one named `name` takes the place of.

    Raises:
        BadInput: one that was given never went out.
    """
    out = space.coop.register.releases
    if given is not None:
        for digest in given:
            if digest not in out:
                raise BadInput("only a release that went out can be superseded", value=digest, allowed=", ".join(out) or "none has gone out yet")
        return list(given)
    earlier = {digest: document for folder in sorted((space.root / "releases").glob("*")) for digest, document in _published(folder) if digest in out}
    named = [digest for digest in out if digest in earlier and earlier[digest].name == name]  # oldest first, as the log has them
    already = {one for document in earlier.values() for one in document.supersedes or ()}
    return [digest for digest in named if digest not in already]


def _published(folder: Path) -> Iterator[tuple[str, ReleaseDocument]]:
    document = _document(folder)
    if document is not None:
        yield sha256((folder / RELEASE).read_bytes()), document


def publish_release(space: Workspace, bundle: Path) -> Report:
    """Check every link, log the release under its vote, and put the proof of both votes into the bundle.

    Raises:
        Blocked: a link does not hold; nothing was logged.
        Refused: members did not approve exactly these bytes.
    """
    from model_card.release import add_proof, read_release
    from model_card.verify import AFTER_THE_VOTE, verify

    digest = sha256((bundle / RELEASE).read_bytes())
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
        odd = [step for step in before.blocking if step.name not in AFTER_THE_VOTE]
        if odd:
            raise Blocked(Report(before.subject, tuple(odd)))
        space.coop.operate("coop.release/v1", {"run": made.run, "release": digest, "proposal": proposal.id})
    add_proof(bundle, witnessed_proof(space).dumps())
    sign_where_no_stewards(space, bundle)
    return verify(bundle, pin=space.coop.pin)


@click.group()
def release() -> None:
    """Assemble a release bundle, have it voted on, publish it.

    \b
    coop release assemble first-voices      the folder members vote on
    coop propose release first-voices       the vote
    coop release publish first-voices       after it: logged, with its proof, verified
    """


@release.command()
@click.argument("run")
@click.option("--name", help="Name of the release [default: the run's name].")
@click.option("--no-derived", is_flag=True, help="Without merged and GGUF weights: an adapter, for whoever has the base.")
@click.option(
    "--check",
    type=click.Choice(["heldout", "fixed", "quick", "none"]),
    default="heldout",
    show_default=True,
    help="What merged and GGUF weights are compared on with the adapter: held-out rows, four fixed questions, these for the merged ones alone, nothing.",
)
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--incomplete", is_flag=True, help="Although the card lacks what only people can state: intended use, limits, risks, contact.")
@click.option("--supersedes", multiple=True, help="Digest of a release this one takes the place of [default: the one under the same name].")
@click.option("--threads", type=click.IntRange(1), help="Threads of the merge [default: all cores]; the bytes are the same for any number.")
@click.pass_obj
def assemble(
    session: Session,
    run: str,
    name: str | None,
    no_derived: bool,
    check: Check,
    base: Path | None,
    supersedes: tuple[str, ...],
    incomplete: bool,
    threads: int | None,
) -> None:
    """Assemble the bundle of RUN: weights, card, records, every file by size and SHA-256. Then members vote on it.

    \b
    coop release assemble first-voices                 adapter, merged weights, GGUF F16 and Q8_0
    coop release assemble first-voices --no-derived    the adapter alone

    The folder loads in transformers as it is, and can be uploaded to a hub as it is. Needs the extra [train], but for --no-derived.
    """
    chosen = name or run
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        out = assemble_release(
            space,
            run,
            chosen,
            show,
            derived=not no_derived,
            check=check,
            base=base,
            supersedes=list(supersedes) or None,
            incomplete=incomplete,
            threads=threads,
        )
        made = _document(out)
    assert made is not None
    digest = sha256((out / RELEASE).read_bytes())
    size, replaced = sum(entry.size for entry in made.files), list(made.supersedes or ())
    session.show(
        {"bundle": str(out), "digest": digest, "files": len(made.files), "bytes": size, "supersedes": replaced},
        f"bundle  {out}\n        {len(made.files)} files, {size:,} bytes\ndigest  {digest}\n"
        + "".join(f"takes the place of {one}\n" for one in replaced)
        + f"next    coop propose release {out.name}",
    )


@release.command()
@click.argument("name")
@click.pass_obj
def publish(session: Session, name: str) -> None:
    """Publish the bundle NAME that members approved: log it, add the proof of both votes, verify the whole.

    \b
    coop release publish first-voices
    """
    with open_workspace(session.folder) as space:
        bundle = space.release(name)
        if not (bundle / RELEASE).is_file():
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
