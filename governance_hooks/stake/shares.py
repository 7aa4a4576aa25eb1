"""Shares of the guilds in a run: a pure function of the plan, the assignment and the values table, so that everybody gets the same bytes.

    values.jsonl ──► gain over the base by answer and seed ──► Shapley value by answer and seed ──► utilities ──► shares, intervals

Negative values are clipped and the rest shared out (the Shapley royalty share of Wang et al., arXiv 2404.13964). Everything is added in
whole numbers; resampling uses `random.Random(int).random()`, the one sequence Python promises to keep.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise
from math import ceil, floor, lcm, sqrt
from statistics import NormalDist
from typing import Any, Final

from governance_hooks.attribution import UTILITIES, Attribution, Utility
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import parse_ledger
from governance_hooks.plan import Plan, read_plan
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence
from governance_hooks.stake.guilds import read_assignment
from governance_hooks.stake.shapley import exact_values, largest_remainder, orders, royalty_shares, sampled_values, without_truncation
from governance_hooks.stake.values import Trained, Values, by_mask, read_values

__all__ = ["FILES", "FORMAT", "PPM", "check_shares", "expanded_tail", "make_shares", "next_coalition", "record_shares"]

FORMAT: Final = "coop.shares/v1"
PPM: Final = 1_000_000
FILES: Final = ("stake/shares.json", "stake/values.jsonl", "stake/guilds.jsonl")
MINIMUM_CLUSTERS: Final = 5
"""With fewer contributors of held-out answers, answers are resampled: too few clusters give no usable interval."""

Vector = Sequence[int]


@dataclass(frozen=True, slots=True)
class _Game:
    """The gains of coalitions over the base, by seed and mask: micro-nats and tokens foreseen of each answer."""

    guilds: list[str]
    seeds: list[int]
    tokens: list[int]
    languages: list[str]
    gains: dict[int, dict[int, tuple[Vector, Vector]]]

    @classmethod
    def of(cls, plan: Attribution, values: Values) -> _Game:
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
    game = _Game.of(plan, values)

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


def _chains(plan: Attribution, game: _Game) -> tuple[list[list[int]], int | None]:
    """Return the chains of coalitions of all orders, or the mask that must be valued before they can be told."""
    worth = {mask: game.worth(mask, plan.utility) for mask in game.valued()}
    chains: list[list[int]] = []
    for order in orders(len(game.guilds), plan.permutations, plan.assignment):
        chain, missing = without_truncation(worth, order, game.whole, plan.truncation_permille)
        if missing is not None:
            return chains, missing
        chains.append(chain)
    return chains, None


def record_shares(plan: Attribution) -> dict[str, int]:
    """Return what each guild would have by its number of rows alone, in millionths."""
    return largest_remainder(PPM, {guild: found.records for guild, found in plan.players.items()})


@dataclass(frozen=True, slots=True)
class _Solved:
    """Shapley values by seed, player and answer, times `divisor`; where orders are sampled also each order's values by utility."""

    nll: dict[int, list[list[int]]]
    hits: dict[int, list[list[int]]]
    divisor: int
    chains: list[list[int]]


def _solve(plan: Attribution, game: _Game) -> _Solved:
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
    return _Solved(nll, hits, divisor, chains)


def _values_of(game: _Game, solved: _Solved, utility: Utility) -> list[Fraction]:
    """Return each player's value in millionths, mean over the seeds."""
    table = solved.hits if utility == "accuracy" else solved.nll
    scale = solved.divisor * len(game.seeds)
    return [
        sum((_weighted(table[seed][player], game.tokens, game.languages, utility) for seed in game.seeds), Fraction(0)) / scale
        for player in range(len(game.guilds))
    ]


def _ppm(guilds: Sequence[str], values: Sequence[Fraction]) -> dict[str, int] | None:
    shares = royalty_shares(values)
    return None if shares is None else largest_remainder(PPM, dict(zip(guilds, shares, strict=True)))


def _units(values: Values) -> tuple[str, list[list[int]]]:
    """Return what is resampled, and the places of the answers of each unit."""
    clusters: dict[str, list[int]] = {}
    for place, answer in enumerate(values.head.answers):
        clusters.setdefault(answer.cluster, []).append(place)
    if len(clusters) >= MINIMUM_CLUSTERS:
        return "clusters", [clusters[name] for name in sorted(clusters)]
    return "items", [[place] for place in range(len(values.head.answers))]


class _Resampler:
    """Draws contributors, seeds and orders again and tells the shares that come out."""

    def __init__(self, plan: Attribution, game: _Game, solved: _Solved, units: Sequence[Sequence[int]], utility: Utility) -> None:
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
        self.point = [float(value) for value in _values_of(game, solved, utility)]

    def _by_order(self, game: _Game, solved: _Solved) -> list[list[float]]:
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


def _result(plan: Attribution, game: _Game, solved: _Solved, units: Sequence[Sequence[int]], utility: Utility) -> dict[str, dict[str, int]] | None:
    values = _values_of(game, solved, utility)
    points = _ppm(game.guilds, values)
    if points is None:
        return None
    resampled = _Resampler(plan, game, solved, units, utility).shares()
    tail = expanded_tail(plan.confidence_percent, len(units))
    out = {}
    for player, guild in enumerate(game.guilds):
        ordered = sorted(shares[player] for shares in resampled)
        low, high = (ordered[floor(tail * len(ordered))], ordered[ceil((1 - tail) * len(ordered)) - 1]) if ordered else (0.0, 1.0)
        # The point is always within what is stated: a percentile interval need not hold it where shares are clipped.
        bounds = {"low_ppm": min(floor(low * PPM), points[guild]), "high_ppm": max(ceil(high * PPM), points[guild])}
        out[guild] = {"value_micro": round(values[player]), "share_ppm": points[guild]} | bounds
    return out


def _splitting(plan: Attribution, game: _Game) -> list[dict[str, Any]]:
    """Return what any two guilds get apart, and as one: how much a split pays (the concern of arXiv 2505.19013), exactly, from the same table."""
    worth = {mask: [game.worth(mask, plan.utility)] for mask in game.valued()}
    count = len(game.guilds)

    def shares(players: list[int]) -> list[Fraction] | None:
        """Return the royalty shares when each player is a mask of guilds."""
        scaled = {}
        for mask in range(1 << len(players)):
            joined = sum(player for place, player in enumerate(players) if mask >> place & 1)
            scaled[mask] = worth[joined]
        common = lcm(*(value[0].denominator for value in scaled.values()))
        values, divisor = exact_values({mask: [int(value[0] * common)] for mask, value in scaled.items()}, len(players))
        return royalty_shares([Fraction(value[0], divisor) for value in values])

    single = [1 << place for place in range(count)]
    apart = shares(single)
    out = []
    for first, second in combinations(range(count), 2):
        together = shares([single[first] | single[second], *(mask for place, mask in enumerate(single) if place not in (first, second))])
        if apart is not None and together is not None:
            pair = {"guilds": [game.guilds[first], game.guilds[second]]}
            out.append(pair | {"apart_ppm": round((apart[first] + apart[second]) * PPM), "together_ppm": round(together[0] * PPM)})
    return out


def make_shares(plan_bytes: bytes, run: str, values_bytes: bytes, guilds_bytes: bytes) -> bytes:
    """Return the canonical shares.json of a complete values table.

    Raises:
        BadInput: the plan shares nothing, or table and assignment are not complete, or not of this plan.
    """
    plan = read_plan(plan_bytes)
    attribution = _attribution(plan)
    values = read_values(values_bytes)
    read_assignment(guilds_bytes, expected=attribution.assignment).check(attribution)
    if values.head.plan != sha256(plan_bytes) or values.head.assignment != attribution.assignment:
        raise BadInput("the values table is of another plan or assignment", value=values.head.plan, allowed=sha256(plan_bytes))
    game = _Game.of(attribution, values)
    solved = _solve(attribution, game)
    unit, units = _units(values)
    results = {utility: _result(attribution, game, solved, units, utility) for utility in UTILITIES}
    shares = results.pop(attribution.utility)
    by_records = record_shares(attribution)
    document = {
        "format": FORMAT,
        "coop": plan.coop,
        "run": run,
        "plan": sha256(plan_bytes),
        "build": plan.build.manifest,
        "method": "exact" if attribution.exact else "sampled",
        "trainings": len(values.trained) - 1,  # the base is measured, not trained
        "seeds": attribution.seeds,
        "permutations": 0 if attribution.exact else attribution.permutations,
        "utility": attribution.utility,
        "interval": {"confidence_percent": attribution.confidence_percent, "resamples": attribution.resamples, "unit": unit, "units": len(units)},
        "players": {guild: found.model_dump() | {"record_share_ppm": by_records[guild]} for guild, found in sorted(attribution.players.items())},
        "collapsed": attribution.collapsed,
        "verdict": "shared" if shares is not None else "no gain",
        "shares": shares,
        "alternatives": results,
        "v": [
            {"coalition": [guild for place, guild in enumerate(game.guilds) if mask >> place & 1]}
            | {utility: round(game.worth(mask, utility)) for utility in UTILITIES}
            for mask in sorted(game.valued(), key=lambda mask: (mask.bit_count(), mask))
        ],
        "splitting": _splitting(attribution, game) if attribution.exact else [],
        "values": sha256(values_bytes),
        "guilds": sha256(guilds_bytes),
        "wall_s": values.milliseconds // 1000,
        "device": values.head.device,
        "threads": values.head.threads,
    }
    return dumps(document)


def _attribution(plan: Plan) -> Attribution:
    if plan.attribution is None:
        raise BadInput("this plan shares nothing: it has no section attribution", next="name one in the config, then plan and vote anew")
    return plan.attribution


def check_shares(plan: bytes, files: Mapping[str, bytes], *, run: str | None = None) -> str:
    """Recompute every number of `stake/shares.json` from the files beside it; return what was checked.

    Args:
        plan: the plan file that was voted on.
        files: files by bundle path; with `data/ledger.jsonl` the guilds' members are counted again too.
        run: the run they must be of.

    Raises:
        StepFailed: a file is missing, or a number is not the one that follows.
    """
    voted = read_plan(plan)
    there = [name for name in FILES if name in files]
    if voted.attribution is None:
        if there:
            raise StepFailed(f"{there[0]} is there, but members voted on no attribution", todo="leave it out")
        return Sentence("members voted on no attribution: there are no shares")
    if not there:
        return Sentence("no shares are stated; the plan allows them")
    if len(there) != len(FILES):
        raise StepFailed(f"{', '.join(sorted(set(FILES) - set(there)))} is missing, and shares cannot be recomputed without it", todo="restore the file")
    shares, values, guilds = (files[name] for name in FILES)
    stated = loads(shares, source=FILES[0])
    named = stated.get("run") if isinstance(stated, dict) else None
    if not isinstance(named, str) or (run is not None and named != run):
        raise StepFailed(f"{FILES[0]} is of run {named!r}, not {run!r}", todo="coop shares RUN")
    try:
        if "data/ledger.jsonl" in files:
            rows, _ = parse_ledger(files["data/ledger.jsonl"], source="data/ledger.jsonl")
            read_assignment(guilds, expected=voted.attribution.assignment).check(voted.attribution, rows)
        made = make_shares(plan, named, values, guilds)
    except BadInput as error:
        raise StepFailed(f"shares cannot be recomputed: {error.what}", todo="restore the files of coop shares") from error
    if made != shares:
        again = loads(made)
        odd = sorted(name for name in again.keys() | stated.keys() if again.get(name) != stated.get(name))
        raise StepFailed(f"{FILES[0]} does not follow from the values table: {', '.join(odd)}", todo="coop shares RUN")
    return Sentence(
        "shares of {count} guilds recomputed from {trainings} trainings, utility {utility}",
        count=len(voted.attribution.players),
        trainings=stated["trainings"],
        utility=voted.attribution.utility,
    )
