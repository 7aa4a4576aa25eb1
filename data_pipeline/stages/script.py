"""Unicode scripts: which one a character belongs to, and which ones a language is written in; offline.

Python's tables name every character but not its script; the first word of the name is the script for all letters of the scripts
listed here. Which scripts a language uses comes from CLDR's likely subtags, which `langcodes` bundles.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache
from typing import Final

from governance_hooks.errors import BadInput

__all__ = ["expected_scripts", "letters_by_script", "written_in"]

_NAMES: Final = dict(
    re.findall(
        r"(\w+):(\w+)",
        "Adlm:ADLAM Arab:ARABIC Armn:ARMENIAN Beng:BENGALI Bopo:BOPOMOFO Cans:CANADIAN Cher:CHEROKEE Cyrl:CYRILLIC Deva:DEVANAGARI Ethi:ETHIOPIC "
        "Geor:GEORGIAN Grek:GREEK Gujr:GUJARATI Guru:GURMUKHI Hang:HANGUL Hani:CJK Hebr:HEBREW Hira:HIRAGANA Java:JAVANESE Kana:KATAKANA "
        "Khmr:KHMER Knda:KANNADA Laoo:LAO Latn:LATIN Mlym:MALAYALAM Mong:MONGOLIAN Mymr:MYANMAR Nkoo:NKO Olck:OL Orya:ORIYA Sinh:SINHALA "
        "Syrc:SYRIAC Taml:TAMIL Telu:TELUGU Tfng:TIFINAGH Thaa:THAANA Thai:THAI Tibt:TIBETAN Vaii:VAI Yiii:YI",
    )
)
_CODES: Final = {name: code for code, name in _NAMES.items()}
_MIXED: Final = {
    "Jpan": {"Hira", "Kana", "Hani"},
    "Kore": {"Hang", "Hani"},
    "Hans": {"Hani"},
    "Hant": {"Hani"},
    "Hanb": {"Hani", "Bopo"},
    "Hrkt": {"Hira", "Kana"},
}


_WORD: Final = 24
"""Longer words are rare, and not worth remembering."""


@lru_cache(maxsize=1 << 16)
def _script(character: str) -> str | None:
    if unicodedata.category(character)[0] != "L":
        return None
    words = unicodedata.name(character, "").split()
    if words and words[0] in ("FULLWIDTH", "HALFWIDTH"):
        del words[0]
    return _CODES.get(words[0]) if words else None


def letters_by_script(text: str) -> Counter[str]:
    """Count the letters of each script (ISO 15924); digits, marks, symbols and letters of scripts not listed here are left out."""
    counts: Counter[str] = Counter()
    for character, number in Counter(text).items():
        script = _script(character)
        if script is not None:
            counts[script] += number
    return counts


def written_in(word: str, scripts: frozenset[str]) -> bool:
    """Tell whether a word has a letter of one of the scripts."""
    return _written_in(word, scripts) if len(word) <= _WORD else any(_script(letter) in scripts for letter in word)


@lru_cache(maxsize=1 << 16)  # a few words make up most of any text
def _written_in(word: str, scripts: frozenset[str]) -> bool:
    return any(_script(letter) in scripts for letter in word)


@cache
def expected_scripts(language: str) -> frozenset[str] | None:
    """Return the scripts an ISO 639-3 language, or else its macrolanguage, is written in somewhere; None if the tables do not say."""
    try:
        from langcodes import Language
        from langcodes.data_dicts import LIKELY_SUBTAGS, MACROLANGUAGES
    except ImportError as error:
        raise BadInput("the package langcodes is not installed", next="pip install 'commonweights[data]'") from error

    own = Language.get(language).language or language
    for tag in (own, MACROLANGUAGES.get(own, own)):
        codes = {value.split("-")[1] for key, value in LIKELY_SUBTAGS.items() if key == tag or key.startswith(f"{tag}-")}
        scripts = frozenset(script for code in codes for script in _MIXED.get(code, {code})) & _NAMES.keys()
        if scripts:
            return frozenset(scripts)
    return None
