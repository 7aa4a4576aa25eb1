"""Replace what names or reaches a person by pattern: e-mail, IBAN, public IP address, phone number, payment card.

NOT found: names, postal addresses, anything spelt out ("jane at example dot org"), a national phone number of a country the
language does not suggest, an address in another script than Latin. No pattern finds a name; members are asked for that when they contribute.

Each kind has one constant token, so that the same row always becomes the same text. Running the stage on its result changes
nothing. Reserved example domains (RFC 2606, RFC 6761), private and documentation addresses, well-known resolvers and 1.2.3.4 stay: they
reach nobody. All patterns have bounded parts behind a fixed start, so the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Final

from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.stages.check_digits import card_length, iban_length
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters
from governance_hooks.errors import BadInput

__all__ = ["RULE", "TOKENS", "PiiParameters", "pii", "regions", "scrub"]

RULE: Final = "pii/v1"
TOKENS: Final = {"email": "[EMAIL]", "iban": "[IBAN]", "ip": "[IP]", "phone": "[PHONE]", "card": "[CARD]", "handle": "[HANDLE]"}

# ASCII and Latin letters only: in Chinese or Korean the words around an address touch it.
_NAME = r"A-Za-z0-9\u00c0-\u024f"
_EMAIL = re.compile(
    rf"(?<![{_NAME}_.%+-])[{_NAME}_](?:[{_NAME}_.%+-]{{0,62}}[{_NAME}_])?@(?:[{_NAME}][{_NAME}-]{{0,62}}\.){{1,8}}(?:[A-Za-z]{{2,24}}|xn--[a-z0-9-]{{1,59}})(?![{_NAME}-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}")
_IPV4 = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,35}(?![\w:])")
_CARD = re.compile(r"(?<![0-9])(?<![0-9][ -])[0-9](?:[ -]?[0-9]){12,18}(?![ -]?[0-9])")
# A run of digits and separators that no Latin word, path, version or clock time continues.
_RUN = re.compile(r"(?<![A-Za-z0-9_.:/@#$\\-])[+(]{0,2}\d[\d\s()./\u2010-\u2015-]{5,120}\d(?![A-Za-z0-9_]|:\d)")
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_TRIES: Final = 8
"""Attempts of phonenumbers on one run before it gives up."""
_PASSES: Final = 4
"""A token can free what touched the text it replaced, so a text is read again until nothing changes."""
_SEQUENCE: Final = "01234567890123456789"
_HANDLE = re.compile(r"(?<=[^\s{}`'\"|=:;,] )@[A-Za-z][A-Za-z0-9_]{3,29}(?![\w./@:({-])")
_RESERVED = re.compile(r"(?:^|[.@])(?:example|test|invalid|localhost|local|onion|example\.(?:com|net|org|edu))$", re.IGNORECASE)
_RESOLVERS: Final = {"1.2.3.4", "1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "208.67.222.222", "208.67.220.220"}
# CLDR gives a language one likeliest country; these have more speakers elsewhere than fit in one.
_REGIONS: Final = {
    "ara": ("EG", "SA", "MA"),
    "ben": ("BD", "IN"),
    "deu": ("DE", "AT", "CH"),
    "eng": ("US", "GB", "IN"),
    "fra": ("FR", "CA", "CI"),
    "nld": ("NL", "BE"),
    "por": ("BR", "PT"),
    "spa": ("ES", "MX", "AR"),
    "swa": ("TZ", "KE"),
    "tam": ("IN", "LK"),
    "urd": ("PK", "IN"),
    "zho": ("CN", "TW", "HK"),
}


class PiiParameters(Parameters):
    """What is looked for beside the patterns that are always on."""

    handles: Annotated[int, Field(ge=0, le=1)] = 0
    """1 also replaces @names. Off: among the real rows tried, every one was code (decorators, arguments)."""


@cache
def regions(language: str) -> tuple[str, ...]:
    """Return the countries whose national phone numbers are looked for in an ISO 639-3 language, likeliest first; none if unknown."""
    if language in _REGIONS:
        return _REGIONS[language]
    from langcodes import Language

    likeliest = Language.get(language).maximize().territory
    return (likeliest,) if likeliest and likeliest.isalpha() and likeliest != "ZZ" else ()


def scrub(text: str, language: str, *, handles: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return the text with tokens in place of what was found, and the kinds that were found, sorted."""
    found: set[str] = set()
    for _ in range(_PASSES):
        clean = _scrubbed(text, language, handles, found)
        if clean == text:
            break
        text = clean
    return text, tuple(sorted(found))


def pii(rows: Sequence[Candidate], parameters: PiiParameters, evidence: Evidence = NO_EVIDENCE) -> tuple[list[Candidate], list[Exclusion]]:
    """Replace personal data in prompts and answers and mark those rows `pii:<kind>`; keep all."""
    kept: list[Candidate] = []
    for row in rows:
        found: set[str] = set()
        texts = []
        for text in row.texts:
            clean, kinds = scrub(text, row.language, handles=bool(parameters.handles))
            texts.append(clean)
            found.update(kinds)
        *turns, inputs, targets = texts
        history = tuple(zip(turns[::2], turns[1::2], strict=True))
        kept.append(replace(row, inputs=inputs, targets=targets, history=history).marked(*(f"pii:{kind}" for kind in found)) if found else row)
    return kept, []


def _scrubbed(text: str, language: str, handles: bool, found: set[str]) -> str:
    def to(kind: str, length_of: Callable[[str], int]) -> Callable[[re.Match[str]], str]:
        def token(match: re.Match[str]) -> str:
            length = length_of(match[0])
            if not length:
                return match[0]
            found.add(kind)
            return TOKENS[kind] + match[0][length:]

        return token

    if "@" in text:
        text = _EMAIL.sub(to("email", lambda address: 0 if _RESERVED.search(address) else len(address)), text)
        if handles:
            text = _HANDLE.sub(to("handle", len), text)
    if ":" in text:
        text = _IPV6.sub(to("ip", _public), text)
    if sum(map(str.isdigit, text)) >= 4:
        text = _IBAN.sub(to("iban", iban_length), text)
        text = _IPV4.sub(to("ip", _public), text)
        text = _RUN.sub(lambda match: _phones(match[0], language, found), text)
        text = _CARD.sub(to("card", card_length), text)
    return text


def _public(address: str) -> int:
    """Return the length of a public address of a host, or 0; a colon that ends a sentence is no part of it."""
    bare = address.rstrip(":") if "::" not in address[-2:] else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        return 0
    allocated = parsed.version == 4 or parsed in ipaddress.IPv6Network("2000::/3")
    personal = parsed.is_global and not parsed.is_multicast and allocated and bare not in _RESOLVERS and not bare.endswith(".0")
    return len(bare) if personal else 0


def _phones(text: str, language: str, found: set[str]) -> str:
    """Replace phone numbers in one run: what phonenumbers calls valid in a country of the language, or anywhere after a plus sign."""
    if sum(map(str.isdigit, text)) < 7 or _DOTTED.search(text):
        return text
    try:
        from phonenumbers import Leniency, PhoneNumberMatcher, PhoneNumberType, number_type
    except ImportError as error:
        raise BadInput("the package phonenumbers is not installed", next="pip install 'commonweights[data]'") from error

    for region in regions(language) or (None,):
        for match in reversed(list(PhoneNumberMatcher(text, region, leniency=Leniency.VALID, max_tries=_TRIES))):
            raw = match.raw_string
            # Bare digits are a time stamp or an id unless they make a mobile number; "1234567890" makes one in some country.
            if not raw.isdigit() or (number_type(match.number) == PhoneNumberType.MOBILE and raw not in _SEQUENCE):
                found.add("phone")
                text = text[: match.start] + TOKENS["phone"] + text[match.end :]
    return text
