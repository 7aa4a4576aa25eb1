"""`coop build insights` and `coop build sample`: a build by language, and what it left out, to be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.names import names
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput

if TYPE_CHECKING:
    from data_pipeline.manifest import Build
    from data_pipeline.views.chart import Section
    from data_pipeline.views.insights import Insight

__all__ = ["insights", "sample"]

_BARS = 30
"""Most bars of a chart; what is over is one bar more."""


@click.command()
@click.argument("name")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw rows by language and what was left out into this file.")
@click.pass_obj
def insights(session: Session, name: str, svg: Path | None) -> None:
    """Show the dataset NAME by language: rows, members, lengths, marks, what was left out, how far reviewers agree.

    Numbers that fewer than five members stand behind are not told ("few").

    \b
    coop build insights voices-1 --svg voices-1.svg
    """
    from dataclasses import asdict

    from data_pipeline.manifest import read_build
    from data_pipeline.store import ContributionStore
    from data_pipeline.views.insights import insights as look

    with open_workspace(session.folder, read_only=True) as space, ContributionStore(space.contributions) as store:
        found = read_build(_folder(space, name))
        lines = look(found, store)
    if svg is not None:
        write_bytes(svg, _chart(name, found, lines).encode())
    head = f"{'':<4} {'rows':>8} {'members':>8} {'largest':>8} {'length':>7} {'agree':>6}  marks; left out"
    text = "\n".join(
        [
            f"dataset {name}, by language: members, share of the member with most rows, median characters, agreement of reviewers (Krippendorff's alpha)",
            head,
            *map(_line, lines),
            "few: fewer than five members stand behind the number, so it is not told; -: there is nothing to tell",
            *([f"chart: {svg}"] if svg else []),
        ]
    )
    session.show({"build": name, "languages": [asdict(line) for line in lines]} | ({"svg": str(svg)} if svg else {}), text)


@click.command()
@click.argument("name")
@click.option("--reason", help="Only texts left out for this reason [default: each that is about the text].")
@click.option("--count", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most texts for a reason.")
@click.option("--html", "target", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Write the page here; nobody else can read the file.")
@click.pass_obj
def sample(session: Session, name: str, reason: str | None, count: int, target: Path) -> None:
    """Write a page of texts that the dataset NAME left out, beside the row that stayed, for people to judge.

    The texts are drawn by a hash, so everybody with the dataset draws the same. Only texts whose authors all consent now are shown.

    \b
    coop build sample voices-1 --html left-out.html
    """
    from data_pipeline.manifest import read_build
    from data_pipeline.record import Record
    from data_pipeline.store import ContributionStore
    from data_pipeline.views.page import page
    from data_pipeline.views.sample import sample as draw
    from governance_hooks.consent import Use
    from governance_hooks.statement import now

    at = now()
    with open_workspace(session.folder, read_only=True) as space, ContributionStore(space.contributions) as store:
        found, register = read_build(_folder(space, name)), space.coop.register
        use = Use.model_validate(found.manifest["use"])

        def shown(record: Record) -> bool:
            return record.statement is not None and all(
                register.consent_for(author, use, language=record.language, batch=record.statement, at=at) is not None for author in record.authors
            )

        drawn = draw(found, store, reason, count=count, shown=shown)
    write_bytes(target, page(f"Left out of the dataset {name}", drawn).encode(), mode=0o600)
    counts = {why: len(some) for why, some in drawn.items()}
    session.show(
        {"build": name, "drawn": counts, "html": str(target)}, "\n".join([*(f"{count:>6} {why}" for why, count in counts.items()), f"to read: {target}"])
    )


def _line(line: Insight) -> str:
    def told(number: int | None, unit: int = 1) -> str:
        return "few" if number is None else f"{number / unit:.2f}" if unit > 1 else str(number)

    agree = "-" if line.alpha_permille is None else told(line.alpha_permille, 1000)
    counts = [", ".join(f"{what} {told(count)}" for what, count in some.items()) or "-" for some in (line.marks, line.left_out)]
    numbers = f"{line.rows:>8} {told(line.members):>8} {told(line.largest_permille, 1000):>8} {told(line.median_characters):>7} {agree:>6}"
    return f"{line.language:<4} {numbers}  {counts[0]}; {counts[1]}"


def _chart(name: str, build: Build, lines: list[Insight]) -> str:
    from data_pipeline.views.chart import Bar, Section, bars

    manifest = build.manifest
    languages = manifest["languages"]
    rows = [
        Bar(line.language, line.rows, languages[line.language]["heldout"], "few members" if line.members is None else f"{line.members:,} members")
        for line in lines
        if line.rows
    ]
    shown, rest = rows[:_BARS], rows[_BARS:]
    if rest:
        shown.append(Bar(f"{len(rest)} more", sum(bar.value for bar in rest), sum(bar.second for bar in rest)))
    reasons = [Bar(reason.replace("_", " "), count) for reason, count in sorted(manifest["excluded"].items(), key=lambda item: (-item[1], item[0]))]
    sections: list[Section] = [Section("Rows by language", shown, ("to learn", "held out")), Section("Left out, by reason", reasons)]
    largest = ", ".join(f"{bar.label} {bar.value}" for bar in rows[:5])
    left = ", ".join(f"{bar.label} {bar.value}" for bar in reasons) or "nothing"
    words = f"{manifest['records']} rows in {len(rows)} languages; most rows: {largest}. Left out: {left}."
    return bars(f"Dataset {name}", words, sections)


def _folder(space: Workspace, name: str) -> Path:
    folder = Path(name) if (Path(name) / "manifest.json").is_file() else space.build(name)
    if not folder.is_dir():
        raise BadInput(f"there is no dataset {name}", allowed=f"{names(space.builds(), name)}; or a dataset folder", next="coop build make NAME")
    return folder
