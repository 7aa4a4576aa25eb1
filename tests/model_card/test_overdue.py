"""When the promise to those who withdraw falls due: counted from the log, by number and by time, and naming nobody."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.bylaws import Bylaws
from governance_hooks.canonical import loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.ledger import parse_ledger
from governance_hooks.statement import shift
from model_card.overdue import Due, due_since, terms
from tests.model_card.attested import Case, made
from tests.model_card.conftest import RUN
from tests.village import USE, found

DAY = 86_400


@dataclass
class Out:
    """A release that is out, of a village that promises a successor after two withdrawals or ten days."""

    case: Case

    def due(self) -> Due:
        village = self.case.village
        rows = parse_ledger(self.case.files["data/ledger.jsonl"])[0]
        entries = list(village.coop.log.entries())
        return due_since(village.coop.register, self.case.release, rows, USE, lambda position: str(loads(entries[position])["body"]["issued"]))

    def withdraw(self, number: int) -> None:
        self.case.village.say("coop.withdrawal/v1", {"consent": None}, self.case.village.members[number])


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Out]:
    keys, operator = found(tmp_path / "village", founders=6, supersede_after_withdrawals=2, supersede_within_s=10 * DAY)
    with Cooperative.open(tmp_path / "village") as coop:
        case = made(tmp_path / "village", coop, keys, operator)
        proposal = next(one.id for one in coop.register.proposals.values() if one.kind == "release")
        case.village.say("coop.release/v1", {"run": RUN, "release": case.release, "proposal": proposal}, "operator")
        yield Out(case)


def test_nobody_withdrew_and_nothing_is_due(out: Out) -> None:
    found = out.due()
    assert (found.withdrawn, found.members, found.first, found.due_at) == (0, 6, None, None)
    assert not found.is_due("2099-01-01T00:00:00Z")


def test_one_withdrawal_makes_it_due_by_time_and_two_by_number(out: Out) -> None:
    at = out.case.village.clock
    out.withdraw(0)
    found = out.due()
    assert (found.withdrawn, found.first, found.due_at) == (1, at, shift(at, 10 * DAY))
    assert not found.is_due(shift(at, 10 * DAY - 1))
    assert found.is_due(shift(at, 10 * DAY))
    out.case.village.wait(DAY)
    out.withdraw(1)
    found = out.due()
    assert (found.withdrawn, found.first, found.is_due(at)) == (2, at, True)
    assert "m-0" not in found.line(at)
    assert "DUE" in found.line(at)


def test_who_leaves_has_withdrawn(out: Out) -> None:
    out.case.village.say("coop.leave/v1", {}, out.case.village.members[2])
    assert out.due().withdrawn == 1


def test_who_consents_anew_for_the_same_use_has_not_withdrawn(out: Out) -> None:
    out.withdraw(0)
    out.case.village.consent(out.case.village.members[0], recipients=["coop:Members"])
    assert out.due().withdrawn == 1, "a consent for less does not make up for it"
    out.case.village.consent(out.case.village.members[0])
    assert out.due().withdrawn == 0


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        ({}, "promise no number"),
        ({"supersede_after_withdrawals": 1}, "after 1 member has withdrawn"),
        ({"supersede_after_withdrawals": 5, "supersede_within_s": 90 * DAY}, "after 5 members have withdrawn or 90 days after the first"),
        ({"supersede_within_s": 3600}, "3600 s after the first"),
    ],
)
def test_the_terms_are_those_of_the_bylaws(out: Out, promised: dict[str, Any], words: str) -> None:
    fields = {name: value for name, value in out.case.village.coop.register.bylaws.model_dump().items() if not name.startswith("supersede")}
    assert words in terms(Bylaws.model_validate(fields | promised))
