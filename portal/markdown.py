"""Markdown of a card as it is shown on a page: no HTML of its own, no links, no pictures, and headings below the page's."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

__all__ = ["shown"]

_TAGS: Final = {
    "p",
    "ul",
    "ol",
    "li",
    "strong",
    "em",
    "code",
    "pre",
    "blockquote",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "br",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
}
_PARSER: Final = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table")


@lru_cache(maxsize=16)  # summaries of cards that members voted on, and what the API says of itself
def shown(text: str) -> Markup:
    """Return a text in Markdown as HTML that holds nothing but words in order."""
    tokens = _PARSER.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(nh3.clean(_PARSER.renderer.render(tokens, _PARSER.options, {}), tags=_TAGS, attributes={}))  # noqa: S704 -- nh3 let nothing else through
