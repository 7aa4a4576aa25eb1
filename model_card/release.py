"""Put a release bundle together from a finished, evaluated run, and add the proof after members have voted on it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.ledger import parse_ledger
from governance_hooks.plan import Plan, read_plan
from governance_hooks.proof import read_proof
from governance_hooks.report import StepFailed
from governance_hooks.vocabulary import PUBLIC
from model_card.bundle import records_of
from model_card.card import make_card
from model_card.conformity import check_adapter_config
from model_card.derived import Facts, check_config, check_copied, check_derived, model_files
from model_card.evaluation import in_the_way, judge_again
from model_card.hashing import copy_hashed, hash_files
from model_card.layout import PROOF, RELEASE, Rule, rule_of
from model_card.leak_test import NotPassed, check_leak
from model_card.leaks import check_no_leaks
from model_card.records import CardRecords
from model_card.renderers import render_all
from model_card.schemas import ReleaseDocument, read
from model_card.weights import check_safetensors

__all__ = ["Release", "add_proof", "assemble", "gather", "read_release", "require_releasable"]

Progress = Callable[[str, int, int], None]
_MEASURED = ("eval/items/", "eval/previous/", "privacy/", "statements/")
"""Files with the words of a model or a person, in which a path of somebody's machine is no leak of ours."""


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


def _sources(run_dir: Path, build_dir: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield bundle path, file and how to make it, for every record; those that not every run has only if they are there."""
    for name in ("plan.json", "run.json"):
        yield name, run_dir / name, "let the run finish first: coop status"
    for name in ("report.json", "results.jsonl"):
        yield f"eval/{name}", run_dir / "eval" / name, "coop eval"
    for name in ("manifest.json", "ledger.jsonl", "batches.jsonl"):
        yield f"data/{name}", build_dir / name, "name the folder of the plan's dataset"
    shared = ("stake",) if (run_dir / "stake" / "shares.json").is_file() else ()  # trainings of shares that are not made yet are no record
    for below in ("eval/items", "eval/previous", "privacy", *shared, "statements", "previous"):
        for path in sorted((run_dir / below).iterdir()) if (run_dir / below).is_dir() else ():
            if rule_of(f"{below}/{path.name}") is not None:
                yield f"{below}/{path.name}", path, "make it a regular file"


def gather(run_dir: Path, build_dir: Path) -> dict[str, bytes]:
    """Return the records of a run by their paths in a release; raise BadInput naming the first that is missing."""
    return {path: _bytes(source, todo) for path, source, todo in _sources(run_dir, build_dir)}


def _require(condition: bool, what: str, *, value: object = None, allowed: str | None = None, todo: str | None = None) -> None:
    if not condition:
        raise BadInput(f"no release: {what}", value=value, allowed=allowed, next=todo)


def _check(records: CardRecords, files: Mapping[str, bytes], run_proposal: str) -> None:
    """Refuse a run that is not finished, not evaluated, or did not pass."""
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
    if "adapter/adapter_config.json" in files:
        check_adapter_config(records.plan, files["adapter/adapter_config.json"])
    _require(run.get("coop") == records.coop, "the run record names another cooperative", value=run.get("coop"), allowed=records.coop)
    _require(run.get("proposal") == run_proposal, "the run was not made under this proposal", value=run.get("proposal"), allowed=run_proposal)
    for name in ("ledger.jsonl", "batches.jsonl"):
        entry = {"path": name, "size": len(files[f"data/{name}"]), "sha256": sha256(files[f"data/{name}"])}
        _require(entry in manifest.get("files"), f"{name} is not the one the manifest names", todo="build again from the log")
    rows, _ = parse_ledger(files["data/ledger.jsonl"], source="ledger.jsonl")
    judged = judge_again(records, files, rows)
    waive = f"train again under a new plan, or ask members: coop propose waiver {records.run.get('run')}"
    _require(
        judged["passed"] or records.votes["run"]["waiver"] is not None,
        "the evaluation did not pass the policy members voted",
        value=", ".join(in_the_way(judged, records.plan.evaluation)) or "no language passes",
        todo=waive,
    )
    if records.votes["run"]["waiver"] is None and (records.plan.evaluation.leak is not None or "privacy/leak.json" in files):
        try:
            check_leak(records, files)
        except NotPassed as odd:
            raise BadInput(f"no release: {odd.why}", next=waive) from odd
        except StepFailed as odd:
            raise BadInput(f"no release: {odd.why}", next=odd.todo or None) from odd


def _check_leaks(data: Mapping[str, bytes]) -> None:
    for path, raw in data.items():
        if path.endswith(".jsonl"):
            check_no_leaks(path, [line.decode() for line in raw.splitlines()], anywhere=path.startswith(_MEASURED))
        else:
            check_no_leaks(path, json.loads(raw), free_text=("generations",), anywhere=path.startswith(_MEASURED))


def _check_weights(records: CardRecords, facts: Facts) -> None:
    """Refuse weights that are not the run's, not plain, or not as the plan says; and what was made of them, if its records do not fit."""
    full = facts.plan.training.method == "full"
    found = [entry | {"path": f"model/{entry['path']}"} for entry in model_files(facts)] if full else facts.entries("adapter")
    listed = sorted(records.run.get("outputs"), key=lambda entry: str(entry["path"]))
    _require(listed == found, "the weights are not those run.json names", value=[entry["path"] for entry in listed], allowed="its files, unchanged")
    for path in sorted(facts.found):
        if path.endswith(".safetensors"):
            check_safetensors(facts.folder / path)
    if full:
        check_config(facts.held["config.json"])
        check_copied(facts.plan, model_files(facts))
    check_derived(facts)


def _weight_files(run_dir: Path, plan: Plan) -> dict[str, Path]:
    """Return what the run wrote: bundle path -> file."""
    folder = run_dir / plan.training.output
    if not folder.is_dir() or folder.is_symlink():
        raise BadInput(f"{folder} is missing", next="let the run finish first: coop status")
    prefix = "adapter/" if plan.training.output == "adapter" else ""
    always = ("adapter_config.json", "adapter_model.safetensors") if prefix else ("config.json",)
    found = {f"{prefix}{path.name}": path for path in sorted({*folder.iterdir(), *(folder / name for name in always)})}
    odd = sorted(path for path in found if (rule := rule_of(path)) is None or rule.role not in ("adapter", "model"))
    _require(not odd, "the run wrote a file that no release holds", value=odd, allowed="safetensors, config and tokenizer files")
    for path in found.values():
        _require(path.is_file() and not path.is_symlink(), f"{path} is missing or no regular file", todo="let the run finish first: coop status")
        if path.suffix == ".safetensors":
            check_safetensors(path)
    return found


def _derived_files(derived: Path | None) -> dict[str, Path]:
    if derived is None:
        return {}
    found = {path.relative_to(derived).as_posix(): path for path in sorted(derived.rglob("*")) if path.is_symlink() or not path.is_dir()}
    odd = sorted(path for path in found if (rule := rule_of(path)) is None or rule.role not in ("model", "gguf", "derivation"))
    _require(not odd, f"{derived} holds what is not derived from weights", value=odd, allowed="merged weights, GGUF files and their records")
    return found


class _Folder:
    """A bundle as it is written: every file is hashed once, while it is copied or after it was moved in."""

    def __init__(self, folder: Path, total: int, progress: Progress | None) -> None:
        self.folder, self.total, self.progress = folder, total, progress
        self.done = 0
        self.found: dict[str, tuple[int, str]] = {}
        self.held: dict[str, bytes] = {}

    def told(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress("writing the release, bytes", min(self.done, self.total - 1), self.total)

    def _target(self, path: str) -> tuple[Path, Rule]:
        rule, target = rule_of(path), self.folder / path
        assert rule is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        return target, rule

    def _keep(self, path: str, target: Path, rule: Rule) -> None:
        if rule.held:
            self.held[path] = target.read_bytes()

    def write(self, path: str, data: bytes) -> None:
        target, rule = self._target(path)
        target.write_bytes(data)
        self.found[path] = len(data), sha256(data)
        if rule.held:
            self.held[path] = data

    def copy(self, path: str, source: Path) -> None:
        target, rule = self._target(path)
        self.found[path] = copy_hashed(source, target, told=self.told)
        self._keep(path, target, rule)

    def move(self, path: str, source: Path) -> None:
        """Take a file that was made for this folder alone; a link is refused."""
        target, rule = self._target(path)
        _require(source.is_file() and not source.is_symlink() and source.stat().st_nlink == 1, f"{source} is a link or no regular file")
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.copy(path, source)
            return
        result = hash_files({path: target}, told=self.told)[path]
        if not isinstance(result, tuple):
            raise result
        self.found[path] = result
        self._keep(path, target, rule)

    def entries(self) -> list[dict[str, Any]]:
        """Return the list of release.json."""
        made = []
        for path, (size, digest) in sorted(self.found.items()):
            rule = rule_of(path)
            assert rule is not None
            made.append({"path": path, "size": size, "sha256": digest, "role": rule.role})
        return made


def require_releasable(run_dir: Path, build_dir: Path, *, name: str, coop: str, run_proposal: str, votes: Mapping[str, Any]) -> None:
    """Refuse, before any weights are derived, a run that `assemble` would refuse by its records; arguments and errors as there."""
    data = gather(run_dir, build_dir)
    _check_leaks(data)
    _check(CardRecords.of(name, coop, data, votes), data, run_proposal)


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
    derived: Path | None = None,
    supersedes: Sequence[str] = (),
    accept: Callable[[dict[str, Any]], None] | None = None,
    progress: Progress | None = None,
) -> Release:
    """Write the release folder `out` in one step, card and README included, and return it with the digest to vote on.

    Args:
        run_dir: run folder with plan.json, run.json, eval/ and what the plan's method writes.
        build_dir: folder of the dataset build the plan names.
        out: folder to create; it must not exist.
        name: name of the release, also on the Hub.
        coop: digest of the founding statement.
        run_proposal: statement digest of the run's proposal.
        votes: from `model_card.votes.votes_of`.
        created: RFC 3339 UTC.
        derived: folder with merged and GGUF weights and their records, laid out as in a bundle; its files are moved into `out`.
        supersedes: digests of earlier releases this one takes the place of.
        accept: raises for a card that shall not be released, before anything is written.
        progress: called with label, done, total.

    Raises:
        BadInput: the run is not completed, evaluated and passed; a file is not the recorded one; a record holds a secret or a path.
    """
    data = gather(run_dir, build_dir)
    plan = read_plan(data["plan.json"])
    weights, made = _weight_files(run_dir, plan), _derived_files(derived)
    small = {path: source.read_bytes() for path, source in (weights | made).items() if (rule := rule_of(path)) is not None and rule.held}
    _check_leaks(data | small)  # first: another refusal might repeat a secret
    records = CardRecords.of(name, coop, data, votes)
    card = make_card(records)  # refuses records that belong to others
    if accept is not None:
        accept(card)
    _check(records, data | small, run_proposal)
    total = 1 + sum(path.stat().st_size for path in (*weights.values(), *made.values()))
    with atomic_directory(out) as temporary:
        folder = _Folder(temporary, total, progress)
        for path, source in weights.items():
            folder.copy(path, source)
        for path, source in made.items():
            folder.move(path, source)
        for path, raw in data.items():
            folder.write(path, raw)
        run = records.run.get("run")
        _check_weights(records, Facts(temporary, (name, run, records.plan_source.sha256), plan, folder.held, folder.found))
        records = CardRecords.of(name, coop, records_of(folder.held), votes)
        for path, raw in render_all(make_card(records), records).items():
            folder.write(path, raw)
        document = {
            "format": "coop.release/v2",
            "coop": coop,
            "name": name,
            "run": run,
            "plan": records.plan_source.sha256,
            "run_proposal": run_proposal,
            "build": records.manifest.sha256,
            "record": records.run.sha256,
            "report": records.report.sha256,
            "licence": plan.use.licence,
            "created": created,
            "files": folder.entries(),
        } | ({"supersedes": sorted(set(supersedes))} if supersedes else {})
        release, _ = read(ReleaseDocument, dumps(document), source=RELEASE)
        (temporary / RELEASE).write_bytes(dumps(document))
        if progress is not None:
            progress("writing the release, bytes", total, total)
    return Release(out, sha256(dumps(document)), release)


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
