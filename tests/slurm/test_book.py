"""The compute book adds up what the log says: by site, by vote, and what is left of either."""

from __future__ import annotations

from typing import Any

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.plan import Limits
from slurm.book import Book, keep_book
from tests.village import Approved


class Used:
    """A village with a run at two sites."""

    def __init__(self, approved: Approved) -> None:
        self.approved, self.village = approved, approved.village
        self.keys = {"north": self.village.site("north", lender=self.village.members[0], device_hours=1), "south": self.village.site("south")}

    def start(self, site: str, number: int) -> None:
        self.village.say("coop.run-start/v1", self.approved.started(start=number), f"s-{site}", self.keys[site])

    def segment(self, site: str, number: int, **changes: Any) -> None:
        said = {"run": "run-1", "start": number, "job": 17, "restart": 0, "nodes": 1, "devices": 2, "seconds": 600, "outcome": "preempted"}
        self.village.wait(600)
        self.village.say("coop.run-segment/v1", said | {"energy_wh": None, "energy_from": None} | changes, f"s-{site}", self.keys[site])

    def book(self, limits: Limits | None = None) -> Book:
        return keep_book(self.village.coop.register, {sha256(self.approved.plan_bytes): limits} if limits else {})


@pytest.fixture
def used(approved: Approved) -> Used:
    return Used(approved)


def test_an_empty_log_has_an_empty_book(approved: Approved) -> None:
    assert keep_book(approved.village.coop.register, {}) == Book((), ())


def test_hours_are_counted_by_site_and_by_vote_and_come_to_the_same(used: Used) -> None:
    used.start("north", 1)
    used.segment("north", 1, energy_wh=500, energy_from="measured")
    used.start("south", 2)
    used.segment("south", 2, devices=1, outcome="completed", energy_wh=100, energy_from="estimated")
    book = used.book(Limits(max_devices=2, max_minutes=30))
    (run,) = book.runs
    assert {one.name: one.used.device_s for one in book.sites} == {name: use.device_s for name, use in run.by_site.items()} == {"north": 1200, "south": 600}
    assert (run.used.device_s, run.used.starts, run.used.energy_wh, run.used.energy_starts, run.used.estimated) == (1800, 2, 600, 2, True)
    assert (run.proposal, run.budget_s, run.left_s) == (used.approved.proposal, 3600, 1800)
    assert run.outcomes == {"preempted": 1, "completed": 1}
    north, south = book.sites
    assert (north.lender, north.lent_s, south.lender, south.lent_s) == (used.village.members[0], 3600, None, None)
    assert (north.used.estimated, south.used.estimated) == (False, True)


def test_device_minutes_that_were_voted_are_the_budget(used: Used) -> None:
    used.start("north", 1)
    used.segment("north", 1)
    (run,) = used.book(Limits(max_devices=2, max_minutes=30, max_device_minutes=15)).runs
    assert (run.budget_s, run.left_s) == (900, 0)


def test_what_is_not_known_is_not_made_up(used: Used) -> None:
    used.start("north", 1)
    used.segment("north", 1)
    used.start("north", 2)
    (run,) = used.book().runs
    assert (run.budget_s, run.left_s, run.used.energy_wh, run.open_starts) == (None, None, None, 1)
    assert run.as_dict()["energy"] is None


def test_a_run_on_the_cooperatives_own_machines_is_no_entry_and_its_starts_are_told_apart(used: Used) -> None:
    used.approved.start(start=1)
    assert used.book().runs == ()
    used.start("south", 2)
    (run,) = used.book().runs
    assert (run.own_starts, run.open_starts) == (1, 1)


def test_a_retired_site_stays_in_the_book(used: Used) -> None:
    used.start("north", 1)
    used.segment("north", 1)
    used.village.say("coop.site/v1", {"site": "north", "key": None, "lender": None, "device": None, "device_hours": 1}, "operator")
    north = used.book().sites[0]
    assert (north.retired, north.used.device_s) == (True, 1200)
