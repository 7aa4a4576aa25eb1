"""The in-toto statements about a release, each rendered from the bundle's own records and the log: nothing of them is typed.

They use the log up to the close of the vote on the release and nothing after, so that whoever renders them later, from any longer proof,
gets the same bytes. Sources: in-toto Attestation Framework v1, SLSA provenance v1, in-toto test-result v0.1 and release v0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from governance_hooks import merkle
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.ledger import LedgerRow, parse_ledger
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.plan import Plan, read_plan
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.state.consents import Grant
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run

__all__ = ["FOLDER", "NAMES", "path_of", "statements_of"]

FOLDER = "attestations/"
_STATEMENT = "https://in-toto.io/Statement/v1"
_OURS = "urn:commonweights:"
"""We own no domain to put predicate types under, and borrow none that somebody could buy."""
NAMES: dict[str, str] = {
    "provenance": "https://slsa.dev/provenance/v1",
    "test-result": "https://in-toto.io/attestation/test-result/v0.1",
    "vote": f"{_OURS}vote:v1",
    "consent": f"{_OURS}consent:v1",
    "preregistration": f"{_OURS}preregistration:v1",
    "release": "https://in-toto.io/attestation/release/v0.1",
}
"""Every attestation of a release, by the name of its file, with its predicate type."""

Document = dict[str, Any]


def path_of(name: str) -> str:
    """Return where an attestation lies in a bundle."""
    return f"{FOLDER}{name}.dsse.json"


def _hex(value: str) -> dict[str, str]:
    """Return a digest as in-toto writes it (DigestSet)."""
    return {"sha256": value.removeprefix("sha256:")}


@dataclass(frozen=True)
class _Told:
    """The records a statement is rendered from."""

    files: Mapping[str, bytes]
    digests: Mapping[str, str]
    register: Register
    release: str

    def bytes(self, path: str) -> bytes:
        if path not in self.files:
            raise StepUnknown(f"{path} is missing", todo="download the release again, whole")
        return self.files[path]

    def document(self, path: str) -> Document:
        value = loads(self.bytes(path), floats=True, source=path)
        if not isinstance(value, dict):
            raise StepFailed(f"{path} is no object", todo="do not use these files")
        return value

    @cached_property
    def index(self) -> Document:
        if sha256(self.bytes("release.json")) != self.release:
            raise StepFailed("release.json is not the release these attestations are asked for", todo="do not use these files")
        return self.document("release.json")

    @cached_property
    def listed(self) -> dict[str, str]:
        """Path -> digest of every file of release.json, and of release.json itself, all of them as they are here."""
        found = {entry["path"]: entry["sha256"] for entry in self.index["files"]} | {"release.json": self.release}
        for path, stated in found.items():
            if path in self.digests and self.digests[path] != stated:
                raise StepFailed(f"{path} is not the file release.json lists", todo="do not use these files")
        return found

    def subjects(self, *paths: str) -> list[Document]:
        missing = [path for path in paths if path not in self.listed]
        if missing:
            raise StepFailed(f"release.json does not list {missing[0]}", todo="do not use these files")
        return [{"name": path, "digest": _hex(self.listed[path])} for path in sorted(paths)]

    def file(self, path: str) -> Document:
        return {"name": path, "digest": _hex(self.listed[path])}

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.bytes("plan.json"), source="plan.json")

    @cached_property
    def record(self) -> Document:
        return self.document("run.json")

    @cached_property
    def run(self) -> Run:
        return self.register.run(self.index["run"])

    @cached_property
    def rows(self) -> list[LedgerRow]:
        return parse_ledger(self.bytes("data/ledger.jsonl"), source="data/ledger.jsonl")[0]

    @cached_property
    def run_vote(self) -> Proposal:
        return self.register.proposal(self.run.proposal)

    @cached_property
    def vote(self) -> Proposal:
        """The vote the release went out under, or, before it is out, may go out under."""
        published = self.register.releases.get(self.release)
        found = self.register.proposal(published) if published else find_proposal(self.register, "release", self.release)
        check_vote(found)
        stated = sorted(self.index.get("supersedes") or [])
        if list(found.supersedes) != stated:
            raise StepFailed("the vote on the release names other releases to supersede than release.json does", todo="propose it again: coop propose release")
        return found

    @cached_property
    def outputs(self) -> list[str]:
        """Paths in the bundle of what the run wrote."""
        made = {entry["sha256"] for entry in self.record["outputs"]}
        paths = [path for path, held in self.listed.items() if held in made]
        if {self.listed[path] for path in paths} != made or not made:
            raise StepFailed("release.json does not list everything run.json says the run wrote", todo="do not use these files")
        return sorted(paths)

    def require_before(self, earlier: int | None, later: int | None, what: str) -> None:
        if earlier is None or later is None or earlier >= later:
            raise StepFailed(what, todo="do not use these files")


def _provenance(told: _Told) -> tuple[list[str], Document]:
    plan, run, record = told.plan, told.run, told.record
    inputs = [
        ("base weights", plan.base.digest, {"model": plan.base.name}),
        ("dataset build", plan.build.manifest, {"records": plan.build.records}),
        ("tokens", plan.tokens.digest, {}),
        ("code", plan.code.digest, {"packages": plan.code.packages}),
        ("environment", record["environment"], {}),
    ]
    return told.outputs, {
        "buildDefinition": {
            "buildType": f"{_OURS}finetune:v1",
            "externalParameters": {"plan": told.file("plan.json"), "proposal": run.proposal, "method": plan.training.method},
            "internalParameters": {"seed": plan.training.seed, "starts": len(run.starts), "sites": run.sites},
            "resolvedDependencies": [{"name": name, "digest": _hex(value), **({"annotations": more} if more else {})} for name, value, more in inputs],
        },
        "runDetails": {
            "builder": {"id": f"{_OURS}operator:{told.register.coop.removeprefix('sha256:')}"},
            "metadata": {"invocationId": run.id, "startedOn": record["started"], "finishedOn": record["ended"]},
            "byproducts": [told.file("run.json")],
        },
    }


_PRIVACY: Final = ("privacy/leak.json", "privacy/differential.json")


def _outcomes(told: _Told) -> dict[str, str]:
    """Return the verdict of every test by name: held-out loss and tasks by language, and the criteria of leak test and comparison."""
    report = told.document("eval/report.json")
    found = {f"heldout/{language}": row["verdict"] for language, row in report["languages"].items()}
    for name, task in report.get("tasks", {}).items():
        rows = {f"{name}/{language}": row["verdict"] for language, row in task["languages"].items()}
        found |= rows or {name: task["verdict"]}
    for path in _PRIVACY:
        if path in told.files:
            found |= {f"{path[8:-5]}/{name}": verdict for name, verdict in told.document(path)["criteria"].items()}
    return found


def _test_result(told: _Told) -> tuple[list[str], Document]:
    outcomes, report = _outcomes(told), told.document("eval/report.json")
    passed = report["passed"] is True and all(told.document(path)["passed"] is not False for path in _PRIVACY if path in told.files)
    waived = told.run.waived_before_release()
    policy = told.plan.evaluation.model_dump(mode="json")
    return told.outputs, {
        "result": "PASSED" if passed else "WARNED" if waived else "FAILED",
        "configuration": [told.file("plan.json"), {"name": "evaluation policy", "digest": _hex(digest(policy))}],
        "passedTests": sorted(name for name, verdict in outcomes.items() if verdict == "PASS"),
        "warnedTests": sorted(name for name, verdict in outcomes.items() if verdict == "INSUFFICIENT"),
        "failedTests": sorted(name for name, verdict in outcomes.items() if verdict not in ("PASS", "INSUFFICIENT")),
        "waiver": waived,
    }


def _tally(proposal: Proposal) -> Document:
    counted = proposal.count()
    return {
        "proposal": proposal.id,
        "kind": proposal.kind,
        "subject": proposal.subject,
        "supersedes": list(proposal.supersedes),
        "opened": proposal.issued,
        "closes": proposal.closes,
        "closed": proposal.closed_at,
        "closedAtEntry": proposal.closed,
        "for": counted.votes_for,
        "against": counted.votes_against,
        "abstain": counted.votes_abstain,
        "roll": len(proposal.roll),
        "rollRoot": proposal.roll_root,
        "rules": proposal.rules.model_dump(mode="json"),
        "outcome": counted.outcome,
    }


def _vote(told: _Told) -> tuple[list[str], Document]:
    return ["plan.json", "release.json"], {"cooperative": told.register.coop, "release": _tally(told.vote), "run": _tally(told.run_vote)}


def _consent(told: _Told) -> tuple[list[str], Document]:
    named = sorted({consent for row in told.rows for consent in row.consents})
    grants = {grant.id: grant for member in told.register.grants.values() for grant in member}
    until = told.vote.closed

    def gone(grant: Grant) -> bool:
        return grant.withdrawn is not None and until is not None and grant.withdrawn <= until

    return ["data/batches.jsonl", "data/ledger.jsonl", "data/manifest.json"], {
        "use": told.plan.use.model_dump(mode="json"),
        "records": len(told.rows),
        "consents": len(named),
        "consentsRoot": "sha256:" + merkle.root([merkle.leaf_hash(one.encode()) for one in named]).hex(),
        "inLog": sum(one in grants for one in named),
        "withdrawnUntilVoteClosed": sum(gone(grants[one]) for one in named if one in grants),
        "startsAtEntries": told.run.starts,
    }


def _preregistration(told: _Told) -> tuple[list[str], Document]:
    told.require_before(told.run_vote.closed, told.run.starts[0], "the run began before the vote on its evaluation policy was closed")
    told.require_before(told.run.starts[-1], told.vote.closed, "the vote on the release closed before the run began")
    return ["plan.json"], {
        "policy": told.plan.evaluation.model_dump(mode="json"),
        "policyDigest": _hex(digest(told.plan.evaluation.model_dump(mode="json"))),
        "proposal": told.run_vote.id,
        "voteClosed": told.run_vote.closed_at,
        "voteClosedAtEntry": told.run_vote.closed,
        "runStarted": told.run.started[0],
        "runStartedAtEntry": told.run.starts[0],
    }


def _release(told: _Told) -> tuple[list[str], Document]:
    return list(told.listed), {"purl": f"pkg:generic/{told.index['name']}@{told.release.removeprefix('sha256:')}"}


_PREDICATES: dict[str, Callable[[_Told], tuple[list[str], Document]]] = {
    "provenance": _provenance,
    "test-result": _test_result,
    "vote": _vote,
    "consent": _consent,
    "preregistration": _preregistration,
    "release": _release,
}


def statements_of(files: Mapping[str, bytes], digests: Mapping[str, str], register: Register, release: str) -> dict[str, bytes]:
    """Return the canonical bytes of every statement about a release, by name.

    Args:
        files: bytes of the bundle's records by path.
        digests: digest of every file there is, weights too.
        register: the replayed log, up to the close of the vote on the release or beyond.
        release: digest of release.json.

    Raises:
        StepFailed, StepUnknown, CoopError: members did not approve the release, a record is missing, or the records do not fit together.
    """
    told, made = _Told(files, digests, register, release), {}
    for name, kind in NAMES.items():
        try:
            paths, predicate = _PREDICATES[name](told)
            subject = told.subjects(*paths)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise StepFailed(f"the records do not hold what {name} states: {type(error).__name__}: {error}", todo="do not use these files") from error
        made[name] = dumps({"_type": _STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate})
    return made
