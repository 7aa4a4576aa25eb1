"""Shares of the guilds in a run: a pure function of the plan, the assignment and the values table, so that everybody gets the same bytes.

    values.jsonl ──► gain over the base by answer and seed ──► Shapley value by answer and seed ──► utilities ──► shares, intervals

Negative values are clipped and the rest shared out (the Shapley royalty share of Wang et al., arXiv 2404.13964). Everything is added in
whole numbers. The game is in `game`, the intervals are from `resampling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from math import ceil, floor, lcm
from typing import Any, Final

from governance_hooks.attribution import UTILITIES, Attribution, Utility
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import parse_ledger
from governance_hooks.plan import Plan, read_plan
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence
from governance_hooks.stake.game import PPM, Game, Solved, solve, values_of
from governance_hooks.stake.guilds import read_assignment
from governance_hooks.stake.resampling import Resampler, expanded_tail, units_of
from governance_hooks.stake.shapley import exact_values, largest_remainder, royalty_shares
from governance_hooks.stake.values import read_values

__all__ = ["FILES", "FORMAT", "check_shares", "make_shares", "record_shares"]

FORMAT: Final = "coop.shares/v1"
FILES: Final = ("stake/shares.json", "stake/values.jsonl", "stake/guilds.jsonl")


def record_shares(plan: Attribution) -> dict[str, int]:
    """Return what each guild would have by its number of rows alone, in millionths."""
    return largest_remainder(PPM, {guild: found.records for guild, found in plan.players.items()})


def _ppm(guilds: Sequence[str], values: Sequence[Fraction]) -> dict[str, int] | None:
    shares = royalty_shares(values)
    return None if shares is None else largest_remainder(PPM, dict(zip(guilds, shares, strict=True)))


def _result(plan: Attribution, game: Game, solved: Solved, units: Sequence[Sequence[int]], utility: Utility) -> dict[str, dict[str, int]] | None:
    values = values_of(game, solved, utility)
    points = _ppm(game.guilds, values)
    if points is None:
        return None
    resampled = Resampler(plan, game, solved, units, utility).shares()
    tail = expanded_tail(plan.confidence_percent, len(units))
    out = {}
    for player, guild in enumerate(game.guilds):
        ordered = sorted(shares[player] for shares in resampled)
        low, high = (ordered[floor(tail * len(ordered))], ordered[ceil((1 - tail) * len(ordered)) - 1]) if ordered else (0.0, 1.0)
        # The point is always within what is stated: a percentile interval need not hold it where shares are clipped.
        bounds = {"low_ppm": min(floor(low * PPM), points[guild]), "high_ppm": max(ceil(high * PPM), points[guild])}
        out[guild] = {"value_micro": round(values[player]), "share_ppm": points[guild]} | bounds
    return out


def _splitting(plan: Attribution, game: Game) -> list[dict[str, Any]]:
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
    game = Game.of(attribution, values)
    solved = solve(attribution, game)
    unit, units = units_of(values)
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
