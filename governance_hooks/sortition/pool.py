"""The pool of a panel: its members with features derived from the log alone, and a file of private features if the panel names one."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

from governance_hooks.errors import BadInput
from governance_hooks.register import Register

__all__ = ["FEATURES", "check_targets", "pool_rows"]

FEATURES = ("language", "joined")
"""language: in which a member contributed most records (ISO 639-3; the first in the alphabet of equals; `none`). joined: founder or later."""
_MAX_FILE = 1024 * 1024
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,63}")


def pool_rows(register: Register, private: bytes | None = None) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Return the columns and one row a member in good standing, sorted by id.

    Args:
        register: the log's state just before the panel was opened.
        private: CSV with `id` and further columns, one row a member of the pool; its digest is in the panel's statement.

    Raises:
        BadInput: the private file does not fit the pool.
    """
    members = register.active()
    languages: dict[str, Counter[str]] = {member: Counter() for member in members}
    for contribution in register.contributions.values():
        if contribution.author in languages:
            languages[contribution.author].update(contribution.languages)
    rows = [
        {
            "id": member,
            "language": min(languages[member], key=lambda code: (-languages[member][code], code), default="none"),
            "joined": "founder" if register.members[member].joined == 0 else "later",
        }
        for member in members
    ]
    if private is None:
        return FEATURES, rows
    columns, extra = _read_csv(private, "the file of private features")
    if columns[0] != "id" or len(columns) < 2 or {"id", *FEATURES} & set(columns[1:]) or not all(_NAME.fullmatch(name) for name in columns):
        raise BadInput("the file of private features has other columns than id and new features", value=columns, allowed="id,feature,...")
    by_member = {row["id"]: row for row in extra}
    if len(by_member) != len(extra) or set(by_member) != set(members):
        raise BadInput("the file of private features has not exactly one row a member of the pool", value=len(extra), allowed=f"{len(members)} rows")
    return (*FEATURES, *columns[1:]), [row | {name: by_member[row["id"]][name] for name in columns[1:]} for row in rows]


def check_targets(targets: bytes, columns: tuple[str, ...], seats: int) -> None:
    """Check the file of targets: how many of each feature's values the panel has at least and at most.

    Raises:
        BadInput: not `feature,value,min,max`, a feature nobody has, or limits that cannot fill the seats.
    """
    names, rows = _read_csv(targets, "the file of targets")
    if names != ["feature", "value", "min", "max"] or not rows:
        raise BadInput("the file of targets has other columns", value=names, allowed="feature,value,min,max")
    if len({(row["feature"], row["value"]) for row in rows}) != len(rows):
        raise BadInput("the file of targets has a value twice")
    for feature in sorted({row["feature"] for row in rows}):
        if feature not in columns:
            raise BadInput("the file of targets has a feature the pool does not have", value=feature, allowed=", ".join(columns))
        limits = [(row["min"], row["max"]) for row in rows if row["feature"] == feature]
        if not all(re.fullmatch(r"[0-9]{1,6}", one) for pair in limits for one in pair):
            raise BadInput("a target is no whole number", value=feature)
        if not sum(int(low) for low, _ in limits) <= seats <= sum(int(high) for _, high in limits):
            raise BadInput("the targets of a feature cannot fill the seats", value=feature, allowed=f"min in sum at most {seats}, max in sum at least {seats}")


def _read_csv(data: bytes, what: str) -> tuple[list[str], list[dict[str, str]]]:
    if len(data) > _MAX_FILE:
        raise BadInput(f"{what} is too long", value=len(data), allowed=f"{_MAX_FILE} bytes")
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{what} is no CSV in UTF-8: {error}") from error
    if not lines or len(set(lines[0])) != len(lines[0]) or any(len(line) != len(lines[0]) for line in lines):
        raise BadInput(f"{what} has a row of other columns than its first line")
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    for row in rows:
        for value in row.values():
            if not _VALUE.fullmatch(value):
                raise BadInput(f"{what} has a value that is not allowed", value=value, allowed=_VALUE.pattern)
    return lines[0], rows
