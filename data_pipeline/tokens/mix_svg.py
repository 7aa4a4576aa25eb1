"""Draw a mix as SVG: for each language its share of what there is, and of what is read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from data_pipeline.language import language_name
from data_pipeline.tokens.mixture import MixRow

__all__ = ["mix_svg"]

_WIDTH, _LEFT, _BARS, _ROW, _TOP, _FOOT = 880, 210, 430, 40, 96, 28

_STYLE: Final = (
    "text{font:14px system-ui,sans-serif;fill:#1f2328}.title{font-size:18px;font-weight:600}.soft{fill:#59636e;font-size:13px}"
    ".now{fill:#8c959f}.mix{fill:#0969da}.axis{stroke:#d1d9e0}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.soft{fill:#9198a1}.now{fill:#656c76}.mix{fill:#4493f8}.axis{stroke:#3d444d}.page{fill:#0d1117}}"
)


def mix_svg(rows: Sequence[MixRow], title: str) -> str:
    """Return an SVG without scripts or links; every number stands in it as text too.

    Args:
        rows: of `mixture`, at least one.
        title: what stands over it, escaped here.
    """
    ordered = sorted(rows, key=lambda row: (-row.tokens, row.language))
    largest = max(max(row.now, row.share) for row in ordered)
    height = _TOP + _ROW * len(ordered) + _FOOT
    told = "; ".join(f"{language_name(row.language)} {float(row.now):.1%} of the tokens there are, {float(row.share):.1%} of those read" for row in ordered)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(told)}</desc><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/><text class="title" x="20" y="34">{escape(title)}</text>',
        '<rect class="now" x="20" y="54" width="14" height="10"/><text class="soft" x="40" y="64">share of the tokens there are</text>'
        '<rect class="mix" x="260" y="54" width="14" height="10"/><text class="soft" x="280" y="64">share of the tokens that are read</text>',
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP - 14}" x2="{_LEFT}" y2="{height - _FOOT + 6}"/>',
    ]
    for number, row in enumerate(ordered):
        y = _TOP + _ROW * number
        epochs = f"{float(row.epochs):.2f} times" + (", capped" if row.capped else "")
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 12}" text-anchor="end">{escape(language_name(row.language)[:24])}</text>')
        for name, share, down in (("now", row.now, -4), ("mix", row.share, 9)):
            # One pixel at least: a language that is there is seen.
            parts.append(f'<rect class="{name}" x="{_LEFT}" y="{y + down}" width="{max(1.0, float(share / largest) * _BARS):.1f}" height="11" rx="2"/>')
        parts.append(
            f'<text x="{_LEFT + _BARS + 12}" y="{y + 6}">{float(row.now):.1%} → {float(row.share):.1%}</text>'
            f'<text class="soft" x="{_LEFT + _BARS + 12}" y="{y + 22}">{epochs}</text>'
        )
    return "".join([*parts, "</svg>\n"])
