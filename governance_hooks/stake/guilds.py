"""The frozen list of who is in which guild: one canonical line a training row, or a near copy of one; its digest stands in the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from governance_hooks.attribution import MIXED, Attribution, Guild, GuildName
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Identifier, Strict
from governance_hooks.ledger import LedgerRow

__all__ = ["Assigned", "Assignment", "CopyOf", "assignment_bytes", "merge_small", "read_assignment"]

MAX_BYTES = 1 << 30


class Assigned(Strict):
    """A training row that counts, with its guild."""

    guild: GuildName
    record: Identifier


class CopyOf(Strict):
    """A training row that is a near copy: it counts nowhere, and its authors are not paid for it."""

    copy_of: Identifier
    record: Identifier


_LINE: TypeAdapter[Annotated[Assigned | CopyOf, Field()]] = TypeAdapter(Assigned | CopyOf)


class Assignment:
    """Guild by record, and the near copies."""

    def __init__(self, guilds: Mapping[str, str], copies: Mapping[str, str]) -> None:
        self.guilds, self.copies = dict(sorted(guilds.items())), dict(sorted(copies.items()))

    def players(self, rows: Sequence[LedgerRow]) -> dict[str, Guild]:
        """Return the guilds with their counts; the rows are those of the ledger."""
        records: dict[str, int] = {}
        members: dict[str, set[str]] = {}
        for row in rows:
            guild = self.guilds.get(row.record)
            if guild is not None:
                records[guild] = records.get(guild, 0) + 1
                members.setdefault(guild, set()).update(row.authors)
        return {guild: Guild(records=records[guild], members=len(members[guild])) for guild in sorted(records)}

    def check(self, plan: Attribution, rows: Sequence[LedgerRow] | None = None) -> None:
        """Raise BadInput unless these are the guilds of a plan; with the ledger, unless each training row stands here once and members are counted right."""
        counts: dict[str, int] = {}
        for guild in self.guilds.values():
            counts[guild] = counts.get(guild, 0) + 1
        voted = {guild: found.records for guild, found in plan.players.items()}
        if counts != voted or len(self.copies) != plan.collapsed:
            raise BadInput("the assignment does not count the guilds as the plan does", value=dict(sorted(counts.items())), allowed=str(voted))
        if rows is None:
            return
        train = {row.record for row in rows if row.split == "train"}
        listed = self.guilds.keys() | self.copies.keys()
        if train != listed:
            raise BadInput("the assignment does not list the training rows of the ledger", value=sorted(train ^ listed)[:3])
        if self.players(rows) != dict(plan.players):
            raise BadInput("the members of the guilds are not those the ledger names")


def assignment_bytes(assignment: Assignment) -> bytes:
    """Return the file, records sorted."""
    lines: list[dict[str, Any]] = [{"guild": guild, "record": record} for record, guild in assignment.guilds.items()]
    lines += [{"copy_of": of, "record": record} for record, of in assignment.copies.items()]
    return b"".join(dumps(line) + b"\n" for line in sorted(lines, key=lambda line: str(line["record"])))


def read_assignment(data: bytes, *, expected: str | None = None, source: str = "guilds.jsonl") -> Assignment:
    """Read an assignment strictly; raise BadInput for a malformed line, one out of order, or a file other than the one a plan names."""
    if expected is not None and sha256(data) != expected:
        raise BadInput(f"{source} is not the assignment the plan names", value=sha256(data), allowed=expected)
    if len(data) > MAX_BYTES or (data and not data.endswith(b"\n")):
        raise BadInput(f"{source}: too long, or the last line is cut off", value=len(data))
    guilds: dict[str, str] = {}
    copies: dict[str, str] = {}
    previous = ""
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        where = f"{source}, line {number}"
        loads(line, source=where)
        try:
            found = _LINE.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error
        if found.record <= previous:
            raise BadInput(f"{where}: records are sorted and distinct", value=found.record)
        previous = found.record
        if isinstance(found, Assigned):
            guilds[found.record] = found.guild
        else:
            copies[found.record] = found.copy_of
    strangers = sorted(set(copies.values()) - guilds.keys())
    if strangers:
        raise BadInput(f"{source}: a copy of a text that is in no guild", value=strangers[0])
    return Assignment(guilds, copies)


def merge_small(guilds: Mapping[str, str], authors: Mapping[str, Sequence[str]], minimum: int) -> dict[str, str]:
    """Return the guilds by record with those of too few distinct authors put together; what they make together may still be few, and is all there is."""
    members: dict[str, set[str]] = {}
    for record, guild in guilds.items():
        members.setdefault(guild, set()).update(authors[record])
    return {record: guild if len(members[guild]) >= minimum else MIXED for record, guild in guilds.items()}
