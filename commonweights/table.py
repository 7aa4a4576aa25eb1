"""Prints a report, in colour on a terminal."""

from __future__ import annotations

import click

from commonweights.cli import Session
from commonweights.terminal import fold
from governance_hooks.report import Report

__all__ = ["finish", "show_report"]

_COLOURS = {"PASS": "green", "FAIL": "red", "UNKNOWN": "yellow", "SKIP": "cyan", "NOTE": "yellow"}


def show_report(report: Report) -> str:
    """Return the table with coloured verdicts, its lines broken at a terminal's edge; click strips the colours where there is no terminal."""
    text = fold(report.text(), hang=16 + max((len(step.name) for step in report.steps), default=0))
    for word, colour in _COLOURS.items():
        text = text.replace(f"  {word:<7}  ", f"  {click.style(f'{word:<7}', fg=colour, bold=True)}  ")
    return text


def finish(session: Session, report: Report, *, good: str, bad: str) -> None:
    """Print a report with its verdict and leave with its exit code."""
    verdict = click.style(good, fg="green", bold=True) if report.passed else click.style(bad, fg="red", bold=True)
    session.show(report.as_dict(), f"{show_report(report)}\n\n{verdict}")
    if not report.passed:
        raise click.exceptions.Exit(report.exit_code)
