"""JSON somebody else wrote: bounded before it is decoded, decoded before it is parsed, parsed before it is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.source import Source
from data_pipeline.text import Problem

__all__ = ["elements", "parse_object"]

_CHUNK: Final = 1 << 16
_MARKS = re.compile(rb'["\\\[\]{},]')


def parse_object(raw: bytes | None) -> dict[str, Any]:
    """Return the JSON object of some bytes; raise Refused for anything else, doubled keys and NaN among it.

    Args:
        raw: None stands for what was too long to be read.
    """
    if raw is None:
        raise Refused(Problem("the line is too long to hold texts of the allowed size; it was not read"))
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused(Problem("the text is UTF-16", raw[:2].hex(" "), "UTF-8"))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(Problem(f"invalid UTF-8 at byte {error.start}", raw[error.start : error.start + 4].hex(" "), "UTF-8")) from error

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            raise Refused(Problem("a key stands twice in one object", sorted(key for key, _ in items), "each key once"))
        return value

    def constant(text: str) -> None:
        raise Refused(Problem("not a JSON number", text, "a finite number"))

    try:
        value = json.loads(text.removesuffix("\r").removeprefix("\ufeff"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refused(Problem(f"broken JSON: {error}", text[:40], "one JSON object a line")) from error
    if not isinstance(value, dict):
        raise Refused(Problem("not a JSON object", value, "one object a line"))
    return value


def elements(source: Source, limit: int) -> Iterator[bytes | None]:
    """Yield the elements of a JSON list as bytes, None for one of more than `limit` bytes, without holding more than one.

    Only quotes, brackets and commas are looked at here; whether an element is JSON, `parse_object` tells.

    Raises:
        Refused: the file is not one list, whole and alone.
    """
    depth, quoted, ended, skip = 0, False, False, 0
    held, length, elements_seen = bytearray(), 0, 0

    def hold(piece: bytes) -> None:
        nonlocal length
        length += len(piece)
        if length <= limit:
            held.extend(piece)

    def element() -> bytes | None:
        nonlocal length, elements_seen
        whole, length, elements_seen = (bytes(held) if length <= limit else None), 0, elements_seen + 1
        held.clear()
        return whole

    while chunk := source.read(_CHUNK):
        start = at = 0
        at, skip = skip, 0
        while mark := _MARKS.search(chunk, at):
            place, byte = mark.start(), mark[0]
            at = place + 1
            if quoted:
                if byte == b"\\":
                    at, skip = place + 2, int(place + 1 == len(chunk))
                quoted = byte != b'"'
            elif byte == b'"':
                quoted = True
            elif byte in b"[{":
                if depth == 0:
                    if ended or byte == b"{" or chunk[start:place].strip(b" \t\r\n\xef\xbb\xbf"):
                        raise Refused(Problem("not one JSON list", chunk[start : place + 1][:40].decode(errors="replace"), "[ ... ]"))
                    start = at
                depth += 1
            elif byte in b"]}":
                depth -= 1
                if depth == 0:
                    hold(chunk[start:place])
                    if bytes(held).strip() or length > limit or elements_seen:
                        yield element()
                    start, ended = at, True
            elif depth == 1:  # a comma between elements
                hold(chunk[start:place])
                yield element()
                start = at
        if depth:
            hold(chunk[start:])
        elif chunk[start:].strip():
            raise Refused(Problem("text outside the JSON list", chunk[start:].strip()[:40].decode(errors="replace"), "one list and nothing else"))
    if depth or not ended:
        raise Refused(Problem("the JSON list is cut off", None, "a whole file"))
