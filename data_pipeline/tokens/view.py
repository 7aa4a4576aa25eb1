"""Show a sample as the model sees it: its tokens, and which of them are learned; on a terminal, as plain lines, as a page.

Contributed text is hostile: whatever is not printable (control characters, escapes, bidi controls) is shown by its code, never as itself.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from data_pipeline.tokens.sample import Sample

__all__ = ["Piece", "coloured", "inline", "page", "pieces", "plain"]

_LONGEST_CHARACTER: Final = 8
"""Tokens tried together to find whole characters; UTF-8 has at most four bytes each."""

_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:15px/1.9 ui-monospace,monospace}"
    "span{border-right:1px solid #8888;opacity:.75}"
    "mark{border-right:1px solid #8888;background:#bbf7d0;color:#052e16;text-decoration:underline}"
    "@media(prefers-color-scheme:dark){mark{background:#14532d;color:#dcfce7}}"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """The fewest tokens that make whole characters together."""

    ids: tuple[int, ...]
    text: str
    """Safe to print: unprintable characters are escaped; a line break follows its escape."""
    learned: bool


def _safe(text: str) -> str:
    # A backslash of the text is doubled, so nobody can fake an escape.
    return "".join(c if c.isprintable() and c != "\\" else "\\n\n" if c == "\n" else c.encode("unicode_escape").decode() for c in text)


def pieces(tokenizer: Any, sample: Sample) -> list[Piece]:
    """Return the tokens of a sample as text; bytes that make no character stay apart as replacement characters."""
    ids, found, first = sample.ids.tolist(), [], 0
    while first < len(ids):
        border = next((edge for edge in (sample.start, sample.stop) if edge > first), len(ids))
        last = first + 1
        for end in range(first + 1, min(first + _LONGEST_CHARACTER, border) + 1):
            if "\ufffd" not in tokenizer.decode(ids[first:end]):
                last = end
                break
        text = _safe(tokenizer.decode(ids[first:last]))
        found.append(Piece(tuple(ids[first:last]), text, sample.start <= first < sample.stop))
        first = last
    return found


def coloured(shown: Iterable[Piece]) -> str:
    """Return text for a terminal: learned pieces bold green, the others dim, thin bars between tokens."""
    parts = []
    for piece in shown:
        parts.append(f"\x1b[{'1;32' if piece.learned else '2'}m{piece.text}\x1b[0m\x1b[34m{'|' * len(piece.ids)}\x1b[0m")
    return "".join(parts)


def inline(shown: Iterable[Piece]) -> str:
    """Return running text without colours: what is learned stands between double brackets, bars between tokens."""
    parts, learning = [], False
    for piece in shown:
        if piece.learned != learning:
            parts.append("⟦" if piece.learned else "⟧")
            learning = piece.learned
        parts.append(piece.text + "|" * len(piece.ids))
    return "".join(parts) + ("⟧" if learning else "")


def plain(shown: Iterable[Piece]) -> str:
    """Return one line a piece: token ids, the word `learn` where it is learned, and the text."""
    return "\n".join(f"{' '.join(map(str, piece.ids)):>8}  {'learn' if piece.learned else '     '}  {piece.text.replace(chr(10), '')}" for piece in shown)


def page(title: str, samples: Iterable[tuple[Sample, list[Piece]]]) -> str:
    """Return an HTML page without scripts or links; every text in it is escaped."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{html.escape(_safe(title))}</title><style>{_STYLE}</style></head><body><h1>{html.escape(_safe(title))}</h1>",
        "<p><mark>Underlined on green</mark> is learned; the rest is only read. Each box is a token, or the tokens of one character. Escapes stand for what cannot be printed.</p>",
    ]
    for sample, shown in samples:
        tokens = f"{len(sample.ids)} tokens, {sample.supervised} learned"
        parts.append(f'<section><h2>{html.escape(_safe(sample.record))} ({html.escape(_safe(sample.language))}, {tokens})</h2><pre dir="auto">')
        for piece in shown:
            tag = "mark" if piece.learned else "span"
            parts.append(f'<{tag} title="{" ".join(map(str, piece.ids))}">{html.escape(piece.text)}</{tag}>')
        parts.append("</pre></section>")
    return "".join([*parts, "</body></html>\n"])
