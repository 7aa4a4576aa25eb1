"""card/changes.md: what differs from the release before, worked out from the two cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from model_card import iso639
from model_card.hostile import code
from model_card.previous import previous_card
from model_card.records import CardRecords
from model_card.renderers.words import number, show, table, value_of

__all__ = ["differences", "render"]

_PASSED_OVER: Final = ("renderer", "format", "generations", "previous", "votes", "statements")
"""What always differs, or is too long for a table; votes and statements have sections of their own."""
MOST: Final = 200


def _leaves(value: object, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return
    if set(value) & {"value", "estimated", "not_collected", "not_applicable", "withheld"}:
        yield where, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{where}/{key}")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Return the fields whose value, or reason for having none, differs between two cards, by path; None where a card lacks the field."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    found = []
    for path in sorted(old.keys() | new.keys()):
        if path.split("/")[1] in _PASSED_OVER:
            continue
        sides = [side.get(path) for side in (old, new)]
        told = [None if side is None else {key: item for key, item in side.items() if key not in ("source", "sha256", "from")} for side in sides]
        if told[0] != told[1]:
            found.append((path, sides[0], sides[1]))
    return found


def _cell(field: Mapping[str, Any] | None) -> str:
    if field is None:
        return "-"
    shown = show({"value": _short(value_of(field))} if "value" in field or "estimated" in field else {key: str(item)[:200] for key, item in field.items()})
    return shown.replace("\n", " ")


def _short(value: object) -> object:
    text = str(value)
    return value if len(text) <= 120 else text[:117] + "..."


def _quality(before: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    rows = []
    for language in sorted({*before["languages"], *card["languages"]}):
        old, new = before["languages"].get(language), card["languages"].get(language)
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            rows.append([code(language), iso639.name(language), "new" if old is None else "**left out**", "-", "-"])
            continue
        old_loss = old.get("tuned") if isinstance(old.get("tuned"), Mapping) else {}
        rows.append([code(language), iso639.name(language), f"{number(old_loss or {}, 3)} -> {number(new['tuned'], 3)}", number(new["difference_to_previous"], 3, sign=True),
                     f"{value_of(old.get('verdict') or {}, '-')} -> {value_of(new['verdict'], '-')}"])  # fmt: skip
    return table(["", "Language", "Held-out loss", "Comparable difference", "Verdict"], rows)


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the change list against the release before, or that there is none in this folder."""
    before = previous_card(records)
    if before is None:
        text = "# Changes\n\nThere is no release before this one in this folder: it is the first, or supersedes nothing.\n"
        return text.encode()
    found = differences(before.card, card)
    rows = [[code(path.removeprefix("/")), _cell(old), _cell(new)] for path, old, new in found[:MOST]]
    sections = [
        "# Changes",
        f"Against the release {code(before.release)}, whose card {code(before.fields['card']['value'])} lies in `previous/`. Worked out by machine from both cards.",
        "## By language",
        _quality(before.card, card),
        "A difference is comparable only where both were measured on the same held-out answers.",
        "## Every field that differs",
        table(["Field", "Before", "Now"], rows) if rows else "No field differs.",
        *([f"{len(found) - MOST} more fields differ; compare the two `card.json`."] if len(found) > MOST else []),
    ]
    return ("\n\n".join(sections) + "\n").encode()
