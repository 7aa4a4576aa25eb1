"""Accepted work by member, guild and kind: counted from what members signed, never typed.

A text counts for the member whose signed batch it came in, once it is in the build, is no near copy and was not rated down. An edit of
one's own text counts nothing: working over it was part of writing it. A rating counts once for each reviewer and record, a review
once for each signed act that holds a rating that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from governance_hooks.attribution import GuildName
from governance_hooks.bylaws import MemberId
from governance_hooks.errors import BadInput
from governance_hooks.fields import Strict
from governance_hooks.ledger import LedgerRow
from governance_hooks.reviews import ShownRating
from governance_hooks.stake.guilds import Assignment
from governance_hooks.stake.rule import PayoutRule, Work

if TYPE_CHECKING:
    from governance_hooks.register import Register

__all__ = ["Done", "count_work", "units_of"]


class Done(Strict):
    """How many pieces of one kind a member did."""

    member: MemberId
    guild: GuildName | None
    """Where the guild's share is divided by it; null for what was not trained on: held-out texts, ratings, reviews."""
    work: Work
    pieces: Annotated[int, Field(gt=0, lt=2**31)]


def _latest(ratings: Iterable[ShownRating]) -> dict[tuple[str, str], ShownRating]:
    latest: dict[tuple[str, str], ShownRating] = {}
    for rating in ratings:
        key = (rating.record, rating.reviewer)
        if key not in latest or (latest[key].at, latest[key].statement) < (rating.at, rating.statement):
            latest[key] = rating
    return latest


def count_work(
    register: Register, rows: Sequence[LedgerRow], kinds: Mapping[str, str], ratings: Iterable[ShownRating], assignment: Assignment | None, rule: PayoutRule
) -> list[Done]:
    """Return accepted work, sorted.

    Args:
        register: whose log the batches are in.
        rows: ledger of the build.
        kinds: record -> original, edit or translation.
        ratings: those `governance_hooks.reviews.check_reviews` has found signed.
        assignment: guilds and near copies of the training rows; None where no shares are divided.
        rule: says which ratings accept a text.

    Raises:
        BadInput: a row of a batch the log does not know.
    """
    latest = _latest(ratings)
    scores: dict[str, list[int]] = {}
    for (record, _), rating in latest.items():
        scores.setdefault(record, []).append(rating.score)
    counts: dict[tuple[str, str | None, Work], int] = {}
    authors: dict[str, Sequence[str]] = {}
    for row in rows:
        authors[row.record] = row.authors
        given = register.contributions.get(row.batch)
        if given is None:
            raise BadInput(f"text {row.record} came in a batch the log does not know", value=row.batch, next="build again from the log")
        if assignment is not None and row.record in assignment.copies:
            continue
        mine = scores.get(row.record)
        if (mine is None and rule.review_required) or (mine is not None and sum(mine) * 1000 < rule.minimum_score_permille * len(mine)):
            continue
        kind = kinds[row.record]
        if kind != "original" and set(row.authors) == {given.author}:
            continue
        work: Work = "record" if kind == "original" else "edit" if kind == "edit" else "translation"
        key = (given.author, assignment.guilds.get(row.record) if assignment is not None else None, work)
        counts[key] = counts.get(key, 0) + 1
    acts: dict[str, set[str]] = {}
    for (record, reviewer), rating in latest.items():
        if record in authors and reviewer not in authors[record]:
            counts[reviewer, None, "rating"] = counts.get((reviewer, None, "rating"), 0) + 1
            acts.setdefault(reviewer, set()).add(rating.statement)
    for reviewer, statements in acts.items():
        counts[reviewer, None, "review"] = len(statements)
    ordered = sorted(counts.items(), key=lambda one: (one[0][0], one[0][1] or "", one[0][2]))
    return [Done(member=member, guild=guild, work=work, pieces=pieces) for (member, guild, work), pieces in ordered]


def units_of(done: Sequence[Done], rule: PayoutRule, *, guild: str | None = None) -> dict[str, int]:
    """Return units by member under the rule's schedule and its limit on pieces; of all work, or of one guild's. Members without any are left out."""
    pieces: dict[tuple[str, str], int] = {}
    for one in done:
        if guild is None or one.guild == guild:
            pieces[one.member, one.work] = pieces.get((one.member, one.work), 0) + one.pieces
    units: dict[str, int] = {}
    for (member, work), count in pieces.items():
        counted = count if rule.most_pieces is None else min(count, rule.most_pieces)
        units[member] = units.get(member, 0) + counted * int(getattr(rule.units, work))
    return {member: total for member, total in sorted(units.items()) if total}
