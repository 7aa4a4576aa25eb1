"""The outcome of an evaluation's tasks as tables a member can read; scores are points of 100."""

from __future__ import annotations

from typing import Any

__all__ = ["show_blocking", "show_tasks"]

WHY = {
    "few_items": "too few items",
    "few_clusters": "too few independent items",
    "no_items": "nothing measured",
    "no_variation": "all items differ alike",
    "unjudged": "not all judged",
    "contaminated": "only with items training had seen",
    "unclear": "the interval leaves it open",
    "shown": "",
}


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _change(row: dict[str, Any]) -> str:
    return "-" if row["difference"] is None else f"{100 * row['difference']:+.1f}"


def _between(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def show_tasks(report: dict[str, Any]) -> str:
    """Return a table for each task; nothing if the policy has none."""
    lines: list[str] = []
    for name, task in report.get("tasks", {}).items():
        lines += ["", f"{name} ({task['kind'].replace('_', ' ')}, {task['tier']}): {'MISSING' if task['missing'] else task['verdict']}"]
        lines.append(
            f"  {'language':<10}{'items':>6}{'base':>7}{'tuned':>7}  {'tuned, interval':<17}{'change':>7}  {'change, interval':<17}{'finds':>6}  verdict"
        )
        for language, row in [*task["languages"].items(), ("all", task["overall"])]:
            notes = (
                [WHY.get(row["reason"], row["reason"])] + ["better"] * row["improved"] + [f"{row['contaminated']} seen in training"] * bool(row["contaminated"])
            )
            told = ", ".join(note for note in notes if note)
            lines.append(
                f"  {language:<10}{row['items']:>6}{_points(row['base']):>7}{_points(row['tuned']):>7}  {_between(row['tuned_low'], row['tuned_high']):<17}"
                f"{_change(row):>7}  {_between(row['low'], row['high'], '+'):<17}{_points(row['detectable']):>6}  {row['verdict']}{f' ({told})' if told else ''}"
            )
        between = task["between_languages"]
        for what, words in (("minimum", "lowest language"), ("gap", "gap between languages")):
            if between[what] is not None:
                lines.append(f"  {words}: {between[what]} ({between['lowest']} lowest, {between['highest']} highest)")
    if lines:
        lines += ["", "Scores are points of 100; `finds` is the change that so many items show in four of five cases."]
    return "\n".join(lines)


def show_blocking(report: dict[str, Any]) -> str:
    """Return what of the tasks blocks a release, and what may be done; nothing if none does."""
    lines = [
        f"{one['task']} blocks the release: {one['verdict']}; {'members may waive it: coop propose waiver' if one['waivable'] else 'nobody may waive it'}"
        for one in report.get("blocking", ())
    ]
    return "\n".join(lines)
