"""The compute book for people: a table, and a drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data_pipeline.views.chart import Bar, Section, bars
from slurm.book import Book, LentSite, Use, VotedRun

__all__ = ["book_svg", "book_text"]

_LABEL, _NOTE = 20, 14
"""Letters of a name that fit before and behind a bar."""
_KINDS = ("left", "used")


def book_text(book: Book, who: Callable[[str], str]) -> str:
    """Return two tables: the sites with what was lent and used, and the runs with what their votes allowed.

    Args:
        book: from `keep_book`.
        who: the name of a member.
    """
    sites = [("SITE", "LENT BY", "DEVICE", "LENT H", "USED H", "LEFT H", "STARTS", "ENERGY")]
    for one in book.sites:
        name, lender = one.name + (" (retired)" if one.retired else ""), who(one.lender) if one.lender else "-"
        sites.append(
            (name, lender, one.device or "-", _hours(one.lent_s), _hours(one.used.device_s), _hours(_left(one)), str(one.used.starts), _energy(one.used))
        )
    runs = [("RUN", "VOTE", "VOTED H", "USED H", "LEFT H", "STARTS", "ENERGY", "WHERE", "ENDED")]
    for run in book.runs:
        ended = [f"{count} {outcome}" for outcome, count in sorted(run.outcomes.items())] + ([f"{run.open_starts} not settled"] if run.open_starts else [])
        where = ", ".join(f"{site} {_hours(use.device_s)}" for site, use in run.by_site.items()) or "-"
        cells = (_hours(run.budget_s), _hours(run.used.device_s), _hours(run.left_s), str(run.used.starts), _energy(run.used), where, ", ".join(ended) or "-")
        runs.append((run.run, run.proposal[7:19], *cells))
    parts = [_table(sites) if book.sites else "no site has been lent yet\nnext: coop site add NAME --key FILE"]
    parts += [_table(runs)] if book.runs else []
    return "\n\n".join([*parts, *_remarks(book)])


def book_svg(book: Book, title: str) -> str:
    """Return the book as an SVG without scripts or addresses; every number stands in it as text too. Lenders stand in it by their ids."""
    lenders: dict[str, list[LentSite]] = {}
    for one in book.sites:
        lenders.setdefault(one.lender or "partner, or our own", []).append(one)
    sections = [
        Section("Lent by", [_bar(who, sum(one.lent_s or 0 for one in some), sum(one.used.device_s for one in some)) for who, some in lenders.items()], _KINDS),
        Section("At site", [_bar(one.name, one.lent_s or 0, one.used.device_s) for one in book.sites], _KINDS),
        Section("By the vote of run", [_bar(one.run, one.budget_s or 0, one.used.device_s) for one in book.runs], _KINDS),
        Section(
            "Used for run, by site",
            [Bar(run.run[:_LABEL], _minutes(use.device_s), note=site[:_NOTE]) for run in book.runs for site, use in run.by_site.items()],
        ),
    ]
    told = [f"Site {one.name}: {_said(one)}" for one in book.sites] + [f"run {one.run}: {_where(one)}" for one in book.runs]
    return bars(f"{title}: device-minutes", "; ".join(told) or "Nothing has been lent or used yet.", sections)


def _bar(label: str, allowed_s: int, used_s: int) -> Bar:
    return Bar(label[:_LABEL], _minutes(max(allowed_s, used_s)), _minutes(used_s), f"{_minutes(used_s):,} used")


def _said(one: LentSite) -> str:
    lent = "no limit" if one.lent_s is None else f"{_minutes(one.lent_s):,} lent"
    return f"{_minutes(one.used.device_s):,} used, {lent}" + (f", by {one.lender}" if one.lender else "")


def _where(one: VotedRun) -> str:
    places = ", ".join(f"{site} {_minutes(use.device_s):,}" for site, use in one.by_site.items())
    voted = "" if one.budget_s is None else f" of {_minutes(one.budget_s):,}"
    return f"{_minutes(one.used.device_s):,}{voted} used" + (f": {places}" if places else "")


def _left(one: LentSite) -> int | None:
    return None if one.lent_s is None else max(0, one.lent_s - one.used.device_s)


def _minutes(seconds: int) -> int:
    return round(seconds / 60)


def _hours(seconds: int | None) -> str:
    return "-" if seconds is None else f"{seconds / 3600:,.2f}"


def _energy(use: Use) -> str:
    if use.energy_wh is None:
        return "-"
    return f"{'~' if use.estimated else ''}{use.energy_wh / 1000:,.2f} kWh" + (
        f" of {use.energy_starts}/{use.starts}" if use.energy_starts < use.starts else ""
    )


def _remarks(book: Book) -> list[str]:
    uses = [one.used for one in book.runs]
    said = []
    if any(use.estimated for use in uses):
        said.append("~ estimated, not measured by counters alone")
    if any(use.energy_wh is not None and use.energy_starts < use.starts for use in uses):
        said.append("of n/m: the energy of m - n starts is not known")
    if any(one.open_starts for one in book.runs):
        said.append("not settled: the site has not said yet what these starts used: coop collect")
    if any(one.own_starts for one in book.runs):
        said.append("starts on machines of the cooperative itself are not in this book")
    return ["\n".join(said)] if said else []


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
