"""Plans, assignments and values tables of made-up games, for tests that need shares and no training."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from governance_hooks.attribution import Attribution, Guild
from governance_hooks.canonical import dumps, sha256
from governance_hooks.plan import Plan
from governance_hooks.stake.game import next_coalition
from governance_hooks.stake.guilds import Assignment, assignment_bytes
from governance_hooks.stake.shares import make_shares
from governance_hooks.stake.values import Answer, Head, Trained, Values

Worth = Callable[[list[str], str, int], int]
"""(coalition, language, seed) -> micro-nats gained per token of that language."""


def assigned(counts: dict[str, int], copies: int = 0) -> bytes:
    """Return an assignment of made-up records."""
    guilds = {f"{guild}-{number:04d}": guild for guild, count in counts.items() for number in range(count)}
    return assignment_bytes(Assignment(guilds, {f"zz-{number}": next(iter(guilds)) for number in range(copies)}))


def sharing(plan: Plan, counts: dict[str, int], **policy: Any) -> bytes:
    """Return the bytes of a plan that shares its credit among guilds of so many rows."""
    players = {guild: Guild(records=count, members=3) for guild, count in counts.items()}
    section = Attribution(**({"resamples": 200} | policy), assignment=sha256(assigned(counts)), players=players)
    return dumps(plan.model_copy(update={"attribution": section}).model_dump(mode="json"))


def table(data: bytes, plan: Attribution, worth: Worth, *, per_language: int = 12, clusters: int = 6, noise: int = 0) -> Values:
    """Return the whole values table of a game."""
    languages = sorted({guild[:3] for guild in plan.players})
    answers = [
        Answer(item=f"{language}-h{number:03d}", language=language, cluster=f"m-{number % clusters}", tokens=10 + number)
        for language in languages
        for number in range(per_language)
    ]
    values = Values(Head(plan=sha256(data), assignment=plan.assignment, answers=answers, device="cpu", threads=1), [])
    draw = random.Random(4)
    while (wanted := next_coalition(plan, values)) is not None:
        coalition, seed = wanted
        gains = [worth(coalition, answer.language, seed) * answer.tokens + (draw.randint(-noise, noise) if coalition else 0) for answer in answers]
        nll = [5_000_000 * answer.tokens - gain for answer, gain in zip(answers, gains, strict=True)]
        hits = [min(answer.tokens, max(0, 2 + gain // 1_000_000)) for answer, gain in zip(answers, gains, strict=True)]
        values.add(Trained(coalition=coalition, seed=seed, nll=nll, hits=hits, steps=8, milliseconds=1500))
    return values


def shares_of(data: bytes, plan: Attribution, counts: dict[str, int], worth: Worth, run: str = "first", **how: Any) -> dict[str, bytes]:
    """Return the three files of a run's shares by bundle path."""
    values, guilds = table(data, plan, worth, **how).dumps(), assigned(counts)
    made = make_shares(data, run, values, guilds)
    return {"stake/shares.json": made, "stake/values.jsonl": values, "stake/guilds.jsonl": guilds}
