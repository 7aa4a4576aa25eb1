"""Languages of the portal: which there are, which one a visitor reads, and how words, dates and numbers look in it."""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import datetime
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations
from babel.units import format_unit

__all__ = [
    "LANGUAGES",
    "NATIVE",
    "choose",
    "current",
    "direction",
    "gettext",
    "measure",
    "ngettext",
    "number",
    "unreviewed",
    "until",
    "use",
    "when",
    "with_dates",
]

LOCALES: Final = Path(__file__).parent / "locales"
LANGUAGES: Final = ("en", *sorted(path.parent.parent.name for path in LOCALES.glob("*/LC_MESSAGES/portal.po")))
"""English, and every language with a catalogue."""
NATIVE: Final = {code: str(Locale.parse(code).get_display_name(code)) for code in LANGUAGES}
"""Each language's own name."""

_INSTANT: Final = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")

_language: ContextVar[str] = ContextVar("language", default="en")


@cache
def catalogue(language: str) -> NullTranslations:
    """Return the words of a language, read from its .po file: no compiled file can be out of date."""
    path = LOCALES / language / "LC_MESSAGES" / "portal.po"
    if not path.is_file():
        return NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled, domain="portal")


@cache
def unreviewed(language: str) -> bool:
    """Tell whether nobody whose first language it is has read a catalogue yet; its head says so."""
    path = LOCALES / language / "LC_MESSAGES" / "portal.po"
    return path.is_file() and "# Review: needs native review" in path.read_text(encoding="utf-8")[:2000]


def current() -> str:
    """Return the language of this request."""
    return _language.get()


def use(language: str) -> None:
    """Set the language of this request."""
    _language.set(language)


def choose(*wanted: str | None) -> str:
    """Return the first of the wanted codes or Accept-Language headers that we have; English if none."""
    for one in wanted:
        for part in (one or "")[:200].split(","):
            code = part.split(";")[0].strip().lower().split("-")[0]
            if code in LANGUAGES:
                return code
    return "en"


def direction() -> str:
    """Return ltr or rtl."""
    return str(Locale.parse(current()).text_direction)


def gettext(text: str) -> str:
    """Return a text in the language of this request."""
    return str(catalogue(current()).gettext(text))


def ngettext(one: str, many: str, count: int) -> str:
    """Return the text for so many."""
    return str(catalogue(current()).ngettext(one, many, count))


def number(value: int | float) -> str:
    """Return a number as this language writes it."""
    return _number(value, current())


@lru_cache(maxsize=4096)
def _number(value: int | float, language: str) -> str:
    return format_decimal(value, locale=language)


def measure(value: float, unit: str) -> str:
    """Return an amount with its unit as this language writes it."""
    return str(format_unit(value, f"digital-{unit}", "short", "#,##0.#", locale=current()))


def when(instant: str) -> str:
    """Return an RFC 3339 instant as this language writes it, to the minute, in UTC."""
    return _when(instant, current())


@lru_cache(maxsize=4096)  # a page shows the same few instants to everybody
def _when(instant: str, language: str) -> str:
    moment = datetime.fromisoformat(instant)
    return f"{format_date(moment, 'medium', locale=language)}, {format_time(moment, 'short', locale=language)} UTC"


def with_dates(text: str) -> str:
    """Return a sentence with every RFC 3339 instant in it as this language writes it, set apart from the direction of the sentence."""
    return _INSTANT.sub(lambda found: f"\u2068{when(found[0])}\u2069", text)


def until(instant: str, now: str) -> str:
    """Return how long it is from now to an instant, in words; negative spans read as the past."""
    return str(format_timedelta(datetime.fromisoformat(instant) - datetime.fromisoformat(now), add_direction=True, locale=current()))
