"""`coop shares`: what each guild's rows were worth to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.attributing import compute_shares
from commonweights.cli import Session
from commonweights.progress import progress
from commonweights.workspace import open_workspace
from model_card.renderers.words import WORTH

__all__ = ["shares", "shares_words"]


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.1f}%"


def shares_words(made: dict[str, Any]) -> str:
    """Return shares.json as a table and what it means."""
    utility, others = made["utility"], sorted(made["alternatives"])
    lines = [f"Shares in run {made['run']}: {made['method']}, {made['trainings']} trainings of {len(made['players'])} guilds, seeds {made['seeds']}", ""]
    if made["shares"] is None:
        return "\n".join([*lines, "By the voted utility no coalition gained anything over the base: there is nothing to share."])
    lines.append(f"{'guild':<18}{'share':>8}   {'interval':<17}" + "".join(f"{name:>12}" for name in others) + f"{'by rows':>12}{'rows':>8}")
    for guild, player in made["players"].items():
        own = made["shares"][guild]
        interval = f"{_percent(own['low_ppm'])} to {_percent(own['high_ppm'])}"
        cells = ["-" if made["alternatives"][name] is None else _percent(made["alternatives"][name][guild]["share_ppm"]) for name in others]
        cells.append(_percent(player["record_share_ppm"]))
        lines.append(f"{guild:<18}{_percent(own['share_ppm']):>8}   {interval:<17}" + "".join(f"{cell:>12}" for cell in cells) + f"{player['records']:>8}")
        if own["value_micro"] < 0:
            lines.append(f"{'':<18}its rows made the result worse: its value is below nought, and counts as nought")
    wide = made["interval"]
    lines += [
        "",
        f"share: what members voted on, {WORTH[utility]}; {wide['confidence_percent']}% interval over {wide['units']} {wide['unit']}.",
        *(f"{name}: {WORTH[name]}." for name in others),
        "by rows: by the number of rows alone, near copies left out.",
        "Which of these decides is a choice members make before the run. None of them is what a guild is worth.",
    ]
    split = max(made["splitting"], key=lambda one: one["apart_ppm"] - one["together_ppm"], default=None)
    if split is not None and split["apart_ppm"] > split["together_ppm"]:
        pair = " and ".join(split["guilds"])
        lines.append(
            f"As one guild {pair} would have {_percent(split['together_ppm'])} instead of {_percent(split['apart_ppm'])}: so much apart they gain at most."
        )
    return "\n".join(lines)


@click.command()
@click.argument("run")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: torch's choice].")
@click.pass_obj
def shares(session: Session, run: str, base: Path | None, threads: int | None) -> None:
    """Compute the guilds' shares in RUN, as its plan says: coalitions of guilds are trained one by one and measured.

    It belongs to the run's approval: a halt or a withdrawal stops it. Killed, it goes on where it was. Once computed, it only checks every number again.

    \b
    coop shares first
    """
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        made = compute_shares(space, run, base=base, threads=threads, show=show)
        where = space.run(run) / "stake" / "shares.json"
    session.show(made, f"{shares_words(made)}\n\n{where}")
