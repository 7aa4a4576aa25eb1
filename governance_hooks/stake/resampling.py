"""How sure shares are: contributors, seeds and orders drawn again, always the same draws.

`random.Random(int).random()` is the one sequence Python promises to keep.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

from governance_hooks.attribution import Attribution, Utility
from governance_hooks.stake.game import PPM, Game, Solved, values_of
from governance_hooks.stake.values import Values

__all__ = ["Resampler", "expanded_tail", "units_of"]

MINIMUM_CLUSTERS: Final = 5
"""With fewer contributors of held-out answers, answers are resampled: too few clusters give no usable interval."""


def units_of(values: Values) -> tuple[str, list[list[int]]]:
    """Return what is resampled, and the places of the answers of each unit."""
    clusters: dict[str, list[int]] = {}
    for place, answer in enumerate(values.head.answers):
        clusters.setdefault(answer.cluster, []).append(place)
    if len(clusters) >= MINIMUM_CLUSTERS:
        return "clusters", [clusters[name] for name in sorted(clusters)]
    return "items", [[place] for place in range(len(values.head.answers))]


class Resampler:
    """Draws contributors, seeds and orders again and tells the shares that come out."""

    def __init__(self, plan: Attribution, game: Game, solved: Solved, units: Sequence[Sequence[int]], utility: Utility) -> None:
        self.plan, self.game, self.utility = plan, game, utility
        table = solved.hits if utility == "accuracy" else solved.nll
        names = ["all"] if utility == "tokens" else sorted(set(game.languages))
        place = {name: number for number, name in enumerate(names)}
        self.groups, self.players = len(names), len(game.guilds)
        self.cells: list[dict[int, tuple[int, dict[int, list[int]]]]] = []
        for unit in units:
            cell: dict[int, tuple[int, dict[int, list[int]]]] = {}
            for answer in unit:
                group = place["all" if utility == "tokens" else game.languages[answer]]
                tokens, by_seed = cell.get(group, (0, {seed: [0] * self.players for seed in game.seeds}))
                for seed in game.seeds:
                    by_seed[seed] = [known + table[seed][player][answer] for player, known in enumerate(by_seed[seed])]
                cell[group] = (tokens + game.tokens[answer], by_seed)
            self.cells.append(cell)
        self.scale = solved.divisor / (PPM if utility == "accuracy" else 1)
        self.pairs = self._by_order(game, solved) if solved.chains else []
        self.point = [float(value) for value in values_of(game, solved, utility)]

    def _by_order(self, game: Game, solved: Solved) -> list[list[float]]:
        """Return what each pair of an order and its reverse gives the players: the two depend on each other, so they are drawn together."""
        worth = {mask: float(game.worth(mask, self.utility)) for mask in {mask for chain in solved.chains for mask in chain}}
        rows = []
        for chain in solved.chains:
            row = [0.0] * self.players
            for before, after in pairwise(chain):
                row[(before ^ after).bit_length() - 1] = worth[after] - worth[before]
            rows.append(row)
        return [[sum(values) / len(pair) for values in zip(*pair, strict=True)] for pair in (rows[start : start + 2] for start in range(0, len(rows), 2))]

    def shares(self) -> list[list[float]]:
        """Return the shares of each resample, resamples without anything to share left out."""
        key = f"coop.shares/v1:{self.plan.assignment}:{self.utility}".encode()
        draw = random.Random(int.from_bytes(hashlib.sha256(key).digest()[:8])).random  # noqa: S311 - a reproducible statistic, not a secret
        found = []
        for _ in range(self.plan.resamples):
            values = self._resample(draw)
            clipped = [max(value, 0.0) for value in values]
            total = sum(clipped)
            if total > 0:
                found.append([value / total for value in clipped])
        return found

    def _resample(self, draw: Any) -> list[float]:
        seeds = [self.game.seeds[int(draw() * len(self.game.seeds))] for _ in self.game.seeds]
        tokens = [0] * self.groups
        sums = [[0] * self.players for _ in range(self.groups)]
        for _ in self.cells:
            for group, (count, by_seed) in self.cells[int(draw() * len(self.cells))].items():
                tokens[group] += count
                row = sums[group]
                for seed in seeds:
                    for player, value in enumerate(by_seed[seed]):
                        row[player] += value
        drawn = [group for group in range(self.groups) if tokens[group]]
        scale = self.scale * len(seeds) * len(drawn)
        values = [sum(sums[group][player] / tokens[group] for group in drawn) / scale for player in range(self.players)]
        if self.pairs:
            orders_drawn = [self.pairs[int(draw() * len(self.pairs))] for _ in self.pairs]
            means = [sum(column) / len(orders_drawn) for column in zip(*orders_drawn, strict=True)]
            values = [value + mean - point for value, mean, point in zip(values, means, self.point, strict=True)]
        return values


def expanded_tail(confidence_percent: int, units: int) -> float:
    """Return the part of the resamples below a percentile interval of so many units: wider than the nominal tail, since few units vary too little.

    Hesterberg 2015 (doi:10.1080/00031305.2015.1089789), section 4.3: the tail of the normal at sqrt(n / (n - 1)) times Student's t quantile, here by its
    expansion in 1 / degrees of freedom (Abramowitz and Stegun 26.7.5). Rounded, so that no machine's last bit decides.
    """
    if units < 2:
        return 0.0
    z, free = NormalDist().inv_cdf((100 + confidence_percent) / 200), units - 1
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * free**3)
    return round(NormalDist().cdf(-sqrt(units / free) * t), 6)
