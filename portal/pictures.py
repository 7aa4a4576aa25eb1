"""Pictures of a card as pages show them: in the reader's words and the page's colours, and drawn narrow for a narrow screen."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException

from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import CoopError
from model_card.renderers.charts import CHARTS
from model_card.renderers.svg import CARD, Colours, Sheet, Voice
from portal import i18n
from portal.downloads import Part, bytes_of

__all__ = ["RECORD", "SHEETS", "Picture", "drawn", "picture_of"]

RECORD: Final = 4 << 20
"""Bytes of a record that is read to show it."""
_LIGHT: Final = Colours(back="#ffffff", letters="#635c50", strong="#24211c", a="#0969da", b="#bc4c00", c="#8a8170")
_DARK: Final = Colours(back="#23201c", letters="#b9b0a0", strong="#f0ebe1", a="#58a6ff", b="#f0883e", c="#a59b89")
SHEETS: Final = {"wide": Sheet(light=_LIGHT, dark=_DARK), "narrow": Sheet(320, narrow=True, light=_LIGHT, dark=_DARK)}
"""Ground and letters as in portal.css; blue and orange stay, since eyes that do not tell red from green tell those."""
_VOICE: Final = Voice(lambda text: i18n.told(text).translate({0x2068: None, 0x2069: None}), i18n.language_name, i18n.number)
"""Pictures say what pages say; in them each text stands alone, so nothing has to be set apart."""
_BOX: Final = re.compile(r'viewBox="0 0 ([1-9][0-9]{0,4}) ([1-9][0-9]{0,4})"')
_TOLD: Final = re.compile(r"<desc[^>]*>([^<]{1,4000})</desc>")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the card, and what it shows in words."""

    name: str
    told: str
    height: int
    """At a width of 720: the page keeps its place free while it comes."""
    narrow: int | None
    """The height of the narrow one at its width of 320; None where only the released file can be shown."""


def picture_of(folder: Path, parts: Sequence[Part], name: str) -> Picture:
    """Return what a page says of a picture of the card."""
    wide, narrow = (drawn(folder, parts, name, sheet) for sheet in ("wide", "narrow"))
    svg = wide or bytes_of(folder, f"card/charts/{name}.svg", RECORD)
    return Picture(name, _told(svg), _height(svg, 720), _height(narrow, SHEETS["narrow"].width) if narrow else None)


def drawn(folder: Path, parts: Sequence[Part], name: str, sheet: str = "") -> bytes | None:
    """Return a picture of the card with the words of this request's language; None where the card is not the released one, or has no such picture."""
    listed = next((one.sha256 for one in parts if one.path == "card.json" and one.size <= RECORD), None)
    if name not in CHARTS or listed is None:
        return None
    try:
        return _drawn(folder, listed, name, sheet, i18n.current())
    except (CoopError, HTTPException, LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None  # the released file is shown


@lru_cache(maxsize=256)  # of a card that members voted on: its digest says what is drawn
def _drawn(folder: Path, digest: str, name: str, sheet: str, _language: str) -> bytes:
    page = SHEETS.get(sheet, CARD)
    page = replace(page, right_to_left=page.narrow and i18n.direction() == "rtl")
    data = bytes_of(folder, "card.json", RECORD)
    if sha256(data) != digest:
        raise ValueError("the card is not the released one")  # which is not remembered
    return CHARTS[name](loads(data, floats=True, source="card.json"), None, _VOICE, page)


def _told(svg: bytes) -> str:
    found = _TOLD.search(svg.decode("utf-8", "replace"))
    return html.unescape(found[1]) if found else i18n.gettext("A picture of the card; the same numbers are in the card's text.")


def _height(svg: bytes, width: int) -> int:
    box = _BOX.search(svg.decode("utf-8", "replace"))
    return width * int(box[2]) // int(box[1]) if box else width // 2
