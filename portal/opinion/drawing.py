"""Draws the opinion map of a consultation: counts in whole numbers here, groups in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult
from governance_hooks.preferences import opinions
from governance_hooks.state.proposals import Proposal
from portal.opinion.found import FEWEST_MEMBERS, FEWEST_STATEMENTS, MOST_MEMBERS, SMALLEST_GROUP, Count, Divide, Found, Group, OpinionMap, State

__all__ = ["CELLS", "answers_of", "draw", "draw_answers", "installed"]

CELLS: Final = 16
"""Cells of the grid, each way: nobody's place is shown closer than that, not even their own."""
TIME_S: Final = 300
"""Wall time; the process itself may use `groups.CPU_S` of a core."""
_SIGN: Final = {"agree": "+", "disagree": "-", "pass": "0"}
_REACH: Final = 1.5
"""Standard deviations that an ellipse reaches: about two thirds of a normal cloud in the plane."""

Answers = Mapping[str, Sequence[str]]


def installed() -> bool:
    """Tell whether the library that finds groups is here."""
    return importlib.util.find_spec("reddwarf") is not None


def answers_of(proposal: Proposal) -> dict[str, tuple[str, ...]]:
    """Return each member's answers; raise BadInput if it is no consultation of statements."""
    if not isinstance(proposal.motion, Consult) or proposal.motion.method != "opinions":
        raise BadInput("only a consultation of statements has an opinion map", value=proposal.kind, allowed="a consultation with method opinions")
    return {member: vote.answers for member, vote in proposal.votes.items()}


def draw(proposal: Proposal) -> OpinionMap:
    """Return the opinion map of a consultation of statements.

    Raises:
        BadInput: it is none, or red-dwarf is not installed.
    """
    answers = answers_of(proposal)
    if not installed():
        raise BadInput("red-dwarf is not installed", next="pip install 'commonweights[opinions]'")
    return draw_answers(answers)


def draw_answers(answers: Answers) -> OpinionMap:
    """Return the map of answers, one word for each statement; it depends on them alone, not on their order."""
    members = sorted(member for member, said in answers.items() if any(one != "pass" for one in said))
    statements = len(next(iter(answers.values()), ()))
    refused: State | None = (
        "few-statements"
        if answers and statements < FEWEST_STATEMENTS
        else "few-members"
        if len(members) < FEWEST_MEMBERS
        else "too-many"
        if len(members) > MOST_MEMBERS
        else None
    )
    if refused is not None:
        return OpinionMap(refused, len(members))
    rows = "\n".join("".join(_SIGN[one] for one in answers[member]) for member in members)
    found = _apart(rows)
    return OpinionMap("failed", len(members)) if found is None else _read(found, answers, members)


def _apart(rows: str) -> dict[str, Any] | None:
    """Find groups in a process of its own; None if it failed or took too long."""
    try:
        # Nothing of our environment: this process needs no password and no address, and must not have any.
        done = subprocess.run(
            [sys.executable, "-m", "portal.opinion.groups"],
            input=rows,
            capture_output=True,
            text=True,
            timeout=TIME_S,
            check=True,
            env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _read(found: dict[str, Any], answers: Answers, members: list[str]) -> OpinionMap:
    positions: list[tuple[float, float]] = [(x, y) for x, y in found["positions"]]
    labels: list[int] = found["labels"] or [0] * len(members)
    parts = [[index for index, label in enumerate(labels) if label == group] for group in sorted(set(labels))]
    order = sorted(range(len(parts)), key=lambda group: (-len(parts[group]), _mean([positions[index] for index in parts[group]])))
    positions = _turned(positions, [parts[group] for group in order])
    cells = [_cell(x, y) for x, y in positions]
    counts = [_counts(answers[members[index]] for index in parts[group]) for group in order]
    groups = []
    for number, group in enumerate(order):
        told = [_found(one, counts, number) for one in found["represented"].get(str(group), [])]
        groups.append(_group("ABCDE"[number], parts[group], positions, cells, counts[number], told))
    consensus = [
        _found({**one, "representativeness": 0.0}, [_sum(counts)], 0)
        for one in found["consensus"]
        if all(_most(count[one["statement"]], one["answer"]) for count in counts)
    ]
    grouped = found["state"] == "groups"
    names = {index: groups[number].name for number, group in enumerate(order) for index in parts[group]} if grouped else {}
    return OpinionMap(
        state=found["state"],
        members=len(members),
        silhouette=round(found["silhouette"], 4),
        by_chance=round(found["by_chance"], 4),
        groups=tuple(groups) if grouped else (),
        consensus=tuple(consensus),
        divisive=_divisive(counts) if grouped else (),
        cells={member: (*cells[index], names.get(index, "")) for index, member in enumerate(members)},
    )


def _counts(ballots: Iterable[Sequence[str]]) -> tuple[Count, ...]:
    said = list(ballots)
    return tuple(Count(*one) for one in opinions(said, len(said[0])))


def _sum(groups: Sequence[Sequence[Count]]) -> tuple[Count, ...]:
    return tuple(
        Count(sum(one.agree for one in each), sum(one.disagree for one in each), sum(one.passed for one in each)) for each in zip(*groups, strict=True)
    )


def _most(count: Count, answer: str) -> bool:
    return 2 * (count.agree if answer == "agree" else count.disagree) > count.all


def _found(one: dict[str, Any], counts: Sequence[Sequence[Count]], group: int) -> Found:
    """Return a telling statement with what the group's members and the others say, counted from their ballots."""
    statement, answer = one["statement"], one["answer"]
    said = [each[statement].agree if answer == "agree" else each[statement].disagree for each in counts]
    size = [each[statement].all for each in counts]
    others = sum(said) - said[group], sum(size) - size[group]
    return Found(statement, answer, said[group], size[group], *others, representativeness=one["representativeness"], z=one["z"])


def _divisive(counts: Sequence[Sequence[Count]], most: int = 5) -> tuple[Divide, ...]:
    """Return the statements with which most of one group agree and most of another disagree, the widest apart first."""
    apart = []
    for statement, each in enumerate(zip(*counts, strict=True)):
        if any(_most(one, "agree") for one in each) and any(_most(one, "disagree") for one in each):
            shares = [(one.agree - one.disagree) / one.all for one in each]
            apart.append((min(shares) - max(shares), statement, each))
    return tuple(Divide(statement, each) for _, statement, each in sorted(apart)[:most])


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _turned(positions: Sequence[tuple[float, float]], parts: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
    """Return positions in the square from 0 to 1, the largest group on the left: principal components have no left and right of their own."""
    centres = [_mean([positions[index] for index in part]) for part in parts]
    flip_x = -1.0 if centres[0][0] > 0 else 1.0
    flip_y = -1.0 if next((y for _, y in centres if abs(y) > 1e-9), 0.0) < 0 else 1.0
    reach = max(max(abs(x), abs(y)) for x, y in positions) or 1.0
    return [(0.5 + 0.47 * flip_x * x / reach, 0.5 - 0.47 * flip_y * y / reach) for x, y in positions]


def _cell(x: float, y: float) -> tuple[int, int]:
    return min(CELLS - 1, int(x * CELLS)), min(CELLS - 1, int(y * CELLS))


def _group(
    name: str,
    part: Sequence[int],
    positions: Sequence[tuple[float, float]],
    cells: Sequence[tuple[int, int]],
    counts: tuple[Count, ...],
    told: Sequence[Found],
) -> Group:
    x, y = _mean([positions[index] for index in part])
    spread_x = sum((positions[index][0] - x) ** 2 for index in part) / len(part)
    spread_y = sum((positions[index][1] - y) ** 2 for index in part) / len(part)
    both = sum((positions[index][0] - x) * (positions[index][1] - y) for index in part) / len(part)
    # Eigenvalues and direction of a symmetric 2 x 2 matrix.
    middle, apart = (spread_x + spread_y) / 2, math.hypot((spread_x - spread_y) / 2, both)
    long, short = math.sqrt(middle + apart), math.sqrt(max(0.0, middle - apart))
    turn = math.degrees(math.atan2(2 * both, spread_x - spread_y) / 2)
    places = Counter(cells[index] for index in part)
    shown = tuple((*cell, many) for cell, many in sorted(places.items()) if many >= SMALLEST_GROUP)
    reach = [round(max(0.02, _REACH * one), 4) for one in (long, short)]
    return Group(name, len(part), round(x, 4), round(y, 4), reach[0], reach[1], round(turn, 1), tuple(told), counts, shown)
