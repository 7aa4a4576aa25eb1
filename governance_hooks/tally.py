"""Counting: what the ballots of a proposal add up to under its own rules, in whole numbers only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from governance_hooks import merkle
from governance_hooks.bylaws import Rules
from governance_hooks.sentence import Sentence, percent

__all__ = ["Tally", "count", "quorate", "roll_path", "roll_root", "tally"]


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


def quorate(yes: int, no: int, abstain: int, roll: int, rules: Rules) -> tuple[bool, str]:
    """Tell whether so many ballots reach what the quorum asks for (a rejection quorum: whether they defeat), and say it in words."""
    needed, share = rules.quorum_percent * roll, percent(rules.quorum_percent)
    match rules.quorum:
        case "minimum-yes":
            return yes * 100 >= needed, Sentence("{count} of {roll} voted for, {share} of the roll needed", count=yes, roll=roll, share=share)
        case "rejection":
            against = no + (abstain if rules.abstain == "against" else 0)
            return against * 100 >= needed, Sentence("{count} of {roll} voted against, {share} of the roll defeat it", count=against, roll=roll, share=share)
    present = yes + no + (0 if rules.abstain == "nothing" else abstain)
    return present * 100 >= needed, Sentence("{count} of {roll} voted, {share} needed", count=present, roll=roll, share=share)


def count(choices: Iterable[str], roll: int, rules: Rules) -> Tally:
    """Count `choices` (for, against, abstain; one per member) against a roll of `roll` members."""
    listed = list(choices)
    return tally(listed.count("for"), listed.count("against"), listed.count("abstain"), roll, rules)


def tally(yes: int, no: int, abstain: int, roll: int, rules: Rules) -> Tally:
    """Return what so many ballots add up to."""
    decided = yes + no + (abstain if rules.abstain == "against" else 0)
    reached, words = quorate(yes, no, abstain, roll, rules)
    if rules.quorum == "rejection" and reached:
        approved, why = False, Sentence("defeated: {why}", why=words)
    elif rules.quorum != "rejection" and not reached:
        approved, why = False, Sentence("quorum missed: {why}", why=words)
    elif rules.quorum != "rejection" and yes * 100 < rules.approval_percent * decided:
        approved, why = False, Sentence("{yes} of {decided} for, {share} needed", yes=yes, decided=decided, share=percent(rules.approval_percent))
    elif yes < rules.minimum_for:
        approved, why = False, Sentence("only {count} voted for, {needed} needed", count=yes, needed=rules.minimum_for)
    else:
        counts = {"yes": yes, "no": no, "abstain": abstain, "roll": roll}
        approved, why = True, Sentence("{yes} for, {no} against, {abstain} abstained, of {roll} on the roll", **counts)
    return Tally(yes, no, abstain, roll, approved, why)


def _leaves(members: Iterable[str]) -> list[bytes]:
    return [merkle.leaf_hash(member.encode()) for member in sorted(members)]


def roll_root(members: Iterable[str]) -> str:
    """Return the Merkle root over the sorted member ids of a roll."""
    return "sha256:" + merkle.root(_leaves(members)).hex()


def roll_path(members: Iterable[str], member: str) -> tuple[int, list[bytes]]:
    """Return the place of a member on a roll and the Merkle path from them to its root: their proof of being on it."""
    listed = sorted(members)
    index, leaves = listed.index(member), _leaves(listed)
    return index, merkle.inclusion_proof(index, len(leaves), lambda start, stop: merkle.root(leaves[start:stop]))
