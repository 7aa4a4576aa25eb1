"""Whatever is said by whomever in whatever order: a refusal changes nothing, a replay gives the same register, and no rule is got around."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.audit import audit
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.statement import parse
from tests.governance_hooks.acts import ACTS, Crowd

HISTORIES = int(os.environ.get("COOP_HISTORIES", "240"))
"""Long histories of the slow test, about a quarter of a second each: a night's worth may find what a minute does not."""
NUMBER = st.integers(0, 255)
PROGRAMS = st.lists(st.tuples(st.sampled_from(ACTS), NUMBER, NUMBER, NUMBER), max_size=40)


def play(world: Crowd, program: list[tuple[str, int, int, int]], *, mixed: bool) -> Crowd:
    if mixed:
        world.settle_down()
    for act in program:
        world.act(*act)
    world.finish()
    return world


def drawn(seed: int, length: int, *log: str) -> Crowd:
    draw = random.Random(seed)
    return play(Crowd(*log), [(draw.choice(ACTS), draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in range(length)], mixed=seed % 2 == 1)


@settings(max_examples=40, deadline=None)
@given(PROGRAMS, st.booleans())
def test_no_history_gets_around_the_rules(program: list[tuple[str, int, int, int]], mixed: bool) -> None:
    play(Crowd(), program, mixed=mixed)


def test_long_histories_get_somewhere_and_not_around_the_rules() -> None:
    counts = sum((drawn(seed, 100).counts for seed in range(60)), Counter[str]())
    assert counts["refused"] > 5000
    for reached in (
        "admission enacted", "appeal enacted", "appointment enacted", "bylaws enacted", "operator enacted", "recall enacted", "suspension enacted", "bylaws lapsed",
        "superseded by vote", "withdrawal ratified", "status appealed",
    ):  # fmt: skip
        assert counts[reached], f"no history gets to: {reached}"
    for kind in (
        "decline",
        "delivery",
        "exit",
        "halt",
        "income",
        "leave",
        "objection",
        "payout",
        "recovery",
        "release",
        "release-status",
        "rotation",
        "run-start",
    ):
        assert counts[f"coop.{kind}/v1"], f"no history gets to: {kind}"


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, HISTORIES, 60))
def test_many_longer_histories_do_not_get_around_the_rules_either(start: int) -> None:
    counts = sum((drawn(seed, 150).counts for seed in range(1000 + start, 1060 + start)), Counter[str]())
    for rare in ("coop.exit/v1", "appeal enacted", "withdrawal ratified"):
        assert counts[rare], f"nothing rare in so many histories: {rare}"


@pytest.mark.parametrize("seed", range(3))
def test_what_the_writer_appends_is_what_everybody_replays(tmp_path: Path, seed: int) -> None:
    key = NoteKey.generate("world/log", Paths(tmp_path).log_key)
    world = drawn(seed, 80, key.verifier.text)
    pin = Cooperative.found(tmp_path, world.entries[0], key)
    with Cooperative.open(tmp_path) as coop:
        moment = ""
        coop.clock = lambda: moment
        for data in world.entries[1:]:
            moment = max(moment, parse(data).issued)
            with suppress(Refused):  # the writer's own clock is stricter; whatever rests on what it left out goes too
                coop.append(data)
        assert coop.register.size > 0.9 * len(world.entries)
        again = Register()
        for data in coop.log.entries():
            again.apply(data)
        assert vars(again) == vars(coop.register)
        coop.proof().replay(pin)
    report = audit(tmp_path)  # its third step: every checkpoint is a prefix of the log
    assert report.exit_code == 0, report.text()
