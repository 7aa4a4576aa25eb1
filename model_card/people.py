"""Counts of people on a card: small ones are withheld, and so is every total from which a small one could be worked out."""

from __future__ import annotations

from typing import Any, Final

from model_card.records import Field, Source, withheld

__all__ = ["SUPPRESS_BELOW", "Crowd", "is_few"]

SUPPRESS_BELOW: Final = 5
"""Counts of people below this are withheld: two members of one language are easy to tell apart."""

RULE: Final = "this card's rule for counts of people"


def is_few(count: object) -> bool:
    """Tell whether a count of people is too small to be shown; none at all is no secret."""
    return isinstance(count, int) and not isinstance(count, bool) and 0 < count < SUPPRESS_BELOW


class Crowd:
    """The people behind one release: knows whether any count by language is withheld, and then withholds the totals too.

    A total beside all parts but one gives that one away (complementary disclosure), and several totals can be combined. So where one
    part is withheld no total of people is shown at all, whatever it is a total of.
    """

    def __init__(self, parts: list[object]) -> None:
        self.some_withheld = any(map(is_few, parts))

    def part(self, source: Source, *keys: str, missing: str = "the record does not hold it") -> Field:
        """Return the number of people in one language, guild or group."""
        return withheld(f"fewer than {SUPPRESS_BELOW}", RULE) if is_few(source.get(*keys)) else source.field(*keys, missing=missing)

    def total(self, source: Source, *keys: str, missing: str = "the record does not hold it") -> Field:
        """Return a number of people over several of them."""
        value = source.get(*keys)
        if self.some_withheld and value:
            return withheld("it would give away a count of fewer than five people", RULE)
        return self.part(source, *keys, missing=missing)


def counts_of(document: Any, *path: str) -> list[object]:
    """Return the values below a path in which `*` stands for every key."""
    if not path:
        return [document]
    if not isinstance(document, dict):
        return []
    keys = list(document) if path[0] == "*" else [path[0]] if path[0] in document else []
    return [value for key in keys for value in counts_of(document[key], *path[1:])]
