"""The game behind the shares: what coalitions of guilds gained over the base, which is trained next, and Shapley values by answer and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from governance_hooks.attribution import Attribution, Utility
from governance_hooks.errors import BadInput
from governance_hooks.stake.shapley import exact_values, orders, sampled_values, without_truncation
from governance_hooks.stake.values import Trained, Values, by_mask

__all__ = ["PPM", "Game", "Solved", "next_coalition", "solve", "values_of"]

PPM: Final = 1_000_000
Vector = Sequence[int]


@dataclass(frozen=True, slots=True)
class Game:
    """The gains of coalitions over the base, by seed and mask: micro-nats and tokens foreseen of each answer."""

    guilds: list[str]
    seeds: list[int]
    tokens: list[int]
    languages: list[str]
    gains: dict[int, dict[int, tuple[Vector, Vector]]]

    @classmethod
    def of(cls, plan: Attribution, values: Values) -> Game:
        """Return the game of a values table; raise BadInput where the base is missing, or a seed is there that the plan does not name."""
        base = values.trained.get(((), plan.seeds[0]))
        if base is None:
            raise BadInput("the values table lacks the base, which is the coalition of nobody", next="coop shares RUN, which goes on where it was")
        odd = sorted({seed for _, seed in values.trained} - set(plan.seeds))
        if odd:
            raise BadInput("the values table holds a seed the plan does not name", value=odd[0], allowed=str(plan.seeds))
        gains: dict[int, dict[int, tuple[Vector, Vector]]] = {}
        nothing = [0] * len(base.nll)
        for seed in plan.seeds:
            found = {mask: _gain(base, line) for mask, line in by_mask(values, plan.players, seed).items() if mask}
            gains[seed] = {0: (nothing, nothing)} | found
        answers = values.head.answers
        return cls(sorted(plan.players), plan.seeds, [one.tokens for one in answers], [one.language for one in answers], gains)

    @property
    def whole(self) -> int:
        """Mask of all guilds together."""
        return (1 << len(self.guilds)) - 1

    def valued(self) -> set[int]:
        """Return the masks trained with every seed."""
        return set.intersection(*(set(by_mask_of) for by_mask_of in self.gains.values()))

    def worth(self, mask: int, utility: Utility) -> Fraction:
        """Return what a coalition is worth, mean over the seeds, in millionths."""
        parts = [self._worth(self.gains[seed][mask], utility) for seed in self.seeds]
        return sum(parts, Fraction(0)) / len(parts)

    def _worth(self, gain: tuple[Vector, Vector], utility: Utility) -> Fraction:
        return _weighted(gain[1] if utility == "accuracy" else gain[0], self.tokens, self.languages, utility)


def _gain(base: Trained, line: Trained) -> tuple[Vector, Vector]:
    return [b - one for b, one in zip(base.nll, line.nll, strict=True)], [one - b for b, one in zip(base.hits, line.hits, strict=True)]


def _weighted(gains: Vector, tokens: Vector, languages: Sequence[str], utility: Utility) -> Fraction:
    """Return a gain per token in millionths: over all answers, or as the mean over languages."""
    unit = PPM if utility == "accuracy" else 1
    if utility == "tokens":
        return Fraction(unit * sum(gains), sum(tokens))
    totals: dict[str, list[int]] = {}
    for gain, count, language in zip(gains, tokens, languages, strict=True):
        known = totals.setdefault(language, [0, 0])
        known[0] += gain
        known[1] += count
    return sum((Fraction(unit * gain, count) for gain, count in totals.values()), Fraction(0)) / len(totals)


def next_coalition(plan: Attribution, values: Values) -> tuple[list[str], int] | None:
    """Return the coalition and seed to train next, or None when the table is complete; the base first, then all guilds together."""
    guilds = sorted(plan.players)
    if ((), plan.seeds[0]) not in values.trained:
        return [], plan.seeds[0]
    game = Game.of(plan, values)

    def wanted(mask: int) -> tuple[list[str], int] | None:
        lacking = next((seed for seed in plan.seeds if mask and mask not in game.gains[seed]), None)
        return None if lacking is None else ([guild for place, guild in enumerate(guilds) if mask >> place & 1], lacking)

    if plan.exact:
        found = (wanted(mask) for mask in sorted(range(1, 1 << len(guilds)), key=lambda mask: (mask != game.whole, mask.bit_count(), mask)))
        return next((one for one in found if one is not None), None)
    first = wanted(game.whole)
    if first is not None:
        return first
    _, missing = _chains(plan, game)
    return None if missing is None else wanted(missing)


def _chains(plan: Attribution, game: Game) -> tuple[list[list[int]], int | None]:
    """Return the chains of coalitions of all orders, or the mask that must be valued before they can be told."""
    worth = {mask: game.worth(mask, plan.utility) for mask in game.valued()}
    chains: list[list[int]] = []
    for order in orders(len(game.guilds), plan.permutations, plan.assignment):
        chain, missing = without_truncation(worth, order, game.whole, plan.truncation_permille)
        if missing is not None:
            return chains, missing
        chains.append(chain)
    return chains, None


@dataclass(frozen=True, slots=True)
class Solved:
    """Shapley values by seed, player and answer, times `divisor`; where orders are sampled also each order's values by utility."""

    nll: dict[int, list[list[int]]]
    hits: dict[int, list[list[int]]]
    divisor: int
    chains: list[list[int]]


def solve(plan: Attribution, game: Game) -> Solved:
    """Return the Shapley values of a game; raise BadInput unless it holds exactly the coalitions they need."""
    count = len(game.guilds)
    chains: list[list[int]] = []
    masks = set(range(1 << count))
    if not plan.exact:
        chains, missing = _chains(plan, game)
        masks = {mask for chain in chains for mask in chain} | {game.whole}
        if missing is not None:
            raise BadInput("the values table is not complete", next="coop shares RUN, which goes on where it was")
    for seed in game.seeds:
        if set(game.gains[seed]) != masks:
            odd = sorted(masks ^ set(game.gains[seed]))
            raise BadInput(
                "the values table does not hold exactly the coalitions this needs",
                value=f"{len(game.gains[seed])} with seed {seed}, first odd one {odd[0]:b}",
                allowed=f"{len(masks)}",
                next="coop shares RUN, which goes on where it was",
            )
    nll: dict[int, list[list[int]]] = {}
    hits: dict[int, list[list[int]]] = {}
    divisor = 1
    for seed in game.seeds:
        for target, which in ((nll, 0), (hits, 1)):
            vectors = {mask: gain[which] for mask, gain in game.gains[seed].items()}
            target[seed], divisor = exact_values(vectors, count) if plan.exact else sampled_values(vectors, chains, count)
    return Solved(nll, hits, divisor, chains)


def values_of(game: Game, solved: Solved, utility: Utility) -> list[Fraction]:
    """Return each player's value in millionths, mean over the seeds."""
    table = solved.hits if utility == "accuracy" else solved.nll
    scale = solved.divisor * len(game.seeds)
    return [
        sum((_weighted(table[seed][player], game.tokens, game.languages, utility) for seed in game.seeds), Fraction(0)) / scale
        for player in range(len(game.guilds))
    ]
