"""A real small release: founded, consented, voted, "trained", evaluated, assembled, voted, released, proven."""

from __future__ import annotations

import json
import math
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.inventory import file_entry, inventory
from governance_hooks.ledger import LedgerRow, ledger_bytes, ledger_root
from governance_hooks.merkle import leaf_hash
from governance_hooks.merkle import root as root_of
from governance_hooks.plan import Base, BuildRef, Code, EvaluationPolicy, Limits, Mix, Plan, Policies
from governance_hooks.sshsig import PrivateKey
from governance_hooks.training import Training
from governance_hooks.verdict import judge
from model_card.release import Release, add_proof, assemble
from model_card.votes import votes_of
from tests.village import USE, Village, committed, found, segments_of, tokens_of

if TYPE_CHECKING:
    from tests.model_card.place import Place

LANGUAGES = {"spa": 10, "nor": 6, "kin": 2}
"""Records of each member in each language; `kin` has one contributor only."""
RUN = "run-1"
CREATED = "2026-11-22T13:00:00Z"


def tiny_safetensors(*, metadata: dict[str, str] | None = None) -> bytes:
    names = ["base_model.model.layers.0.q_proj.lora_A.weight", "base_model.model.layers.0.q_proj.lora_B.weight"]
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    data = b""
    for i, name in enumerate(names):
        header[name] = {"dtype": "F32", "shape": [2, 4], "data_offsets": [len(data), len(data) + 32]}
        data += struct.pack("<8f", *(0.01 * (i + 1) * j for j in range(8)))
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


@dataclass
class Finished:
    """A village with a finished, evaluated run, ready to be assembled."""

    village: Village
    run_dir: Path
    build_dir: Path
    proposal: str
    consents: list[str]
    members: list[str]

    @property
    def coop(self) -> str:
        return self.village.coop.register.coop

    def votes(self) -> dict[str, Any]:
        return votes_of(self.village.coop.register, run=RUN, consents=self.consents)

    def assemble(self, out: Path, **changes: Any) -> Release:
        fields: dict[str, Any] = {"name": "village-lm", "coop": self.coop, "run_proposal": self.proposal, "votes": self.votes(), "created": CREATED}
        return assemble(self.run_dir, self.build_dir, out, **(fields | changes))

    def edit(self, path: str, **changes: Any) -> None:
        """Change fields of a record of the run and write it back canonically."""
        file = self.run_dir / path
        file.write_bytes(dumps(json.loads(file.read_bytes()) | changes))

    def publish(self, release: Release) -> None:
        """Vote on a release, log it, and put the proof into the bundle."""
        proposal = self.village.approve("release", release.digest)
        self.village.say("coop.release/v1", {"run": RUN, "release": release.digest, "proposal": proposal}, "operator")
        add_proof(release.folder, self.village.coop.proof().dumps())


def results_of(rows: list[LedgerRow], *, gain: float = -4.0) -> list[dict[str, Any]]:
    draw = random.Random(7)
    results = []
    for row in rows:
        if row.split == "heldout":
            tokens, base = draw.randint(4, 30), draw.uniform(2.5, 4.0)
            effect = gain if row.language == "spa" else 0.0
            results.append(
                {
                    "item": row.record,
                    "language": row.language,
                    "cluster": row.authors[0],
                    "tokens": tokens,
                    "base": round(base * tokens, 6),
                    "tuned": round(max(0.0, base * tokens + effect + draw.gauss(0, 1)), 6),
                }
            )
    return results


def write_evaluation(run_dir: Path, plan: Plan, results: list[dict[str, Any]], outputs: list[Any], generations: list[dict[str, str]] | None = None) -> None:
    folder = run_dir / "eval"
    folder.mkdir(exist_ok=True)
    lines = b"".join(dumps(row) + b"\n" for row in results)
    (folder / "results.jsonl").write_bytes(lines)
    answer = [{"language": "spa", "prompt": "¿Qué es el sol?", "base": "The sun is a star.", "tuned": "El sol es una estrella."}]
    report = {
        "format": "coop.evaluation/v1",
        "run": RUN,
        "plan": sha256((run_dir / "plan.json").read_bytes()),
        "build": plan.build.manifest,
        "weights": outputs,
        "results": sha256(lines),
        "policy": plan.evaluation.model_dump(mode="json"),
        **judge(results, plan.evaluation, languages=plan.build.languages),
        "skipped": [],
        "generations": answer if generations is None else generations,
        "languages_without_prompt": ["kin"],
        "device": "cpu",
        "threads": 1,
        "precision": "float32",
        "packages": {"torch": "2.13.0"},
        "wall_s": 3,
    }
    (folder / "report.json").write_bytes(dumps(report))


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of float32 tensors with small numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    draw, data = random.Random(3), bytearray()
    for name, shape in tensors.items():
        count = math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *(draw.uniform(-0.02, 0.02) for _ in range(count)))
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


def write_output(run_dir: Path, base: Path | None, method: str) -> None:
    """Write what a run leaves: an adapter (over the base, if there is one), or a whole model beside the base's tokenizer."""
    if method == "full":
        assert base is not None
        shutil.copytree(base, run_dir / "model", ignore=shutil.ignore_patterns("base.json"))
        weights = run_dir / "model/model.safetensors"
        raw = bytearray(weights.read_bytes())
        raw[-4:] = struct.pack("<f", 0.015)
        weights.write_bytes(bytes(raw))
        return
    (run_dir / "adapter").mkdir(parents=True)
    config = {"base_model_name_or_path": "example/base", "peft_type": "LORA", "r": 16, "lora_alpha": 32, "lora_dropout": 0}
    weights_bytes = tiny_safetensors()
    if base is not None:
        config |= {"base_model_name_or_path": "village/tiny", "task_type": "CAUSAL_LM", "target_modules": ["q_proj"]}
        prefix = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
        weights_bytes = safetensors({prefix.format(layer, half): shape for layer in (0, 1) for half, shape in (("A", (16, 64)), ("B", (64, 16)))})
    (run_dir / "adapter/adapter_model.safetensors").write_bytes(weights_bytes)
    (run_dir / "adapter/adapter_config.json").write_bytes(dumps(config))


def finish(
    root: Path,
    coop: Cooperative,
    village: Village,
    *,
    log_build: bool = True,
    log_root: str | None = None,
    canaries: dict[str, Any] | None = None,
    base: Path | None = None,
    method: str = "lora",
    output: Callable[[Path, Path | None, str], None] | None = None,
) -> Finished:
    members, rows, consents = village.members, [], []
    for member in members:
        consent = village.consent(member).id
        consents.append(consent)
        for language, count in LANGUAGES.items():
            if language == "kin" and member != members[0]:
                continue
            names = [f"{language}-{member[-4:]}-{i:03d}" for i in range(count)]
            batch = village.contribute(member, names, language=language).id
            for i, name in enumerate(names):
                rows.append(
                    LedgerRow(
                        record=name,
                        commitment=committed(name),
                        content=digest(["t", name]),
                        authors=[member],
                        consents=[consent],
                        batch=batch,
                        language=language,
                        split="heldout" if i % 2 else "train",
                    )
                )
    rows.sort(key=lambda row: row.record)
    build_dir, run_dir = root / "builds/one", root / "runs" / RUN
    build_dir.mkdir(parents=True)
    (build_dir / "ledger.jsonl").write_bytes(ledger_bytes(rows))
    (build_dir / "records.parquet").write_bytes(b"stands for the private text")
    (build_dir / "excluded.jsonl").write_bytes(b"")
    (build_dir / "reviews.jsonl").write_bytes(b"")
    village.write_batches(build_dir, rows)
    root_digest = ledger_root(rows)
    languages = {
        language: {
            "train": sum(row.language == language and row.split == "train" for row in rows),
            "heldout": sum(row.language == language and row.split == "heldout" for row in rows),
            "members": len({row.authors[0] for row in rows if row.language == language}),
        }
        for language in LANGUAGES
    }
    manifest = {
        "format": "coop.build/v1",
        "coop": coop.register.coop,
        "log": {"size": coop.register.size, "root": log_root or "sha256:" + coop.log.root().hex()},
        "at": village.clock,
        "use": USE.model_dump(),
        "rules": ["nfc_whitespace/v1", "exact_dedup/v1"],
        "parameters": {"heldout_permille": 500},
        "records": len(rows),
        "root": root_digest,
        "splits": {split: sum(row.split == split for row in rows) for split in ("train", "heldout")},
        "languages": languages,
        "licences": {"BSD-3-Clause": len(rows)},
        "excluded": {"no_consent": 4},
        "files": [file_entry(build_dir, build_dir / name) for name in ("batches.jsonl", "excluded.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl")],
    }
    (build_dir / "manifest.json").write_bytes(dumps(manifest))
    if log_build:
        village.say("coop.build/v1", {"manifest": digest(manifest), "root": root_digest, "records": len(rows)}, "operator")
    files = inventory(base) if base is not None else [{"path": "model.safetensors", "size": 3, "sha256": sha256(b"abc")}]
    plan = Plan.model_validate(
        {
            "coop": coop.register.coop,
            "name": "first-run",
            "use": USE,
            "base": Base.model_validate(
                {"name": "village/tiny" if base is not None else "example/base", "licence": "Apache-2.0", "digest": digest(files), "files": files}
            ),
            "build": BuildRef(manifest=digest(manifest), root=root_digest, records=len(rows), languages=languages),  # type: ignore[arg-type]
            "code": Code(digest=sha256(b"code"), packages={"torch": "2.13.0"}),
            "tokens": tokens_of(languages),
            "canaries": canaries,
            "mix": Mix(),
            "training": Training.model_validate({"method": method}),
            "evaluation": EvaluationPolicy(resamples=200),
            "limits": Limits(),
            "policies": Policies(),
        }
    )
    run_dir.mkdir(parents=True)
    (run_dir / "plan.json").write_bytes(dumps(plan.model_dump(mode="json")))
    plan_digest = sha256((run_dir / "plan.json").read_bytes())
    proposal = village.approve("run", plan_digest, uses=plan.limits.max_starts)
    village.say("coop.run-start/v1", {"run": RUN, "plan": plan_digest, "proposal": proposal, "start": 1}, "operator")
    (output or write_output)(run_dir, base, method)
    outputs = [file_entry(run_dir, path) for path in sorted((run_dir / plan.training.output).iterdir())]
    record = {
        "format": "coop.run/v1", "run": RUN, "coop": coop.register.coop, "plan": plan_digest, "proposal": proposal, "status": "completed", "reason": None,
        "unreleasable": None, "started": village.clock, "ended": village.clock, "wall_s": 12, "starts": 1, "steps": 5, "total_steps": 5,
        "tokens": {"spa": {"input": 900, "supervised": 300}, "nor": {"input": 500, "supervised": 200}}, "dropped": {"too_long": 0}, "loss": {"first": 3.5, "last": 2.25},
        "trained_root": "sha256:" + root_of([leaf_hash(row.record.encode()) for row in rows if row.split == "train"]).hex(), "trained_records": sum(row.split == "train" for row in rows), "device": "cpu (x86_64)", "threads": 1, "packages": {"torch": "2.13.0"}, "trainable_parameters": 16,
        "parameters": 1000, "outputs": outputs, **segments_of(village.clock),
    }  # fmt: skip
    (run_dir / "run.json").write_bytes(dumps(record))
    village.say("coop.run-end/v1", {"run": RUN, "status": "completed", "record": digest(record), "outputs": digest(outputs)}, "operator")
    write_evaluation(run_dir, plan, results_of(rows), outputs)
    return Finished(village, run_dir, build_dir, proposal, consents, members)


def sign_evaluation(done: Finished) -> None:
    """Log the evaluation as the operator does."""
    report, results = (done.run_dir / "eval" / name for name in ("report.json", "results.jsonl"))
    passed = json.loads(report.read_bytes())["passed"]
    done.village.say(
        "coop.evaluation/v1", {"run": RUN, "report": sha256(report.read_bytes()), "results": sha256(results.read_bytes()), "passed": passed}, "operator"
    )


@contextmanager
def odd_village(root: Path, **odd: Any) -> Iterator[Finished]:
    """Yield a finished and evaluated run of a village whose operator did something odd on the way."""
    keys, operator = found(root, founders=6)
    with Cooperative.open(root) as coop:
        done = finish(root, coop, Village(root, coop, keys, operator), **odd)
        sign_evaluation(done)
        yield done


@pytest.fixture
def odd() -> Callable[..., AbstractContextManager[Finished]]:
    """The maker of odd villages."""
    return odd_village


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("finished") / "village"
    keys, operator = found(root, founders=6)
    with Cooperative.open(root) as coop:
        return finish(root, coop, Village(root, coop, keys, operator))


@pytest.fixture
def finished(_finished: Finished, tmp_path: Path) -> Iterator[Finished]:
    """A copy of a finished run whose evaluation is not logged yet; tests may change everything."""
    made, root = _finished.village, shutil.copytree(_finished.village.root, tmp_path / "village")
    with Cooperative.open(root) as coop:
        village = Village(root, coop, made.keys, made.operator)
        village.clock = made.clock
        yield Finished(village, root / "runs" / RUN, root / "builds/one", _finished.proposal, _finished.consents, _finished.members)


@pytest.fixture(scope="session")
def _released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("released")
    keys, operator = found(root / "village", founders=6)
    with Cooperative.open(root / "village") as coop:
        done = finish(root / "village", coop, Village(root / "village", coop, keys, operator))
        sign_evaluation(done)
        done.publish(done.assemble(root / "bundle"))
    return root / "bundle"


@pytest.fixture
def bundle(_released: Path, tmp_path: Path) -> Path:
    """A copy of a released bundle, for the test to harm."""
    return shutil.copytree(_released, tmp_path / "bundle")


def finished_run_of(done: Finished) -> Any:
    """The same run as the commands see it."""
    from commonweights.adapters import Finished as OfCommands
    from governance_hooks.plan import read_plan

    raw = (done.run_dir / "plan.json").read_bytes()
    return OfCommands(RUN, done.run_dir, read_plan(raw), sha256(raw), None)


def publish_whole(done: Finished, base: Path, out: Path) -> Release:
    """Assemble with merged and GGUF weights, have members vote, and publish."""
    from commonweights.deriving import derived_weights

    sign_evaluation(done)
    with derived_weights(finished_run_of(done), base, out.parent, "village-lm", check="none", threads=1) as derived:
        release = done.assemble(out, derived=derived)
    done.publish(release)
    return release


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real base of two layers."""
    pytest.importorskip("torch")
    from tests.tiny import write_base

    return write_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def _whole_of(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make, once, the release of a run of a method with everything that loads."""
    made: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in made:
            root = tmp_path_factory.mktemp(f"whole-{method}")
            keys, operator = found(root / "village")
            with Cooperative.open(root / "village") as coop:
                done = finish(root / "village", coop, Village(root / "village", coop, keys, operator), base=tiny_base, method=method)
                publish_whole(done, tiny_base, root / "bundle")
            made[method] = root / "bundle"
        return made[method]

    return of


@pytest.fixture(params=["lora", "full"])
def whole(request: pytest.FixtureRequest, _whole_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a released bundle with everything that loads: of a run that made an adapter, and of one that trained all weights."""
    return shutil.copytree(_whole_of(request.param), tmp_path / "whole")


@pytest.fixture
def merged(_whole_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a released bundle with merged weights beside the adapter."""
    return shutil.copytree(_whole_of("lora"), tmp_path / "merged")


@pytest.fixture
def signed(finished: Finished) -> Finished:
    """A finished run whose evaluation the operator has logged."""
    sign_evaluation(finished)
    return finished


@pytest.fixture(scope="session")
def _published_first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, PrivateKey]]:
    from tests.model_card.place import publish_first

    root = tmp_path_factory.mktemp("site") / "village"
    return root, publish_first(root)


@pytest.fixture
def place(_published_first: tuple[Path, dict[str, PrivateKey]], tmp_path: Path) -> Iterator[Place]:
    """A village with a release that is out, and where its site is made; tests may change everything."""
    from tests.model_card.place import opened

    with opened(*_published_first, tmp_path) as opened_place:
        yield opened_place
