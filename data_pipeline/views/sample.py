"""Draw records a build left out, for a steward to read: was it right?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from data_pipeline.manifest import Build
from data_pipeline.record import Record
from data_pipeline.store import ContributionStore
from data_pipeline.verify import read_exclusions
from data_pipeline.views.reasons import row_named
from governance_hooks.errors import BadInput

__all__ = ["PRIVATE", "Dropped", "sample"]

PRIVATE = ("erased", "no_consent", "unsealed")
"""Reasons that say nothing about a text, and under which nobody may read it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that was left out, and the row that stayed in its place."""

    record: str
    reason: str
    detail: str
    texts: tuple[str, ...] = field(repr=False)
    """Earlier turns, prompt and answer, as contributed."""
    language: str
    kept: str | None = None
    """The row named in the detail."""
    kept_texts: tuple[str, ...] | None = field(default=None, repr=False)
    """None if there is no such row, or it may not be shown."""


def sample(
    build: Build,
    store: ContributionStore,
    reason: str | None = None,
    *,
    count: int = 50,
    seed: str | None = None,
    shown: Callable[[Record], bool] = lambda _record: True,
) -> dict[str, list[Dropped]]:
    """Return up to `count` records for each reason, or for one, in the order of a keyed hash of their ids.

    Args:
        build: whose list of exclusions is read.
        store: has the texts.
        reason: None draws for every reason that is about a text.
        count: most records a reason.
        seed: key of the hash, by default the digest of the build: whoever gives a record cannot choose an id that is never drawn.
        shown: whether a record may still be read, asked before its text is taken; the next in order takes the place of one that may not.

    Raises:
        BadInput: a reason under which nobody may read, or that left nothing out; a count under 1.
    """
    if count < 1:
        raise BadInput("count", value=count, allowed="1 or more")
    if reason in PRIVATE:
        raise BadInput(f"texts left out as {reason} are not to be read", value=reason, allowed="a reason that is about the text")
    key = hashlib.sha256((seed or build.digest).encode()).digest()
    by_reason: dict[str, list[tuple[bytes, str, str]]] = {}
    for record, (why, detail) in read_exclusions(build).items():
        if why not in PRIVATE and reason in (None, why):
            by_reason.setdefault(why, []).append((hashlib.blake2b(record.encode(), key=key, digest_size=16).digest(), record, detail))
    if reason is not None and reason not in by_reason:
        raise BadInput(
            "the dataset left nothing out for this reason", value=reason, allowed=", ".join(sorted(set(build.manifest["excluded"]) - set(PRIVATE))) or None
        )
    return {why: _drawn(store, why, sorted(some), count, shown) for why, some in sorted(by_reason.items())}


def _drawn(store: ContributionStore, reason: str, ordered: list[tuple[bytes, str, str]], count: int, shown: Callable[[Record], bool]) -> list[Dropped]:
    drawn: list[Dropped] = []
    for start in range(0, len(ordered), count):
        some = ordered[start : start + count]
        wanted = {record for _, record, _ in some} | {named for _, _, detail in some if (named := row_named(reason, detail))}
        found = {record.record: record for record in store.some(wanted) if record.erased_at is None and shown(record)}
        for _, name, detail in some:
            if name in found and len(drawn) < count:
                record, named = found[name], row_named(reason, detail)
                kept = found.get(named) if named else None
                drawn.append(Dropped(name, reason, detail, _texts(record), record.language, named, None if kept is None else _texts(kept)))
        if len(drawn) == count:
            break
    return drawn


def _texts(record: Record) -> tuple[str, ...]:
    return (*(text for turn in record.history for text in turn), record.inputs, record.targets)
