"""What is found in the answers to statements: groups, what each says, and what all agree on. Counts are whole numbers, positions are for the eye."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["FEWEST_MEMBERS", "FEWEST_STATEMENTS", "MOST_MEMBERS", "SMALLEST_GROUP", "Count", "Divide", "Found", "Group", "OpinionMap", "State"]

SMALLEST_GROUP = 5
"""Fewer members are no group: the house shows no count of fewer people either (`model_card.people`)."""
FEWEST_MEMBERS = 2 * SMALLEST_GROUP
FEWEST_STATEMENTS = 5
MOST_MEMBERS = 10_000

State = Literal["few-members", "few-statements", "too-many", "alike", "no-groups", "chance", "groups", "failed"]


@dataclass(frozen=True, slots=True)
class Count:
    """How the members of one group answer one statement."""

    agree: int
    disagree: int
    passed: int

    @property
    def all(self) -> int:
        """Members of the group."""
        return self.agree + self.disagree + self.passed


@dataclass(frozen=True, slots=True)
class Found:
    """A statement that says something about a group, or about everybody."""

    statement: int
    answer: Literal["agree", "disagree"]
    count: int
    of: int
    others: int = 0
    """Members outside the group who say the same."""
    others_of: int = 0
    """Members outside the group; 0 of what all agree on."""
    representativeness: float = 0.0
    """How many times likelier a member of the group says so than another (Small et al. 2021, with one made-up vote for each answer)."""
    z: float = 0.0
    """Of the difference to others; of what all agree on, of the difference to one half."""


@dataclass(frozen=True, slots=True)
class Divide:
    """A statement with which most of one group agree and most of another do not."""

    statement: int
    by_group: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Members who answer alike, and where they are on the map: an ellipse that holds about two thirds of them, in units of the picture."""

    name: str
    members: int
    x: float
    y: float
    long: float
    short: float
    turn: float
    """Degrees."""
    represented: tuple[Found, ...]
    counts: tuple[Count, ...] = field(repr=False)
    """One for each statement."""
    places: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)
    """Cells (column, row) of the grid in which there are `SMALLEST_GROUP` members of it or more, and how many."""


@dataclass(frozen=True, slots=True)
class OpinionMap:
    """What is found in the answers of a consultation of statements."""

    state: State
    members: int
    """Members with an opinion on some statement: who passes over all of them is counted, and on no map."""
    silhouette: float = 0.0
    by_chance: float = 0.0
    """The best silhouette of the same answers after shuffling each statement's among the members."""
    groups: tuple[Group, ...] = ()
    consensus: tuple[Found, ...] = ()
    divisive: tuple[Divide, ...] = ()
    cells: dict[str, tuple[int, int, str]] = field(default_factory=dict, repr=False)
    """Member -> cell of the grid and group; shown to nobody but that member."""

    def public(self) -> dict[str, Any]:
        """Return it as everybody may read it, as JSON."""
        value = asdict(self)
        del value["cells"]
        return value
