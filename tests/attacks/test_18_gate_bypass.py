"""Threat 18: training or a release goes around the gate.

The attacker is the operator, who calls the trainer and the publisher directly, writes their own guard, or signs what nobody ran. Blocked: trainer and
publisher check the proof themselves; what a run without a logged start leaves behind is no run in the log, so no evaluation, no release and no
`coop verify` takes it. Nobody can stop somebody from training on their own machine: the result carries no vote, and everybody sees that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from commonweights.commands.release import publish_release
from commonweights.end_of_run import log_end
from commonweights.workspace import Workspace
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.report import Blocked, Status
from governance_hooks.statement import shift
from model_card.bundle import PROOF
from model_card.verify import verify
from tests.attacks.forge import OwnGuard, blocked, broken, forged_proof, history, proof_of, request_for
from tests.attacks.story import RUN, Story
from tests.commonweights.conftest import Coop
from tests.village import Approved, Village

if TYPE_CHECKING:
    from tests.attacks.workshop import Workshop


def guard_of(approved: Approved, **changes: Any) -> Guard:
    village = approved.village
    request = request_for(approved, **({"run": RUN} | changes))
    return Guard(request, fresh=village.coop.proof().dumps, clock=lambda: village.clock)


def trained(approved: Approved, guard: Guard) -> Any:
    """Call the trainer directly, without any command of ours."""
    pytest.importorskip("torch")
    from train.run import train

    village = approved.village
    folder = village.root / "runs" / RUN
    return train(
        folder, approved.plan_bytes, base=approved.base, build=approved.build, guard=guard, run_id=RUN, coop=village.coop.pin, proposal=approved.proposal
    )


def test_the_trainer_called_directly_does_not_run_without_a_logged_start(approved: Approved) -> None:
    with pytest.raises(Blocked, match="the log holds no start of run run-1 under this approval"):
        trained(approved, guard_of(approved))
    assert not (approved.village.root / "runs" / RUN).exists()


def test_the_trainer_called_directly_does_not_run_on_a_plan_nobody_approved(approved: Approved) -> None:
    approved.start()
    document = approved.plan.model_dump()
    document["training"]["epochs"] = 99
    approved.plan_bytes = dumps(document)
    with pytest.raises(Blocked, match="members never voted on exactly this"):
        trained(approved, guard_of(approved))


def test_the_trainer_called_directly_does_not_run_on_a_proof_the_operator_made_up(approved: Approved) -> None:
    village = approved.village
    without_voters = [entry for entry in history(village) if b'"coop.ballot/v1"' not in entry]
    start = village.entry("coop.run-start/v1", start_of(approved), "operator")
    for proof in (proof_of(village.coop, [*without_voters, start], at=village.clock), b"", village.coop.proof().dumps()[:-1]):
        with pytest.raises(Blocked):
            trained(approved, guard_of(approved, run=RUN, proof=proof))


def test_a_guard_that_names_no_run_lets_nothing_start(approved: Approved) -> None:
    with pytest.raises(BadInput, match="a guard watches one run"):
        trained(approved, guard_of(approved, run=None))


def start_of(approved: Approved) -> dict[str, Any]:
    return {"run": RUN, "plan": sha256(approved.plan_bytes), "proposal": approved.proposal, "start": 1, "counted": []}


def begin(hook: str, guard: Guard) -> None:
    """Begin to train under somebody else's trainer, or in a loop of one's own."""
    module = pytest.importorskip(f"governance_hooks.hooks.{hook}")
    if hook == "lightning":
        trainer = SimpleNamespace(should_stop=False, accumulate_grad_batches=1, min_steps=None, min_epochs=None, world_size=1)
        module.GovernanceCallback(guard).on_fit_start(trainer, None)
    elif hook == "transformers":
        control = SimpleNamespace(should_training_stop=False, should_save=False)
        module.GovernanceTrainerCallback(guard).on_train_begin(SimpleNamespace(world_size=1), SimpleNamespace(global_step=0), control)
    else:
        with module.governed(guard):
            pytest.fail("the loop ran")


@pytest.mark.parametrize("hook", ["lightning", "transformers", "loop"])
def test_the_hooks_of_other_trainers_start_nothing_either(approved: Approved, hook: str) -> None:
    with pytest.raises(Blocked, match="the log holds no start of run run-1 under this approval"):
        begin(hook, guard_of(approved))


# What comes of a training that went around the gate: somebody who writes a guard of their own gets weights, and nothing else.


def test_weights_of_an_operator_with_a_guard_of_their_own_are_of_no_run_in_the_log(workshop: Workshop, village: Village) -> None:
    assert workshop.train(OwnGuard())["status"] == "completed"
    shutil.copytree(workshop.folder / "run-1", village.root / "runs" / "run-1")
    with pytest.raises(Refused, match="no such run in this log"):
        log_end(Workspace(village.coop), "run-1")
    end = {"run": "run-1", "status": "completed", "record": digest("r"), "outputs": digest([])}
    blocked(village, village.entry("coop.run-end/v1", end, "operator"), "no such run in this log")


@pytest.mark.parametrize("said", ["coop.evaluation/v1", "coop.release/v1"])
def test_what_was_never_run_is_neither_evaluated_nor_released(village: Village, said: str) -> None:
    proposal = village.approve("release", digest("release.json"))
    payload = {
        "coop.evaluation/v1": {"run": "r", "report": digest("r"), "results": digest("r"), "passed": True},
        "coop.release/v1": {"run": "r", "release": digest("release.json"), "proposal": proposal},
    }[said]
    village.wait(1)
    blocked(village, village.entry(said, payload, "operator"), "no such run in this log")


def test_a_run_that_was_not_evaluated_or_did_not_pass_is_not_released(approved: Approved) -> None:
    village = approved.village
    approved.start()
    village.say("coop.run-end/v1", {"run": RUN, "status": "completed", "record": digest("r"), "outputs": digest([])}, "operator")
    released = {"run": RUN, "release": digest("release.json"), "proposal": village.approve("release", digest("release.json"))}
    words = "the run's evaluation is missing or did not pass the policy members voted"
    village.wait(1)
    blocked(village, village.entry("coop.release/v1", released, "operator"), words)
    village.say("coop.evaluation/v1", {"run": RUN, "report": digest("r"), "results": digest("r"), "passed": False}, "operator")
    blocked(village, village.entry("coop.release/v1", released, "operator"), words)
    again = village.entry("coop.evaluation/v1", {"run": RUN, "report": digest("s"), "results": digest("s"), "passed": True}, "operator")
    blocked(village, again, "this run is evaluated already: another try would be picking the better result")


def test_a_start_logged_after_the_training_is_found_by_its_dates(tmp_path: Path) -> None:
    class Afterwards(Story):
        def record(self, document: dict[str, Any]) -> dict[str, Any]:
            return document | {"started": shift(document["started"], -86_400)}

    broken(Afterwards(tmp_path).play(), "run vote", "run.json dates the run outside of what the log says")


class NoVote(Story):
    """A release the operator logs without a vote of the members."""

    def publish(self, village: Village, payload: dict[str, str]) -> bytes:
        without = [entry for entry in history(village) if payload["proposal"].encode() not in entry]  # no ballot, no close
        release = village.entry("coop.release/v1", payload, "operator")
        return proof_of(village.coop, [*without, release], at=village.clock)


def test_a_release_without_its_vote_does_not_verify(tmp_path: Path) -> None:
    broken(NoVote(tmp_path).play(), "signatures and rules", "is not allowed: this vote is not closed yet")


def test_the_publisher_publishes_nothing_members_did_not_approve(tmp_path: Path) -> None:
    class Asking(Story):
        def after_release_vote(self, village: Village, proposal: str) -> None:
            bundle = shutil.copytree(self.release.folder, self.folder / "other")
            document = json.loads((bundle / "release.json").read_bytes())
            (bundle / "release.json").write_bytes(dumps(document | {"name": "another-name"}))
            with pytest.raises(BadInput, match=r"no release proposal in the log names .* members never voted on exactly this"):
                publish_release(Workspace(village.coop), bundle)

    assert Asking(tmp_path).play().passed


def test_a_bundle_without_its_proof_is_never_a_pass(coop: Coop, bundle: Path) -> None:
    (bundle / PROOF).unlink()
    report = verify(bundle)
    assert (report.exit_code, report.steps[1].status) == (2, Status.UNKNOWN)
    done = coop("verify", bundle)
    assert (done.code, "COULD NOT CHECK." in done.out) == (2, True)


def test_a_gate_that_was_asked_nothing_passes_nothing(approved: Approved) -> None:
    empty = request_for(approved, plan=b"", proof=b"", base=approved.base / "none", build=approved.build / "none")
    report = run_gate(empty)
    assert [step.status for step in report.steps if step.status is Status.PASS] == []
    assert not run_gate(request_for(approved, proof=forged_proof(approved.village.coop, b"", at=approved.village.clock))).passed
