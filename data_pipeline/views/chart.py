"""Horizontal bars as an SVG file: no script, no address, a title and a description for readers who do not see it, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Bar", "Section", "bars"]

_WIDTH: Final = 760
_LABEL: Final = 170
_NUMBER: Final = 190
_ROW: Final = 24
_BAR: Final = 14

_STYLE: Final = (
    "text{font:13px system-ui,'Noto Sans',sans-serif;fill:#1b1b1f}.head{font-size:15px;font-weight:600}.title{font-size:18px;font-weight:600}"
    ".quiet{fill:#5b5b66}.ground{fill:#fff}.one{fill:#2a62a8}.two{fill:#e0a13c}.axis{stroke:#8a8a94}"
    "@media (prefers-color-scheme:dark){text{fill:#f0f0f3}.quiet{fill:#b4b4be}.ground{fill:#17171a}.one{fill:#6aa5ec}.two{fill:#b9812a}.axis{stroke:#7c7c86}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its length, how much of it is of the second kind, and words behind it."""

    label: str
    value: int
    second: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Bars on one scale."""

    heading: str
    bars: Sequence[Bar]
    kinds: tuple[str, str] | None = None
    """What the two colours mean; None where there is one."""


def bars(title: str, description: str, sections: Sequence[Section]) -> str:
    """Return the SVG document; every text is escaped, and lengths are relative to the longest bar of a section."""
    parts: list[str] = []
    top = 44
    for section in sections:
        if not section.bars:
            continue
        top += 26
        parts.append(f'<text class="head" x="16" y="{top}">{escape(section.heading)}</text>')
        if section.kinds is not None:
            parts += _legend(section.kinds, top + 22)
            top += 24
        top += 14
        begin, longest = top, max(max(bar.value for bar in section.bars), 1)
        for bar in section.bars:
            parts += _bar(bar, top, longest)
            top += _ROW
        parts.append(f'<line class="axis" x1="{_LABEL}" x2="{_LABEL}" y1="{begin}" y2="{top}"/>')
    height = top + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>\n<style>{_STYLE}</style>\n'
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>\n<text class="title" x="16" y="32">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _legend(kinds: tuple[str, str], y: int) -> list[str]:
    second = _LABEL + 24 + 8 * len(kinds[0])
    return [
        f'<rect class="one" x="{_LABEL}" y="{y - 10}" width="12" height="12"/><text class="quiet" x="{_LABEL + 18}" y="{y}">{escape(kinds[0])}</text>',
        f'<rect class="two" x="{second}" y="{y - 10}" width="12" height="12"/><text class="quiet" x="{second + 18}" y="{y}">{escape(kinds[1])}</text>',
    ]


def _bar(bar: Bar, top: int, longest: int) -> list[str]:
    room = _WIDTH - _LABEL - _NUMBER
    full, second = (max(1, round(room * value / longest)) if value else 0 for value in (bar.value, bar.second))
    second = min(second, full - (bar.value > bar.second))  # of a bar of one unit the first kind is shown
    y, middle = top + (_ROW - _BAR) // 2, top + _ROW // 2 + 5
    return [
        f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="one" x="{_LABEL}" y="{y}" width="{full - second}" height="{_BAR}"/>',
        *([f'<rect class="two" x="{_LABEL + full - second}" y="{y}" width="{second}" height="{_BAR}"/>'] if second else []),
        f'<text class="quiet" x="{_LABEL + full + 8}" y="{middle}">{bar.value:,}{" · " + escape(bar.note) if bar.note else ""}</text>',
    ]
