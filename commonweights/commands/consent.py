"""`coop consent`: give, show, preview and withdraw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.notice import NOTICE
from commonweights.options import draft_option, key_option
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.vocabulary import LICENCES, PROCESSING, PURPOSES, RECIPIENTS

__all__ = ["consent"]


@click.group()
def consent() -> None:
    """Give, show, preview and withdraw consent.

    Consent says who may use what you gave, for what, under which licence, how long. Withdrawing takes effect at once.
    """


@consent.command()
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    type=click.Choice(list(PURPOSES)),
    default=["dpv:NonCommercialResearch"],
    show_default=True,
    help="What it may be used for.",
)
@click.option(
    "--licence",
    "licences",
    multiple=True,
    type=click.Choice(LICENCES),
    default=["Apache-2.0"],
    show_default=True,
    help="Licence the resulting weights may have.",
)
@click.option(
    "--recipient", "recipients", multiple=True, type=click.Choice(RECIPIENTS), default=list(RECIPIENTS), show_default=True, help="Who may get the weights."
)
@click.option("--language", "languages", multiple=True, help="Only records in this language (ISO 639-3) [default: all].")
@click.option("--expires", help="End of the consent, RFC 3339 UTC, e.g. 2027-12-31T00:00:00Z [default: until withdrawn].")
@click.option("--yes", is_flag=True, help="Do not show the notice and ask.")
@key_option
@draft_option
@click.pass_obj
def give(
    session: Session,
    purposes: tuple[str, ...],
    licences: tuple[str, ...],
    recipients: tuple[str, ...],
    languages: tuple[str, ...],
    expires: str | None,
    yes: bool,
    key: Path | None,
    draft: Path | None,
) -> None:
    """Allow the use of what you contributed, and will contribute."""
    if not yes:
        click.echo(NOTICE)
        click.confirm(f"Allow {', '.join(purposes)}, weights under {', '.join(licences)}?", abort=True)
    payload = {
        "purposes": sorted(set(purposes)),
        "processing": list(PROCESSING),
        "recipients": sorted(set(recipients)),
        "licences": sorted(set(licences)),
        "scope": {"languages": sorted(set(languages)) or None, "batches": None},
        "expires": expires,
        "notice": sha256(NOTICE.encode()),
    }
    _say(session, "coop.consent/v1", payload, key, draft, "consent given")


@consent.command()
@click.argument("consent_id", required=False)
@key_option
@draft_option
@click.pass_obj
def withdraw(session: Session, consent_id: str | None, key: Path | None, draft: Path | None) -> None:
    """Withdraw one consent, or all of them.

    From the next log entry on nothing new is built on your records, and running training that stands on them stops.
    """
    with open_workspace(session.folder, read_only=True) as space:
        wanted = space.coop.find(consent_id).id if consent_id else None
    _say(session, "coop.withdrawal/v1", {"consent": wanted}, key, draft, "withdrawn")


@consent.command()
@key_option
@click.pass_obj
def show(session: Session, key: Path | None) -> None:
    """Show your consents."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=True) as space:
        member = member_of(space.coop, own)
        grants = space.coop.register.grants.get(member, [])
    rows: list[dict[str, Any]] = [{"consent": g.id, "given": g.given, "withdrawn": g.withdrawn} | g.consent.model_dump() for g in grants]
    lines = [f"{member}"] + [
        f"  {row['consent'][:19]}  {'withdrawn at entry ' + str(row['withdrawn']) if row['withdrawn'] is not None else 'in force'}: "
        f"{', '.join(row['purposes'])}; weights under {', '.join(row['licences'])}; "
        f"languages {', '.join(row['scope']['languages'] or ['all'])}; until {row['expires'] or 'withdrawn'}"
        for row in rows
    ]
    session.show({"member": member, "consents": rows}, "\n".join(lines if rows else [*lines, "  none: nothing of yours is used"]))


@consent.command()
@key_option
@click.pass_obj
def preview(session: Session, key: Path | None) -> None:
    """Show what withdrawing everything would do, without doing it."""
    from data_pipeline.preview import withdrawal_preview
    from data_pipeline.store import ContributionStore

    own = load_key(key)
    with open_workspace(session.folder, read_only=True) as space, ContributionStore(space.contributions) as store:
        member = member_of(space.coop, own)
        found = withdrawal_preview(store, member)
    value: dict[str, Any] = {"member": member, "own_records": found.own, "built_on_yours": found.built_on}
    text = f"{member}: {found.own} records of yours and {found.built_on} edits built on them would be left out of the next build.\nWeights already released stay where people copied them."
    session.show(value, text)


def _say(session: Session, kind: str, payload: dict[str, Any], key: Path | None, draft: Path | None, done: str) -> None:
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        statement = drafts.say(space.coop, kind, payload, key=own, author=member, draft=draft)
        position = space.coop.register.size - 1
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show({"statement": statement.id, "position": position, "member": member}, f"{done}: entry {position}, {statement.id}")
