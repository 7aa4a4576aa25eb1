"""Answers to statements on the command line: `agree=1,4-6 disagree=2`, what is not named is passed over; and the result in lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from commonweights.texts import shown
from commonweights.workspace import Workspace
from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult
from portal.opinion.found import Found, OpinionMap

__all__ = ["answers_of", "lines_of", "map_lines"]

_WORD = re.compile(r"(agree|disagree|pass)=([0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*)", re.ASCII)
_ALLOWED = "agree=1,4-6 disagree=2: numbers of statements from 1 to {most}, each once; the others are passed over"


def answers_of(words: Sequence[str], statements: int) -> list[str]:
    """Return one answer for each statement from words as they are typed; raise BadInput for a word, or a number, that does not fit."""
    found: dict[int, str] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise BadInput("this is no answer to statements", value=word, allowed=_ALLOWED.format(most=statements))
        for part in match[2].split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            if not numbers or numbers[0] < 1 or numbers[-1] > statements or found.keys() & set(numbers):
                raise BadInput("a number does not fit", value=f"{match[1]}={part}", allowed=_ALLOWED.format(most=statements))
            found |= dict.fromkeys(numbers, match[1])
    return [found.get(number, "pass") for number in range(1, statements + 1)]


def lines_of(space: Workspace, motion: Consult, counts: Sequence[dict[str, int]]) -> list[str]:
    """Return the count of each statement, for the terminal."""
    lines = [f"  {shown(space, motion.question)}", "        agree  disagree  pass"]
    for number, (statement, count) in enumerate(zip(motion.options, counts, strict=True), start=1):
        lines.append(f"  {number:>4}  {count['agree']:>5}  {count['disagree']:>8}  {count['passed']:>4}  {shown(space, statement)}")
    return lines


def map_lines(space: Workspace, motion: Consult, drawn: OpinionMap) -> list[str]:
    """Return groups and what unites and divides them, for the terminal."""
    text = [shown(space, one) for one in motion.options]
    lines = ["", f"  opinion map of {drawn.members} members: {_STATES[drawn.state]}"]
    if drawn.state in ("groups", "chance"):
        lines.append(f"  silhouette {drawn.silhouette:.2f}; the same answers shuffled reach {drawn.by_chance:.2f} at most")
    for group in drawn.groups:
        lines.append(f"  group {group.name}, {group.members} members")
        lines += [_said(one, text) for one in group.represented]
    if drawn.consensus:
        lines.append("  what members agree on")
        lines += [_said(one, text) for one in drawn.consensus]
    if drawn.divisive:
        lines.append("  what divides the groups")
        for each in drawn.divisive:
            shares = ", ".join(
                f"{group.name} {count.agree} of {count.agree + count.disagree + count.passed}" for group, count in zip(drawn.groups, each.by_group, strict=True)
            )
            lines.append(f"    {each.statement + 1:>3}  agree: {shares}  {text[each.statement]}")
    return [*lines, "  a map describes; it decides nothing"] if drawn.groups or drawn.consensus else lines


def _said(one: Found, text: Sequence[str]) -> str:
    outside = f" ({one.others} of {one.others_of} elsewhere)" if one.others_of else ""
    return f"    {one.statement + 1:>3}  {one.count} of {one.of} {one.answer}{outside}  {text[one.statement]}"


_STATES = {
    "few-members": "too few have an opinion for a map",
    "few-statements": "too few statements for a map",
    "alike": "nearly everybody says the same, there is nothing to draw",
    "no-groups": "no groups of five members or more stand out",
    "chance": "groups stand out no more than chance would have it",
    "groups": "groups stand out",
    "too-many": "too many answers for a map",
}
