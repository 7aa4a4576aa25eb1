"""The records a card is rendered from, and the pointers every value on it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pydantic import BaseModel

from governance_hooks.canonical import digest, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan, read_plan
from model_card.run_outline import RunOutline
from model_card.schemas import EvaluationReport, Manifest, RunRecord, read

__all__ = ["CardRecords", "Field", "Source", "estimated", "not_applicable", "not_collected", "withheld"]

Field = dict[str, Any]

LONGEST_RECORD: Final = 64 << 20
"""Bytes of an optional record that are read at all."""


def not_collected(reason: str) -> Field:
    """Return a field nobody measured or stated."""
    return {"not_collected": reason}


def not_applicable(reason: str) -> Field:
    """Return a field that has no meaning for this release."""
    return {"not_applicable": reason}


def withheld(reason: str, by: str) -> Field:
    """Return a field that is known and not shown, and who decided that."""
    return {"withheld": reason, "by": by}


def estimated(value: Any, method: str, *inputs: Field) -> Field:
    """Return a field computed from others, with its method and the records it was computed from."""
    return {"estimated": value, "method": method, "from": [{"source": one["source"], "sha256": one["sha256"]} for one in inputs if "source" in one]}


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
        """Return the value below the keys (of a list: the position, in digits), or None where the record has none."""
        here = self.document
        for key in keys:
            if isinstance(here, list) and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(here):
                here = here[int(key)]
            else:
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
    """Everything a card depends on: the records as bytes, the votes as counted from the log, the release's name and cooperative.

    `votes` comes from `model_card.votes.votes_of`; the same log prefix gives everybody the same document.
    """

    name: str
    coop: str
    plan_bytes: bytes
    run_bytes: bytes
    manifest_bytes: bytes
    report_bytes: bytes | None
    votes: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Every other file that is not weights, by its path in the release."""

    @classmethod
    def of(cls, name: str, coop: str, files: Mapping[str, bytes], votes: Mapping[str, Any] | None = None) -> CardRecords:
        """Return the records among the files of a release, or of a run laid out like one; raise BadInput if one every card needs is missing."""
        missing = [path for path in ("plan.json", "run.json", "data/manifest.json") if path not in files]
        if missing:
            raise BadInput("no card without these records", value=missing, allowed="plan.json, run.json and data/manifest.json")
        return cls(name, coop, files["plan.json"], files["run.json"], files["data/manifest.json"], files.get("eval/report.json"), votes or {}, files)

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
        """`run.json`: the record of a run, or the outline a training loop of somebody else's leaves."""
        document = loads(self.run_bytes, floats=True, source="run.json")
        outline = isinstance(document, dict) and document.get("format") == "coop.run-outline/v1"
        return Source.read("run.json", self.run_bytes, RunOutline if outline else RunRecord)

    @cached_property
    def manifest(self) -> Source:
        """`data/manifest.json`."""
        return Source.read("data/manifest.json", self.manifest_bytes, Manifest)

    @cached_property
    def report(self) -> Source:
        """`eval/report.json`; an empty document where there is none."""
        if self.report_bytes is None:
            return Source("eval/report.json", "", {})
        return Source.read("eval/report.json", self.report_bytes, EvaluationReport)

    @cached_property
    def log(self) -> Source:
        """The votes, counted from `proof.jsonl.gz` by `votes_of`; the digest is that of the counted document."""
        return Source("proof.jsonl.gz:votes", digest(dict(self.votes)), dict(self.votes))

    def optional(self, path: str, formats: tuple[str, ...]) -> Source | None:
        """Return another record if the release has it.

        Raises:
            BadInput: it is too long, no canonical JSON object, or of a format this version does not know.
        """
        data = self.files.get(path)
        if data is None:
            return None
        if len(data) > LONGEST_RECORD:
            raise BadInput(f"{path} is too long for a card", value=len(data), allowed=f"{LONGEST_RECORD} bytes")
        document = loads(data, floats=True, source=path)
        if not isinstance(document, dict) or document.get("format") not in formats:
            raise BadInput(
                f"{path} is of a format this version does not know",
                value=document.get("format") if isinstance(document, dict) else type(document).__name__,
                allowed=", ".join(formats),
            )
        return Source(path, sha256(data), document)
