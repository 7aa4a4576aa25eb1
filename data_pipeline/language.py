"""Language codes (ISO 639-3) and tags (BCP 47): validity, canonical form, English names and did-you-mean, offline.

The table is the IANA language subtag registry that `langcodes` bundles (RFC 5646 takes its three-letter subtags from
ISO 639-3). Two-letter subtags are mapped to their ISO 639-3 code. Collections (ISO 639-5), private use, the four special
codes (mis, mul, und, zxx) and deprecated codes are no language a text can be in, so they are refused.
"""

from __future__ import annotations

import difflib
from functools import cache, lru_cache

from governance_hooks.errors import BadInput
from governance_hooks.sentence import Sentence

__all__ = ["allowed_languages", "check_language", "is_language", "language_name", "parse_tag", "script_of", "suggest_languages"]

_MAX_TAG = 64
_NAMED = {"simplified chinese": "zh-Hans", "traditional chinese": "zh-Hant"}
"""Names in the `language` column of Aya that say a script."""


@cache
def _registry() -> tuple[dict[str, str], dict[str, str]]:
    """Return ISO 639-3 code -> English name, and other spellings (two letters, bibliographic, replaced, names) -> code."""
    try:
        from langcodes.data_dicts import LANGUAGE_ALPHA3, LANGUAGE_ALPHA3_BIBLIOGRAPHIC
        from langcodes.registry_parser import parse_registry
    except ImportError as error:
        raise BadInput("the package langcodes is not installed", next="pip install 'commonweights[data]'") from error

    names: dict[str, str] = {}
    others: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for item in parse_registry():
        if item["Type"] != "language" or item.get("Scope") in ("collection", "private-use", "special"):
            continue
        tag = item["Subtag"]
        code = tag if len(tag) == 3 else LANGUAGE_ALPHA3.get(tag)
        if "Deprecated" in item:
            if "Preferred-Value" in item:
                replaced[tag] = item["Preferred-Value"]
        elif code is not None and len(code) == 3:
            names[code] = item["Description"][0]
            for spelling in (tag, *item["Description"]):
                others.setdefault(spelling.lower(), code)
    for tag, code in LANGUAGE_ALPHA3_BIBLIOGRAPHIC.items():
        others.setdefault(code, LANGUAGE_ALPHA3.get(tag, code))
    for tag, preferred in replaced.items():
        others.setdefault(tag, LANGUAGE_ALPHA3.get(preferred, preferred))
    return names, {spelling: code for spelling, code in others.items() if spelling not in names and code in names}


def is_language(code: str) -> bool:
    """Tell whether `code` is an ISO 639-3 code of one language or macrolanguage."""
    return code in _registry()[0]


def language_name(code: str) -> str:
    """Return the English name of a code; raise BadInput for an unknown one."""
    check_language(code)
    return _registry()[0][code]


@lru_cache(maxsize=1024)
def suggest_languages(text: str) -> list[str]:
    """Return up to three codes somebody who wrote `text` may have meant, best first."""
    names, others = _registry()
    wanted = text.strip().lower()[:40]
    if wanted in names:
        return [wanted]
    for key in (wanted, wanted.replace("_", "-").split("-")[0]):
        if key in others:
            return [others[key]]
        if key in names:
            return [key]
    if len(wanted) <= 4:
        return difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    return [others[name] for name in difflib.get_close_matches(wanted, others, n=3, cutoff=0.75)]


def allowed_languages(text: str) -> str:
    """Return the `allowed` line of an error about the unknown code `text`."""
    near = ", ".join(f"{code} ({_registry()[0][code]})" for code in suggest_languages(text[:64]))
    if near:
        return Sentence("an ISO 639-3 code; did you mean {near}?", near=near)
    return Sentence("an ISO 639-3 code, for example {codes}", codes="spa, hin, zho")


def check_language(code: str, *, where: str = "language") -> str:
    """Return `code` if it is an ISO 639-3 code; raise BadInput with the nearest ones if not."""
    if not is_language(code):
        raise BadInput(Sentence("{where}: unknown language code", where=where), value=code, allowed=allowed_languages(code))
    return code


@cache
def _subtags() -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return ISO 639-3 code -> shortest subtag, and (type, lower-case subtag or whole tag) -> its preferred canonical form."""
    from langcodes.data_dicts import LANGUAGE_ALPHA3
    from langcodes.registry_parser import parse_registry

    known: dict[tuple[str, str], str] = {}
    for item in parse_registry():
        if item["Type"] in ("script", "region", "variant", "extlang", "grandfathered") and item.get("Description") != ["Private use"]:
            subtag = item.get("Subtag") or item["Tag"]
            if not ("Deprecated" in item and "Preferred-Value" not in item):
                known[item["Type"], subtag.lower()] = item.get("Preferred-Value", subtag)
    return {code: tag for tag, code in LANGUAGE_ALPHA3.items() if len(tag) == 2}, known


@lru_cache(maxsize=4096)
def parse_tag(text: str, *, where: str = "language", names: bool = False) -> tuple[str, str]:
    """Return the ISO 639-3 code and the canonical BCP 47 tag (RFC 5646) a text declares; the tag is empty where it says no more than the code.

    `hi-latn` gives `("hin", "hi-Latn")`, `spa` and `es` give `("spa", "")`, `zh-yue` gives `("yue", "")`. Private use and extensions are
    refused: they could hold anything.

    Args:
        text: a BCP 47 tag (`_` counts as `-`) or an ISO 639-3 code.
        where: what an error calls it.
        names: accept English names as Aya writes them (`Spanish`, `Simplified Chinese`) too.

    Raises:
        BadInput: none of these; with the nearest codes.
    """
    codes, others = _registry()
    shortest, known = _subtags()
    wanted = text if len(text) <= _MAX_TAG and text.isascii() else ""
    if names and (spelled := wanted.strip().lower()) in _NAMED:
        wanted = _NAMED[spelled]
    elif names and len(spelled) > 3 and spelled in others:
        wanted = others[spelled]
    wanted = wanted.replace("_", "-").lower()
    wanted = known.get(("grandfathered", wanted), wanted).lower()
    first, *rest = wanted.split("-")
    code = first if first in codes else others.get(first, "") if len(first) == 2 else ""
    if rest and (extended := known.get(("extlang", rest[0]))) is not None:
        code, rest = (extended if extended in codes and code in codes else ""), rest[1:]
    parts: list[str] = []
    for kind in ("script", "region", *["variant"] * 4):
        if rest and (kind, rest[0]) in known:
            parts.append(known[kind, rest.pop(0)])
    if code not in codes or rest or len(parts) != len(set(parts)):
        raise BadInput(Sentence("{where}: unknown language tag", where=where), value=text, allowed=_allowed_tags(text, rest[0] if code and rest else ""))
    return code, "-".join((shortest.get(code, code), *parts)) if parts else ""


def _allowed_tags(text: str, subtag: str) -> str:
    _, known = _subtags()
    if subtag:
        near = difflib.get_close_matches(subtag, [other for kind, other in known if kind in ("script", "region")], n=3, cutoff=0.7)
        forms = [known.get(("script", one)) or known["region", one] for one in near]
        such = "hi-Latn, pt-BR, zh-Hant"
        if forms:
            return Sentence("a BCP 47 tag such as {such}; did you mean {near} in place of {subtag}?", such=such, near=", ".join(forms), subtag=subtag)
        return Sentence("a BCP 47 tag such as {such}; {subtag} is no script, region or variant", such=such, subtag=subtag)
    return Sentence("a BCP 47 tag such as {such}, or {code}", such="hi-Latn", code=allowed_languages(text))


def script_of(tag: str) -> str | None:
    """Return the script a canonical tag declares (ISO 15924, `Latn`), or None if it declares none."""
    return next((part for part in tag.split("-")[1:2] if len(part) == 4 and part.isalpha()), None)
