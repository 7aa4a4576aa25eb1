"""SVG files that stand alone: titled and described for readers who do not see them, readable on light and dark, without scripts or addresses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from model_card import iso639
from model_card.hostile import neutral

__all__ = ["ENGLISH", "Voice", "figure", "round_marks", "text"]


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

# A background of its own: a page may be light while the reader's system is dark, and the letters must be seen on either.
_STYLE = (
    ".back{fill:#ffffff}text{font:13px system-ui,'Noto Sans',sans-serif;fill:#57606a}.strong{fill:#1f2328}.grid{stroke:#8b949e;stroke-opacity:.35}.zero{stroke:#57606a}"
    ".a{fill:#0969da}.b{fill:#bc4c00}.c{fill:#8b949e}.whisker{stroke:#1f2328;stroke-width:2}"
    "@media(prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#9198a1}.strong{fill:#e6edf3}.a{fill:#58a6ff}.b{fill:#f0883e}.c{fill:#6e7681}.whisker{stroke:#e6edf3}.zero{stroke:#9198a1}}"
)


def text(x: float, y: float, words: str, *, anchor: str = "start", strong: bool = False, most: int = 60) -> str:
    """Return a text element; the words are shortened, neutralised and escaped."""
    shown = neutral(words, inline=True)
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{" class=" + chr(34) + "strong" + chr(34) if strong else ""}>{escape(shown)}</text>'


def figure(title: str, told: str, width: int, height: int, parts: Sequence[str]) -> bytes:
    """Return the bytes of one SVG file.

    Args:
        title: what it shows.
        told: the same in words, with the numbers.
    """
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="t d">'
        f'<title id="t">{escape(neutral(title, inline=True))}</title><desc id="d">{escape(neutral(told, inline=True))}</desc><style>{_STYLE}</style><rect class="back" width="{width}" height="{height}" rx="6"/>'
    )
    return "\n".join([head, text(12, 22, title, strong=True, most=100), *parts, "</svg>\n"]).encode()


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
