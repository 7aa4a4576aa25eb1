"""Coin-flip canaries: sentences nobody wrote, half of which go into training, so that one run shows how much a model leaks.

For each of m canaries a fair coin decides whether it is in. After training, an auditor who holds the sealed list guesses from the
model alone which were in; guessing better than chance bounds the leak from below (Steinke, Nasr, Jagielski 2023, arXiv 2305.08846).
All comes from one secret seed by HMAC-SHA-256; the commitment to the seed is published before training, the seed after the audit.

A canary says what it is in its first word and is otherwise random, so it never looks like a member's text, and no member's row is
ever one. The card must say that they are there.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

__all__ = ["PREFIX", "RULE", "SEED_BYTES", "Canary", "canaries", "commitment"]

RULE: Final = "canaries/v1"
MAX: Final = 100_000
SEED_BYTES: Final = 32
PREFIX: Final = "canary-"
"""How the id of a canary begins, and of no member's record."""

_SYLLABLES: Final = tuple(consonant + vowel for consonant in "bdfgklmnprstvwxz" for vowel in "aiou")
"""64 syllables: six bits each, pronounceable enough to survive any tokenizer and in no language."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One line of the sealed list."""

    canary: str
    """Its id, the first word of its prompt."""
    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    included: bool = field(repr=False)
    """Whether the coin put it into the training rows."""


def commitment(seed: bytes) -> str:
    """Return the digest to publish before training."""
    _require(seed)
    return sha256(b"\0".join([RULE.encode(), seed]))


def canaries(seed: bytes, count: int) -> list[Canary]:
    """Return the sealed list, in order; the rows to insert are those that are `included`.

    Args:
        seed: 32 random bytes, secret until the audit.
        count: how many; a coin is flipped for each.

    Raises:
        BadInput: the seed has another length, or `count` is out of range.
    """
    _require(seed)
    if not 1 <= count <= MAX:
        raise BadInput("canaries", value=count, allowed=f"1 to {MAX}")
    made = []
    for number in range(count):
        stream = b"".join(hmac.digest(seed, f"{RULE} {number} {part}".encode(), "sha256") for part in range(2))
        syllables = [_SYLLABLES[byte % 64] for byte in stream[:40]]
        words = ["".join(syllables[start : start + 4]) for start in range(0, 40, 4)]
        name = f"{PREFIX}{number:06d}-{sha256(stream)[7:15]}"
        made.append(Canary(name, f"{name} {' '.join(words[:4])}", " ".join(words[4:]), bool(stream[-1] & 1)))
    return made


def _require(seed: bytes) -> None:
    if len(seed) != SEED_BYTES:
        raise BadInput("canary seed", value=f"{len(seed)} bytes", allowed=f"{SEED_BYTES} random bytes")
