"""Pages from templates: escaped, every name in them defined, and every file they load named by its digest."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_eval_context, select_autoescape
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from portal import i18n
from portal.store.accounts import masked

__all__ = ["STATIC", "environment", "integrity", "static_url"]

_NAMED: Final = re.compile(r"\bm-[0-9a-f]{16}\b|\bSHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/=])|\bsha256:[0-9a-f]{64}\b")
_DIGEST: Final = re.compile(r"(?:&#39;)?\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b(?:&#39;)?")
_TABLE: Final = re.compile(r'<table((?: dir="[a-z]+")?)>(.*?)</table>', re.S)
_LINK: Final = re.compile(r'href="(/[a-z]+)"')
_PARTS: Final = {
    "/contribute": ("/review", "/review/", "/improve/", "/languages"),
    "/datasets": ("/languages/",),
    "/proposals": ("/propose", "/propose/", "/bylaws", "/bylaws/"),
    "/account": ("/recover", "/recover/"),
    "/mine": ("/keys", "/keys/", "/receipts/", "/stewards/", "/statements"),
}
"""Pages of the menu -> other pages that belong to them: a path, or with a stroke at its end all paths that begin so."""
_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"


@cache
def _digest(name: str) -> bytes:
    return hashlib.sha256((STATIC / name).read_bytes()).digest()


def static_url(name: str) -> str:
    """Return the address of a static file, which changes when the file does."""
    return f"/static/{name}?v={_digest(name).hex()[:16]}"


def integrity(name: str) -> str:
    """Return what a browser shall find when it loads a static file (subresource integrity)."""
    return "sha256-" + base64.b64encode(_digest(name)).decode()


def short(digest: str) -> str:
    """Return the start of a digest, as `coop` takes it."""
    return digest.removeprefix("sha256:")[:12]


def brief(text: str) -> Markup:
    """Return a sentence with every digest in it as short as `coop` takes it, and without the quotes of a value."""
    return Markup(_DIGEST.sub(r"\1", str(escape(text))))  # noqa: S704 -- escaped before


def paragraphs(text: str) -> list[tuple[str, str]]:
    """Return a text of ours as (heading, paragraph): blocks with a blank line between, the first line of each its heading."""
    blocks = [block.strip().splitlines() for block in text.split("\n\n") if block.strip()]
    return [(lines[0].strip(), " ".join(line.strip() for line in lines[1:])) for lines in blocks]


def say(text: str) -> Markup:
    """Return a sentence of another room in the reader's language; where it is known in English only, it is marked so (WCAG 3.1.2)."""
    found = i18n.say(text)
    return escape(found) if found is not None else Markup('<span lang="en" dir="ltr">{}</span>').format(text)


def ids(text: str) -> Markup:
    """Return a sentence with every pseudonym and every fingerprint in it set as code, left to right: a pseudonym in one piece, a fingerprint where it fits."""

    def code(found: re.Match[str]) -> str:
        whole = ' class="word"' if found[0].startswith("m-") else ""
        return f'<code dir="ltr"{whole}>{found[0]}</code>'

    return Markup(_NAMED.sub(code, str(escape(text))))  # noqa: S704 -- escaped before


def begin(text: str) -> str:
    """Return a sentence with its first letter large, where the script has such letters."""
    return text[:1].upper() + text[1:]


def ended(text: str) -> str:
    """Return a refusal as a sentence: with a large first letter, and what ends sentences in the language of this request."""
    said = begin(text)
    return said if said.endswith((".", "!", "?", "\u0964", "\u061f", ":", ">")) else said + i18n.full_stop()


def here(links: str, path: str) -> Markup:
    """Return links with the one marked that leads to a path, or to the part of the site it is in."""

    def marked(found: re.Match[str]) -> str:
        parts = (found[1] + "/", *_PARTS.get(found[1], ()))
        at = "page" if path == found[1] else "true" if any(path == one or (one[-1] == "/" and path.startswith(one)) for one in parts) else None
        return f'{found[0]} aria-current="{at}"' if at else found[0]

    return Markup(_LINK.sub(marked, links))  # noqa: S704 -- a template's own links


def breaks(path: str) -> Markup:
    """Return a path or a field's name that a narrow screen may break after its parts, and not within a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[/._])", path))


def guild(name: str) -> str:
    """Return a part of the texts that shares are counted for (`swa`, `spa.edit`) with the language's name."""
    code, _, kind = name.partition(".")
    words = {
        "original": i18n.gettext("texts written anew"),
        "edit": i18n.gettext("texts of others made better"),
        "translation": i18n.gettext("translations"),
    }
    name = i18n.language_name(code)
    return f"{i18n.gettext('%(what)s:') % {'what': name}} {words.get(kind, kind)}" if kind else name


def size(count: int) -> str:
    """Return a number of bytes as this language writes it, in the unit that fits."""
    unit, amount = "byte", float(count)
    for unit in ("byte", "kilobyte", "megabyte", "gigabyte"):
        if amount < 1000 or unit == "gigabyte":
            break
        amount /= 1000
    return i18n.measure(amount, unit).replace(" ", "\u00a0")


def tables(shown: str) -> Markup:
    """Return a text that was cleaned, with each of its tables where it can be pushed sideways, by keys too: it may be wider than the screen."""
    text, number = str(escape(shown)), 0
    count = text.count("<table")

    def framed(found: re.Match[str]) -> str:
        nonlocal number
        number += 1
        name = escape(i18n.gettext("Table %(number)s of %(all)s") % {"number": i18n.number(number), "all": i18n.number(count)})
        return f'<div class="scroll"{found[1]} tabindex="0" role="group" aria-label="{name}"><table>{found[2]}</table></div>'

    return Markup(_TABLE.sub(framed, text))  # noqa: S704 -- nothing is added but what stands here


# What the extension would install (its "newstyle") makes a context for each call in a loop, and a page says forty things.
@pass_eval_context
def _gettext(place: EvalContext, text: str, /, **values: Any) -> str:
    found = i18n.gettext(text)
    return (Markup(found) if place.autoescape else found) % values  # noqa: S704 -- a template's own words


@pass_eval_context
def _ngettext(place: EvalContext, one: str, many: str, num: int, /, **values: Any) -> str:
    found = i18n.ngettext(one, many, num)
    return (Markup(found) if place.autoescape else found) % ({"num": num} | values)  # noqa: S704 -- a template's own words


@cache
def environment() -> Environment:
    """Return the templates of the portal."""
    # Mails are plain text (`mail/*.txt`): nothing in them is markup, and nothing is escaped.
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(disabled_extensions=("txt",), default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # files of this version, which are not looked for again at each page
    )
    made.newstyle_gettext = True  # type: ignore[attr-defined]
    made.globals.update(_=_gettext, gettext=_gettext, ngettext=_ngettext)
    made.filters.update(
        begin=begin,
        breaks=breaks,
        brief=brief,
        day=i18n.day,
        ended=ended,
        guild=guild,
        here=here,
        ids=ids,
        language=i18n.language_by_tag,
        masked=masked,
        money=i18n.money,
        when=i18n.when,
        with_dates=i18n.with_dates,
        paragraphs=paragraphs,
        number=i18n.number,
        percent=i18n.percent,
        say=say,
        short=short,
        size=size,
        tables=tables,
    )
    made.globals.update(static=static_url, integrity=integrity, told=i18n.told, languages=i18n.NATIVE, until=i18n.until, unreviewed=i18n.unreviewed)
    return made


def render(name: str, /, **values: Any) -> str:
    """Return a page in the language of this request."""
    return environment().get_template(name).render(lang=i18n.current(), direction=i18n.direction(), comma=i18n.comma(), full_stop=i18n.full_stop(), **values)
