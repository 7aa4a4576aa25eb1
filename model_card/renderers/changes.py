"""card/changes.md: what differs from the release before, worked out from the two cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from model_card import iso639
from model_card.hostile import code
from model_card.previous import previous_card
from model_card.records import CardRecords
from model_card.renderers.words import number, table, value_of, words

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


def _short(value: object) -> object:
    text = str(value)
    return value if len(text) <= 120 else text[:117] + "..."


def _cell(field: Mapping[str, Any] | None) -> str:
    """Return a field of either card; the one before is somebody else's, so its reasons are shown as the texts they are."""
    if field is None:
        return "-"
    if "value" in field or "estimated" in field:
        return words(_short(value_of(field)))
    kind = next((kind for kind in ("not_collected", "not_applicable", "withheld") if kind in field), "")
    return f"{kind.replace('_', ' ')}: {code(_short(field.get(kind)))}"


def _loss(field: object) -> str:
    value = value_of(field) if isinstance(field, Mapping) else None
    return f"{value:.3f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "-"


def _verdict(row: Mapping[str, Any]) -> str:
    field = row.get("verdict")
    value = value_of(field) if isinstance(field, Mapping) else None
    return str(value) if value in ("PASS", "FAIL", "INSUFFICIENT") else "-"


def _quality(before: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    rows = []
    for language in sorted({*before["languages"], *card["languages"]}):
        old, new = before["languages"].get(language), card["languages"].get(language)
        name = iso639.NAMES.get(language, "-")
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            rows.append([code(language), name, "new" if old is None else "**left out**", "-", "-"])
            continue
        comparable = number(new["difference_to_previous"], 3, sign=True)
        rows.append([code(language), name, f"{_loss(old.get('tuned'))} -> {_loss(new['tuned'])}", comparable, f"{_verdict(old)} -> {_verdict(new)}"])
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
