"""The records a card is rendered from, and the pointers every value on it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from governance_hooks.canonical import digest, sha256
from governance_hooks.plan import Plan, read_plan
from model_card.schemas import EvaluationReport, Manifest, RunRecord, read

__all__ = ["CardRecords", "Source", "not_applicable", "not_collected", "withheld"]

Field = dict[str, Any]


def not_collected(reason: str) -> Field:
    """Return a field nobody measured or stated."""
    return {"not_collected": reason}


def not_applicable(reason: str) -> Field:
    """Return a field that has no meaning for this release."""
    return {"not_applicable": reason}


def withheld(reason: str) -> Field:
    """Return a field that is known and not shown."""
    return {"withheld": reason}


_MISSING = object()


@dataclass(frozen=True, slots=True)
class Source:
    """One record of the bundle: its path there, its digest and its parsed document."""

    path: str
    sha256: str
    document: Any

    @classmethod
    def read(cls, path: str, data: bytes, model: type[BaseModel]) -> Source:
        """Read a canonical JSON record that fits its schema (CanonicalError, BadInput)."""
        _, document = read(model, data, source=path)
        return cls(path, sha256(data), document)

    def get(self, *keys: str) -> Any:
        """Return the value below the object keys, or None where the record has none."""
        here = self.document
        for key in keys:
            here = here.get(key, _MISSING) if isinstance(here, Mapping) else _MISSING
            if here is _MISSING:
                return None
        return here

    def field(self, *keys: str, missing: str = "the record does not hold it") -> Field:
        """Return the value below the keys with its pointer (RFC 6901) and the record's digest; null is `not_collected`."""
        value = self.get(*keys)
        if value is None:
            return not_collected(missing)
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
        return {"value": value, "source": f"{self.path}#{pointer}", "sha256": self.sha256}


@dataclass(frozen=True)
class CardRecords:
    """Everything a card depends on: four records as bytes, the votes as counted from the log, the release's name and cooperative.

    `votes` comes from `model_card.votes.votes_of`; the same log prefix gives everybody the same document.
    """

    name: str
    coop: str
    plan_bytes: bytes
    run_bytes: bytes
    manifest_bytes: bytes
    report_bytes: bytes
    votes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, coop: str, files: Mapping[str, bytes], votes: Mapping[str, Any] | None = None) -> CardRecords:
        """Return the records of a release from its files by their paths in the bundle (KeyError for one that is missing)."""
        return cls(name, coop, files["plan.json"], files["run.json"], files["data/manifest.json"], files["eval/report.json"], votes or {})

    @cached_property
    def plan(self) -> Plan:
        """The voted plan, by its schema."""
        return read_plan(self.plan_bytes, source="plan.json")

    @cached_property
    def plan_source(self) -> Source:
        """`plan.json`."""
        return Source.read("plan.json", self.plan_bytes, Plan)

    @cached_property
    def run(self) -> Source:
        """`run.json`."""
        return Source.read("run.json", self.run_bytes, RunRecord)

    @cached_property
    def manifest(self) -> Source:
        """`data/manifest.json`."""
        return Source.read("data/manifest.json", self.manifest_bytes, Manifest)

    @cached_property
    def report(self) -> Source:
        """`eval/report.json`."""
        return Source.read("eval/report.json", self.report_bytes, EvaluationReport)

    @cached_property
    def log(self) -> Source:
        """The votes, counted from `proof.jsonl.gz` by `votes_of`; the digest is that of the counted document."""
        return Source("proof.jsonl.gz:votes", digest(dict(self.votes)), dict(self.votes))
