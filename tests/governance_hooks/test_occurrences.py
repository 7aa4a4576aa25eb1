"""Consents limited to a number of runs: counted by the log, used up by distinct approvals, never by restarts."""

from dataclasses import replace
from pathlib import Path

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.gate import run_gate
from governance_hooks.ledger import read_ledger
from governance_hooks.rules.consents import choose
from governance_hooks.statement import shift
from tests.attacks.forge import only_broken, request_for
from tests.attacks.story import RUN, Story
from tests.governance_hooks.test_guard import guard
from tests.village import USE, Approved, Village


@pytest.fixture
def limited(village: Village, monkeypatch: pytest.MonkeyPatch) -> Approved:
    """A village whose first member allows one run only; members approved one."""
    give = village.consent
    monkeypatch.setattr(village, "consent", lambda member, **changes: give(member, **({"occurrences": 1} if member == village.members[0] else {}) | changes))
    return Approved(village)


def counts(approved: Approved) -> list[int]:
    grant = approved.village.coop.register.grants[approved.village.members[0]][0]
    return [grant.given]


def end(approved: Approved, run: str = RUN) -> None:
    approved.village.say("coop.run-end/v1", {"run": run, "status": "failed", "record": digest("x"), "outputs": digest([])}, "operator")


def another_approval(approved: Approved) -> None:
    """Have members approve the same data for a second run."""
    approved.plan_bytes = dumps(approved.make_plan(name="second-run").model_dump())
    approved.proposal = approved.village.approve("run", sha256(approved.plan_bytes), uses=2)


def start(approved: Approved, counted: list[int], run: str = RUN, number: int = 1) -> None:
    payload = {"run": run, "plan": sha256(approved.plan_bytes), "proposal": approved.proposal, "start": number, "counted": counted}
    approved.village.say("coop.run-start/v1", payload, "operator")


def test_the_one_run_it_allows_passes_with_its_restart(limited: Approved) -> None:
    assert run_gate(request_for(limited)).passed
    limited.start()
    assert run_gate(request_for(limited, run=RUN)).passed
    end(limited)
    assert run_gate(request_for(limited)).passed  # before the restart is logged
    limited.start(start=2)
    report = run_gate(request_for(limited, run=RUN))
    assert report.passed, report.text()
    assert limited.village.coop.register.runs[RUN].counted == [counts(limited), counts(limited)]


def test_a_second_approval_finds_it_used_up_before_it_starts(limited: Approved) -> None:
    limited.start()
    another_approval(limited)
    only_broken(run_gate(request_for(limited)), "consent in force", "3 texts lack a consent in force of 1 member(s)")


def test_the_next_build_leaves_out_a_member_whose_consent_is_used_up(limited: Approved) -> None:
    village, (one, two, *_) = limited.village, limited.village.members

    def usable(member: str, run: str | None = None) -> bool:
        found = village.coop.register.consent_for(member, USE, language="spa", batch=digest("b"), at=village.clock, run=run)
        return found is not None

    assert (usable(one), usable(two)) == (True, True)
    limited.start()
    assert (usable(one), usable(two), usable(one, RUN)) == (False, True, True)


def test_an_edit_of_a_text_counts_the_consent_of_the_author_of_the_text(limited: Approved) -> None:
    """The first member's own texts are in no build any more, but an edit of one of them is."""
    village, (author, editor, *_) = limited.village, limited.village.members
    rows, _ = read_ledger(limited.build / "ledger.jsonl")
    cited = {row.authors[0]: row.consents[0] for row in rows}
    kept = [row for row in rows if row.authors == (editor,)]
    edit = replace(kept[0], authors=[author, editor], consents=[cited[author], cited[editor]])
    limited.write_build([edit, *kept[1:]])
    another_approval(limited)
    start(limited, [])
    only_broken(run_gate(request_for(limited, run=RUN)), "consent in force", "did not count exactly the consents")
    another_approval(limited)
    limited.start(run="run-2")
    assert village.coop.register.runs["run-2"].counted == [counts(limited)]


def test_a_second_start_that_names_it_is_refused_by_the_log(limited: Approved) -> None:
    limited.start()
    another_approval(limited)
    size = limited.village.coop.register.size
    with pytest.raises(Refused, match=r"this consent allows 1 run\(s\), and 1 used it"):
        start(limited, counts(limited), run="run-2")
    assert limited.village.coop.register.size == size
    assert "run-2" not in limited.village.coop.register.runs


def test_a_second_start_that_keeps_silent_about_it_is_blocked_by_the_gate(limited: Approved) -> None:
    limited.start()
    another_approval(limited)
    start(limited, [], run="run-2")
    only_broken(run_gate(request_for(limited, run="run-2")), "consent in force", "3 texts lack a consent in force of 1 member(s)")


def test_a_first_start_that_keeps_silent_about_it_is_blocked_by_the_gate(limited: Approved) -> None:
    start(limited, [])
    only_broken(run_gate(request_for(limited, run=RUN)), "consent in force", "start 1 of run run-1 did not count exactly the consents")


def test_a_start_that_uses_up_a_consent_it_does_not_stand_on_is_blocked(limited: Approved) -> None:
    village = limited.village
    other = village.consent(village.members[4], occurrences=1)
    position = village.coop.register.size - 1
    start(limited, sorted([*counts(limited), position]))
    assert village.coop.register.grants[village.members[4]][0].id == other.id
    only_broken(run_gate(request_for(limited, run=RUN)), "consent in force", "did not count exactly the consents")


def test_two_occurrences_serve_two_runs_and_no_third(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    give = village.consent
    monkeypatch.setattr(village, "consent", lambda member, **changes: give(member, occurrences=2, **changes))
    approved = Approved(village)
    for number in (1, 2):
        assert run_gate(request_for(approved)).passed
        approved.start(run=f"run-{number}")
        assert run_gate(request_for(approved, run=f"run-{number}")).passed
        another_approval(approved)
    third = request_for(approved, proposal=approved.proposal)
    only_broken(run_gate(third), "consent in force", "9 texts lack a consent in force of 3 member(s)")


def test_a_member_with_an_unlimited_consent_has_nothing_counted(limited: Approved) -> None:
    village = limited.village
    village.consent(village.members[0], occurrences=None)
    limited.start()
    another_approval(limited)
    assert village.coop.register.runs[RUN].counted == [[]]
    assert run_gate(request_for(limited)).passed


def test_a_withdrawn_limited_consent_is_not_replaced_under_a_running_run(limited: Approved) -> None:
    village, member = limited.village, limited.village.members[0]
    limited.start()
    watch = guard(limited)
    watch.start()
    village.say("coop.withdrawal/v1", {"consent": None}, member)
    village.consent(member)  # one more run, says the member: this one has not counted it
    stop = watch.stop()
    assert stop is not None
    assert (stop.kind, "that it did not count" in stop.reason) == ("withdrawn", True)
    end(limited)
    limited.start(start=2)
    assert run_gate(request_for(limited, run=RUN)).passed


def test_a_start_may_not_count_a_consent_that_ended(limited: Approved) -> None:
    village = limited.village
    listed = counts(limited)
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])
    with pytest.raises(Refused, match="withdrawn or expired"):
        start(limited, listed)
    village.consent(village.members[0], expires=shift(village.clock, 10))
    position = village.coop.register.size - 1
    village.wait(10)
    with pytest.raises(Refused, match="withdrawn or expired"):
        start(limited, [position])


@pytest.mark.parametrize("positions", [[0], [1], [10_000]])
def test_a_start_counts_only_limited_consents(approved: Approved, positions: list[int]) -> None:
    with pytest.raises(Refused, match="no consent limited to a number of runs"):
        start(approved, positions)


def test_a_start_lists_each_once_in_the_order_of_the_log(limited: Approved) -> None:
    with pytest.raises(Refused, match="listed once each"):
        start(limited, counts(limited) * 2)


@pytest.mark.parametrize("number", [0, -1, True, 1.0, "1"])
def test_occurrences_are_a_whole_number_above_zero(village: Village, number: object) -> None:
    with pytest.raises(BadInput, match="occurrences"):
        village.consent(village.members[0], occurrences=number)


def test_the_consent_a_record_stands_on_is_the_one_that_costs_the_member_least(village: Village) -> None:
    member = village.members[0]

    def chosen(run: str | None = None) -> int | None:
        grant = choose(village.coop.register, member, USE, language="spa", batch=digest("b"), at=village.clock, run=run)
        return None if grant is None else grant.given

    village.consent(member, occurrences=1)
    first = village.coop.register.size - 1
    village.consent(member, occurrences=1)
    assert chosen() == first + 1  # the newest
    village.coop.register.grants[member][0].used["r"] = first + 1
    assert chosen("r") == first  # the one this run has counted already
    village.consent(member)
    assert chosen("r") == first + 2  # an unlimited one is not used up


def test_verify_finds_a_run_that_did_not_count(tmp_path: Path) -> None:
    class Silent(Story):
        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, occurrences=1).id

    only_broken(Silent(tmp_path).play(), "consent in force", "start 1 of run", "did not count exactly the consents")


def test_verify_accepts_a_run_that_counted(tmp_path: Path) -> None:
    class Counted(Story):
        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, occurrences=1).id

        def start(self, village: Village, number: int) -> None:
            plan = sha256((self.root / "runs" / RUN / "plan.json").read_bytes())
            used = sorted(grant.given for grants in village.coop.register.grants.values() for grant in grants)
            village.say("coop.run-start/v1", {"run": RUN, "plan": plan, "proposal": self.proposal, "start": number, "counted": used}, "operator")

    report = Counted(tmp_path).play()
    assert report.passed, report.text()
