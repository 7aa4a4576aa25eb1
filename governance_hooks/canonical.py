"""Canonical JSON (RFC 8785) and the digests taken over it.

Every signed or hashed JSON document has exactly one byte form. `loads` refuses anything else:
duplicate keys, NaN, integers of 2^53 and over, floats where the schema has none, and bytes that
differ from their own canonical form. So two readers can never see two different documents.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NoReturn

import rfc8785
from pydantic_core import from_json, to_json

from governance_hooks.errors import BadInput

__all__ = ["CanonicalError", "digest", "digest_of_texts", "dumps", "is_digest", "loads", "sha256"]

MAX_SAFE_INTEGER = 2**53 - 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# For documents without fractions and with ASCII keys, the standard library's C encoder writes the RFC 8785 bytes (tested
# against rfc8785), several times faster.
_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


class CanonicalError(BadInput):
    """Bytes that are not the canonical form of one JSON document."""


def dumps(value: Any) -> bytes:
    """Return the RFC 8785 bytes of `value`; raise CanonicalError if it has none."""
    try:
        return _PLAIN.encode(value).encode() if _simple(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise CanonicalError(f"value has no canonical JSON form: {error}") from error


def _simple(value: Any) -> bool:
    """Tell whether a value has ASCII keys, no fractions and only safe integers, all the way down."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and name.isascii() and (type(item) is str or _simple(item)) for name, item in value.items())
    if kind is list:
        return all(type(item) is str or _simple(item) for item in value)
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    return kind is str or kind is bool or value is None


def loads(data: bytes, *, floats: bool = False, source: str = "document") -> Any:
    """Parse canonical JSON; `floats=True` also admits non-integers (plans, metrics), never in statements.

    Raises:
        CanonicalError: not UTF-8, not JSON, duplicate keys, unsafe numbers, or not canonical.
    """
    if data.isascii():
        # ASCII bytes that a compact writer gives back unchanged have one spelling and no doubled key; what is left to ask
        # is whether keys are sorted and numbers whole and small. A replay of a log comes by here for every entry.
        try:
            value = from_json(data)
            if to_json(value) == data and _plain(value):
                return value
        except ValueError:
            pass
    return _loads_or_say_why(data, floats, source)


def _plain(value: Any) -> bool:
    """Tell whether the keys of parsed JSON are sorted and its numbers whole and safe, all the way down."""
    kind = type(value)
    if kind is dict:
        keys = list(value)
        return keys == sorted(keys) and all(_plain(item) for item in value.values() if type(item) is not str)
    if kind is list:
        return all(_plain(item) for item in value if type(item) is not str)
    return kind is not float and (kind is not int or -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)


def _loads_or_say_why(data: bytes, floats: bool, source: str) -> Any:
    def refuse(what: str, value: object = None) -> NoReturn:
        raise CanonicalError(f"{source}: {what}", value=value, allowed="canonical JSON (RFC 8785)")

    plain = True

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal plain
        out = dict(items)
        plain = plain and all(map(str.isascii, out))
        if len(out) != len(items):
            refuse("duplicate key", sorted(k for k, _ in items))
        return out

    def integer(text: str) -> int:
        number = int(text) if len(text) <= 17 else MAX_SAFE_INTEGER + 1
        if abs(number) > MAX_SAFE_INTEGER:
            refuse("integer of 2^53 or more", text[:40])
        return number

    def real(text: str) -> float:
        nonlocal plain
        plain = False
        if not floats:
            refuse("number is not an integer", text)
        return float(text)

    try:
        value = json.loads(data.decode(), object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=lambda c: refuse("not a number", c))
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON in UTF-8 ({error})")
    try:
        canonical = _PLAIN.encode(value).encode() if plain else dumps(value)
    except UnicodeEncodeError as error:
        refuse(f"text is not Unicode ({error.reason})")
    except RecursionError:
        refuse("nested too deep")
    if canonical != data:
        refuse("bytes differ from their canonical form")
    return value


def sha256(data: bytes) -> str:
    """Return `sha256:<hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Return `sha256:<hex>` of the canonical JSON of `value`."""
    return sha256(dumps(value))


def digest_of_texts(value: dict[str, Any]) -> str:
    """Return `digest(value)`, several times faster, of an object of ASCII keys that holds texts, whole numbers below 2^53, and lists of these.

    Raises:
        CanonicalError: a text that is not Unicode. That the object holds nothing else is the caller's word.
    """
    try:
        return sha256(_PLAIN.encode(value).encode())
    except UnicodeEncodeError as error:
        raise CanonicalError(f"value has no canonical JSON form: text is not Unicode ({error.reason})") from error


def is_digest(text: object) -> bool:
    """Tell whether `text` is a lower-case `sha256:<64 hex>`."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None
