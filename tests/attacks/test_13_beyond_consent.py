"""Threat 13: a consent is used after it expired, or for more than it allows.

The attacker is the operator, who writes plan, ledger and record and picks the consent to cite. Blocked, and in doubt refused: purpose (the same or a
narrower one), processing, recipients, licence, language, batch, expiry and number of runs are compared by gate, guard and `coop verify`
with what the member signed.
"""

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest, sha256
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.statement import Statement, shift
from tests.attacks.forge import broken, only_broken, request_for, vote_on
from tests.attacks.story import RUN, Story
from tests.village import Approved, Village

SPANISH = {"languages": ["spa"], "batches": None}
MEMBERS_ONLY = Use(
    purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0"
)

LESS: dict[str, dict[str, Any]] = {
    "another purpose": {"purposes": ["dpv:ServiceProvision"]},
    "a narrower purpose than the use": {"purposes": ["dpv:AcademicResearch"]},
    "a sister purpose": {"purposes": ["dpv:CommercialResearch"]},
    "evaluation only": {"processing": ["coop:ModelEvaluation"]},
    "members only": {"recipients": ["coop:Members"]},
    "another licence": {"licences": ["CC-BY-NC-4.0"]},
    "another language": {"scope": {"languages": ["fra"], "batches": None}},
    "another batch": {"scope": {"languages": None, "batches": [digest("another")]}},
    "expired": {"expires": "2020-01-01T00:00:00Z"},
}


def with_consents(village: Village, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Approved:
    """Have members approve a run over records of members who all allowed something else."""
    give = village.consent
    monkeypatch.setattr(village, "consent", lambda member: give(member, **changes))
    return Approved(village)


@pytest.mark.parametrize("less", LESS)
def test_no_run_starts_on_consents_that_allow_less(village: Village, monkeypatch: pytest.MonkeyPatch, less: str) -> None:
    only_broken(run_gate(request_for(with_consents(village, monkeypatch, **LESS[less]))), "consent in force", "9 texts lack a consent in force of 3 member(s)")


@pytest.mark.parametrize("less", LESS)
def test_no_release_verifies_over_consents_that_allow_less(tmp_path: Path, less: str) -> None:
    class Less(Story):
        tampered_tools = True

        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, **LESS[less]).id

    only_broken(Less(tmp_path).play(), "consent in force", "60 texts lack a consent in force of 5 member(s)")


def test_a_broader_consent_covers_a_narrower_use_and_never_the_reverse(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_gate(request_for(with_consents(village, monkeypatch, purposes=["dpv:ResearchAndDevelopment"]))).passed  # of which the use is a part


def test_a_consent_that_expires_while_a_run_is_on_stops_it(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    approved = with_consents(village, monkeypatch, expires=shift(village.clock, 3600))
    approved.start()
    guard = Guard(request_for(approved, run=RUN), fresh=lambda: village.coop.proof().dumps(), every_s=0, clock=lambda: village.clock)
    guard.start()
    village.wait(3600)  # the very second it ends
    stop = guard.stop()
    assert stop is not None
    assert "9 texts lack a consent in force of 3 member(s)" in stop.reason


def test_what_no_consent_can_name_is_no_consent(village: Village) -> None:
    for field, value in (("purposes", ["dpv:Anything"]), ("purposes", []), ("recipients", ["coop:Everybody"]), ("licences", ["MIT"]), ("occurrences", 0)):
        with pytest.raises(BadInput, match=f"payload of coop.consent/v1: {field}"):
            village.consent(village.members[0], **{field: value})


def test_a_consent_to_one_run_serves_no_second(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    approved = with_consents(village, monkeypatch, occurrences=1)
    approved.start()
    vote_on(approved, approved.make_plan(name="second-run").model_dump())
    only_broken(run_gate(request_for(approved)), "consent in force", "9 texts lack a consent in force of 3 member(s)")


def test_a_start_that_keeps_silent_about_a_consent_to_one_run_is_found(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    approved = with_consents(village, monkeypatch, occurrences=1)
    payload = {"run": RUN, "plan": sha256(approved.plan_bytes), "proposal": approved.proposal, "start": 1, "counted": []}
    village.say("coop.run-start/v1", payload, "operator")
    broken(run_gate(request_for(approved, run=RUN)), "consent in force", "start 1 of run run-1 did not count exactly the consents limited to a number of runs")


def test_a_plan_whose_use_is_evaluation_only_cannot_train(approved: Approved) -> None:
    document = approved.plan.model_dump()
    vote_on(approved, document | {"use": document["use"] | {"processing": ["coop:ModelEvaluation"]}})
    broken(run_gate(request_for(approved)), "plan matches a proposal", "a run fine-tunes and evaluates", "ai:ModelFineTuning")


def test_a_release_of_a_run_under_an_evaluation_only_use_is_refused(tmp_path: Path) -> None:
    class Undeclared(Story):
        def plan(self, document: dict[str, Any]) -> dict[str, Any]:
            return document | {"use": document["use"] | {"processing": ["coop:ModelEvaluation"]}}

    with pytest.raises(BadInput, match="a run fine-tunes and evaluates, so its use must name ai:ModelFineTuning too"):
        Undeclared(tmp_path).play()


class MembersOnly(Story):
    """Trained for members, then given to everybody."""

    use = MEMBERS_ONLY

    def consent(self, village: Village, member: str) -> str:
        return village.consent(member, recipients=["coop:Members"]).id


def test_weights_for_members_only_are_not_assembled_for_the_public(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="members agreed to no release to the public"):
        MembersOnly(tmp_path).play()


def test_weights_for_members_only_assembled_by_other_tools_do_not_verify(tmp_path: Path) -> None:
    story = MembersOnly(tmp_path)
    story.tampered_tools = True
    only_broken(story.play(), "consent in force", "members agreed to no release to the public")


def test_a_consent_that_expired_before_a_second_start_does_not_carry_it(tmp_path: Path) -> None:
    class Late(Story):
        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, expires=shift(village.clock, 3600)).id

        def after_start(self, village: Village) -> None:
            village.wait(5 * 3600)
            village.say("coop.run-end/v1", {"run": RUN, "status": "failed", "record": digest("x"), "outputs": digest([])}, "operator")
            self.start(village, 2)

    only_broken(Late(tmp_path).play(), "consent in force", "60 texts lack a consent in force of 5 member(s)")


def test_records_relabelled_into_the_language_of_a_consent_are_caught_by_verify(tmp_path: Path) -> None:
    class Relabelled(Story):
        signed_language, claimed_language = "fra", "spa"

        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, scope=SPANISH).id

    only_broken(Relabelled(tmp_path).play(), "consent in force", "12 texts in spa name batch", "its member signed 0")


def test_records_relabelled_into_the_language_of_a_consent_are_caught_by_the_gate(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    give, contribute = village.consent, village.contribute

    def spanish(member: str, **_: Any) -> Statement:
        return give(member, scope=SPANISH)

    def french(member: str, records: list[str], **_: Any) -> Statement:
        return contribute(member, records, language="fra")

    monkeypatch.setattr(village, "consent", spanish)
    monkeypatch.setattr(village, "contribute", french)
    only_broken(run_gate(request_for(Approved(village))), "consent in force", "3 texts in spa name batch", "its member signed 0")
