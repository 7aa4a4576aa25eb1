"""A small, real cooperative for tests: real keys, real signatures, a real log on disk."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from governance_hooks.batches import batch_root, batches_bytes
from governance_hooks.bylaws import Bylaws, Rules
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.checkpoint import NoteKey
from governance_hooks.code import installed_code
from governance_hooks.consent import Use
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import CoopError
from governance_hooks.fields import Strict
from governance_hooks.inventory import file_entry, inventory, inventory_digest
from governance_hooks.ledger import LedgerRow, ledger_bytes, parse_ledger
from governance_hooks.motions import AmendBylaws, subject_of
from governance_hooks.plan import Base, BuildRef, EvaluationPolicy, Limits, Mix, Plan, Policies, TokenCounts, TokensRef
from governance_hooks.rules.consents import counted
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import SELF, Statement, body, entry, now, shift, sign
from governance_hooks.tally import roll_root
from governance_hooks.training import Training
from governance_hooks.witness.collect import Outcome, collect
from governance_hooks.witness.state import Witness

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


def committed(record: str) -> str:
    """The commitment to a record of the village."""
    return digest(["c", record])


class Village:
    """Five founders, an operator, and a clock the test turns; and witnesses, where a test brings some."""

    def __init__(self, root: Path, coop: Cooperative, keys: dict[str, PrivateKey], operator: PrivateKey, witnesses: tuple[Witness, ...] = ()) -> None:
        self.witnesses = {witness.key.name: witness for witness in witnesses}
        self.root, self.coop, self.keys, self.operator = root, coop, keys, operator
        self.members = sorted(keys)
        self.batches: dict[str, list[str]] = {}
        self.clock = now()
        coop.clock = lambda: self.clock

    def cosign(self, *names: str) -> dict[str, Outcome]:
        """Have the witnesses of these names, or all, cosign the newest checkpoint by the village's clock."""
        asked = names or tuple(self.witnesses)
        for name in asked:
            self.witnesses[name] = replace(self.witnesses[name], clock=lambda: int(datetime.fromisoformat(self.clock).timestamp()))
        return collect(self.coop, asked, lambda bodies: {name: self.witnesses[name].add_checkpoint(body) for name, body in bodies.items()})

    def wait(self, seconds: int) -> None:
        """Turn the clock forward."""
        self.clock = shift(self.clock, seconds)

    def entry(self, kind: str, payload: Any, author: str, *signers: PrivateKey, issued: str | None = None) -> bytes:
        """Make a signed entry without appending it."""
        made = body(kind, payload, coop=self.coop.register.coop, author=author, issued=issued or self.clock)
        return entry(made, [sign(made, signer) for signer in signers or (self.keys.get(author, self.operator),)])

    def say(self, kind: str, payload: Any, author: str, *signers: PrivateKey, issued: str | None = None) -> Statement:
        """Append a signed statement; where a decision is due, the operator states the time first."""
        if author == "operator" and kind != "coop.time/v1" and self.coop.register.due(issued or self.clock):
            self.coop.append(self.entry("coop.time/v1", {}, "operator", issued=issued))
        return self.coop.append(self.entry(kind, payload, author, *signers, issued=issued))

    def refuses(self, why: str, kind: str, payload: Any, author: str, *signers: PrivateKey, issued: str | None = None) -> None:
        """Have the log refuse a statement for a reason (a regular expression), and the register be as it was to the last field."""
        before, size = deepcopy(vars(self.coop.register)), self.coop.log.size
        with pytest.raises(CoopError, match=why):
            self.coop.append(self.entry(kind, payload, author, *signers, issued=issued))
        assert vars(self.coop.register) == before
        assert self.coop.log.size == size

    def site(self, name: str = "north", **changes: Any) -> PrivateKey:
        """Have the operator name a site with a key of its own; return the key."""
        key = generate_key(self.root / "sites" / name)
        self.say("coop.site/v1", {"site": name, "key": key.public.line, "lender": None, "device": "h100", "device_hours": None} | changes, "operator")
        return key

    def stamp(self, seconds: int = 0) -> None:
        """Turn the clock forward and state the time in the log."""
        self.wait(seconds)
        self.say("coop.time/v1", {}, "operator")

    def join(self, member: str, *registrars: str) -> None:
        """Admit a new member by registrars."""
        self.keys[member] = generate_key(self.root / "members" / member)
        signers = [self.keys[one] for one in (member, *(registrars or self.members[:2]))]
        self.say("coop.admission/v1", {"member": member, "key": self.keys[member].public.line}, member, *signers)

    def consent(self, member: str, **changes: Any) -> Statement:
        return self.say("coop.consent/v1", CONSENT | changes, member)

    def contribute(self, member: str, records: Sequence[str] = ("a", "b", "c"), language: str = "spa") -> Statement:
        """Sign for a batch of records, by their names; `batches` keeps their commitments."""
        commitments = [committed(record) for record in records]
        made = self.say("coop.contribution/v1", {"records": len(records), "root": batch_root(commitments), "languages": {language: len(records)}}, member)
        self.batches[made.id] = commitments
        return made

    def write_batches(self, folder: Path, rows: Sequence[LedgerRow]) -> None:
        """Write the file of the batches behind some rows."""
        (folder / "batches.jsonl").write_bytes(batches_bytes({row.batch: self.batches[row.batch] for row in rows if row.batch in self.batches}))

    def proposal(self, kind: str, subject: str, uses: int = 1, **changes: Any) -> dict[str, Any]:
        """Return the payload of a proposal as things stand."""
        rules, roll = self.coop.register.bylaws.rules(kind), self.coop.register.roll(kind)  # type: ignore[arg-type]
        return {
            "kind": kind,
            "subject": subject,
            "rules": rules.model_dump(),
            "roll": {"root": roll_root(roll), "members": len(roll)},
            "closes": shift(self.clock, rules.minimum_period_s),
            "uses": uses,
            "motion": None,
            "draft": None,
        } | changes

    def propose(self, kind: str, subject: str, *signers: PrivateKey, uses: int = 1, by: str | None = None, **changes: Any) -> Statement:
        return self.say("coop.proposal/v1", self.proposal(kind, subject, uses, **changes), by or self.members[0], *signers)

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
        return self.say("coop.proposal/v1", self.motion(motion, **changes), by or self.members[0], *signers)

    def motion(self, motion: Strict, **changes: Any) -> dict[str, Any]:
        """Return the payload of a proposal with a motion."""
        return self.proposal(motion.kind, subject_of(motion), motion=motion.model_dump(mode="json"), **changes)  # type: ignore[attr-defined]

    def amendment(self, **changes: Any) -> AmendBylaws:
        """Return the motion for the next bylaws."""
        now = self.coop.register.bylaws
        return AmendBylaws(bylaws=Bylaws.model_validate(now.model_dump() | {"version": now.version + 1} | changes))

    def carry(self, *proposals: str, choice: str = "for") -> None:
        """Have everybody on their rolls vote on proposals, and close them."""
        for proposal in proposals:
            for member in sorted(self.coop.register.proposal(proposal).roll):
                self.ballot(member, proposal, choice)
        for proposal in proposals:
            self.close(proposal)

    def decide(self, motion: Strict, *signers: PrivateKey, by: str | None = None, choice: str = "for") -> str:
        """Open a proposal with a motion, have everybody on the roll vote, close it and wait until it takes effect; return its digest."""
        proposal = self.move(motion, *signers, by=by).id
        self.carry(proposal, choice=choice)
        self.stamp(self.coop.register.proposal(proposal).rules.challenge_s + 1)
        return proposal

    def approve(self, kind: str, subject: str, *, uses: int = 1) -> str:
        """Propose, vote for with everybody, close; return the proposal's digest."""
        proposal = self.propose(kind, subject, uses=uses).id
        self.carry(proposal)
        return proposal


def make_witnesses(root: Path, kinds: tuple[str, ...] = ("ed25519",) * 3) -> tuple[Witness, ...]:
    """Make a witness for each key type; they watch no log yet."""
    return tuple(Witness.create(root / f"witness-{i}", f"sister{i}.example/witness", kind) for i, kind in enumerate(kinds, start=1))


def found_witnessed(root: Path, witnesses: tuple[Witness, ...], required: int) -> tuple[dict[str, PrivateKey], PrivateKey]:
    """Found a village whose bylaws require so many of these witnesses, and have them watch its log."""
    keys = found(root, witnesses=[witness.key.cosigner.text for witness in witnesses], witnesses_required=required)
    for witness in witnesses:
        witness.trust(NoteKey.load(Paths(root).log_key).verifier)
    return keys


def found(root: Path, founders: int = 5, *, log: URL | None = None, **changes: Any) -> tuple[dict[str, PrivateKey], PrivateKey]:
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
    Cooperative.found(root, entry(made, [sign(made, key) for key in (operator, *keys.values())]), log_key, log=log)
    return keys, operator


def tokens_of(languages: dict[str, dict[str, int]]) -> TokensRef:
    """Stand for the tokens of a build nobody trains on."""
    counts = {
        language: TokenCounts(rows=count["train"], tokens=40 * count["train"], supervised=20 * count["train"], too_long=0)
        for language, count in languages.items()
        if count["train"]
    }
    return TokensRef(digest=digest(["tokens", languages]), languages=counts)


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
            names = [f"{member[-4:]}-{i}" for i in range(3)]
            batch = village.contribute(member, names).id
            rows += [self.row(name, [member], batch, "heldout" if i == 2 else "train") for i, name in enumerate(names)]
        self.write_build(sorted(rows, key=lambda row: row.record))
        self.plan = self.make_plan()
        self.plan_bytes = dumps(self.plan.model_dump())
        self.proposal = village.approve("run", sha256(self.plan_bytes), uses=2)

    def row(self, record: str, authors: list[str], batch: str, split: str) -> LedgerRow:
        return LedgerRow(
            record=record,
            commitment=committed(record),
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
        (self.build / "reviews.jsonl").write_bytes(b"")
        self.village.write_batches(self.build, rows)
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
            "files": [
                file_entry(self.build, self.build / name) for name in ("batches.jsonl", "excluded.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl")
            ],
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
            tokens=tokens_of(self.manifest["languages"]),
            mix=Mix(),
            training=Training(),
            evaluation=EvaluationPolicy(),
            limits=Limits(max_starts=2, max_devices=2, max_minutes=30),
            policies=Policies(),
        )
        return Plan.model_validate(plan.model_copy(update=changes).model_dump())

    def started(self, run: str = "run-1", start: int = 1) -> dict[str, Any]:
        """Return the payload of a start as things stand."""
        register, rows = self.village.coop.register, parse_ledger((self.build / "ledger.jsonl").read_bytes())[0]
        limited = counted(register, rows, USE, at=self.village.clock, run=run)
        return {"run": run, "plan": sha256(self.plan_bytes), "proposal": self.proposal, "start": start, "counted": limited}

    def start(self, run: str = "run-1", start: int = 1) -> Statement:
        return self.village.say("coop.run-start/v1", self.started(run, start), "operator")


def segments_of(at: str, starts: int = 1) -> dict[str, Any]:
    """Return the fields of a run record that tell of its starts, machine and energy; each start failed but the last."""
    energy = {"kwh": 0.00125, "cpu_kwh": 0.00025, "gpu_kwh": 0.0, "ram_kwh": 0.001}
    segment = {
        "started": at,
        "ended": at,
        "cause": None,
        "from_step": 0,
        "to_step": 5,
        "seconds": 12.5,
        "device": "cpu (x86_64)",
        "environment": digest("environment"),
    }
    segments = [
        segment | {"start": number, "status": "completed" if number == starts else "failed", "energy": energy if number == starts else None}
        for number in range(1, starts + 1)
    ]
    found = {"method": ["codecarbon"], "cpu_method": ["load x rated power"], "gpu_method": [], "ram_method": ["constant power model"]}
    total = found | {"estimated": True, "segments": 1, "segments_unmeasured": starts - 1}
    return {
        "hardware": {"cpu": "A processor", "cpus": 2, "memory_bytes": 2**33, "devices": []},
        "environment": digest("environment"),
        "segments": segments,
        "energy": energy | total,
        "evidence": [],
    }
