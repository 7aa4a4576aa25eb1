"""What happened in a village before its portal opened, on the command line: new bylaws, a run, releases, and votes."""

from __future__ import annotations

import json
from pathlib import Path

from governance_hooks.bylaws import ProposalKind, Rules
from governance_hooks.canonical import dumps, sha256
from governance_hooks.fields import Strict
from governance_hooks.motions import Admit, AppealAgainst, ChangeOperator, Consult, HaltUse, Recall, Suspend, subject_of
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import shift
from tests.model_card.attested import STEWARDS
from tests.model_card.conftest import finish, sign_evaluation
from tests.portal.stage import DAY, DRAFTS, OPTIONS, QUESTION, REASONS
from tests.village import Village

CONTESTED = Rules(quorum_percent=30, approval_percent=50, minimum_for=2, minimum_period_s=0, challenge_s=3 * DAY, objections=4)


def live(root: Path, village: Village, paths: dict[str, str]) -> None:
    """What happened on the command line: new bylaws, a run, releases, and votes."""
    kinds = village.coop.register.bylaws.kinds | {"bylaws": CONTESTED}
    village.decide(village.amendment(kinds=kinds, oversight_seated="vote", jurisdiction="KE", supersede_within_s=90 * DAY))
    done = finish(root, village.coop, village)
    sign_evaluation(done)
    (root / "releases").mkdir()
    releases = {name: done.assemble(root / "releases" / name, name=name) for name in ("village-lm-1", "village-lm-2", "village-lm-3", "village-lm-4")}
    for name in ("village-lm-1", "village-lm-3"):
        done.publish(releases[name])
    newer = village.propose("release", releases["village-lm-2"].digest, supersedes=[releases["village-lm-1"].digest]).id
    village.carry(newer)
    village.say("coop.release/v1", {"run": "run-1", "release": releases["village-lm-2"].digest, "proposal": newer}, "operator")
    withdrawn = {"release": releases["village-lm-3"].digest, "status": "withdrawn", "by": None, "reason": "safety"}
    village.say("coop.release-status/v1", withdrawn, STEWARDS[0], *(village.keys[one] for one in STEWARDS))
    asked = village.propose("release", releases["village-lm-4"].digest, closes=shift(village.clock, 3 * DAY)).id
    for name, number in (("current", 2), ("superseded", 1), ("withdrawn", 3), ("asked", 4)):
        paths[f"release {name}"] = f"/releases/{releases[f'village-lm-{number}'].digest}"
    gone = "sha256:" + "7" * 64
    away = village.approve("release", gone)
    village.say("coop.release/v1", {"run": "run-1", "release": gone, "proposal": away}, "operator")
    paths["release elsewhere"] = f"/releases/{gone}"
    (root / "releases" / "village-lm-1" / "README.md").write_bytes(b"changed on this server")
    paths["file changed"] = f"{paths['release superseded']}/files/README.md"
    (root / "plans").mkdir(exist_ok=True)
    for name in ("second-run", "third-run", "fourth-run", "fifth-run"):
        plan = json.loads((done.run_dir / "plan.json").read_bytes()) | {"name": name}
        (root / "plans" / f"{name}.json").write_bytes(dumps(plan))
    plans = {name: sha256((root / "plans" / f"{name}.json").read_bytes()) for name in ("second-run", "fourth-run", "fifth-run")}
    rejected = village.propose("run", plans["fourth-run"]).id
    village.carry(rejected, choice="against")
    halted = village.approve("run", plans["fifth-run"])
    village.say("coop.halt/v1", {"proposal": halted, "until": shift(village.clock, 2 * DAY)}, village.members[3])
    running = village.propose("run", plans["second-run"], closes=shift(village.clock, 2 * DAY)).id
    village.ballot(village.members[1], running)
    village.ballot(village.members[2], running, "abstain")
    amendment = village.move(village.amendment(registrars_required=3), closes=shift(village.clock, DAY)).id
    contested = village.move(village.amendment(oversight_required=2))
    village.carry(contested.id)
    village.say("coop.objection/v1", {"proposal": contested.id, "reason": None}, village.members[4])
    decided = _motions(village, halted, releases["village-lm-3"].digest) | {
        "rejected": rejected,
        "halted": halted,
        "running": running,
        "bylaws": amendment,
        "contested": contested.id,
        "release vote": asked,
        "passed": done.proposal,
    }
    for method in ("approval", "ranked"):
        motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method=method)
        decided[method] = village.propose(
            "consultation", subject_of(motion), motion=motion.model_dump(mode="json"), closes=shift(village.clock, 5 * DAY), by=village.members[1]
        ).id
        answer = {"proposal": decided[method], "options": [0, 2], "sequence": 1, "reason": None}
        village.say("coop.preference/v1", answer, village.members[0])
    motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method="opinions")
    decided["opinions"] = village.propose(
        "consultation", subject_of(motion), motion=motion.model_dump(mode="json"), closes=shift(village.clock, 5 * DAY), by=village.members[1]
    ).id
    answers = {"proposal": decided["opinions"], "answers": ["agree", "pass", "disagree", "agree"], "sequence": 1, "reason": None}
    village.say("coop.opinions/v1", answers, village.members[0])
    motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method="ranked")
    decided["answered"] = village.propose("consultation", subject_of(motion), motion=motion.model_dump(mode="json"), by=village.members[2]).id
    for member, options in zip(village.members, ([0, 1], [1, 0, 2], [0, 3], [0]), strict=False):
        village.say("coop.preference/v1", {"proposal": decided["answered"], "options": options, "sequence": 1, "reason": None}, member)
    previous: str | None = None
    for text, why in zip(DRAFTS, (REASONS.replace("March", "April"), REASONS), strict=True):
        payload = {"kind": "run", "subject": sha256(text.encode()), "previous": previous, "reasons": _reasons(root, why)}
        previous = village.say("coop.draft/v1", payload, village.members[0]).id
    why = _reasons(root, REASONS + "\n- العربية أيضًا\n")
    closes = shift(village.clock, DAY)
    decided["drafted"] = village.propose("run", sha256(DRAFTS[-1].encode()), draft=previous, closes=closes, by=village.members[0], reasons=why).id
    paths["propose file"] = f"/propose/file?subject={sha256((root / 'plans/third-run.json').read_bytes())}"
    paths |= {name: f"/proposals/{one}" for name, one in decided.items()}
    paths["dataset"] = f"/datasets/{json.loads((done.run_dir / 'plan.json').read_bytes())['build']['manifest']}"


def _motions(village: Village, halted: str, withdrawn: str) -> dict[str, str]:
    """A vote on each motion that this village can decide, by kind."""
    register, (operator, newcomer) = village.coop.register, (generate_key(village.root / name) for name in ("next-operator", "newcomer"))
    halt, mark = next(iter(register.halts)), next(one.id for one in register.marks.values() if one.release == withdrawn)
    until = shift(village.clock, 60 * DAY)
    asked: list[tuple[Strict, int, PrivateKey | None]] = [
        (Suspend(member=village.members[5], until=until), 3, None),
        (HaltUse(proposal=halted, until=until, ratifies=halt), 3, None),
        (Recall(release=withdrawn, reason="safety", ratifies=mark), 4, None),
        (AppealAgainst(against=halt), 4, None),
        (Admit(member="m-" + "d" * 16, key=newcomer.public.line), 5, newcomer),
        (ChangeOperator(operator=operator.public.line), 5, operator),
    ]
    made = dict[str, str]()
    for motion, by, key in asked:
        member = village.members[by]
        signers = (village.keys[member], key) if key else ()
        kind: ProposalKind = motion.kind  # type: ignore[attr-defined]
        closes = shift(village.clock, max(7 * DAY, register.bylaws.rules(kind).minimum_period_s))
        made[f"motion {kind}"] = village.move(motion, *signers, by=member, closes=closes).id
    return made


def _reasons(root: Path, text: str) -> str:
    """Keep reasons as the command line does, and return their digest."""
    data = dumps({"salt": "0" * 32, "text": text})
    (root / "private/reasons").mkdir(parents=True, exist_ok=True)
    (root / "private/reasons" / f"{sha256(data)[7:]}.json").write_bytes(data)
    return sha256(data)
