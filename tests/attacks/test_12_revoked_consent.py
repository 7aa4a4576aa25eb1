"""Threat 12: a member withdraws, and their records are used all the same.

The attacker is the operator: they look away while a run is on, cite another consent, strike what the record says, or go on in another
process. Blocked: the gate looks before each start, the guard while the run is on and after the last step, `coop verify` at every start and up to the
release, from the log alone. What the members voted decides whether the run stops or finishes unreleased. A withdrawal the operator never
writes is missing in `coop consent show` of the member who sent it.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.plan import Policies
from tests.attacks.forge import blocked, broken, only_broken, request_for, vote_on
from tests.attacks.story import RUN, Story
from tests.commonweights.conftest import Coop
from tests.village import CONSENT, USE, Approved, Village

GONE = "3 texts lack a consent in force of 1 member(s)"


def withdraw(village: Village, member: str) -> None:
    village.say("coop.withdrawal/v1", {"consent": None}, member)


def guard_of(approved: Approved, **changes: Any) -> Guard:
    village = approved.village
    fields: dict[str, Any] = {"fresh": lambda: village.coop.proof().dumps(), "every_s": 0, "clock": lambda: village.clock} | changes
    return Guard(request_for(approved, run=RUN), **fields)


def test_who_withdraws_after_the_vote_is_not_trained_on(approved: Approved) -> None:
    withdraw(approved.village, approved.village.members[0])
    only_broken(run_gate(request_for(approved)), "consent in force", GONE)


def test_who_withdraws_after_the_start_is_logged_is_not_trained_on(approved: Approved) -> None:
    approved.start()
    withdraw(approved.village, approved.village.members[0])
    only_broken(run_gate(request_for(approved, run=RUN)), "consent in force", GONE)


def test_a_withdrawal_stops_a_run_that_is_on(approved: Approved) -> None:
    approved.start()
    guard = guard_of(approved)
    guard.start()
    assert guard.stop() is None
    withdraw(approved.village, approved.village.members[0])
    stop = guard.stop()
    assert stop is not None
    assert (stop.kind, stop.reason.startswith(GONE)) == ("withdrawn", True)


def test_where_members_voted_so_a_run_finishes_and_can_never_be_released(approved: Approved, tmp_path: Path) -> None:
    vote_on(approved, approved.make_plan(policies=Policies(on_withdrawal="finish-unreleased")).model_dump())
    approved.start()
    guard = guard_of(approved)
    guard.start()
    withdraw(approved.village, approved.village.members[0])
    assert guard.stop() is None
    assert str(guard.unreleasable).startswith(GONE)


class Struck(Story):
    """A run that finished unreleased, whose record the operator writes as if nobody had withdrawn."""

    says: str | None = None

    def plan(self, document: dict[str, Any]) -> dict[str, Any]:
        return document | {"policies": {"on_withdrawal": "finish-unreleased"}}

    def after_start(self, village: Village) -> None:
        withdraw(village, village.members[4])

    def record(self, document: dict[str, Any]) -> dict[str, Any]:
        return document | {"unreleasable": self.says}


class Honest(Struck):
    says = "12 texts lack a consent in force of 1 member(s)"


def test_a_run_that_finished_unreleased_is_not_assembled(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the run may not be released"):
        Honest(tmp_path).play()


def test_a_run_that_finished_unreleased_does_not_verify_whoever_assembles_it(tmp_path: Path) -> None:
    story = Honest(tmp_path)
    story.tampered_tools = True
    broken(story.play(), "weights are the run's output", "run.json says that this run may not be released")


def test_striking_it_from_the_record_does_not_strike_it_from_the_log(tmp_path: Path) -> None:
    only_broken(Struck(tmp_path).play(), "consent in force", "consent of 1 member(s) was withdrawn before the release was decided")


def test_a_withdrawal_is_not_missed_because_the_consent_was_renewed_before(tmp_path: Path) -> None:
    class Renewed(Story):
        def before_start(self, village: Village) -> None:
            member = village.members[4]
            village.say("coop.withdrawal/v1", {"consent": None}, member)
            village.consent(member)  # the ledger still names the one before

        def before_release(self, village: Village) -> None:
            village.say("coop.withdrawal/v1", {"consent": None}, village.members[4])

    only_broken(Renewed(tmp_path).play(), "consent in force", "consent of 1 member(s) was withdrawn before the release was decided")


def test_leaving_ends_a_renewed_consent_too(tmp_path: Path) -> None:
    class Left(Story):
        def before_start(self, village: Village) -> None:
            village.consent(village.members[4])

        def before_release(self, village: Village) -> None:
            village.say("coop.leave/v1", {}, village.members[4])

    only_broken(Left(tmp_path).play(), "consent in force", "consent of 1 member(s) was withdrawn before the release was decided")


def test_a_renewed_consent_that_stands_to_the_end_is_enough(tmp_path: Path) -> None:
    class Renewed(Story):
        def before_start(self, village: Village) -> None:
            old = self.consents[village.members[4]]
            village.consent(village.members[4])
            village.say("coop.withdrawal/v1", {"consent": old}, village.members[4])

    report = Renewed(tmp_path).play()
    assert report.passed, report.text()


def test_a_ledger_that_cites_another_consent_does_not_hide_the_withdrawal_of_the_real_one(tmp_path: Path) -> None:
    class Cited(Story):
        def consent(self, village: Village, member: str) -> str:
            other = village.consent(member, scope={"languages": ["fra"], "batches": None}, purposes=["dpv:ServiceProvision"]).id
            self.real = village.consent(member).id
            return other  # it allows nothing here

        def before_release(self, village: Village) -> None:
            village.say("coop.withdrawal/v1", {"consent": self.real}, village.members[-1])

    only_broken(Cited(tmp_path).play(), "consent in force", "60 texts lack a consent in force of 5 member(s)")


def test_a_withdrawal_between_the_release_vote_and_the_publication_counts(tmp_path: Path) -> None:
    class Hasty(Story):
        def after_release_vote(self, village: Village, proposal: str) -> None:
            village.say("coop.withdrawal/v1", {"consent": None}, village.members[2])

    only_broken(Hasty(tmp_path).play(), "consent in force", "consent of 1 member(s) was withdrawn before the release was decided")


def test_transformers_looks_once_more_at_the_end(approved: Approved) -> None:
    hooks = pytest.importorskip("governance_hooks.hooks.transformers")
    village = approved.village
    approved.start()
    ended: list[dict[str, object]] = []
    callback = hooks.GovernanceTrainerCallback(guard_of(approved, every_s=1e9, on_end=ended.append))
    control = SimpleNamespace(should_training_stop=False, should_save=False)
    state = SimpleNamespace(global_step=5, is_world_process_zero=True)
    callback.on_train_begin(SimpleNamespace(world_size=1), state, control)
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])
    for _ in range(5):
        callback.on_step_end(None, state, control)
    callback.on_train_end(None, state, control)
    assert callback.stopped.kind == "withdrawn"
    assert [(record["status"], record["reason"]) for record in ended] == [("halted", callback.stopped.reason)]
    assert "3 texts lack a consent in force of 1 member(s)" in callback.stopped.reason


def test_nobody_else_gives_the_consent_back(village: Village) -> None:
    member = village.members[0]
    given = village.consent(member)
    withdraw(village, member)
    assert village.coop.register.consent_for(member, USE, language="spa", batch=given.id, at=village.clock) is None
    blocked(village, given.entry, "this statement is in the log already")  # the old consent, replayed
    blocked(village, village.entry("coop.consent/v1", CONSENT, member, village.operator), f"coop.consent/v1 of {member} is signed by operator")


def test_nobody_withdraws_for_another(village: Village) -> None:
    given = village.consent(village.members[0]).id
    one, other = (village.entry("coop.withdrawal/v1", {"consent": consent}, village.members[1]) for consent in (given, None))
    for forged in (one, other):
        blocked(village, forged, "there is no consent of yours in force to withdraw")


def texts(name: str, language: str) -> str:
    rows = [{"inputs": f"{name} asks {n}", "targets": f"answer {n}", "language_code": language, "licence": "CC-BY-4.0"} for n in range(40)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_next_build_leaves_out_who_withdrew_and_says_so(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("data_pipeline.store")
    for name, language in (("anna", "spa"), ("bela", "eus")):
        (tmp_path / f"{name}.jsonl").write_text(texts(name, language), encoding="utf-8")
        assert coop("-C", home, "contribute", tmp_path / f"{name}.jsonl", "--key", keys[name]).code == 0
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    assert coop("-C", home, "--json", "build", "make", "one", "--heldout", "400").json["excluded"] == {}
    assert coop("-C", home, "consent", "withdraw", "--key", keys["bela"]).code == 0
    built = coop("-C", home, "--json", "build", "make", "two", "--heldout", "400").json
    assert (built["records"], built["excluded"]) == (40, {"no_consent": 40})


def test_a_withdrawal_the_operator_withholds_is_missing_where_its_member_looks(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["bela"]).code == 0
    draft = tmp_path / "withdrawal.json"
    assert coop("-C", home, "consent", "withdraw", "--key", f"{keys['bela']}.pub", "--draft", draft).code == 0
    assert coop("-C", home, "sign", draft, "--yes", "--key", keys["bela"]).code == 0  # sent to the operator, who does nothing
    assert "in force" in coop("-C", home, "consent", "show", "--key", keys["bela"]).out
    assert coop("-C", home, "append", draft).code == 0
    assert "in force" not in coop("-C", home, "consent", "show", "--key", keys["bela"]).out
