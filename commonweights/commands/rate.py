"""`coop rate`: scores of other members' records, under your signature."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.commands.contribute import open_store
from commonweights.options import key_option
from commonweights.progress import progress
from commonweights.workspace import author_of, load_key, member_of, open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.reviews import FLAGS
from governance_hooks.statement import now

__all__ = ["rate"]


@click.command()
@click.argument("record", required=False)
@click.option("--score", type=click.IntRange(1, 5), help="1 unusable, 2 poor, 3 acceptable, 4 good, 5 excellent.")
@click.option("--flag", "flags", multiple=True, type=click.Choice(FLAGS), help="What is wrong with it; may be given several times.")
@click.option("--file", type=click.Path(path_type=Path), help='Many at once, one a line: {"record": "...", "score": 4, "flags": ["spam"]}.')
@click.option("--erase", is_flag=True, help="Take your ratings of RECORD back and erase them; they count nowhere from now on.")
@key_option
@click.pass_obj
def rate(session: Session, record: str | None, score: int | None, flags: tuple[str, ...], file: Path | None, erase: bool, key: Path | None) -> None:
    """Rate RECORD, a text of another member, under your signature.

    \b
    coop rate aa98ab9986dfa42d --score 4
    coop rate aa98ab9986dfa42d --score 1 --flag wrong_language --flag spam
    coop rate --file scores.jsonl             all or nothing
    coop rate aa98ab9986dfa42d --erase

    Rated again, your latest rating counts. The log gets one salted commitment to all ratings of the command, so nobody, the operator
    included, can invent or change one. A dataset that counts a rating shows it, under your member id.
    """
    from data_pipeline.reviews import RatingDraft

    if (record is None) == (file is None) or (file is None and (score is None) != erase) or (file is not None and (score is not None or flags or erase)):
        raise BadInput(
            "rate one text, or the texts of a file", next="coop rate RECORD --score 4, or coop rate --file scores.jsonl, or coop rate RECORD --erase"
        )
    own = load_key(key)
    with open_workspace(session.folder) as space, open_store(space) as store, progress(quiet=session.json) as show:
        if erase:
            member = author_of(space.coop, own)
            gone = store.reviews.erase(member, [str(record)], at=now())
            session.show({"erased": gone, "member": member}, f"{gone} ratings of {record} erased; datasets built before still hold them")
            return
        member = member_of(space.coop, own)
        if file is not None:
            from data_pipeline.importers.ratings import read_ratings

            drafts = read_ratings(file, progress=show)
        else:
            drafts = [RatingDraft(str(record), int(score or 0), flags)]
        space.coop.register.standing(member)  # before anything is stored that could never be sealed
        review = store.reviews.add(member, drafts, at=now())
        known = (found.id for found in space.coop.register.reviews.values() if (found.author, found.root) == (member, review.root))
        logged = next(known, None) or space.coop.state("coop.review/v1", review.payload(), key=own, author=member).id
        store.reviews.seal(review.review, logged)
    session.show({"review": logged, "ratings": review.ratings, "member": member}, f"{review.ratings} ratings of {member}: {logged}")
