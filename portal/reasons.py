"""The reasons of a proposal, in a member's Markdown: bounded before anything reads it, and shown as words in order, which load, link and run nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from data_pipeline.text import MAX_REASONS_BYTES, Problem, text_problems
from governance_hooks.errors import BadInput
from governance_hooks.sentence import Sentence

__all__ = ["forget", "shown", "sound"]

MAX_LINES: Final = 1000
MAX_BRACKETS: Final = 400
"""[ in all: each may begin a link, and looking for its end costs the rest of the text."""
MAX_BARS: Final = 24
"""| in one line; a table makes a cell of each, in each of its rows."""
MAX_COLUMNS: Final = 6
"""What a phone of 320 pixels shows side by side."""
MAX_DEPTH: Final = 12
"""Blocks in each other; a list in a list is two."""
_ROOM: Final = 20
"""What the parser reads no deeper than: more than MAX_DEPTH, so that nothing is left out unseen."""
_TARGET: Final = 300
"""Letters of a link's target that are shown."""

# No entities (&#x202E; would be a direction override that nobody looked for), no reference definitions (they are not shown).
_PARSER: Final = MarkdownIt("commonmark", {"html": False, "maxNesting": _ROOM}).enable("table").disable(["entity", "reference"])
_TURNED: Final = ("p", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table")
"""What has a direction of its own, by its first letter that has one."""
_TAGS: Final = {*_TURNED, "li", "strong", "em", "code", "pre", "thead", "tbody", "tr", "th", "td", "br", "hr"}
_ATTRIBUTES: Final = {**{tag: {"dir"} for tag in _TURNED}, "ol": {"dir", "start"}, "code": {"dir"}}


def sound(text: str) -> str:
    """Return reasons as they are kept; raise BadInput for what would not be shown as it was written."""
    clean = text.replace("\r\n", "\n").strip()
    found = _read(clean)
    if isinstance(found, Problem):
        raise BadInput(found.what, value=found.value, allowed=found.allowed)
    return clean


@lru_cache(maxsize=256)  # the reasons of an open vote are read by everybody
def shown(text: str) -> Markup:
    """Return reasons as HTML; those that came another way and are out of bounds as they were written, letter by letter."""
    found = _read(text)
    if isinstance(found, Problem):
        return Markup("<pre>{}</pre>").format(text[:MAX_REASONS_BYTES])
    html = _PARSER.renderer.render(_blocks(found), _PARSER.options, {})
    return Markup(nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES))  # noqa: S704 -- nh3 let nothing else through


def forget() -> None:
    """Drop what was shown lately: somebody erased their reasons."""
    shown.cache_clear()


def _read(text: str) -> list[Token] | Problem:
    """Return a text's blocks, or what forbids it: as any text of a member, and as Markdown, the cheap bounds first, so that none of it keeps the parser busy."""
    name = Sentence("the reason")
    for problem in text_problems(name, text, MAX_REASONS_BYTES):
        return problem
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        return Problem(Sentence("{name} has too many lines", name=name), len(lines), Sentence("at most {count}", count=MAX_LINES))
    if text.count("[") > MAX_BRACKETS:
        return Problem(Sentence("{name} has too many square brackets", name=name), text.count("["), Sentence("at most {count}", count=MAX_BRACKETS))
    bars = max(line.count("|") for line in lines)
    if bars > MAX_BARS:
        return Problem(Sentence("{name} has a line with too many bars", name=name), bars, Sentence("at most {count}", count=MAX_BARS))
    tokens = _PARSER.parse(text)
    deep = max((token.level for token in tokens), default=0)
    if deep > MAX_DEPTH:
        return Problem(
            Sentence("{name} has lists or quotes too deep in each other", name=name), None, Sentence("{count} levels of lists", count=MAX_DEPTH // 2)
        )
    columns = max((_columns(tokens, place) for place, token in enumerate(tokens) if token.type == "thead_open"), default=0)
    if columns > MAX_COLUMNS:
        return Problem(Sentence("{name} has a table with too many columns", name=name), columns, Sentence("at most {count}", count=MAX_COLUMNS))
    return tokens


def _columns(tokens: list[Token], place: int) -> int:
    count = 0
    while tokens[place].type != "thead_close":
        count += tokens[place].type == "th_open"
        place += 1
    return count


def _blocks(tokens: list[Token]) -> list[Token]:
    """Return blocks with their directions; headings below the page's and with no rank left out, empty ones and empty heads of tables as what they are."""
    ranks: list[int] = []
    kept: list[Token] = []
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            empty = not tokens[place + token.nesting].content.strip()
            if token.nesting == 1 and not empty:
                rank = int(token.tag[1])
                ranks = [*(one for one in ranks if one < rank), rank]
            token.tag = "p" if empty else f"h{min(6, len(ranks) + 2)}"
        elif token.type == "th_open" and not tokens[place + 1].content.strip():
            token.tag = tokens[place + 2].tag = "td"
        if token.type in ("th_open", "td_open", "fence", "code_block"):
            token.attrs, token.info = {}, ""
        if token.nesting == 1 and token.level == 0 and token.tag in _TURNED:  # a block looks for its direction in what has none of its own
            token.attrs["dir"] = "auto"
        if token.type == "inline":
            token.children = _words(token.children or [])
        kept.append(token)
    return kept


def _words(children: list[Token]) -> list[Token]:
    """Return the words of a line; links and pictures are words too, with where they would have led beside them."""
    found: list[Token] = []
    begun: list[tuple[str, int]] = []
    for child in children:
        if child.type == "link_open":
            begun.append((_target(child.attrs), len(found)))
        elif child.type == "link_close":
            target, start = begun.pop()
            if "".join(one.content for one in found[start:]) != target:
                found += _beside(target)
        elif child.type == "image":
            found += [_text(child.content), *_beside(_target(child.attrs))]
        else:
            found.append(child)
    return found


def _target(attributes: dict[str, Any]) -> str:
    """Return where a link leads, as ASCII: a host of look-alike letters reads xn--."""
    words = str(attributes.get("href") or attributes.get("src") or "")
    title = str(attributes.get("title") or "")
    return (words if len(words) <= _TARGET else words[:_TARGET] + "…") + (f" “{title}”" if title else "")


def _beside(target: str) -> list[Token]:
    address = Token("code_inline", "code", 0, content=target, attrs={"dir": "ltr"})
    return [_text(" ("), address, _text(")")]


def _text(words: str) -> Token:
    return Token("text", "", 0, content=words)
