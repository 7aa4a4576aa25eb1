"""SVG files that stand alone: titled and described for readers who do not see them, readable on light and dark, without scripts or addresses."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from model_card import iso639
from model_card.hostile import neutral

__all__ = ["CARD", "ENGLISH", "Colours", "Sheet", "Voice", "figure", "round_marks", "text"]


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Voice:
    """How a picture speaks: the files of a release speak English, a page may draw the same numbers in its reader's language."""

    say: Callable[[str], str] = str
    """A sentence."""
    language: Callable[[str], str] = iso639.name
    """The name of an ISO 639-3 code."""
    number: Callable[[float], str] = _plain
    """A count, or a mark of an axis."""


ENGLISH = Voice()


@dataclass(frozen=True, slots=True)
class Colours:
    """What a picture is drawn with; a background of its own, since a page may be light while the reader's system is dark, and letters must be seen on either."""

    back: str
    letters: str
    strong: str
    a: str
    b: str
    c: str


_LIGHT: Final = Colours(back="#ffffff", letters="#57606a", strong="#1f2328", a="#0969da", b="#bc4c00", c="#8b949e")
_DARK: Final = Colours(back="#0d1117", letters="#9198a1", strong="#e6edf3", a="#58a6ff", b="#f0883e", c="#6e7681")


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a picture is drawn on. On a narrow one names stand over their bars, words go on in a next line, and all begins where the reader does."""

    width: int = 720
    narrow: bool = False
    light: Colours = _LIGHT
    dark: Colours = _DARK
    right_to_left: bool = False
    """Of a narrow one: the direction of its words and bars. Axes go from left to right on any."""

    @property
    def start(self) -> int:
        """Where a line begins."""
        return self.width - 12 if self.right_to_left else 12

    @property
    def end(self) -> int:
        """Where a line ends."""
        return self.width - self.start

    def lines(self, words: str, room: int = 0) -> list[str]:
        """Return words as lines that fit a narrow sheet but for some room, whatever font they are drawn with; on a wide one they are one line."""
        if not self.narrow:
            return [words]
        made = [""]
        for word in words[:400].split(" "):
            longer = f"{made[-1]} {word}".strip(" ")
            if made[-1] and _length(longer) > self.width - 24 - room:
                made.append(word)
            else:
                made[-1] = longer
        return made

    def style(self) -> str:
        """Return its style sheet."""
        light, dark = self.light, self.dark
        size, halo = (14, f"text{{stroke:{light.back};stroke-width:4px;paint-order:stroke}}") if self.narrow else (13, "")
        night = f"text{{stroke:{dark.back}}}" if self.narrow else ""
        return (
            f".back{{fill:{light.back}}}text{{font:{size}px system-ui,'Noto Sans',sans-serif;fill:{light.letters}}}.strong{{fill:{light.strong}}}"
            f".grid{{stroke:{light.c};stroke-opacity:.35}}.zero{{stroke:{light.letters}}}"
            f".a{{fill:{light.a}}}.b{{fill:{light.b}}}.c{{fill:{light.c}}}.whisker{{stroke:{light.strong};stroke-width:2}}{halo}"
            f"@media(prefers-color-scheme:dark){{.back{{fill:{dark.back}}}text{{fill:{dark.letters}}}.strong{{fill:{dark.strong}}}"
            f".a{{fill:{dark.a}}}.b{{fill:{dark.b}}}.c{{fill:{dark.c}}}.whisker{{stroke:{dark.strong}}}.zero{{stroke:{dark.letters}}}{night}}}"
        )


CARD: Final = Sheet()
"""Of the files of a release: their bytes are in what members vote on."""


def _length(words: str) -> float:
    """Return about how long a line of 14 pixels is, rather more than less: no font can be asked."""
    most = 0.0
    for one in words:
        if unicodedata.category(one) in ("Mn", "Me", "Cf"):
            continue
        most += 14 if unicodedata.east_asian_width(one) in "WF" else 4.5 if one in " .,:;'|!ijltfr()" else 11.5 if one in "mwMWQ@%" else 8.2
    return most


def text(x: float, y: float, words: str, *, anchor: str = "start", strong: bool = False, most: int = 60) -> str:
    """Return a text element; the words are shortened, neutralised and escaped."""
    shown = neutral(words, inline=True)
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{" class=" + chr(34) + "strong" + chr(34) if strong else ""}>{escape(shown)}</text>'


def figure(title: str, told: str, height: int, parts: Sequence[str], sheet: Sheet = CARD) -> bytes:
    """Return the bytes of one SVG file.

    Args:
        title: what it shows.
        told: the same in words, with the numbers.
        parts: what is drawn below the title, which has a line of 18 for each of `sheet.lines`.
    """
    width, turned = sheet.width, ' direction="rtl"' if sheet.right_to_left else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="t d"{turned}>'
        f'<title id="t">{escape(neutral(title, inline=True))}</title><desc id="d">{escape(neutral(told, inline=True))}</desc><style>{sheet.style()}</style><rect class="back" width="{width}" height="{height}" rx="6"/>'
    )
    above = [text(sheet.start, 22 + 18 * at, line, strong=True, most=100) for at, line in enumerate(sheet.lines(title))]
    return "\n".join([head, *above, *parts, "</svg>\n"]).encode()


def round_marks(low: float, high: float, count: int = 5) -> list[float]:
    """Return evenly spaced numbers 1, 2 or 5 times a power of ten apart that enclose both (Heckbert, Graphics Gems, 1990)."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(begin, end + 1)]
