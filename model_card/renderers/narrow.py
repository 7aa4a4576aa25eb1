"""The pictures of a card for a phone: names and numbers stand over what is drawn, which has the whole width, and every line goes on in a next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from model_card.renderers.svg import Sheet, Voice, text

__all__ = ["bars", "dots"]

_LINE: Final = 18
_ROW: Final = 46


def dots(
    sheet: Sheet,
    voice: Voice,
    title: str,
    rows: Sequence[tuple[str, Sequence[float | None]]],
    marks: Sequence[float],
    words: Mapping[str, str],
) -> tuple[int, list[str]]:
    """Return height and parts of dots in their intervals on one axis, which goes from left to right in any language: the title says what is left.

    Args:
        rows: name, and value, low and high.
        marks: of the axis.
        words: for `unknown` rows, for a dot `alone`, for dots `a` and `b`, and for the `line`.
    """
    top = 38 + _LINE * (len(sheet.lines(title)) - 1)
    bottom = top + 8 + _ROW * len(rows)
    left, right = 28, sheet.width - 28

    def x_of(value: float) -> float:
        return left + (value - marks[0]) / (marks[-1] - marks[0]) * (right - left)

    parts = [f'<line class="{"zero" if mark == 0 else "grid"}" x1="{x_of(mark):.1f}" x2="{x_of(mark):.1f}" y1="{top}" y2="{bottom}"/>' for mark in marks]
    parts += ['<g direction="ltr">', *(text(x_of(mark), bottom + 18, voice.number(mark), anchor="middle") for mark in marks), "</g>"]
    for at, (name, (value, low, high)) in enumerate(rows):
        y = top + 36 + _ROW * at
        parts.append(text(sheet.start, y - 16, name, strong=True, most=28))
        if value is None:
            parts += [text(sheet.start, y + 2 + 16 * line, one) for line, one in enumerate(sheet.lines(words["unknown"])[:2])]
            continue
        if low is not None and high is not None:
            parts.append(f'<line class="whisker" x1="{x_of(low):.1f}" x2="{x_of(high):.1f}" y1="{y}" y2="{y}"/>')
        else:
            parts.append(text(sheet.end, y - 16, words["alone"], anchor="end"))
        parts.append(f'<circle class="{"a" if high is not None and high < 0 else "b"}" cx="{x_of(value):.1f}" cy="{y}" r="6"/>')
    height, key = _key(sheet, bottom + 44, {"a": words["a"], "b": words["b"]}, words["line"], round_ones=True)
    return height, parts + key


def bars(
    sheet: Sheet,
    voice: Voice,
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[str, int]]]],
    words: Mapping[str, str],
    below: str = "",
    *,
    whole: int = 0,
) -> tuple[int, list[str]]:
    """Return height and parts of bars that begin where the reader does, each with its name and its number over it.

    Args:
        rows: name, and the kind and length of each piece.
        words: what each kind is.
        below: words under all of them.
        whole: what the full width stands for, where it is more than the longest bar.
    """
    top = 52 + _LINE * (len(sheet.lines(title)) - 1)
    most = max([1, whole, *(sum(number for _, number in pieces) for _, pieces in rows)])
    scale, parts = abs(sheet.end - sheet.start) / most, list[str]()
    for at, (name, pieces) in enumerate(rows):
        y, done = top + _ROW * at, 0
        parts += [text(sheet.start, y, name, strong=True, most=28), text(sheet.end, y, voice.number(sum(number for _, number in pieces)), anchor="end")]
        parts.append(f'<line class="grid" x1="{sheet.start}" x2="{sheet.end}" y1="{y + 23}" y2="{y + 23}"/>')
        for kind, number in pieces:
            left = sheet.start - (done + number) * scale if sheet.right_to_left else sheet.start + done * scale
            parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 7}" width="{number * scale:.1f}" height="16"/>')
            done += number
    height, key = _key(sheet, top + _ROW * len(rows), words, below)
    return height, parts + key


def _key(sheet: Sheet, y: int, words: Mapping[str, str], below: str, *, round_ones: bool = False) -> tuple[int, list[str]]:
    """Return where a picture ends, and what its colours mean, a line each, and words below."""
    parts, inward = list[str](), -1 if sheet.right_to_left else 1
    for kind, what in words.items():
        x = sheet.start + 6 * inward
        shape = (
            f'circle class="{kind}" cx="{x:.1f}" cy="{y - 5}" r="6"'
            if round_ones
            else f'rect class="{kind}" x="{x - 6:.1f}" y="{y - 11}" width="12" height="12"'
        )
        parts.append(f"<{shape}/>")
        for line in sheet.lines(what, room=20):
            parts.append(text(sheet.start + 20 * inward, y, line))
            y += _LINE
        y += 4
    for line in sheet.lines(below) if below else ():
        parts.append(text(sheet.start, y, line))
        y += _LINE
    return y - 4, parts
