"""Three attacks on the cooperative of the demo; each must be blocked, and the demo fails if one is not."""

from __future__ import annotations

import shutil
from pathlib import Path

from commonweights.running import gate_plan
from commonweights.story.cast import CAST
from commonweights.story.scenes import Players
from commonweights.voting import proposal_payload, subject_of
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import CoopError, Refused
from governance_hooks.report import Report, Step
from governance_hooks.sshsig import PrivateKey, load_private_key
from governance_hooks.statement import body, entry, sign
from model_card.verify import verify

__all__ = ["edit_config", "flip_byte", "forge_ballots"]


def _must_block(report: Report, what: str) -> Step:
    if report.passed:
        raise CoopError(f"ATTACK NOT BLOCKED: {what}", next="do not trust this version; report it")
    return report.blocking[0]


def edit_config(space: Workspace) -> Step:
    """Change the learning rate after the vote, and ask the gate."""
    plan = loads(space.plan("first-voices").read_bytes(), floats=True)
    plan["training"]["learning_rate"] *= 10
    path = space.plan("edited-after-the-vote")
    write_bytes(path, dumps(plan))
    return _must_block(gate_plan(space, path.read_bytes(), base=None), "an edited config")


def forge_ballots(space: Workspace, players: Players) -> list[str]:
    """Propose the edited plan as a member may; then try to pass it with ballots the operator signed."""
    subject, uses = subject_of(space, "run", space.plan("edited-after-the-vote"))
    payload = proposal_payload(space.coop, "run", subject, uses=uses, period_s=3600)
    person = CAST[3]
    proposal = space.coop.state("coop.proposal/v1", payload, key=players.keys[person.name], author=players.member(space, person)).id
    operator = load_private_key(space.coop.paths.operator_key)
    answers = []
    for victim in CAST[:3]:
        try:
            space.coop.append(_forged(space, players.member(space, victim), proposal, operator))
        except Refused as refused:
            answers.append(f"{victim.name}: {refused.what}")
        else:
            raise CoopError("ATTACK NOT BLOCKED: a ballot the operator signed", next="do not trust this version; report it")
    return answers


def _forged(space: Workspace, victim: str, proposal: str, operator: PrivateKey) -> bytes:
    ballot = {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}
    made = body("coop.ballot/v1", ballot, coop=space.coop.register.coop, author=victim)
    return entry(made, [sign(made, operator)])


def flip_byte(bundle: Path, scratch: Path) -> Report:
    """Flip one bit in the middle of the weights of a copy, and verify the copy."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(bundle, scratch)
    weights = scratch / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    report = verify(scratch)
    _must_block(report, "a flipped byte in the weights")
    shutil.rmtree(scratch)
    return report
