"""`coop release attest, attestations, status, withdraw, supersede, stale`: what stewards sign, and how a release that is out stands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from commonweights.cli import Session
from commonweights.cosigning import together
from commonweights.options import draft_option, key_option
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.motions import Reason
from governance_hooks.statement import now

__all__ = ["ADDED"]


def _names(space: Workspace) -> dict[str, str]:
    """Return the names of the bundles in this folder by digest."""
    from model_card.release import read_release

    folders = sorted(path.parent for path in (space.root / "releases").glob("*/release.json"))
    return {read_release(folder).digest: folder.name for folder in folders}


@click.command()
@click.argument("name")
@click.option("--show", is_flag=True, help="Only show what would be signed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@key_option
@click.pass_obj
def attest(session: Session, name: str, show: bool, yes: bool, key: Path | None) -> None:
    """Sign the attestations of the release NAME as one of its stewards, after its vote. NAME may be a folder somebody sent you.

    Everything is rendered from the records and checked first: what does not verify is not signed. It takes an ssh-ed25519 key file; FIDO keys
    and passkeys cannot sign these formats.

    \b
    coop release attest first-voices --show
    """
    from commonweights import attesting

    with attesting.opened(session.folder, name, fresh=True) as found:
        lines, value = _shown(found.statements())
        if show:
            session.show({"release": found.release, "statements": value}, "\n".join([f"release {found.release}", *lines]))
            return
        own = load_key(key)
        if not session.json:
            click.echo("\n".join([f"you sign about release {found.release}:", *lines]))
        if not (yes or session.json) and sys.stdin.isatty():
            click.confirm("sign?", abort=True)
        signed = attesting.sign(found, own)
        counts = {kind: sorted(owners) for kind, owners in signed.signed().items()}
    least, required = min(map(len, counts.values())), _required(found)
    left = f"{required - least} more needed" if least < required else "enough"
    session.show(
        {"release": found.release, "signed": counts, "required": required, "enough": least >= required},
        f"signed {len(counts)} attestations in {found.folder / 'attestations'}: {least} of {required} required, {left}",
    )


def _required(found: Any) -> int:
    from model_card.attestations.signers import Signers

    return Signers.of(found.register, found.release).required


def _shown(statements: dict[str, bytes]) -> tuple[list[str], dict[str, Any]]:
    """Return lines about statements, for people, and the statements themselves."""
    values = {name: loads(data, floats=True, source=name) for name, data in statements.items()}
    told = {name: value["predicate"] for name, value in values.items()}
    build, tests, vote, consent = (told[name] for name in ("provenance", "test-result", "vote", "consent"))
    tally = vote["release"]
    said = {
        "provenance": f"run {build['runDetails']['metadata']['invocationId']}, {build['buildDefinition']['internalParameters']['starts']} start(s), "
        f"{len(build['buildDefinition']['resolvedDependencies'])} inputs by digest",
        "test-result": f"{tests['result']}: {len(tests['passedTests'])} passed, {len(tests['warnedTests'])} unclear, {len(tests['failedTests'])} failed",
        "vote": f"{tally['outcome']}: {tally['for']} for, {tally['against']} against, {tally['abstain']} abstained, roll of {tally['roll']}",
        "consent": f"{consent['records']} texts on {consent['consents']} consents, {consent['withdrawnUntilVoteClosed']} withdrawn until the vote closed",
        "preregistration": f"evaluation policy voted at {told['preregistration']['voteClosed']}, run started {told['preregistration']['runStarted']}",
        "release": told["release"]["purl"],
    }
    return [f"  {name:<16} {len(values[name]['subject']):>3} file(s)  {words}" for name, words in said.items()], values


@click.command()
@click.argument("name")
@click.pass_obj
def attestations(session: Session, name: str) -> None:
    """Show who has signed the attestations of the release NAME, and who is still asked to.

    \b
    coop release attestations first-voices
    """
    from commonweights import attesting
    from model_card.attestations.signers import Signers

    with attesting.opened(session.folder, name, fresh=False) as found:
        signed, signers = found.signed(), Signers.of(found.register, found.release)
    everywhere = set.intersection(*signed.values())
    missing = sorted(signers.owners - everywhere)
    lines = [f"  {kind:<16} {', '.join(sorted(owners)) or 'nobody yet'}" for kind, owners in signed.items()]
    who = f"{signers.required} of {signers.named} stewards required" if signers.named else "the bylaws name no stewards: the operator signs alone"
    left = f"may still sign: {', '.join(missing)}" if missing else "everybody who may has signed"
    session.show(
        {
            "release": found.release,
            "signed": {kind: sorted(owners) for kind, owners in signed.items()},
            "required": signers.required,
            "stewards": signers.named,
        },
        "\n".join([f"release {found.release}", *lines, who, left]),
    )


@click.command("status")
@click.argument("name", required=False)
@click.pass_obj
def show_status(session: Session, name: str | None) -> None:
    """Say whether the release NAME, or each that is out, is current, superseded or withdrawn, by the log.

    \b
    coop release status
    """
    from commonweights.attesting import release_digest
    from governance_hooks.standing import status_of

    with open_workspace(session.folder, read_only=True) as space:
        wanted = [release_digest(space, name)] if name else list(space.coop.register.releases)
        names, at = _names(space), now()
        found = [status_of(space.coop.register, one, at=at) for one in wanted]
    lines = [f"{names.get(one.release, one.release[:19])}  {one.line}" for one in found]
    session.show({"releases": [one.as_dict() for one in found]}, "\n".join(lines or ["no release is out"]))


def _signers(command: Callable[..., Any]) -> Callable[..., Any]:
    more = click.option("--with", "others", multiple=True, type=click.Path(path_type=Path), help="Key of another steward who signs too; .pub with --draft.")
    why = click.option("--reason", required=True, type=click.Choice(get_args(Reason)), help="Why; what there is to say besides is said elsewhere.")
    return click.pass_obj(why(more(key_option(draft_option(command)))))


def _say(session: Session, name: str, status: str, by: str | None, reason: str, key: Path | None, others: tuple[Path, ...], draft: Path | None) -> None:
    from commonweights.attesting import release_digest
    from governance_hooks.standing import status_of

    own, more = load_key(key), [load_key(one) for one in others]
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member, release = member_of(space.coop, own), release_digest(space, name)
        payload = {"release": release, "status": status, "by": release_digest(space, by) if by else None, "reason": reason}
        made = together(session, space.coop, "coop.release-status/v1", payload, member, [own, *more], draft)
        if made is None:
            return
        found = status_of(space.coop.register, release)
    text = [f"{made.id}", found.line]
    if found.until:
        text.append(f"to make it stand, members vote: coop propose recall {name} --reason {reason} --ratifies {made.id[7:19]}")
    session.show({"statement": made.id, **found.as_dict()}, "\n".join(text))


@click.command()
@click.argument("name")
@_signers
def withdraw(session: Session, name: str, reason: str, others: tuple[Path, ...], key: Path | None, draft: Path | None) -> None:
    """Withdraw the release NAME in an emergency, as k of n stewards. It lapses unless members ratify it, and can be done once.

    \b
    coop release withdraw first-voices --reason safety --with KEY
    """
    _say(session, name, "withdrawn", None, reason, key, others, draft)


@click.command()
@click.argument("name")
@click.argument("by")
@_signers
def supersede(session: Session, name: str, by: str, reason: str, others: tuple[Path, ...], key: Path | None, draft: Path | None) -> None:
    """Say, as k of n stewards, that the later release BY takes the place of NAME, which its vote did not name.

    A release whose release.json names what it supersedes needs none of this: it does so when it goes out.

    \b
    coop release supersede first-voices second-voices --reason improved --with KEY
    """
    _say(session, name, "superseded", by, reason, key, others, draft)


@click.command()
@click.argument("name", required=False)
@click.pass_obj
def stale(session: Session, name: str | None) -> None:
    """Count the members who withdrew since the release NAME, or each that is current, and say whether a superseding one is due. Names nobody.

    Exit code 1: one is due.

    \b
    coop release stale first-voices
    """
    from commonweights.attesting import release_digest
    from model_card.overdue import terms
    from model_card.promise import PROMISE

    at = now()
    with open_workspace(session.folder, read_only=True) as space:
        one = release_digest(space, name) if name else None
        found = dues(space, only=one)
        promised = terms(space.coop.register.bylaws)
        if one is not None and one not in found:
            raise BadInput("this release is superseded or withdrawn, or its bundle is not here", value=name, next="coop release status")
        names = _names(space)
    lines = [f"{names[release]}  {due.line(at)}" for release, due in found.items()] or ["no release is current here"]
    session.show({"releases": [due.as_dict(at) for due in found.values()], "terms": promised}, "\n".join([*lines, promised, "", PROMISE]))
    if any(due.is_due(at) for due in found.values()):
        raise click.exceptions.Exit(1)


def dues(space: Workspace, *, only: str | None = None) -> dict[str, Any]:
    """Return, for each release that is current and whose bundle is here, how many withdrew since (`model_card.overdue.Due`)."""
    from governance_hooks.ledger import read_ledger
    from governance_hooks.plan import read_plan
    from governance_hooks.standing import status_of
    from model_card.overdue import due_since

    register, made = space.coop.register, {}

    def issued(position: int) -> str:
        return str(loads(next(iter(space.coop.log.entries(position, position + 1))))["body"]["issued"])

    for release, name in _names(space).items():
        if release in register.releases and only in (None, release) and status_of(register, release, at=now()).status == "current":
            folder = space.release(name)
            plan = read_plan((folder / "plan.json").read_bytes())
            made[release] = due_since(register, release, read_ledger(folder / "data/ledger.jsonl")[0], plan.use, issued)
    return made


ADDED: tuple[click.Command, ...] = (attest, attestations, show_status, withdraw, supersede, stale)
"""Commands of the group `coop release`."""
