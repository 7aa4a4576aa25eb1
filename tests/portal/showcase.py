"""Villages so that every page has something to show: one in which everything has happened, one with data for everybody and a map of opinions, and one in which nothing has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from commonweights.commands.portal import open_service
from governance_hooks.bylaws import Rules
from governance_hooks.cooperative import Cooperative
from governance_hooks.statement import now, shift
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.settings import Settings
from tests.model_card.attested import STEWARDS
from tests.portal.conftest import Portal, named
from tests.portal.past import live
from tests.portal.people import MAIN, SIGNING
from tests.portal.scenes import act_as_stewards, change_keys, give, join, make_build, publish_texts, send_mail, vote
from tests.portal.stage import DAY, Stage
from tests.portal.test_datasets import EVERYBODY, fill, texts
from tests.portal.test_opinions import ask, planted
from tests.portal.test_voting import say
from tests.ports import free_port
from tests.village import Village, found

PEOPLE = Settings(MAIN, SIGNING)
VOICES = 12
"""Members whose opinions make a map: two groups of five or more."""
AT_ONCE = Rules(quorum_percent=50, approval_percent=60, minimum_for=2, minimum_period_s=0, challenge_s=0, expiry_s=30 * DAY)


class Patience(Limits):
    """Limits nobody reaches, but one who asks too often."""

    tired_of: str = ""

    def allows(self, what: str, who: str) -> bool:
        """Tell whether it is within its limit."""
        return who != self.tired_of and super().allows(what, who)


@contextmanager
def opened(root: Path, settings: Settings, keys: dict[str, object], operator: object) -> Iterator[Stage]:
    """Open a village's portal twice, as one service: for people without a browser, and for a browser on this machine."""
    with open_service(root, PEOPLE) as service:
        service.limits = Patience({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        local = replace(service, settings=settings)
        yield Stage(Portal(root, service, make_app(service), keys, operator), make_app(local), settings, [service, local])  # type: ignore[arg-type]


@contextmanager
def empty(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village that has just been founded, with one member who has just joined."""
    keys, operator = found(root, passkey_origins=[named(PEOPLE), named(settings)])
    with opened(root, settings, keys, operator) as stage:
        stage.people["fresh"], _ = stage.portal.joined("fresh@example.org")
        stage.people["registrar"] = stage.portal.founder(0)
        yield stage


@contextmanager
def full(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village in which everything has happened."""
    kinds = {
        "run": AT_ONCE,
        "release": AT_ONCE,
        "bylaws": AT_ONCE,
        "consultation": Rules(quorum_percent=0, approval_percent=0, minimum_for=1, minimum_period_s=0),
    }
    keys, operator = found(
        root,
        founders=6,
        passkey_origins=[named(PEOPLE), named(settings)],
        stewards=STEWARDS,
        stewards_required=2,
        kinds={name: rules.model_dump() for name, rules in kinds.items()},
    )
    paths = dict[str, str]()
    with Cooperative.open(root) as coop:
        village = Village(root, coop, keys, operator)
        live(root, village, paths)
    while now() < village.clock:  # it turned its clock forward: the portal's, which is this machine's, comes after
        time.sleep(0.05)
    with opened(root, settings, keys, operator) as stage:
        stage.paths |= paths
        publish_texts(stage)
        join(stage)
        give(stage)
        make_build(root)
        vote(stage)
        change_keys(stage)
        act_as_stewards(stage)
        send_mail(stage)
        yield stage


@contextmanager
def data(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village with a dataset that is described here, some of whose texts everybody may read, and with opinions enough for a map."""
    few = partial(texts, count=4)
    keys, operator, digest, _ = fill(root, [EVERYBODY] * VOICES, drafts=few, settings=(PEOPLE, settings))
    with opened(root, settings, keys, operator) as stage:
        stage.portal.service.maps.patience_s = 300
        stage.paths["dataset"] = f"/datasets/{digest}"
        stage.people["founder"] = stage.portal.founder(0)
        asked = ask(stage.portal, [f"Statement number {number}. العبارة" for number in range(8)], closes=shift(stage.portal.service.clock(), 5 * DAY))
        answers, _ = planted(VOICES, 8, 2)
        for member, said in zip(stage.portal.members, answers.values(), strict=True):
            say(stage.portal, "coop.opinions/v1", {"proposal": asked, "answers": said, "sequence": 1, "reason": None}, member, stage.portal.keys[member])
        stage.paths["map"] = f"/proposals/{asked}"
        yield stage


@contextmanager
def villages(folder: Path) -> Iterator[dict[str, Stage]]:
    """Yield the villages by name, each for a browser on a port of its own."""
    with ExitStack() as stack:
        made = {name: stack.enter_context(make(folder / name, _here())) for name, make in (("full", full), ("data", data), ("empty", empty))}
        for stage in made.values():
            stage.stop_clock()
        yield made


def _here() -> Settings:
    port = free_port()
    return Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}")
