"""The rule of payouts members vote on: what stays together, what goes by the guilds' shares, what by work, and who counts for what."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.money import Currency

__all__ = ["WORKS", "Parts", "PayoutRule", "Units", "Work", "read_rule", "rule_words"]

Work = Literal["record", "edit", "translation", "rating", "review"]
WORKS: Final[tuple[Work, ...]] = get_args(Work)
"""What members do that counts: a text of one's own, an edit or translation of another's, a score given, an act of reviewing signed."""

Percent = Annotated[int, Field(ge=0, le=100)]
Weight = Annotated[int, Field(ge=0, le=10_000)]


class Parts(Strict):
    """What an income is divided into, percent; together 100."""

    reserve: Percent = 20
    """Kept by the cooperative, as the law or the bylaws ask."""
    common_fund: Percent = 10
    """For what members decide together; it also gets what nobody can be paid."""
    guilds: Percent = 40
    """By the guilds' shares in the run, and inside a guild by accepted work."""
    patronage: Percent = 30
    """By accepted work of every kind, whatever it was worth to the run: labour earns, as in a worker-owned cooperative."""

    @model_validator(mode="after")
    def _whole(self) -> Parts:
        total = self.reserve + self.common_fund + self.guilds + self.patronage
        if total != 100:
            raise ValueError(f"the parts make {total} percent, not 100")
        return self


class Units(Strict):
    """What one accepted piece of work of each kind counts."""

    record: Weight = 10
    edit: Weight = 6
    translation: Weight = 8
    rating: Weight = 1
    review: Weight = 2

    @model_validator(mode="after")
    def _something(self) -> Units:
        if not any(self.model_dump().values()):
            raise ValueError("no work counts anything")
        return self


class PayoutRule(Strict):
    """One rule; members vote on the SHA-256 of its canonical bytes."""

    format: Literal["coop.payout-rule/v1"] = "coop.payout-rule/v1"
    coop: Digest
    name: Slug
    currency: Currency
    parts: Parts = Parts()
    units: Units = Units()
    within_guild: Literal["accepted-work", "equal"] = "accepted-work"
    """equal: every member with accepted work in a guild gets the same."""
    review_required: bool = False
    """Whether texts that no other member has rated count."""
    minimum_score_permille: Annotated[int, Field(ge=1000, le=5000)] = 3000
    """A text whose mean rating is below this counts nothing: 1000 is the worst score, 5000 the best."""
    most_pieces: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """So many pieces of one kind count of one member; null for all."""
    member_cap_percent: Annotated[int, Field(ge=1, le=100)] = 100
    """Nobody gets more than this part of what goes to members; the rest goes to the common fund."""
    departed: Literal["pay", "common-fund"] = "pay"
    """Members who have left are paid what they earned, or it goes to the common fund; nobody else gets more by their leaving."""


def read_rule(data: bytes, *, source: str = "rule") -> PayoutRule:
    """Read canonical bytes strictly; raise BadInput for anything else."""
    loads(data, source=source)
    try:
        return PayoutRule.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error


def rule_words(rule: PayoutRule) -> list[str]:
    """Return a rule as lines members can read before they vote."""
    parts, units = rule.parts, rule.units
    names = {
        "record": "a text of one's own",
        "edit": "an edit of another's text",
        "translation": "a translation",
        "rating": "a rating",
        "review": "a signed review",
    }
    within = "by accepted work" if rule.within_guild == "accepted-work" else "equally among those with accepted work"
    unrated = "texts nobody has rated do not count" if rule.review_required else "texts nobody has rated count"
    lines = [
        f"Rule {rule.name!r}, in {rule.currency}: of each 100, {parts.reserve} go to the reserve, {parts.common_fund} to the common fund,",
        f"  {parts.guilds} to the guilds by their shares in the run, and inside a guild {within},",
        f"  {parts.patronage} to members by all accepted work.",
        "What counts: " + ", ".join(f"{names[work]} {getattr(units, work)}" for work in WORKS) + ".",
        f"Accepted: it is in the dataset and no near copy, its mean rating is {rule.minimum_score_permille / 1000:g} or more; {unrated}.",
    ]
    if rule.most_pieces is not None:
        lines.append(f"Of one member at most {rule.most_pieces} pieces of each kind count.")
    if rule.member_cap_percent < 100:
        lines.append(f"Nobody gets more than {rule.member_cap_percent}% of what goes to members; what is above goes to the common fund.")
    lines.append("Who has left " + ("is paid what they earned." if rule.departed == "pay" else "gets nothing: it goes to the common fund, not to others."))
    if rule.member_cap_percent < 100 or rule.most_pieces is not None or rule.within_guild == "equal":
        lines.append("Such a rule would make it pay to be two members: it rests on one person being one member, for which registrars vouch.")
    return lines
