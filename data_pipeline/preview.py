"""What a member's withdrawal would take away: their own records, and the records others built on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from data_pipeline.manifest import Build, read_ledger
from data_pipeline.store import ContributionStore

__all__ = ["WithdrawalPreview", "withdrawal_preview"]


@dataclass(frozen=True, slots=True)
class WithdrawalPreview:
    """Counts of what falls out of the next build if a member withdraws every consent."""

    member: str
    own: int
    """Stored records the member contributed, erased ones left out."""
    built_on: int
    """Stored records others contributed that rest on the member's text."""
    languages: dict[str, int]
    """Own records and those built on them, by ISO 639-3 code."""
    members: int
    """Other members who lose records."""
    in_build: int | None
    """Rows of the given build that name the member as an author; None without a build. Freed duplicates may fill some."""


def withdrawal_preview(store: ContributionStore, member: str, *, build: Build | None = None) -> WithdrawalPreview:
    """Count what the withdrawal of `member` would take away; changes nothing."""
    touched = [record for record in store.records() if member in record.authors and record.erased_at is None]
    own = sum(record.member == member for record in touched)
    return WithdrawalPreview(
        member=member,
        own=own,
        built_on=len(touched) - own,
        languages=dict(sorted(Counter(record.language for record in touched).items())),
        members=len({record.member for record in touched} - {member}),
        in_build=None if build is None else sum(member in line.authors for line in read_ledger(build)),
    )
