"""What a log and a witness say to each other (C2SP tlog-witness): the request `add-checkpoint`, and its answers.

The same bytes go over HTTP, or as files by mail or on a stick.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from governance_hooks.checkpoint import Checkpoint, read_body
from governance_hooks.errors import Refused
from governance_hooks.note import MAX_NOTE
from governance_hooks.ssh.wire import decode_base64

__all__ = ["AGAIN_S", "MAX_PROOF", "MAX_REQUEST", "SIZE_TYPE", "Answer", "Request", "read_size"]

AGAIN_S = 3600
"""A witness signs a tree it has cosigned anew after so many seconds; until then it gives the same signature again."""
MAX_PROOF = 63
"""Lines of the longest consistency proof."""
MAX_REQUEST = MAX_NOTE + 64 * 46
"""Bytes of the longest request."""
SIZE_TYPE = "text/x.tlog.size"
"""Content type of the answer that states which size the witness has."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint, and the proof that it extends the tree of `old` entries the witness cosigned last."""

    old: int
    path: tuple[bytes, ...]
    note: str

    def dumps(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old}\n", *(base64.b64encode(step).decode() + "\n" for step in self.path)]
        return ("".join(lines) + "\n" + self.note).encode()

    @classmethod
    def loads(cls, data: bytes) -> Request:
        """Parse the body of a request; raise Refused if it is malformed or too long. No signature is checked."""
        if len(data) > MAX_REQUEST:
            raise Refused("the request is too long", value=len(data), allowed=f"{MAX_REQUEST} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise Refused("the request is not UTF-8") from error
        if any(c < " " and c != "\n" for c in text):
            raise Refused("the request holds control characters")
        head, separator, note = text.partition("\n\n")
        first, *steps = head.split("\n")
        if not separator or not first.startswith("old ") or len(steps) > MAX_PROOF:
            raise Refused(
                "not a request to cosign a checkpoint", value=first[:60], allowed=f"old SIZE, at most {MAX_PROOF} hashes, an empty line, a checkpoint"
            )
        path = tuple(decode_base64(step) for step in steps)
        if any(len(step) != 32 for step in path):
            raise Refused("a hash of the consistency proof is not 32 bytes")
        return cls(read_size(first.removeprefix("old ")), path, note)

    def claim(self) -> Checkpoint:
        """Return what the checkpoint says, its signatures unchecked; raise Refused if it is none."""
        return read_body(self.note)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers: 200 with its cosignature, 409 with the size it has, or another status of tlog-witness with the reason."""

    status: int
    body: str
    kind: str = "text/plain; charset=utf-8"

    @property
    def size(self) -> int | None:
        """The size the witness has, in the answer 409; None in others. Raises Refused if that is no size."""
        return read_size(self.body.removesuffix("\n")) if self.status == 409 else None

    @property
    def lines(self) -> Sequence[str]:
        """The signature lines of the answer 200."""
        return self.body.split("\n")[:-1] if self.status == 200 else []


def read_size(text: str) -> int:
    """Return a tree size; raise Refused for any but its one decimal form."""
    if not _SIZE.fullmatch(text):
        raise Refused("not a tree size", value=text[:40], allowed="a whole number without leading noughts")
    return int(text)
