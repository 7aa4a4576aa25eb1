"""`coop mine`: what you gave, and where it went."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commonweights.cli import Session
from commonweights.consequences import Made, made_of
from commonweights.exposing import exposure_words, make_reports
from commonweights.options import key_option
from commonweights.payouts import stakes_of
from commonweights.progress import progress
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.money import show_amount
from governance_hooks.sentence import Sentence

if TYPE_CHECKING:
    from data_pipeline.views.given import Given
    from data_pipeline.views.place import Place
    from governance_hooks.sshsig import Signer
    from governance_hooks.stake.payout import Payout

__all__ = ["mine", "read_given", "whereabouts"]


@click.command()
@click.option("--records", "listed", is_flag=True, help="List each of your texts that a dataset left out, with the reason.")
@click.option("--exposure", metavar="RUN", help="Measure instead what the weights of RUN show of your texts; the report is private.")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="With --exposure: folder of the base weights [default: the cache].")
@key_option
@click.pass_obj
def mine(session: Session, listed: bool, exposure: str | None, base: Path | None, key: Path | None) -> None:
    """Show what you gave, which datasets hold it, and what was made of them.

    Your own key is enough. No other member's text is shown, and nobody is told what you see. What a withdrawal would do: coop consent preview
    """
    own = load_key(key)
    if exposure is not None:
        _exposure(session, exposure, own, base)
        return
    with open_workspace(session.folder, read_only=True) as space:
        register = space.coop.register
        member = member_of(space.coop, own)
        logged = [given for given in register.contributions.values() if given.author == member]
        rated = sum(review.ratings for review in register.reviews.values() if review.author == member)
        gave, records = read_given(space, member)
        places = _places(space, member, records)
        stakes = stakes_of(space, member)
    value: dict[str, Any] = {
        "member": member,
        "stake": [{"payout": name, "state": state} | payout.allocation.members[member].model_dump() for name, payout, state in stakes],
        "logged": {"batches": [{"batch": given.id, "records": given.records, "languages": given.languages} for given in logged], "ratings": rated},
        "given": None if gave is None else asdict(gave),
        "builds": {name: asdict(found) | {"made": [asdict(one) for one in made]} for name, (found, made) in places.items()},
    }
    lines = [f"{member}: what you gave"]
    lines += _gave(gave) if gave is not None else ["  The texts are not in this folder; this is what the log says."]
    lines += [f"  The log holds {sum(given.records for given in logged)} texts of yours in {len(logged)} batch(es), and {rated} rating(s)."]
    lines += _whither(places, listed=listed)
    lines += _stake(stakes, member)
    lines += ["", "What a withdrawal would do: coop consent preview"]
    session.show(value, "\n".join(lines))


def _exposure(session: Session, run: str, own: Signer, base: Path | None) -> None:
    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        member = member_of(space.coop, own)
        report = make_reports(space, run, [member], base=base, show=show)[0][member]
    session.show(report, "\n".join(exposure_words(report)))


def whereabouts(space: Workspace, member: str) -> list[str]:
    """Return where each build put a member's texts, and what was made of it, as lines."""
    _, records = read_given(space, member)
    return _whither(_places(space, member, records), listed=False)


def _places(space: Workspace, member: str, records: dict[str, str] | None) -> dict[str, tuple[Place, list[Made]]]:
    from data_pipeline.manifest import read_build
    from data_pipeline.views.place import place

    found: dict[str, tuple[Place, list[Made]]] = {}
    for manifest in sorted((space.root / "builds").glob("*/manifest.json")):
        digest = sha256(manifest.read_bytes())
        if digest in space.coop.register.builds:
            found[manifest.parent.name] = (place(read_build(manifest.parent), member, records), made_of(space, digest))
    return found


def _whither(places: dict[str, tuple[Place, list[Made]]], *, listed: bool) -> list[str]:
    lines = list[str]()
    for name, (found, made) in places.items():
        lines += ["", Sentence("Where it went: dataset {name}", name=name), *_went(found, listed=listed), *_made(made)]
    return lines or ["", Sentence("No dataset has been made yet.")]


def read_given(space: Workspace, member: str) -> tuple[Given | None, dict[str, str] | None]:
    """Return what the store holds of a member, and their records' languages; None twice where the texts are not in the folder."""
    from data_pipeline.store import ContributionStore
    from data_pipeline.views.given import given
    from data_pipeline.views.place import own_records

    if isinstance(space.contributions, Path) and not space.contributions.is_file():
        return None, None
    with ContributionStore(space.contributions) as store:
        return given(store, member), own_records(store, member)


def _stake(stakes: list[tuple[str, Payout, str]], member: str) -> list[str]:
    lines = ["", "Your stake, which only you are shown:"] if stakes else []
    for name, payout, state in stakes:
        mine, currency = payout.allocation.members[member], payout.rule.currency
        lines.append(
            f"  payout {name}, {state}: {show_amount(mine.paid, currency)}, of it {show_amount(mine.guilds, currency)} by your guilds' shares and "
            f"{show_amount(mine.patronage, currency)} by your work, before what the rule takes off"
        )
    return lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in counts.items()) or "none"


def _gave(gave: Given) -> list[str]:
    lines = [f"  {gave.records} texts ({_counts(gave.languages)}), {gave.edits} of them edits, in {len(gave.batches)} batch(es)."]
    if gave.unsealed:
        lines.append(f"  {gave.unsealed} of them are not signed for in the log yet, so no dataset holds them.")
    if gave.erased:
        lines.append(f"  {gave.erased} texts of yours were erased: they are gone from the store.")
    lines.append(f"  {gave.ratings} ratings of others' texts.")
    if gave.rated:
        mean = "" if gave.mean_permille is None else f", on average {gave.mean_permille / 1000:.1f} of 5"
        lines.append(f"  {gave.rated} of your texts were rated by others: {gave.ratings_received} ratings{mean}.")
    return lines


def _went(found: Place, *, listed: bool) -> list[str]:
    from data_pipeline.views.reasons import REASONS, mark_in_words

    lines = list[str]()
    if found.own is None:
        lines.append(Sentence("{count} texts in it are yours, or were built on yours.", count=found.rows).indented(2))
    else:
        counts = {"count": found.rows, "own": found.own, "built": found.rows - found.own}
        lines.append(Sentence("{count} texts in it are yours, or were built on yours: {own} of your own, {built} that others built.", **counts).indented(2))
    for code, (count, total) in found.languages.items():
        lines.append(Sentence("{language}: {count} of the dataset's {total} texts", language=code, count=count, total=total).indented(4))
    if found.left is None:
        lines.append(Sentence("Which of your texts were left out is not known here: the private files are not in this folder.").indented(2))
    elif listed:
        lines += [f"  Left out: {left.record}, because {left.words}." for left in found.left]
    else:
        reasons = sorted(Counter(left.reason for left in found.left).items())
        lines += [Sentence("Left out: {count}, because {why}.", count=count, why=REASONS.get(reason, reason)).indented(2) for reason, count in reasons]
        lines += [Sentence("Which ones: {command}", command="coop mine --records").indented(4)] if found.left else []
    if found.credited:
        lines.append(Sentence("{count} texts of others say what a text of yours says, and thank you for it.", count=found.credited).indented(2))
    lines += [
        Sentence("Noticed in {count} of your texts: {what}.", count=count, what=mark_in_words(mark)).indented(2) for mark, count in (found.marks or {}).items()
    ]
    return lines


def _made(made: list[Made]) -> list[str]:
    return [Sentence("Made of it: {what}, {state}.", what=one.named, state=one.state_in_words).indented(2) for one in made]
