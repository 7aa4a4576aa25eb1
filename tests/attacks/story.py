"""A release from the founding to its verification, told by an operator who lies at one step."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from governance_hooks import merkle
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import LedgerRow, ledger_bytes, ledger_root
from governance_hooks.plan import Base, BuildRef, Code, EvaluationPolicy, Limits, Mix, Plan, Policies
from governance_hooks.report import Report
from governance_hooks.sshsig import PrivateKey
from governance_hooks.training import Training
from governance_hooks.witness.state import Witness
from model_card.release import Release, add_proof, assemble
from model_card.verify import verify
from model_card.votes import votes_of
from tests.model_card.conftest import CREATED, RUN, results_of, tiny_safetensors, write_evaluation
from tests.village import USE, Village, committed, found, segments_of, tokens_of

__all__ = ["RUN", "Story", "results_of"]

PER_MEMBER = 12
"""Records of each of the five members; every second one is held out."""


class Story:
    """A release from the founding to its verification; a subclass is an operator who lies at one step.

    The operator has every key of the operator and of the log, and may change the tools that assemble a release
    (`tampered_tools`), but signs for no member and cannot change the reader's `verify`.
    """

    use = USE
    signed_language = "spa"
    """What members signed for in their contributions."""
    claimed_language = "spa"
    """What the ledger says."""
    uses = Limits().max_starts
    starts = 1
    tampered_tools = False
    witnesses: tuple[Witness, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "village"
        self.keys, self.operator = self.found()
        self.consents: dict[str, str] = {}
        self.release: Release
        self.village: Village
        self.proposal = ""

    # The steps a liar may change, in order.

    def found(self) -> tuple[dict[str, PrivateKey], PrivateKey]:
        return found(self.root)

    def consent(self, village: Village, member: str) -> str:
        return village.consent(member).id

    def manifest(self, document: dict[str, Any]) -> dict[str, Any]:
        return document

    def plan(self, document: dict[str, Any]) -> dict[str, Any]:
        return document

    def before_start(self, village: Village) -> None: ...

    def after_start(self, village: Village) -> None: ...

    def adapter_config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config

    def record(self, document: dict[str, Any]) -> dict[str, Any]:
        return document

    def measure(self, rows: list[LedgerRow]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Return the results, and what was skipped."""
        return results_of(rows), []

    def before_release(self, village: Village) -> None: ...

    def after_release_vote(self, village: Village, proposal: str) -> None: ...

    def publish(self, village: Village, payload: dict[str, str]) -> bytes:
        """Log the release; return the proof."""
        village.say("coop.release/v1", payload, "operator")
        self.after_publication(village)
        return village.coop.proof().dumps()

    def after_publication(self, village: Village) -> None: ...

    # The story.

    def play(self, *, now: str | None = None) -> Report:
        """Tell it, and verify the bundle as somebody who downloaded it."""
        with Cooperative.open(self.root) as coop:
            self.village = Village(self.root, coop, self.keys, self.operator, self.witnesses)
            self._tell(self.village)
            return verify(self.release.folder, pin=coop.pin, now=now)

    def _tell(self, village: Village) -> None:
        build, run = self.root / "builds/one", self.root / "runs" / RUN
        rows = self._collect(village)
        manifest = self._build(village, build, rows)
        plan = self._vote(village, run, manifest)
        record = self._train(village, run, rows)
        self._evaluate(village, run, plan, rows, record)
        self.before_release(village)
        votes = votes_of(village.coop.register, run=RUN, consents=set(self.consents.values()))
        with ExitStack() as tools:
            if self.tampered_tools:
                tools.enter_context(patch("model_card.release._check"))
            self.release = assemble(
                run,
                build,
                self.folder / "bundle",
                name="village-lm",
                coop=village.coop.register.coop,
                run_proposal=self.proposal,
                votes=votes,
                created=CREATED,
            )
        proposal = village.approve("release", self.release.digest)
        self.after_release_vote(village, proposal)
        add_proof(self.release.folder, self.publish(village, {"run": RUN, "release": self.release.digest, "proposal": proposal}))

    def _collect(self, village: Village) -> list[LedgerRow]:
        rows = []
        for member in village.members:
            self.consents[member] = self.consent(village, member)
            names = [f"r-{member[-4:]}-{number:03d}" for number in range(PER_MEMBER)]
            batch = village.contribute(member, names, language=self.signed_language).id
            for number, name in enumerate(names):
                row = LedgerRow(
                    record=name,
                    commitment=committed(name),
                    content=digest(["t", name]),
                    authors=[member],
                    consents=[self.consents[member]],
                    batch=batch,
                    language=self.claimed_language,
                    split="heldout" if number % 2 else "train",
                )
                rows.append(row)
        return sorted(rows, key=lambda row: row.record)

    def _build(self, village: Village, folder: Path, rows: list[LedgerRow]) -> dict[str, Any]:
        folder.mkdir(parents=True)
        ledger = ledger_bytes(rows)
        for name, data in (("ledger.jsonl", ledger), ("records.parquet", b"stands for the private text"), ("excluded.jsonl", b""), ("reviews.jsonl", b"")):
            (folder / name).write_bytes(data)
        village.write_batches(folder, rows)
        splits = {split: sum(row.split == split for row in rows) for split in ("train", "heldout")}
        manifest = self.manifest(
            {
                "format": "coop.build/v1",
                "coop": village.coop.register.coop,
                "log": {"size": village.coop.register.size, "root": "sha256:" + village.coop.log.root().hex()},
                "at": village.clock,
                "use": self.use.model_dump(),
                "rules": ["nfc_whitespace/v1"],
                "parameters": {},
                "records": len(rows),
                "root": ledger_root(rows),
                "splits": splits,
                "languages": {self.claimed_language: splits | {"members": len(village.members)}},
                "licences": {"BSD-3-Clause": len(rows)},
                "excluded": {},
                "files": [
                    file_entry(folder, folder / name) for name in ("batches.jsonl", "excluded.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl")
                ],
            }
        )
        (folder / "manifest.json").write_bytes(dumps(manifest))
        village.say("coop.build/v1", {"manifest": digest(manifest), "root": manifest["root"], "records": len(rows)}, "operator")
        return manifest

    def _vote(self, village: Village, run: Path, manifest: dict[str, Any]) -> Plan:
        files = [{"path": "model.safetensors", "size": 3, "sha256": sha256(b"abc")}]
        build = {"manifest": digest(manifest)} | {name: manifest[name] for name in ("root", "records", "languages")}
        plan = Plan(
            coop=village.coop.register.coop,
            name="first-run",
            use=self.use,
            base=Base.model_validate({"name": "example/base", "licence": "Apache-2.0", "digest": digest(files), "files": files}),
            build=BuildRef.model_validate(build),
            code=Code(digest=sha256(b"code"), packages={"torch": "2.13.0"}),
            tokens=tokens_of(build["languages"]),
            mix=Mix(),
            training=Training(),
            evaluation=EvaluationPolicy(resamples=200),
            limits=Limits(),
            policies=Policies(),
        )
        run.mkdir(parents=True)
        (run / "plan.json").write_bytes(dumps(self.plan(plan.model_dump(mode="json"))))
        self.proposal = village.approve("run", sha256((run / "plan.json").read_bytes()), uses=self.uses)
        return plan

    def start(self, village: Village, number: int) -> None:
        """Log a start of the run."""
        plan = sha256((self.root / "runs" / RUN / "plan.json").read_bytes())
        village.say("coop.run-start/v1", {"run": RUN, "plan": plan, "proposal": self.proposal, "start": number}, "operator")

    def _train(self, village: Village, run: Path, rows: list[LedgerRow]) -> dict[str, Any]:
        self.before_start(village)
        for number in range(1, self.starts + 1):
            self.start(village, number)
        self.after_start(village)
        (run / "adapter").mkdir()
        config = {"base_model_name_or_path": "example/base", "peft_type": "LORA", "r": 16, "lora_alpha": 32, "lora_dropout": 0}
        (run / "adapter/adapter_model.safetensors").write_bytes(tiny_safetensors())
        (run / "adapter/adapter_config.json").write_bytes(dumps(self.adapter_config(config)))
        trained = [row.record for row in rows if row.split == "train"]
        record = self.record(
            {
                "format": "coop.run/v1",
                "run": RUN,
                "coop": village.coop.register.coop,
                "plan": sha256((run / "plan.json").read_bytes()),
                "proposal": self.proposal,
                "status": "completed",
                "reason": None,
                "unreleasable": None,
                "started": village.clock,
                "ended": village.clock,
                "wall_s": 12,
                "starts": self.starts,
                "steps": 5,
                "total_steps": 5,
                "tokens": {},
                "dropped": {"too_long": 0},
                "loss": {"first": 3.5, "last": 2.25},
                "trained_root": "sha256:" + merkle.root([merkle.leaf_hash(record.encode()) for record in trained]).hex(),
                "trained_records": len(trained),
                "device": "cpu",
                "threads": 1,
                "packages": {"torch": "2.13.0"},
                "trainable_parameters": 16,
                "parameters": 1000,
                "outputs": [file_entry(run, path) for path in sorted((run / "adapter").iterdir())],
                **segments_of(village.clock, self.starts),
            }
        )
        (run / "run.json").write_bytes(dumps(record))
        village.say("coop.run-end/v1", {"run": RUN, "status": "completed", "record": digest(record), "outputs": digest(record["outputs"])}, "operator")
        return record

    def _evaluate(self, village: Village, run: Path, plan: Plan, rows: list[LedgerRow], record: dict[str, Any]) -> None:
        results, skipped = self.measure(rows)
        write_evaluation(run, plan, results, record["outputs"])
        path = run / "eval/report.json"
        report = json.loads(path.read_bytes()) | {"skipped": skipped, "languages_without_prompt": []}
        path.write_bytes(dumps(report))
        said = {"run": RUN, "report": sha256(path.read_bytes()), "results": report["results"], "passed": report["passed"]}
        village.say("coop.evaluation/v1", said, "operator")
