"""The values table: how well each coalition's training foresees each held-out answer; every share follows from it.

Line 1 names plan, assignment and answers; each other line is one training. It grows line by line while coalitions are trained, so a
kill loses at most the training that was on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from governance_hooks.attribution import GuildName
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Identifier, Language, Strict

__all__ = ["Answer", "Head", "Trained", "Values", "read_values"]

Count = Annotated[int, Field(ge=0, lt=2**53)]
MAX_BYTES = 256 << 20


class Answer(Strict):
    """A held-out answer coalitions are measured on."""

    item: Identifier
    language: Language
    cluster: Identifier
    """Its first author, as in the evaluation's results."""
    tokens: Annotated[int, Field(gt=0, lt=2**31)]


class Head(Strict):
    """The first line."""

    format: Literal["coop.values/v1"] = "coop.values/v1"
    plan: Digest
    assignment: Digest
    answers: Annotated[list[Answer], Field(min_length=1, max_length=200_000)]
    device: Annotated[str, Field(max_length=200)]
    threads: Annotated[int, Field(ge=1)]


class Trained(Strict):
    """What one training of one coalition foresees, answer by answer; the empty coalition is the base as it is."""

    coalition: list[GuildName]
    """Sorted."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    nll: list[Count]
    """Negative log-likelihood of each answer, micro-nats."""
    hits: list[Count]
    """Tokens of each answer that were the likeliest."""
    steps: Count
    milliseconds: Count


class Values:
    """A table read from bytes, checked line by line."""

    def __init__(self, head: Head, lines: Iterable[Trained], *, source: str = "values") -> None:
        self.head = head
        self.trained: dict[tuple[tuple[str, ...], int], Trained] = {}
        for line in lines:
            self.add(line, source=source)

    def add(self, line: Trained, *, source: str = "values") -> None:
        """Take one more training; raise BadInput for one that does not fit the answers or stands twice."""
        key = (tuple(line.coalition), line.seed)
        where = f"{source}: coalition {'+'.join(line.coalition) or 'of nobody'}, seed {line.seed}"
        if line.coalition != sorted(set(line.coalition)):
            raise BadInput(f"{where}: guilds are sorted and distinct")
        if key in self.trained:
            raise BadInput(f"{where}: stands twice")
        if len(line.nll) != len(self.head.answers) or len(line.hits) != len(self.head.answers):
            raise BadInput(f"{where}: not a number for each answer", value=len(line.nll), allowed=str(len(self.head.answers)))
        if any(hits > answer.tokens for hits, answer in zip(line.hits, self.head.answers, strict=True)):
            raise BadInput(f"{where}: more tokens foreseen than the answer has")
        self.trained[key] = line

    @property
    def milliseconds(self) -> int:
        """Wall time of all trainings."""
        return sum(line.milliseconds for line in self.trained.values())

    def dumps(self) -> bytes:
        """Return the whole file."""
        lines: list[Strict] = [self.head, *self.trained.values()]
        return b"".join(dumps(line.model_dump()) + b"\n" for line in lines)


def read_values(data: bytes, *, source: str = "values.jsonl", torn: bool = False) -> Values:
    """Read a table strictly; `torn` leaves out a last line that was being written when the machine died."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"{source} is too large", value=len(data), allowed=f"{MAX_BYTES} bytes")
    if torn:
        data = data[: data.rfind(b"\n") + 1]
    if not data.endswith(b"\n"):
        raise BadInput(f"{source}: the last line is cut off")
    models: list[type[Head] | type[Trained]] = [Head]
    parsed: list[Head | Trained] = []
    for number, line in enumerate(data[:-1].split(b"\n"), 1):
        where = f"{source}, line {number}"
        loads(line, source=where)
        try:
            parsed.append((models[0] if number == 1 else Trained).model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error
    head, *lines = parsed
    assert isinstance(head, Head)
    if len({answer.item for answer in head.answers}) != len(head.answers):
        raise BadInput(f"{source}: an answer stands twice")
    return Values(head, [line for line in lines if isinstance(line, Trained)], source=source)


def by_mask(values: Values, players: Mapping[str, object], seed: int) -> dict[int, Trained]:
    """Return the trainings of one seed by the mask of their coalition over the sorted players; raise BadInput for a guild that is none."""
    places = {guild: place for place, guild in enumerate(sorted(players))}
    found: dict[int, Trained] = {}
    for (coalition, of), line in values.trained.items():
        unknown = set(coalition) - places.keys()
        if unknown:
            raise BadInput("the values table names a guild the plan does not know", value=sorted(unknown), allowed=", ".join(places))
        if of == seed:
            found[sum(1 << places[guild] for guild in coalition)] = line
    return found
