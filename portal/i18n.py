"""Languages of the portal: which there are, which one a visitor reads, and how words, dates and numbers look in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final, TypeGuard

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision, get_decimal_symbol, get_group_symbol
from babel.support import NullTranslations, Translations
from babel.units import format_unit

from governance_hooks.money import CURRENCIES
from governance_hooks.sentence import Sentence

__all__ = [
    "LANGUAGES",
    "NATIVE",
    "apart",
    "choose",
    "comma",
    "country_name",
    "current",
    "day",
    "direction",
    "full_stop",
    "gettext",
    "isolated",
    "language_by_tag",
    "language_name",
    "listed",
    "measure",
    "money",
    "ngettext",
    "number",
    "numbered",
    "percent",
    "say",
    "span",
    "told",
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

_INSTANT: Final = re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_CODE: Final = re.compile("[a-z]{3}")
_ISOLATES: Final = dict.fromkeys(range(0x2066, 0x206A))
_LENGTHS: Final = (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))

_BEFORE_A_SIGN: Final = re.compile(r" (?=[:;?!»](?:\W|$)|%(?:[^(]|$))|(?<=«) ")

_CODE_AT_A_NUMBER: Final = re.compile(r"(?<=[A-Za-z])(?=\u2068?-?\d)|(?<=\d)(?=[A-Za-z])")
"""Where CLDR puts a space between a currency's code and its number, and Babel does not."""
_BELOW_ZERO: Final = re.compile(r"-[\d.,]+")

_language: ContextVar[str] = ContextVar("language", default="en")


class Said(str):
    """Words that are in the reader's language already."""

    def __mod__(self, values: object) -> Said:
        """Return them with values in their places."""
        return Said(super().__mod__(values))


@cache
def _read(language: str) -> Catalog | None:
    path = LOCALES / language / "LC_MESSAGES" / "portal.po"
    found = read_po(BytesIO(path.read_bytes()), locale=language) if path.is_file() else None
    for one in found or ():  # no line ends before the colon of a French sentence, nor before a sign of percent
        one.string = tuple(map(_joined, one.string)) if isinstance(one.string, tuple | list) else _joined(one.string or "")
    return found


def _joined(text: str | None) -> str:
    return _BEFORE_A_SIGN.sub("\u00a0", text or "")


@cache
def sentences(language: str) -> frozenset[str]:
    """Return the English sentences that can be said in a language."""
    return frozenset(one.id if isinstance(one.id, str) else one.id[0] for one in _read(language) or () if one.id)


@cache
def catalogue(language: str) -> NullTranslations:
    """Return the words of a language, read from its .po file: no compiled file can be out of date."""
    found = _read(language)
    if found is None:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, found)
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
    return _direction(current())


@cache
def _direction(language: str) -> str:
    return str(Locale.parse(language).text_direction)


def gettext(text: str) -> str:
    """Return a text in the language of this request."""
    return Said(catalogue(current()).gettext(text))


def ngettext(one: str, many: str, count: int) -> str:
    """Return the text for so many."""
    return Said(catalogue(current()).ngettext(one, many, count))


def comma() -> str:
    """Return what stands between the members of a list."""
    return _comma(current())


def _comma(language: str) -> str:
    return "\u060c" if language == "ar" else ","


def listed(items: Iterable[str]) -> str:
    """Return the members of a list, as this language sets them apart."""
    return f"{comma()} ".join(items)


def full_stop() -> str:
    """Return what ends a sentence that a template puts together."""
    return "\u0964" if current() == "hi" else "."


def number(value: int | float) -> str:
    """Return a number as this language writes it."""
    return _number(value, current())


@lru_cache(maxsize=4096)
def _number(value: int | float, language: str) -> str:
    return format_decimal(value, locale=language)


def percent(value: float) -> str:
    """Return a number of hundredths as this language writes it, with its sign of percent."""
    return _percent(value, current())


@lru_cache(maxsize=4096)
def _percent(value: float, language: str) -> str:
    pattern = str(Locale.parse(language).percent_formats[None].pattern)
    return str(format_percent(value / 100, pattern.replace("0", "0.#"), locale=language))


def measure(value: float, unit: str) -> str:
    """Return an amount with its unit as this language writes it."""
    return _measure(value, unit, current())


@lru_cache(maxsize=4096)  # a release's page shows the size of each of its files
def _measure(value: float, unit: str, language: str) -> str:
    return str(format_unit(value, f"digital-{unit}", "long" if unit == "byte" else "short", "#,##0.#", locale=language))


def money(minor: int, currency: str) -> str:
    """Return an amount in minor units as this language writes it."""
    digits = CURRENCIES[currency]
    same = digits == get_currency_precision(currency)  # where CLDR rounds to whole units and we do not, the locale's own form has two digits
    found = str(format_currency(Decimal(minor).scaleb(-digits), currency, locale=current(), currency_digits=same))
    if minor < 0 and direction() == "rtl":
        found = _BELOW_ZERO.sub(lambda number: apart(number[0]), found)
    return _CODE_AT_A_NUMBER.sub("\u00a0", found)


def when(instant: str) -> str:
    """Return an RFC 3339 instant as this language writes it, to the minute, in UTC."""
    return _when(instant, current())


@lru_cache(maxsize=4096)  # a page shows the same few instants to everybody
def _when(instant: str, language: str) -> str:
    moment = datetime.fromisoformat(instant)
    time = format_time(moment, "short", locale=language).replace(" ", "\u00a0")
    return f"{_day(instant, language)}{_comma(language)} {time}\u00a0UTC"


def day(instant: str) -> str:
    """Return the day of an RFC 3339 instant as this language writes it."""
    return _day(instant, current())


@lru_cache(maxsize=4096)
def _day(instant: str, language: str) -> str:
    date = format_date(datetime.fromisoformat(instant), "medium", locale=language).replace(" ", "\u00a0")
    return "1er" + date[1:] if language == "fr" and date.startswith("1\u00a0") else date  # the first of a month, which CLDR's pattern leaves a bare number


def numbered(count: int, text: str) -> str:
    """Return a text of any direction behind its number, which stands where this language's lists have it."""
    plain = text.isascii() and direction() == "ltr"
    mark = "" if plain else chr(0x200F) if direction() == "rtl" else chr(0x200E)
    return f"{mark}{number(count)}. {apart(text)}"


def with_dates(text: str) -> str:
    """Return a sentence with every RFC 3339 instant in it as this language writes it, set apart from the direction of the sentence."""
    return _INSTANT.sub(lambda found: f"\u2068{_dated(found[0])}\u2069", text)


def _dated(text: str) -> str:
    """Return what looks like an instant as this language writes it, and as it stands where it is none: a member may have written it."""
    try:
        return when(text)
    except ValueError:
        return text


class _Amount(float):
    """A number that a template may ask for in a form (`{low:+.3f}`), with the signs of this language."""

    def __format__(self, form: str) -> str:
        found = self._written(form)
        return apart(found) if found[:1] in "+-" else found  # the sign stays before its number from right to left too

    def _written(self, form: str) -> str:
        if not form:
            return number(int(self) if self.is_integer() else float(self))
        plain = format(int(self) if self.is_integer() and form == "," else float(self), form)
        signs = {".": get_decimal_symbol(current()), ",": get_group_symbol(current())}
        return "".join(signs.get(one, one) for one in plain)


def apart(text: str) -> str:
    """Return a value set apart from the direction of the sentence around it, as <bdi> does (U+2068, U+2069), where that could make a difference."""
    if text.replace("\u00a0", "").isascii() and direction() == "ltr":
        return text
    return isolated(text)


def isolated(text: str) -> str:
    """Return a value set apart wherever it stands; none of its own isolates is left, which may begin in a text that was cut, or end ours."""
    return f"\u2068{text.translate(_ISOLATES)}\u2069"


def _shown(value: object) -> object:
    if isinstance(value, Sentence | Said):
        return told(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _Amount(value)
    text = str(value)
    return apart(_dated(text) if _INSTANT.fullmatch(text) else text)


def _is_code(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def say(text: str) -> Said | None:
    """Return a sentence of another room in the language of this request, with its numbers, names and instants; None if it is known in English only."""
    if isinstance(text, Said):
        return text
    if isinstance(text, Sentence):
        values, one, many = text.values, text.template, text.many
    else:
        values, one, many = {}, str(text), None
    if current() != "en" and one not in sentences(current()):
        return None
    found = gettext(one) if many is None else ngettext(one, many, int(values["count"]))
    shown = {name: _shown(language_by_tag(value) if name == "language" and _is_code(value) else value) for name, value in values.items()}
    return Said(found.format(**shown) if values else found)


def told(text: str) -> str:
    """Return a sentence in the language of this request where it is known, else in English."""
    return say(text) or str(text)


def language_name(code: str) -> str:
    """Return the name of an ISO 639-3 code in the language of this request, where it is known, else the code."""
    from langcodes import Language

    known, found = Locale.parse(current()).languages, Language.get(code)
    return str(known.get(found.to_tag()) or known.get(found.prefer_macrolanguage().to_tag()) or code)


def language_by_tag(tag: str) -> str:
    """Return the name of a language by its ISO 639-3 code or BCP 47 tag, with the tag where it says more; the tag alone where the name is not known."""
    name = language_name(tag.partition("-")[0])
    return tag if name == tag.partition("-")[0] else name if "-" not in tag else f"{name} ({tag})"


def country_name(code: str) -> str:
    """Return the name of an ISO 3166-1 alpha-2 code in the language of this request, where it is known, else the code."""
    return str(Locale.parse(current()).territories.get(code, code))


def span(seconds: int) -> str:
    """Return a length of time in words, to the second: rules are told by it. Months and years are none of its units, for they differ in length."""
    left, parts = seconds, list[str]()
    for unit, length in _LENGTHS if seconds and not seconds % _LENGTHS[0][1] else _LENGTHS[1:]:
        count, left = divmod(left, length)
        if count or (unit == "second" and not parts):
            parts.append(str(format_unit(count, f"duration-{unit}", "long", locale=current())))
    return listed(parts)


def until(instant: str, now: str) -> str:
    """Return how long it is from now to an instant, in words; negative spans read as the past."""
    return str(format_timedelta(datetime.fromisoformat(instant) - datetime.fromisoformat(now), add_direction=True, locale=current()))
