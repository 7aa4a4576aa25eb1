"""Records used without, or beyond, the consent of their authors."""

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.statement import Statement, shift
from tests.attacks.forge import broken, only_broken, request_for, vote_on
from tests.attacks.story import RUN, Story
from tests.village import Approved, Village

SPANISH = {"languages": ["spa"], "batches": None}
MEMBERS_ONLY = Use(
    purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0"
)


def test_an_honest_release_verifies(tmp_path: Path) -> None:
    report = Story(tmp_path).play()
    assert report.passed, report.text()


def test_records_relabelled_into_the_language_of_a_consent_are_caught_by_verify(tmp_path: Path) -> None:
    class Relabelled(Story):
        signed_language, claimed_language = "fra", "spa"

        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, scope=SPANISH).id

    only_broken(Relabelled(tmp_path).play(), "consent in force", "12 records in spa name batch", "its member signed 0")


def test_records_relabelled_into_the_language_of_a_consent_are_caught_by_the_gate(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    give, contribute = village.consent, village.contribute

    def spanish(member: str, **_: Any) -> Statement:
        return give(member, scope=SPANISH)

    def french(member: str, **_: Any) -> Statement:
        return contribute(member, language="fra")

    monkeypatch.setattr(village, "consent", spanish)
    monkeypatch.setattr(village, "contribute", french)
    only_broken(run_gate(request_for(Approved(village))), "consent in force", "3 records in spa name batch", "its member signed 0")


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

    only_broken(Cited(tmp_path).play(), "consent in force", "60 records lack a consent in force of 5 member(s)")


def test_a_consent_that_expired_before_a_second_start_does_not_carry_it(tmp_path: Path) -> None:
    class Late(Story):
        def consent(self, village: Village, member: str) -> str:
            return village.consent(member, expires=shift(village.clock, 3600)).id

        def after_start(self, village: Village) -> None:
            village.wait(5 * 3600)
            village.say("coop.run-end/v1", {"run": RUN, "status": "failed", "record": digest("x"), "outputs": digest([])}, "operator")
            self.start(village, 2)

    only_broken(Late(tmp_path).play(), "consent in force", "60 records lack a consent in force of 5 member(s)")


def test_a_withdrawal_between_the_release_vote_and_the_publication_counts(tmp_path: Path) -> None:
    class Hasty(Story):
        def after_release_vote(self, village: Village, proposal: str) -> None:
            village.say("coop.withdrawal/v1", {"consent": None}, village.members[2])

    only_broken(Hasty(tmp_path).play(), "consent in force", "consent of 1 member(s) was withdrawn before the release was decided")
