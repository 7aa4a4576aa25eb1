"""Counting: what the ballots of a proposal add up to under its own rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from governance_hooks import merkle
from governance_hooks.bylaws import Rules

__all__ = ["Tally", "count", "roll_root"]


@dataclass(frozen=True, slots=True)
class Tally:
    """The result of a count."""

    votes_for: int
    votes_against: int
    votes_abstain: int
    roll: int
    approved: bool
    why: str
    """One sentence in plain words."""

    @property
    def cast(self) -> int:
        """All ballots, abstentions included."""
        return self.votes_for + self.votes_against + self.votes_abstain

    @property
    def outcome(self) -> str:
        """`approved` or `rejected`."""
        return "approved" if self.approved else "rejected"


def count(choices: Iterable[str], roll: int, rules: Rules) -> Tally:
    """Count `choices` (for, against, abstain; one per member) against a roll of `roll` members, in whole numbers only."""
    listed = list(choices)
    yes, no, abstain = (listed.count(choice) for choice in ("for", "against", "abstain"))
    cast = yes + no + abstain
    if cast * 100 < rules.quorum_percent * roll:
        approved, why = False, f"quorum missed: {cast} of {roll} voted, {rules.quorum_percent}% needed"
    elif yes < rules.minimum_for:
        approved, why = False, f"only {yes} voted for, {rules.minimum_for} needed"
    elif yes * 100 < rules.approval_percent * (yes + no):
        approved, why = False, f"{yes} of {yes + no} for, {rules.approval_percent}% needed"
    else:
        approved, why = True, f"{yes} for, {no} against, {abstain} abstained, of {roll} on the roll"
    return Tally(yes, no, abstain, roll, approved, why)


def roll_root(members: Iterable[str]) -> str:
    """Return the Merkle root over the sorted member ids of a roll."""
    return "sha256:" + merkle.root([merkle.leaf_hash(member.encode()) for member in sorted(members)]).hex()
