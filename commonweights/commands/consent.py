"""`coop consent`: give, show, preview and withdraw; the papers about it are in `consent_papers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.commands.consent_papers import check, export, receipt
from commonweights.notice import NOTICE, NOTICE_LANGUAGE, NOTICE_OUTSIDE, NOTICE_PUBLISH, notice_of
from commonweights.options import draft_option, key_option, language_code
from commonweights.progress import progress
from commonweights.texts import keep_text, read_text
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.consent import Consent
from governance_hooks.consent_words import in_words
from governance_hooks.errors import BadInput
from governance_hooks.state.consents import Grant
from governance_hooks.statement import body, now
from governance_hooks.vocabulary import LICENCES, OUTSIDE_FORMS, OUTSIDERS, PROCESSING, PUBLISHING, PURPOSES, RECIPIENTS

__all__ = ["consent"]


@click.group()
def consent() -> None:
    """Give, show, preview and withdraw consent, and keep papers about it.

    Consent says who may use what you gave, for what, under which licence, how long. Withdrawing takes effect at once.
    """


for paper in (export, receipt, check):
    consent.add_command(paper)


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
@click.option(
    "--outsider", "outsiders", multiple=True, type=click.Choice(OUTSIDERS), help="Organisations outside that members may vote to admit [default: none]."
)
@click.option("--outside-form", "forms", multiple=True, type=click.Choice(list(OUTSIDE_FORMS)), help="What they may get: counts, or the texts themselves.")
@click.option(
    "--publish", type=click.Choice(list(PUBLISHING)), help="Let everybody read some of the texts, without your name, on public pages [default: none]."
)
@click.option("--language", "languages", multiple=True, help="Only texts in this language: yor or yo, not yo-NG [default: all].")
@click.option("--batch", "batches", multiple=True, help="Only texts of this contribution of yours, by the start of its digest [default: all].")
@click.option("--occurrences", type=click.IntRange(1), help="Only so many training runs; 1 is this run only [default: all that members approve].")
@click.option("--expires", help="End of the consent, RFC 3339 UTC, e.g. 2027-12-31T00:00:00Z [default: until withdrawn].")
@click.option(
    "--notice", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The text to show and to sign for [default: the one that comes with coop]."
)
@click.option("--notice-language", default=NOTICE_LANGUAGE, show_default=True, help="Language of that text.")
@click.option("--yes", is_flag=True, help="Do not show the notice and ask.")
@key_option
@draft_option
@click.pass_obj
def give(
    session: Session,
    purposes: tuple[str, ...],
    licences: tuple[str, ...],
    recipients: tuple[str, ...],
    outsiders: tuple[str, ...],
    forms: tuple[str, ...],
    publish: str | None,
    languages: tuple[str, ...],
    batches: tuple[str, ...],
    occurrences: int | None,
    expires: str | None,
    notice: Path | None,
    notice_language: str,
    yes: bool,
    key: Path | None,
    draft: Path | None,
) -> None:
    """Allow the use of what you contributed, and will contribute; says in plain words what, before you sign.

    A new consent stands beside the ones you gave before: withdraw those you want to replace.
    """
    own = load_key(key)
    if bool(outsiders) != bool(forms):
        raise BadInput("what goes to outsiders is said by whom it may go to and in which form", allowed="--outsider together with --outside-form, or neither")
    text = NOTICE + (NOTICE_OUTSIDE if outsiders else "") + (NOTICE_PUBLISH if publish else "") if notice is None else notice.read_text(encoding="utf-8")
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        payload: dict[str, Any] = {
            "purposes": sorted(set(purposes)),
            "processing": list(PROCESSING),
            "recipients": sorted(set(recipients)),
            "licences": sorted(set(licences)),
            "scope": {
                "languages": sorted({language_code(one, "--language") for one in languages}) or None,
                "batches": sorted({_own_batch(space, member, batch) for batch in batches}) or None,
            },
            "expires": expires,
            "occurrences": occurrences,
            "notice": sha256(text.encode()),
            "notice_language": language_code(notice_language, "--notice-language"),
        }
        if outsiders:
            payload["outside"] = {"recipients": sorted(set(outsiders)), "forms": sorted(set(forms))}
        if publish:
            payload["publish"] = publish
        body("coop.consent/v1", payload, coop=space.coop.register.coop, author=member)  # a mistake in it shows before the question, not after
        if not yes:
            click.echo(text)
            click.echo("You are about to allow:\n" + "\n".join(f"  {line}" for line in in_words(Consent.model_validate(payload))))
            standing = sum(grant.withdrawn is None for grant in space.coop.register.grants.get(member, []))
            if standing:
                click.echo(f"  This comes beside {standing} consent(s) of yours that stand, and replaces none: coop consent show")
            click.confirm("Do you allow this?", abort=True)
        if notice is not None and draft is None:
            keep_text(space, text.encode())  # so that everybody can see what was signed for
        statement = drafts.say(space.coop, "coop.consent/v1", payload, key=own, author=member, draft=draft)
        _report(session, statement.id if statement else None, space.coop.register.size - 1, member, draft, "consent given")


@consent.command("notice")
@click.argument("consent_id")
@click.pass_obj
def shown_before(session: Session, consent_id: str) -> None:
    """Show what a member was shown before they signed a consent, whoever's it is: the words that its digest in the log stands for."""
    with open_workspace(session.folder, read_only=True) as space:
        found = space.coop.find(consent_id)
        if not isinstance(found.payload, Consent):
            raise BadInput("this statement is no consent", value=found.type, next="coop log")
        digest, language = found.payload.notice, found.payload.notice_language
        data = read_text(space, digest)
    text = notice_of(digest) or (None if data is None else "".join(c if c.isprintable() or c == "\n" else " " for c in data.decode("utf-8", errors="replace")))
    if text is None:
        raise BadInput(
            "these words did not come with coop, and are not in this folder", value=digest, next="ask the cooperative for the file that was shown (--notice)"
        )
    session.show({"consent": found.id, "notice": digest, "notice_language": language, "text": text}, text)


@consent.command()
@click.argument("consent_id", required=False)
@key_option
@draft_option
@click.pass_obj
def withdraw(session: Session, consent_id: str | None, key: Path | None, draft: Path | None) -> None:
    """Withdraw one consent, or all of them.

    From the next log entry on nothing new is built on your texts, and running training that stands on them stops.
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        wanted = space.coop.find(consent_id).id if consent_id else None
        statement = drafts.say(space.coop, "coop.withdrawal/v1", {"consent": wanted}, key=own, author=member, draft=draft)
        _report(session, statement.id if statement else None, space.coop.register.size - 1, member, draft, "withdrawn")


@consent.command()
@key_option
@click.pass_obj
def show(session: Session, key: Path | None) -> None:
    """Show in plain words what you allow, what was done with it so far, and how to take it back."""
    from commonweights.consent_uses import uses_of

    own, at = load_key(key), now()
    with open_workspace(session.folder, read_only=True) as space:
        member = member_of(space.coop, own)
        grants = space.coop.register.grants.get(member, [])
        uses = [uses_of(space, member, [grant]) for grant in grants]
        size = space.coop.register.size
    rows: list[dict[str, Any]] = []
    lines = [f"{member}: {len(grants)} consent(s)"]
    for grant, used in zip(grants, uses, strict=True):
        row = {"consent": grant.id, "given": grant.given, "withdrawn": grant.withdrawn, "standing": _standing(grant, size, at)} | grant.consent.model_dump()
        rows.append(row | {"builds": used.builds, "runs": used.runs, "releases": used.releases, "unread_runs": used.unread})
        lines += ["", f"Consent {grant.id[:19]}: {_standing(grant, size, at)}", *(f"  {line}" for line in in_words(grant.consent))]
        lines += ["  What was done so far: " + " ".join(used.lines())]
        if grant.withdrawn is None:
            lines.append(f"  To take it back: coop consent withdraw {grant.id[7:19]}")
    session.show({"member": member, "consents": rows}, "\n".join(lines if rows else [*lines, "  none: nothing of yours is used"]))


@consent.command()
@click.argument("consent_id", required=False)
@key_option
@click.pass_obj
def preview(session: Session, consent_id: str | None, key: Path | None) -> None:
    """Show what withdrawing one consent, or everything, would do, without doing it.

    The rules of the next dataset are run with and without you, so the numbers are exact; over 200,000 texts they are read off the last dataset.
    """
    from commonweights.withdrawing import preview_of

    own = load_key(key)
    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        member = member_of(space.coop, own)
        wanted = space.coop.find(consent_id).id if consent_id else None
        if wanted is not None and not any(grant.id == wanted and grant.withdrawn is None for grant in space.coop.register.grants.get(member, [])):
            raise BadInput("there is no such consent of yours in force", value=consent_id, next="coop consent show")
        found = preview_of(space, member, show, consent=wanted)
    session.show(found.value(), "\n".join(found.lines()))


def _standing(grant: Grant, size: int, at: str) -> str:
    if grant.withdrawn is not None:
        return f"withdrawn at entry {grant.withdrawn}"
    if grant.consent.expires is not None and at >= grant.consent.expires:
        return f"expired at {grant.consent.expires}"
    if not grant.left(None, size):
        return f"used up: {len(grant.used)} of {grant.consent.occurrences} run(s), {', '.join(grant.used)}"
    return (
        "in force"
        if grant.consent.occurrences is None
        else f"in force, {grant.consent.occurrences - len(grant.used)} of {grant.consent.occurrences} run(s) left"
    )


def _own_batch(space: Workspace, member: str, prefix: str) -> str:
    found = space.coop.find(prefix)
    if found.type != "coop.contribution/v1" or found.author != member:
        raise BadInput("this is no contribution of yours", value=prefix, next="coop log, for your contributions")
    return found.id


def _report(session: Session, statement: str | None, position: int, member: str, draft: Path | None, done: str) -> None:
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show({"statement": statement, "position": position, "member": member}, f"{done}: entry {position}, {statement}")
