"""A consultation of statements as its page shows it: the statements with their counts, a member's own answers or draft, and the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance_hooks.motions import Consult
from governance_hooks.state.proposals import Proposal
from portal.i18n import gettext as _
from portal.i18n import listed, number
from portal.opinion.drawing import Answers, installed
from portal.opinion.found import FEWEST_MEMBERS, FEWEST_STATEMENTS, Count, OpinionMap
from portal.service import Service

__all__ = ["KIND", "Deliberation", "MapShown", "Statement", "deliberation_of", "in_short", "map_shown"]

KIND = "coop.opinions/v1"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, how many say what to it, and what the form has for it."""

    text: str
    count: Count
    chosen: str


@dataclass(frozen=True, slots=True)
class Deliberation:
    """A consultation of statements; taken while the register is held, read without."""

    question: str
    statements: tuple[Statement, ...]
    sequence: int
    """Number of the member's next ballot: what a browser kept for an earlier one is old."""
    drafted: bool
    """The form has answers that were drafted and not signed."""
    answers: Answers
    ballots: int


@dataclass(frozen=True, slots=True)
class MapShown:
    """The opinion map as one reader sees it."""

    note: str | None
    """Why there are no groups, or no map at all."""
    map: OpinionMap | None
    stale: bool
    here: tuple[int, int, str] | None
    """Cell and group of the member who reads."""


def deliberation_of(service: Service, found: Proposal, member: str | None) -> Deliberation | None:
    """Return a consultation of statements, None for anything else; hold the register."""
    motion = found.motion
    if not isinstance(motion, Consult) or motion.method != "opinions":
        return None
    missing = _("(the text is not here)")
    answers = {who: one.answers for who, one in found.votes.items()}
    ballots = sum(one.sequence for one in found.votes.values())
    counts = service.maps.counts(found.id, ballots, answers, len(motion.options))
    vote = found.votes.get(member or "")
    sequence = vote.sequence + 1 if vote else 1
    draft = _draft(service, found.id, member, sequence) if member in found.roll else ()
    chosen = draft or (vote.answers if vote else ()) or ("",) * len(motion.options)
    statements = tuple(
        Statement((service.house.text(one) or missing)[:4000], count, said) for one, count, said in zip(motion.options, counts, chosen, strict=True)
    )
    question = (service.house.text(motion.question) or missing)[:20_000]
    return Deliberation(question, statements, sequence, bool(draft), answers, ballots)


def _draft(service: Service, proposal: str, member: str | None, sequence: int) -> tuple[str, ...]:
    """Return the answers a member drafted last and did not sign."""
    for one in reversed(service.private.drafts.open(kind=KIND, author=member)):
        payload = one.value["payload"]
        if (payload["proposal"], payload["sequence"]) == (proposal, sequence):
            return tuple(payload["answers"])
    return ()


def map_shown(service: Service, proposal: str, asked: Deliberation, member: str | None) -> MapShown:
    """Return the map of a consultation, or why there is none; may wait for it, so hold nothing."""
    if not asked.answers:
        return MapShown(None, None, False, None)
    if not installed():
        return MapShown(_("This server draws no maps. Engineers see them with coop tally --groups."), None, False, None)
    drawn = service.maps.of(proposal, asked.ballots, asked.answers, member)
    if drawn is None:
        return MapShown(_("The map is being drawn. Look again in a moment."), None, False, None)
    found = drawn.map
    note = {
        "few-members": _("A map needs %(num)s members with an opinion; there are %(have)s. The counts are the result.")
        % {"num": number(FEWEST_MEMBERS), "have": number(found.members)},
        "few-statements": _("A map needs %(num)s statements; there are %(have)s. The counts are the result.")
        % {"num": number(FEWEST_STATEMENTS), "have": number(len(asked.statements))},
        "too-many": _("There are too many answers for a map here. The counts are the result."),
        "alike": _("Everybody says the same: there is nothing to draw."),
        "no-groups": _("No groups stand out: nowhere do five members or more answer alike and apart from the others."),
        "chance": _("No groups stand out: the same answers, shuffled among members, look as grouped as these."),
        "failed": _("The map could not be drawn. The counts are the result."),
    }.get(found.state)
    return MapShown(note, found, drawn.ballots != asked.ballots, found.cells.get(member or "") if found.groups else None)


def in_short(answers: Sequence[str]) -> str:
    """Return what somebody agreed and disagreed with, by number: `agree: 1, 4–6 · disagree: 2`."""
    said = {word: _ranges([at for at, one in enumerate(answers, start=1) if one == word]) for word in ("agree", "disagree")}
    parts = [
        _("agree: %(numbers)s") % {"numbers": said["agree"]} if said["agree"] else "",
        _("disagree: %(numbers)s") % {"numbers": said["disagree"]} if said["disagree"] else "",
    ]
    return " · ".join(filter(None, parts)) or _("passed over everything")


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as `1, 4–6`."""
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return listed(number(first) if first == last else f"{number(first)}–{number(last)}" for first, last in runs)
