"""Signed notes (C2SP signed-note): how keys are named and written, and how signature lines are laid out."""

from __future__ import annotations

import base64
import hashlib
import re

from governance_hooks.errors import Refused
from governance_hooks.ssh.wire import decode_base64

__all__ = ["MAX_NOTE", "NAME", "key_id", "read_line", "read_vkey", "signature_line", "split_note", "vkey"]

MAX_NOTE = 1 << 16
"""Bytes of the longest note we read: 16 cosignatures of the longest kind fit in."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
"""Names we give to keys: narrower than the specification, which forbids only blanks and plus signs."""

_LINE = re.compile(r"— ([^\s+]{1,255}) ([A-Za-z0-9+/]+={0,2})")


def key_id(name: str, kind: int, raw: bytes) -> bytes:
    """Return the 4-byte id of a key of this signature type."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + raw).digest()[:4]


def vkey(name: str, kind: int, raw: bytes) -> str:
    """Return the verifier key `name+id+base64(type || key)`."""
    return f"{name}+{key_id(name, kind, raw).hex()}+{base64.b64encode(bytes([kind]) + raw).decode()}"


def read_vkey(text: str) -> tuple[str, int, bytes]:
    """Return (name, signature type, raw key) of a verifier key; raise Refused if it is malformed or its id does not match."""
    name, _, rest = text.partition("+")
    stated, _, encoded = rest.partition("+")
    data = decode_base64(encoded)
    if not NAME.fullmatch(name) or not data:
        raise Refused("not a note verifier key", value=text[:60], allowed="name+id+base64")
    if key_id(name, data[0], data[1:]).hex() != stated:
        raise Refused("note verifier key does not match its hash", value=text[:60])
    return name, data[0], data[1:]


def signature_line(name: str, identifier: bytes, signature: bytes) -> str:
    """Return one signature line of a note, with its newline."""
    return f"— {name} {base64.b64encode(identifier + signature).decode()}\n"


def read_line(line: str) -> tuple[str, bytes, bytes]:
    """Return (name, key id, signature) of a signature line without its newline; raise Refused if it is none."""
    match = _LINE.fullmatch(line)
    blob = decode_base64(match[2]) if match else b""
    if match is None or len(blob) <= 4:
        raise Refused("not a signature line of a note", value=line[:60])
    return match[1], blob[:4], blob[4:]


def split_note(note: str) -> tuple[str, list[str]]:
    """Return a note's text (with its last newline) and its signature lines; raise Refused if it has none or is too long."""
    text, separator, signed = note.rpartition("\n\n")
    lines = signed.split("\n")
    if not separator or len(lines) < 2 or lines[-1] != "" or len(note) > MAX_NOTE or len(note.encode("utf-8", "replace")) > MAX_NOTE:
        raise Refused("not a signed note", value=note[:80], allowed=f"text, an empty line, signature lines; at most {MAX_NOTE} bytes")
    return text + "\n", lines[:-1]
