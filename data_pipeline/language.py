"""ISO 639-3 language codes: validity, English names and did-you-mean, offline.

The table is the IANA language subtag registry that `langcodes` bundles (RFC 5646 takes its three-letter subtags from
ISO 639-3). Two-letter subtags are mapped to their ISO 639-3 code. Collections (ISO 639-5), private use, the four special
codes (mis, mul, und, zxx) and deprecated codes are no language a text can be in, so they are refused.
"""

from __future__ import annotations

import difflib
from functools import cache, lru_cache

from governance_hooks.errors import BadInput

__all__ = ["allowed_languages", "check_language", "is_language", "language_name", "suggest_languages"]


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
    return "an ISO 639-3 code" + (f"; did you mean {near}?" if near else ", for example spa, hin, zho")


def check_language(code: str, *, where: str = "language") -> str:
    """Return `code` if it is an ISO 639-3 code; raise BadInput with the nearest ones if not."""
    if not is_language(code):
        raise BadInput(f"{where}: unknown language code", value=code, allowed=allowed_languages(code))
    return code
