"""A page of dropped records to read and judge: one self-contained HTML file that runs nothing and fetches nothing.

Every text on it was written by somebody and may be hostile: all of it is escaped, characters that are not seen or that turn the order of
others around are shown as their numbers, each text sets its own direction, and the page forbids itself scripts, pictures and addresses.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from data_pipeline.views.reasons import REASONS
from data_pipeline.views.sample import Dropped

__all__ = ["difference", "page", "visible"]

MAX_SHOWN: Final = 4000
"""Characters of one text on the page."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Joiners belong to the writing of Persian, Hindi and others, and turn nothing around."""
_ARABIC_SIGNS: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2\U000110bd\U000110cd")
"""Format characters that are seen: number signs, the end of a verse."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #b6b6b6; --head: #f0f0ee; --sign: #a3001b; --quiet: #595959; --differs: #ffe49a; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --head: #2a2a2c; --sign: #ff9a9a; --quiet: #b0b0b0; --differs: #6b5200; } }
body { font: 16px/1.45 system-ui, "Noto Sans", sans-serif; margin: 1.5rem; max-width: 110rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; margin: 1rem 0 3rem; }
th, td { border: 1px solid var(--line); padding: .4rem .6rem; vertical-align: top; text-align: start; overflow-wrap: anywhere; overflow: hidden; }
thead th { background: var(--head); position: sticky; top: 0; }
tr { break-inside: avoid; }
.row { width: 3rem; } .who { width: 17rem; } .judgement { width: 11rem; }
p.text { white-space: pre-wrap; margin: 0 0 .5rem; max-height: 24rem; overflow: auto; }
p.text + p.text { border-top: 1px dashed var(--line); padding-top: .5rem; }
td > p { margin: 0 0 .3rem; }
b { background: var(--differs); font-weight: inherit; border-radius: 3px; }
.quiet { color: var(--quiet); } .sign { color: var(--sign); font: .75em monospace; border: 1px solid; border-radius: 3px; padding: 0 2px; }
@media print { p.text { max-height: none; overflow: visible; } thead th { position: static; } }
"""


def page(title: str, found: Mapping[str, Sequence[Dropped]]) -> str:
    """Return the page of the records drawn for each reason, with an empty column for the judgement."""
    parts = [_table(reason, some) for reason, some in found.items()]
    name = _inline(title)
    contents = "".join(f'<li><a href="#r{number}">{_inline(reason)}</a>: {len(some)}</li>' for number, (reason, some) in enumerate(found.items()))
    tables = "".join(f'<h2 id="r{number}">{heading}</h2>\n{table}\n' for number, (heading, table) in enumerate(parts))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
        "<p>Each text was left out of the dataset. Beside it stands the row that stayed, if there is one; where they differ is highlighted. "
        "Was it right to leave it out? "
        "The texts are members' own: keep this page as private as them, and delete it when you are done. "
        '<span class="sign">U+202E</span> stands for a character that is not seen, or would turn others around.</p>\n'
        f"<ul>{contents}</ul>\n{tables}</body>\n</html>\n"
    )


def visible(text: str, differs: tuple[int, int] = (0, 0)) -> str:
    """Return HTML of a text: escaped, with a sign in place of each control, format or surrogate character but line ends, tabs and joiners.

    Args:
        text: any.
        differs: from where to where it is highlighted.
    """
    begin, end = (min(place, MAX_SHOWN) for place in differs)
    before, middle, after = ("".join(map(_shown, part)) for part in (text[:begin], text[begin:end], text[end:MAX_SHOWN]))
    rest = len(text) - MAX_SHOWN
    return before + (f"<b>{middle}</b>" if middle else "") + after + (f'<span class="quiet"> … {rest} more characters</span>' if rest > 0 else "")


def difference(one: str, other: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return from where to where two texts differ, in each: what lies between their common beginning and their common end.

    No combining mark is cut from its letter. Linear in their lengths, since anybody may have written them.
    """
    if one == other:
        return (0, 0), (0, 0)
    shorter = min(len(one), len(other))
    begin = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    while begin and any(begin < len(text) and _joins(text[begin]) for text in (one, other)):
        begin -= 1
    end = next((place for place in range(shorter - begin) if one[-1 - place] != other[-1 - place]), shorter - begin)
    while end and _joins(one[len(one) - end]):
        end -= 1
    return (begin, len(one) - end), (begin, len(other) - end)


def _joins(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character)[0] == "M"


def _shown(character: str) -> str:
    return f'<span class="sign">U+{ord(character):04X}</span>' if _unseen(character) else html.escape(character)


def _unseen(character: str) -> bool:
    if character in "\n\t" or character in _JOINERS or character in _ARABIC_SIGNS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _inline(text: str) -> str:
    return f"<bdi>{visible(text)}</bdi>" if not text.isascii() else visible(text)


def _table(reason: str, some: Sequence[Dropped]) -> tuple[str, str]:
    beside = any(one.kept for one in some)
    heading = f"{_inline(reason)}: left out because {_inline(REASONS.get(reason, reason))}"
    columns = [("row", "#"), ("who", "Record"), ("", "Left out"), *([("", "Stayed")] if beside else []), ("judgement", "Right? Why not?")]
    head = "".join(f'<th scope="col"{f" class={css}" if css else ""}>{name}</th>' for css, name in columns)
    body = "\n".join(_row(number, one, beside=beside) for number, one in enumerate(some, start=1))
    return heading, f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row(number: int, one: Dropped, *, beside: bool) -> str:
    who = f'<p>{_inline(one.record)} <span class="quiet">{_inline(one.language)}</span></p><p class="quiet">{_inline(one.detail)}</p>'
    # Earlier turns, prompt and answer: where two rows have other numbers of turns, they differ in more than can be highlighted.
    alike = one.kept_texts is not None and len(one.kept_texts) == len(one.texts)
    marked = [difference(*pair) for pair in zip(one.texts, one.kept_texts or (), strict=True)] if alike else [((0, 0), (0, 0))] * len(one.texts)
    left = _texts(one.texts, [left for left, _ in marked])
    stayed = "" if one.kept is None else '<p class="quiet">may not be shown</p>'
    if one.kept_texts is not None:
        stayed = _texts(one.kept_texts, [stayed for _, stayed in marked] if alike else [(0, 0)] * len(one.kept_texts))
    return f"<tr><td>{number}</td><td>{who}</td><td>{left}</td>{f'<td>{stayed}</td>' if beside else ''}<td></td></tr>"


def _texts(texts: Sequence[str], marked: Sequence[tuple[int, int]]) -> str:
    return "".join(f'<p class="text" dir="auto">{visible(text, differs)}</p>' for text, differs in zip(texts, marked, strict=True))
