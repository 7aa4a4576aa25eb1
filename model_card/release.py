"""Put a release bundle together from a finished, evaluated run, and add the proof after members have voted on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import sha256_file
from governance_hooks.ledger import parse_ledger
from governance_hooks.plan import read_plan
from governance_hooks.proof import read_proof
from governance_hooks.vocabulary import PUBLIC
from model_card.bundle import FILES, PROOF, RELEASE, WEIGHTS
from model_card.card import make_card
from model_card.conformity import check_adapter_config
from model_card.evaluation import judge_again
from model_card.leaks import check_no_leaks
from model_card.records import CardRecords
from model_card.renderers.readme import render
from model_card.schemas import ReleaseDocument, read
from model_card.weights import check_safetensors

__all__ = ["Release", "add_proof", "assemble", "read_release"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Release:
    """A release folder and the digest of its release.json, which is what members vote on."""

    folder: Path
    digest: str
    document: ReleaseDocument


def _bytes(path: Path, next_step: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path} is missing or no regular file", next=next_step)
    return path.read_bytes()


def _gather(run_dir: Path, build_dir: Path) -> dict[str, bytes]:
    """Return the records and the small weights file under their bundle names."""
    sources = {
        "plan.json": (run_dir / "plan.json", "name a run folder: runs/<run>"),
        "run.json": (run_dir / "run.json", "let the run finish first: coop status"),
        "eval/report.json": (run_dir / "eval/report.json", "coop eval"),
        "eval/results.jsonl": (run_dir / "eval/results.jsonl", "coop eval"),
        "data/manifest.json": (build_dir / "manifest.json", "name the build folder of the plan"),
        "data/ledger.jsonl": (build_dir / "ledger.jsonl", "name the build folder of the plan"),
        "data/batches.jsonl": (build_dir / "batches.jsonl", "name the build folder of the plan"),
        "weights/adapter_config.json": (run_dir / "adapter/adapter_config.json", "let the run finish first: coop status"),
    }
    return {name: _bytes(path, todo) for name, (path, todo) in sources.items()}


def _require(condition: bool, what: str, *, value: object = None, allowed: str | None = None, todo: str | None = None) -> None:
    if not condition:
        raise BadInput(f"no release: {what}", value=value, allowed=allowed, next=todo)


def _check(records: CardRecords, data: Mapping[str, bytes], weights: Path, run_proposal: str) -> None:
    """Refuse a run that is not finished, not evaluated, did not pass, or whose files are not the recorded ones."""
    run, manifest = records.run, records.manifest
    _require(run.get("status") == "completed", "the run is not completed", value=run.get("status"), allowed="completed")
    _require(run.get("unreleasable") is None, "the run may not be released", value=run.get("unreleasable"), todo="build, plan, vote and train again")
    _require(
        PUBLIC in records.plan.use.recipients,
        "members agreed to no release to the public",
        value=records.plan.use.recipients,
        allowed=PUBLIC,
        todo="ask for that consent, build, plan and vote anew",
    )
    check_adapter_config(records.plan, data["weights/adapter_config.json"])
    _require(run.get("coop") == records.coop, "the run record names another cooperative", value=run.get("coop"), allowed=records.coop)
    _require(run.get("proposal") == run_proposal, "the run was not made under this proposal", value=run.get("proposal"), allowed=run_proposal)
    found = [
        {"path": "adapter/adapter_config.json", "size": len(data["weights/adapter_config.json"]), "sha256": sha256(data["weights/adapter_config.json"])},
        {"path": "adapter/adapter_model.safetensors", "size": weights.stat().st_size, "sha256": sha256_file(weights)},
    ]
    listed = sorted(run.get("outputs"), key=lambda entry: str(entry["path"]))
    _require(
        listed == found, "the weights are not those run.json names", value=[entry["path"] for entry in listed], allowed="the two files of adapter/, unchanged"
    )
    for name in ("ledger.jsonl", "batches.jsonl"):
        entry = {"path": name, "size": len(data[f"data/{name}"]), "sha256": sha256(data[f"data/{name}"])}
        _require(entry in manifest.get("files"), f"{name} is not the one the manifest names", todo="build again from the log")
    rows, _ = parse_ledger(data["data/ledger.jsonl"], source="ledger.jsonl")
    judged = judge_again(records, data, rows)
    failed = [language for language, row in judged["languages"].items() if row["verdict"] == "FAIL"]
    _require(
        judged["passed"] or records.votes["run"]["waiver"] is not None,
        "the evaluation did not pass the policy members voted",
        value=failed or "nothing passes",
        todo="train again under a new plan, or ask members: coop propose waiver RUN",
    )


def _check_leaks(data: Mapping[str, bytes]) -> None:
    for path, raw in data.items():
        if path.endswith(".jsonl"):
            check_no_leaks(path, [line.decode() for line in raw.splitlines()])
        else:
            check_no_leaks(path, json.loads(raw), free_text=("generations",))


def assemble(
    run_dir: Path,
    build_dir: Path,
    out: Path,
    *,
    name: str,
    coop: str,
    run_proposal: str,
    votes: Mapping[str, Any],
    created: str,
    progress: Progress | None = None,
) -> Release:
    """Write the release folder `out` in one step, card and README included, and return it with the digest to vote on.

    Args:
        run_dir: run folder with plan.json, run.json, adapter/ and eval/.
        build_dir: folder of the dataset build the plan names.
        out: folder to create; it must not exist.
        name: name of the release, also on the Hub.
        coop: digest of the founding statement.
        run_proposal: statement digest of the run's proposal.
        votes: from `model_card.votes.votes_of`.
        created: RFC 3339 UTC.
        progress: called with label, done, total.

    Raises:
        BadInput: the run is not completed, evaluated and passed; a file is not the recorded one; a record holds a secret or a path.
    """
    method = read_plan(_bytes(run_dir / "plan.json", "name a run folder: runs/<run>")).training.method
    _require(method != "full", "a release holds an adapter, and this run trained all weights", value=method, allowed="lora, dora or qlora")
    weights = run_dir / "adapter/adapter_model.safetensors"
    data = _gather(run_dir, build_dir)
    _require(weights.is_file() and not weights.is_symlink(), f"{weights} is missing", todo="let the run finish first: coop status")
    check_safetensors(weights)
    records = CardRecords(name, coop, data["plan.json"], data["run.json"], data["data/manifest.json"], data["eval/report.json"], votes)
    card = make_card(records)
    _check_leaks(data)  # first: another refusal might repeat a secret
    _check(records, data, weights, run_proposal)
    data |= {"card.json": dumps(card), "README.md": render(card, records).encode()}
    with atomic_directory(out) as folder:
        for done, path in enumerate(sorted(FILES), 1):
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            if path == WEIGHTS:
                target.write_bytes(weights.read_bytes())
            else:
                target.write_bytes(data[path])
            if progress:
                progress("copy release files", done, len(FILES))
        entries = [
            {"path": path, "size": (folder / path).stat().st_size, "sha256": sha256_file(folder / path), "role": role} for path, role in sorted(FILES.items())
        ]
        _require(
            next(e["sha256"] for e in entries if e["path"] == WEIGHTS) in {e["sha256"] for e in records.run.get("outputs")}, "the weights changed while copying"
        )
        document = dumps(
            {
                "format": "coop.release/v1",
                "coop": coop,
                "name": name,
                "run": records.run.get("run"),
                "plan": records.plan_source.sha256,
                "run_proposal": run_proposal,
                "build": records.manifest.sha256,
                "record": records.run.sha256,
                "report": records.report.sha256,
                "licence": records.plan.use.licence,
                "created": created,
                "files": entries,
            }
        )
        release, _ = read(ReleaseDocument, document, source=RELEASE)
        (folder / RELEASE).write_bytes(document)
    return Release(out, sha256(document), release)


def read_release(folder: Path) -> Release:
    """Read release.json of a bundle; raise BadInput if it is missing or malformed (the other files are `verify`'s business)."""
    data = _bytes(folder / RELEASE, "name a release folder")
    document, _ = read(ReleaseDocument, data, source=str(folder / RELEASE))
    return Release(folder, sha256(data), document)


def add_proof(bundle: Path, proof_bytes: bytes) -> None:
    """Put the proof of the votes into a bundle, whole or not at all; refuse bytes that are no proof."""
    read_release(bundle)
    read_proof(proof_bytes)
    write_bytes(bundle / PROOF, proof_bytes)
