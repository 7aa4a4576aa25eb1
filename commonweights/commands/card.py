"""`coop card`: the model card of a run, members' own words on it, and what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.card_statements import read_words, standing_statements
from commonweights.cli import Session
from commonweights.end_of_run import card_files
from commonweights.node import card_job
from commonweights.options import draft_option, key_option
from commonweights.progress import progress
from commonweights.run_card import emit_card, prepare_card
from commonweights.run_inputs import find_build
from commonweights.texts import keep_text
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.card_statement import ABSENT, FIELDS
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan

__all__ = ["card"]


class _Group(click.Group):
    """`coop card RUN` is short for `coop card write RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["write", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def card() -> None:
    """Render a run's card and all pages made of it; say in your own words what only a person can; see what is missing.

    \b
    coop card RUN                                          render it
    coop card statement limits --text FILE --lang eng      say something on it, signed with your key
    coop card dissent                                      publish why you voted against the run
    coop card lint RUN                                     what it lacks
    """


@card.command()
@click.argument("run", required=False)
@click.option("--job", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Instead of RUN, at a site: the job's folder from coop submit.")
@click.pass_obj
def write(session: Session, run: str | None, job: Path | None) -> None:
    """Render the card of RUN from its records; nothing on it is typed by hand.

    At a site it waits until the proof there holds the evaluation: `coop collect` logs that and sends the proof.

    \b
    coop card write first
    """
    if (run is None) == (job is None):
        raise click.UsageError("give RUN, or --job FOLDER")
    if run is None:
        assert job is not None
        with progress(quiet=session.json) as show:
            _show(session, card_job(job, show=show), [])
        return
    with open_workspace(session.folder, read_only=True) as space:
        folder = emit_card(space, run)
        missing = prepare_card(space, run)
    _show(session, folder, missing)


def _build(space: Workspace, run: str) -> Path:
    return find_build(space, read_plan((space.run(run) / "plan.json").read_bytes()))


def _show(session: Session, folder: Path, missing: list[str]) -> None:
    left_out = [f"left out, since the text is not in this folder: statement {one[:19]}" for one in missing]
    session.show({"card": str(folder), "left_out": missing}, "\n".join([f"{folder / 'README.md'}", f"{folder / 'card.json'}", *left_out]))


def _run_of(space: Workspace, run: str | None) -> str:
    """Return the run asked for, or the newest in the log."""
    runs = list(space.coop.register.runs)
    if run is None and not runs:
        raise BadInput("there is no run yet", next="coop train PLAN")
    return space.coop.register.run(run or runs[-1]).id


@card.command()
@click.argument("field", metavar="FIELD", type=click.Choice([field for field in FIELDS if field != "dissent"]))
@click.option(
    "--text", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with what you say; the log holds its digest, the card the text."
)
@click.option("--absent", type=click.Choice(ABSENT), help="Instead: say why nothing is said.")
@click.option("--take-back", is_flag=True, help="Instead: what you said about it no longer stands.")
@click.option("--lang", "language", default="eng", show_default=True, help="Language of the text: ISO 639-3, with a script if needed (hin, srp-Latn).")
@click.option("--run", help="The run the card is of [default: the newest].")
@key_option
@draft_option
@click.pass_obj
def statement(
    session: Session, field: str, text: Path | None, absent: str | None, take_back: bool, language: str, run: str | None, key: Path | None, draft: Path | None
) -> None:
    """Say something about FIELD on a run's card, signed with your key; what you said before about it in that language no longer stands.

    FIELD summary is a translation of card/summary.eng.md: render the card first. Other members may sign the draft too (coop sign): a
    translation is shown once a second member signed it, or members chose its text in a consultation.

    \b
    coop card statement limits --text limits.txt --lang eng
    coop card statement risks --absent not-discussed
    """
    if (text is not None) + (absent is not None) + take_back != 1:
        raise click.UsageError("give --text FILE, --absent REASON or --take-back")
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        name = _run_of(space, run)
        words = None if text is None else keep_text(space, read_words(text))
        payload: dict[str, Any] = {"run": name, "field": field, "language": language, "text": words, "absent": absent, "translates": None}
        if field == "summary" and words is not None:
            payload["translates"] = _english(space, name)
        _say(session, space, payload, own, draft)


def _english(space: Workspace, run: str) -> str:
    path = space.run(run) / "card" / "card" / "summary.eng.md"
    if not path.is_file():
        raise BadInput("there is no English summary to translate yet", value=str(path), next=f"coop card {run}")
    return sha256(path.read_bytes())


@card.command()
@click.option("--run", help="The run you voted against [default: the newest].")
@click.option("--lang", "language", default="eng", show_default=True, help="Language of the reason: ISO 639-3.")
@key_option
@draft_option
@click.pass_obj
def dissent(session: Session, run: str | None, language: str, key: Path | None, draft: Path | None) -> None:
    """Publish, word for word, the reason you gave with your ballot against a run: nobody else can.

    \b
    coop card dissent --run first --lang eng
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        name, member = _run_of(space, run), member_of(space.coop, own)
        vote = space.coop.register.proposal(space.coop.register.run(name).proposal).votes.get(member)
        if vote is None or vote.choice != "against" or vote.reason is None:
            raise BadInput("you gave no reason against this run", value=name, allowed="a ballot against it, cast with --reason")
        _say(session, space, {"run": name, "field": "dissent", "language": language, "text": vote.reason, "absent": None, "translates": None}, own, draft)


def _say(session: Session, space: Workspace, payload: dict[str, Any], own: Any, draft: Path | None) -> None:
    made = drafts.say(space.coop, "coop.card-statement/v1", payload, key=own, author=member_of(space.coop, own), draft=draft)
    if made is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, let others sign it who agree, then: coop append {draft}")
    else:
        session.show({"statement": made.id} | payload, f"statement {made.id}\nnext: coop card {payload['run']}")


@card.command()
@click.argument("run", required=False)
@click.pass_obj
def said(session: Session, run: str | None) -> None:
    """List what members say on the card of RUN [default: the newest run].

    \b
    coop card said first
    """
    with open_workspace(session.folder, read_only=True) as space:
        found = standing_statements(space.coop.register, _run_of(space, run))
    rows = [
        {"statement": one.id, "field": one.field, "language": one.language, "author": one.author, "absent": one.absent, "reviewers": len(one.reviewers)}
        for one in found
    ]
    lines = [
        f"{str(row['statement'])[7:19]}  {row['field']:<18} {row['language']}  by {row['author']}" + (f"  ({row['absent']})" if row["absent"] else "")
        for row in rows
    ]
    session.show({"statements": rows}, "\n".join(lines) or "nobody has said anything yet: coop card statement FIELD --text FILE")


@card.command()
@click.argument("run")
@click.pass_obj
def lint(session: Session, run: str) -> None:
    """Say what the card of RUN lacks, rule by rule, with a mark: how transparent it is, and how useful. RUN may be a release folder.

    \b
    coop card lint first
    """
    from model_card.lint import lint_pages

    folder = Path(run)
    if (folder / "card.json").is_file():
        pages = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".safetensors", ".gguf", ".gz")
        }
    else:
        with open_workspace(session.folder, read_only=True) as space:
            shown = space.run(run) / "card"
            if not (shown / "card.json").is_file():
                raise BadInput(f"run {run} has no card yet", next=f"coop card {run}")
            pages = card_files(space.run(run), _build(space, run), evaluated=True)
            pages |= {path.relative_to(shown).as_posix(): path.read_bytes() for path in sorted(shown.rglob("*")) if path.is_file()}
    found = lint_pages(pages)
    session.show(found.as_dict(), found.text())
    if found.failed:
        raise click.exceptions.Exit(1)
