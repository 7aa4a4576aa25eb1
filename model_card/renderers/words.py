"""How fields of a card become Markdown: numbers, reasons, tables, and members' words, none of which can act."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from governance_hooks.vocabulary import WORDS
from model_card import iso639
from model_card.hostile import code, neutral

__all__ = [
    "WORTH",
    "amount",
    "interval",
    "language_name",
    "language_names",
    "number",
    "percent",
    "prose",
    "quote",
    "reason",
    "said",
    "show",
    "table",
    "use_of",
    "value_of",
    "words",
]

WORTH: Final = {
    "languages": "log-likelihood of held-out answers, languages alike",
    "tokens": "log-likelihood of held-out answers, tokens alike",
    "accuracy": "held-out tokens foreseen, languages alike",
}
"""What a coalition of guilds is worth, by the utility members voted."""

_KINDS = ("not_collected", "not_applicable", "withheld")
_MARKUP = re.compile(r"([\\`*_\[\]<>&#|~^$!{}@]|(?<=\w):(?=//)|(?<=[wW])\.)")
_LINE_START = re.compile(r"^([-+=]|\d+(?=[.)]))")


def words(value: object) -> str:
    """Return a value as inline Markdown; texts stand in code spans."""
    if isinstance(value, Mapping):
        return "; ".join(f"{code(key)}: {words(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(words(item) for item in value) or "none"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, (int, float)) else code(value)


def value_of(field: Mapping[str, Any], otherwise: Any = None) -> Any:
    """Return the value of a field, computed or not, or something else where it has none."""
    return field["value"] if "value" in field else field.get("estimated", otherwise)


def reason(field: Mapping[str, Any]) -> str:
    """Return why a field has no value, as a phrase of ours."""
    kind = next((kind for kind in _KINDS if kind in field), "not_collected")
    told = f"{kind.replace('_', ' ')}: {field.get(kind, 'the record does not hold it')}"
    return told + (f" (decided by: {field['by']})" if "by" in field else "")


def show(field: Mapping[str, Any]) -> str:
    """Return a typed field as inline Markdown; a field without a value says why."""
    if "value" in field:
        return words(field["value"])
    if "estimated" in field:
        return f"{words(field['estimated'])} (estimated: {field['method']})"
    return reason(field)


def number(field: Mapping[str, Any], digits: int | None = None, *, sign: bool = False) -> str:
    """Return a number for a table cell: `-` where there is none, and the reason where it is withheld."""
    value = value_of(field)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(field["withheld"]) if "withheld" in field else "-"
    if digits is None:
        return f"{value:,}"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def amount(value: float) -> str:
    """Return a large or small number in a form people read: 4.1 x 10^15."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa} x 10^{int(exponent)}"


def percent(value: float) -> str:
    """Return a share as a percentage: 95 %, or 97.5 % where it is no whole number."""
    return f"{100 * value:.4g} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown already."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), ["---"] * len(head), *map(list, rows)])


def in_the_way(card: Mapping[str, Any]) -> list[str]:
    """Return what kept an evaluation from passing beside single languages: tasks with their verdicts, and where no language passes that."""
    tasks = value_of(card["evaluation"]["blocking"], None) or []
    found = [f"{code(one.get('task'))} {code(one.get('verdict'))}" for one in tasks if isinstance(one, Mapping)]
    return found + ([] if any(value_of(row["verdict"]) == "PASS" for row in card["languages"].values()) else ["no language passes"])


def interval(row: Mapping[str, Any], digits: int = 3) -> str:
    """Return the interval of a row, marked where rows were resampled rather than contributors."""
    if "value" not in row["low"] or "value" not in row["high"]:
        return "-"
    note = " (rows)" if row.get("resampled", {}).get("value") == "items" else ""
    return f"{number(row['low'], digits, sign=True)} to {number(row['high'], digits, sign=True)}{note}"


def language_name(language: str) -> str:
    """Return the name of a language with its code."""
    return f"{iso639.name(language)} ({code(language)})"


def language_names(languages: Iterable[str]) -> str:
    """Return the names of languages with their codes."""
    return ", ".join(map(language_name, languages))


def prose(text: str) -> str:
    """Return somebody's text as Markdown that shows exactly that text: no link, heading, list, image, HTML or formula comes of it."""
    lines = []
    for line in neutral(text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")).split("\n"):
        escaped = _MARKUP.sub(r"\\\1", line.strip())
        lines.append(_LINE_START.sub(lambda found: f"\\{found[1]}" if not found[1][0].isdigit() else f"{found[1]}\\", escaped))
    return "\n".join(lines).strip()


def quote(text: str) -> str:
    """Return somebody's text as a block quotation."""
    return "\n".join(f"> {line}".rstrip() for line in (prose(text) or "(empty)").split("\n"))


def use_of(use: Mapping[str, Any]) -> str:
    """Return what members consented to, in words."""
    processing, recipients = (" and ".join(WORDS.get(term, code(term)) for term in use.get(name, [])) for name in ("processing", "recipients"))
    return f"{processing}, for {WORDS.get(str(use.get('purpose')), code(use.get('purpose')))}, for {recipients}, with weights under {code(use.get('licence'))}"


def said(field: Mapping[str, Any]) -> str:
    """Return members' statements as quotations with who signed them and when, or why there is none."""
    if "value" not in field:
        return reason(field)[0].upper() + reason(field)[1:] + "."
    parts = []
    for one in field["value"]:
        how = [] if one["language"] == "eng" else [f"in {iso639.name(one['language'][:3])}"]
        how += [f"member {code(one['author'])}", f"signed {one['issued'][:10]}"]
        if one["reviewers"]:
            how.append(f"and signed by {one['reviewers']} other member{'s' * (one['reviewers'] > 1)}")
        if one["approved"]:
            how.append(f"chosen by members in vote {code(one['approved'][:19])}")
        parts.append(f"{quote(one['text'])}\n>\n> ({', '.join(how)})")
    return "\n\n".join(parts)
