"""Compare two builds: which records came, went or changed, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data_pipeline.manifest import Build, read_ledger
from data_pipeline.verify import read_exclusions

__all__ = ["Change", "diff"]


@dataclass(frozen=True, slots=True)
class Change:
    """One record that two builds treat differently."""

    record: str
    kind: Literal["came", "went", "changed"]
    why: str
    """The reason in the other build's list of exclusions, or the ledger fields that differ."""


def diff(a: Build, b: Build) -> list[Change]:
    """Return the changes from build `a` to build `b` in the order of the record ids.

    Raises:
        CoopError: a ledger or a list of exclusions is not what its manifest names.
    """
    before, after = ({line.record: line for line in read_ledger(build)} for build in (a, b))
    changes: list[Change] = []
    missing_before, missing_after = read_exclusions(a), read_exclusions(b)
    for record in sorted(before.keys() | after.keys()):
        if record not in before:
            reason, detail = missing_before.get(record, ("new", "not stored when the first dataset was made"))
            changes.append(Change(record, "came", f"was {reason}: {detail}" if reason != "new" else f"{reason}: {detail}"))
        elif record not in after:
            reason, detail = missing_after.get(record, ("unknown", "not in the store of the second dataset"))
            changes.append(Change(record, "went", f"{reason}: {detail}"))
        elif before[record] != after[record]:
            old, new = before[record].as_dict(), after[record].as_dict()
            changes.append(Change(record, "changed", ", ".join(name for name in old if old[name] != new[name])))
    return changes
