"""Sentences that can be said in another language: English as they stand, and still knowing their template and what was put into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

__all__ = ["Sentence", "either", "percent"]


class Sentence(str):
    """An English sentence; whoever shows it to people elsewhere finds its template and values here, and needs no parser.

    To everything else it is the str it reads as: printed, compared, signed and written like any other.

    Args:
        template: with {names} of values; taken as it stands if there are no values.
        many: the same for any count but one, where the words differ.
        values: numbers, names, instants, and other sentences; where a template says {count}, that number decides the form, in languages that have more than English.
    """

    __slots__ = ("many", "template", "values")
    template: str
    many: str | None
    values: dict[str, Any]

    def __new__(cls, template: str, many: str | None = None, /, **values: Any) -> Self:
        """Return the sentence; one without values that is a sentence already, as it is."""
        if isinstance(template, cls) and not values:
            return template
        chosen = template if many is None or values["count"] == 1 else many
        made = super().__new__(cls, chosen.format(**values) if values else chosen)
        made.template, made.many, made.values = str(template), many or (str(template) if "{count" in template else None), values
        return made

    def indented(self, by: int) -> Sentence:
        """Return it as a line of a list on a terminal; the template has no space before it, since pages make lists by other means."""
        made = str.__new__(type(self), " " * by + self)
        made.template, made.many, made.values = self.template, self.many, self.values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str, str | None], dict[str, Any]]:
        """Return what copies and pickles are made from."""
        return (self.template, self.many), self.values


def either(words: Sequence[str], joint: Literal["and", "or"]) -> str:
    """Return a list of words as a sentence would have it: `a, b and c`, or with `or`; sentences among them stay sentences."""
    made, *between = words[:-1] or words
    for one in between:
        made = Sentence("{before}, {next}", before=made, next=one)
    if len(words) == 1:
        return made
    ends = {"before": made, "last": words[-1]}
    return Sentence("{before} and {last}", **ends) if joint == "and" else Sentence("{before} or {last}", **ends)


def percent(number: int) -> Sentence:
    """Return a share as people write it; where the sign stands is the language's."""
    return Sentence("{number}%", number=number)
