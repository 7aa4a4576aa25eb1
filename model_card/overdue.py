"""When the promise to those who withdraw falls due: how many did since a release, held against the bylaws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from governance_hooks.bylaws import Bylaws
from governance_hooks.consent import Use, permits
from governance_hooks.ledger import LedgerRow
from governance_hooks.register import Register
from governance_hooks.statement import shift

__all__ = ["Due", "due_since", "terms"]

_DAY = 86_400


def terms(bylaws: Bylaws) -> str:
    """Return when the bylaws say a superseding release is due, in words."""
    parts = []
    if bylaws.supersede_after_withdrawals is not None:
        parts.append(f"after {bylaws.supersede_after_withdrawals} member{'s have' if bylaws.supersede_after_withdrawals > 1 else ' has'} withdrawn")
    if bylaws.supersede_within_s is not None:
        days, rest = divmod(bylaws.supersede_within_s, _DAY)
        parts.append(f"{f'{days} days' if not rest else f'{bylaws.supersede_within_s} s'} after the first withdrawal")
    if not parts:
        return "The bylaws promise no number of withdrawals and no time after which a superseding release is due."
    return f"A superseding release is due {' or '.join(parts)}, whichever comes first."


@dataclass(frozen=True, slots=True)
class Due:
    """How many members withdrew since a release what it was trained on, and whether that makes a superseding release due. It names nobody."""

    release: str
    withdrawn: int
    members: int
    """Members whose records the release was trained on."""
    first: str | None
    """Instant of the first of these withdrawals."""
    due_at: str | None
    """Instant from which a superseding release is due by time; None while nobody withdrew, or if the bylaws promise no time."""
    by_number: bool
    """Whether it is due by number."""

    def is_due(self, at: str) -> bool:
        """Tell whether a superseding release is due at an instant (RFC 3339 UTC)."""
        return self.by_number or (self.due_at is not None and at >= self.due_at)

    def line(self, at: str) -> str:
        """Say it in one sentence."""
        if not self.withdrawn:
            return f"none of its {self.members} members withdrew since it went out"
        counted = f"{self.withdrawn} of its {self.members} members withdrew since it went out, the first at {self.first}"
        if self.is_due(at):
            return f"{counted}: a superseding release is DUE"
        return counted + (f"; a superseding release is due by {self.due_at}" if self.due_at else "")

    def as_dict(self, at: str) -> dict[str, Any]:
        """Return it for `--json` output."""
        return {
            "release": self.release,
            "withdrawn": self.withdrawn,
            "members": self.members,
            "first": self.first,
            "due_at": self.due_at,
            "due": self.is_due(at),
        }


def due_since(register: Register, release: str, rows: Iterable[LedgerRow], use: Use, issued: Callable[[int], str]) -> Due:
    """Count the members who withdrew since a release what it was trained on, and hold that against the bylaws.

    Somebody who gave a new consent that allows the same use has not withdrawn.

    Args:
        register: the replayed log.
        release: digest of a release that is out.
        rows: ledger of its build.
        use: what its plan used the records for.
        issued: gives the instant at which an entry of the log was issued.
    """
    run = next(one for one in register.runs.values() if release in one.releases)
    out, gone = run.releases[release], dict[str, int]()
    given = {
        (author, row.language, row.batch, consent) for row in rows if row.split == "train" for author, consent in zip(row.authors, row.consents, strict=True)
    }
    for author, language, batch, consent in given:
        cited = register.grant(consent, author)
        if cited is None or cited.withdrawn is None or cited.withdrawn < out:
            continue
        at = register.operator_clock
        if not any(one.withdrawn is None and permits(one.consent, use, language=language, batch=batch, at=at) for one in register.grants.get(author, [])):
            gone[author] = min(cited.withdrawn, gone.get(author, cited.withdrawn))
    first = issued(min(gone.values())) if gone else None
    limit, within = register.bylaws.supersede_after_withdrawals, register.bylaws.supersede_within_s
    due_at = shift(first, within) if first is not None and within is not None else None
    return Due(release, len(gone), len({author for author, *_ in given}), first, due_at, limit is not None and len(gone) >= limit)
