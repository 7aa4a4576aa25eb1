"""A small, real cooperative for tests: real keys, real signatures, a real log on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance_hooks.bylaws import Bylaws, Rules
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.checkpoint import NoteKey
from governance_hooks.code import installed_code
from governance_hooks.consent import Use
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.fields import Strict
from governance_hooks.inventory import file_entry, inventory, inventory_digest
from governance_hooks.ledger import LedgerRow, ledger_bytes, parse_ledger
from governance_hooks.motions import subject_of
from governance_hooks.plan import Base, BuildRef, EvaluationPolicy, Limits, Plan, Policies, Training
from governance_hooks.rules.consents import counted
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import SELF, Statement, body, entry, now, shift, sign
from governance_hooks.tally import roll_root

USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)
CONSENT = {
    "purposes": ["dpv:NonCommercialResearch"],
    "processing": ["ai:ModelFineTuning", "coop:ModelEvaluation"],
    "recipients": ["coop:Members", "coop:PublicViaReleasedWeights"],
    "licences": ["Apache-2.0"],
    "scope": {"languages": None, "batches": None},
    "expires": None,
    "notice": sha256(b"the words the member saw"),
}
RULES = Rules(quorum_percent=50, approval_percent=60, minimum_for=2, minimum_period_s=60, challenge_s=0, expiry_s=86_400)


class Village:
    """Five founders, an operator, and a clock the test turns."""

    def __init__(self, root: Path, coop: Cooperative, keys: dict[str, PrivateKey], operator: PrivateKey) -> None:
        self.root, self.coop, self.keys, self.operator = root, coop, keys, operator
        self.members = sorted(keys)
        self.clock = now()
        coop.clock = lambda: self.clock

    def wait(self, seconds: int) -> None:
        """Turn the clock forward."""
        self.clock = shift(self.clock, seconds)

    def entry(self, kind: str, payload: Any, author: str, *signers: PrivateKey, issued: str | None = None) -> bytes:
        """Make a signed entry without appending it."""
        made = body(kind, payload, coop=self.coop.register.coop, author=author, issued=issued or self.clock)
        return entry(made, [sign(made, signer) for signer in signers or (self.keys.get(author, self.operator),)])

    def say(self, kind: str, payload: Any, author: str, *signers: PrivateKey, issued: str | None = None) -> Statement:
        """Append a signed statement."""
        return self.coop.append(self.entry(kind, payload, author, *signers, issued=issued))

    def consent(self, member: str, **changes: Any) -> Statement:
        return self.say("coop.consent/v1", CONSENT | changes, member)

    def contribute(self, member: str, records: int = 3, language: str = "spa") -> Statement:
        return self.say("coop.contribution/v1", {"records": records, "root": digest(member), "languages": {language: records}}, member)

    def propose(self, kind: str, subject: str, *signers: PrivateKey, uses: int = 1, by: str | None = None, **changes: Any) -> Statement:
        rules, roll = self.coop.register.bylaws.rules(kind), self.coop.register.roll(kind)  # type: ignore[arg-type]
        payload = {
            "kind": kind,
            "subject": subject,
            "rules": rules.model_dump(),
            "roll": {"root": roll_root(roll), "members": len(roll)},
            "closes": shift(self.clock, rules.minimum_period_s),
            "uses": uses,
            "motion": None,
            "draft": None,
        }
        return self.say("coop.proposal/v1", payload | changes, by or self.members[0], *signers)

    def ballot(self, member: str, proposal: str, choice: str = "for", sequence: int = 1) -> Statement:
        return self.say("coop.ballot/v1", {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}, member)

    def close(self, proposal: str) -> Statement:
        open_ = self.coop.register.proposal(proposal)
        self.clock = max(self.clock, open_.closes)
        counted = open_.count()
        stated = {"votes_for": counted.votes_for, "votes_against": counted.votes_against, "votes_abstain": counted.votes_abstain, "outcome": counted.outcome}
        return self.say("coop.close/v1", {"proposal": proposal} | stated, "operator")

    def move(self, motion: Strict, *signers: PrivateKey, by: str | None = None, **changes: Any) -> Statement:
        """Open a proposal with a motion, signed by `by` or by the given keys."""
        author = by or self.members[0]
        return self.propose(motion.kind, subject_of(motion), *signers, by=author, motion=motion.model_dump(mode="json"), **changes)  # type: ignore[attr-defined]

    def decide(self, motion: Strict, *signers: PrivateKey, by: str | None = None, choice: str = "for") -> str:
        """Open a proposal with a motion, have everybody on the roll vote, close it and wait until it takes effect; return its digest."""
        proposal = self.move(motion, *signers, by=by).id
        for member in sorted(self.coop.register.proposal(proposal).roll):
            self.ballot(member, proposal, choice)
        self.close(proposal)
        self.wait(self.coop.register.proposal(proposal).rules.challenge_s + 1)
        self.say("coop.time/v1", {}, "operator")
        return proposal

    def approve(self, kind: str, subject: str, *, uses: int = 1) -> str:
        """Propose, vote for with everybody, close; return the proposal's digest."""
        proposal = self.propose(kind, subject, uses=uses).id
        for member in self.coop.register.active():
            self.ballot(member, proposal)
        self.close(proposal)
        return proposal


def found(root: Path, founders: int = 5, **changes: Any) -> tuple[dict[str, PrivateKey], PrivateKey]:
    paths = Paths(root)
    log_key = NoteKey.generate("village.example/log", paths.log_key)
    operator = generate_key(paths.operator_key)
    keys = {f"m-{i:016x}": generate_key(root / "members" / f"{i}") for i in range(1, founders + 1)}
    members = sorted(keys)
    bylaws = Bylaws(registrars=members[:3], registrars_required=2, oversight=members[3:5], oversight_required=1, kinds={"run": RULES, "release": RULES})
    payload = {
        "name": "village",
        "log": log_key.verifier.text,
        "operator": operator.public.line,
        "founders": [{"member": m, "key": keys[m].public.line} for m in members],
        "bylaws": bylaws.model_dump() | changes,
    }
    made = body("coop.founding/v1", payload, coop=SELF, author="operator")
    Cooperative.found(root, entry(made, [sign(made, key) for key in (operator, *keys.values())]), log_key)
    return keys, operator


class Approved:
    """A village with a base folder, a build, and a plan that members approved."""

    def __init__(self, village: Village) -> None:
        self.village = village
        root = village.root
        self.base, self.build = root / "base", root / "builds" / "one"
        self.base.mkdir()
        (self.base / "config.json").write_bytes(b"{}")
        (self.base / "model.safetensors").write_bytes(bytes(range(256)) * 40)
        self.consents, rows = {}, []
        for member in village.members[:3]:
            self.consents[member] = village.consent(member).id
            batch = village.contribute(member).id
            for i in range(3):
                rows.append(self.row(f"{member[-4:]}-{i}", [member], batch, "heldout" if i == 2 else "train"))
        self.write_build(sorted(rows, key=lambda row: row.record))
        self.plan = self.make_plan()
        self.plan_bytes = dumps(self.plan.model_dump())
        self.proposal = village.approve("run", sha256(self.plan_bytes), uses=2)

    def row(self, record: str, authors: list[str], batch: str, split: str) -> LedgerRow:
        return LedgerRow(
            record=record,
            commitment=digest(["c", record]),
            content=digest(["t", record]),
            authors=authors,
            consents=[self.consents[a] for a in authors],
            batch=batch,
            language="spa",
            split=split,  # type: ignore[arg-type]
        )

    def write_build(self, rows: list[LedgerRow]) -> None:
        self.build.mkdir(parents=True, exist_ok=True)
        (self.build / "ledger.jsonl").write_bytes(ledger_bytes(rows))
        (self.build / "records.parquet").write_bytes(b"stands for the private text" * 10)
        (self.build / "excluded.jsonl").write_bytes(b"")
        root = parse_ledger((self.build / "ledger.jsonl").read_bytes())[1]
        train = sum(row.split == "train" for row in rows)
        members = len({author for row in rows for author in row.authors})
        coop = self.village.coop
        manifest = {
            "format": "coop.build/v1",
            "coop": coop.register.coop,
            "log": {"size": coop.register.size, "root": "sha256:" + coop.log.root().hex()},
            "at": self.village.clock,
            "use": USE.model_dump(),
            "rules": ["nfc_whitespace/v1"],
            "parameters": {},
            "records": len(rows),
            "root": root,
            "splits": {"train": train, "heldout": len(rows) - train},
            "languages": {"spa": {"train": train, "heldout": len(rows) - train, "members": members}},
            "licences": {"BSD-3-Clause": len(rows)},
            "excluded": {},
            "files": [file_entry(self.build, self.build / name) for name in ("excluded.jsonl", "ledger.jsonl", "records.parquet")],
        }
        (self.build / "manifest.json").write_bytes(dumps(manifest))
        self.manifest = manifest
        self.village.say("coop.build/v1", {"manifest": digest(manifest), "root": root, "records": len(rows)}, "operator")

    def make_plan(self, **changes: Any) -> Plan:
        files = inventory(self.base)
        plan = Plan(
            coop=self.village.coop.register.coop,
            name="first-run",
            use=USE,
            base=Base(name="example/base", licence="Apache-2.0", digest=inventory_digest(files), files=files),  # type: ignore[arg-type]
            build=BuildRef(manifest=digest(self.manifest), root=self.manifest["root"], records=self.manifest["records"], languages=self.manifest["languages"]),  # type: ignore[arg-type]
            code=installed_code(),
            training=Training(),
            evaluation=EvaluationPolicy(),
            limits=Limits(max_starts=2, max_devices=2, max_minutes=30),
            policies=Policies(),
        )
        return Plan.model_validate(plan.model_copy(update=changes).model_dump())

    def start(self, run: str = "run-1", start: int = 1) -> Statement:
        register, rows = self.village.coop.register, parse_ledger((self.build / "ledger.jsonl").read_bytes())[0]
        limited = counted(register, rows, USE, at=self.village.clock, run=run)
        payload = {"run": run, "plan": sha256(self.plan_bytes), "proposal": self.proposal, "start": start, "counted": limited}
        return self.village.say("coop.run-start/v1", payload, "operator")
