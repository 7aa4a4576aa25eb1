"""The seed of a draw: from a checkpoint that did not exist when the pool was frozen, and from its witnesses' signatures.

The checkpoint is not the organisers' to choose: its size is fixed by the log, which names the first statement of the operator dated at
or after `draw_at`. Still, whoever writes the log writes that statement, and can try one wording after the other until they like the
panel, unless witnesses sign: an honest witness signs one tree of a size, gives the same signature again for an hour, and what it will
sign nobody can compute beforehand.
"""

from __future__ import annotations

import hashlib

from governance_hooks.errors import Refused

__all__ = ["seed_of", "witness_lines"]

_DOMAIN = b"coop-panel-seed/v1\n"


def witness_lines(note: str) -> list[str]:
    """Return the cosignature lines of a checkpoint that are not the log's own two."""
    _, separator, signed = note.partition("\n\n")
    if not separator or not signed.endswith("\n"):
        raise Refused("checkpoint is not a signed note", value=note[:60])
    return signed.splitlines()[2:]


def seed_of(panel: str, note: str) -> int:
    """Return the seed, an integer from 1 to 2^256.

    SHA-256 over the domain, the panel's id, the checkpoint's body (origin, size, root) and the witnesses' lines, sorted. The log's own
    signatures and its time are left out: the operator can make as many of them as they like.

    Args:
        panel: the digest of the panel's statement.
        note: the checkpoint's text.
    """
    body = note.partition("\n\n")[0] + "\n"
    material = _DOMAIN + panel.encode() + b"\n" + body.encode() + b"".join(line.encode() + b"\n" for line in sorted(witness_lines(note)))
    return int.from_bytes(hashlib.sha256(material).digest(), "big") or 1  # the program takes 0 for "no seed"
