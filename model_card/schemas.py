"""Schemas of the records a release holds, as its reader needs them; fields they do not name are kept and shown, never trusted."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from governance_hooks.canonical import loads
from governance_hooks.consent import Use
from governance_hooks.fields import Digest, Instant, Language, Slug, Strict
from governance_hooks.plan import EvaluationPolicy, File, explain_validation
from model_card.layout import MOST_FILES, Role, odd_paths, rule_of, wrong_selection

__all__ = ["Entry", "EvaluationReport", "Manifest", "ReleaseDocument", "RunRecord", "read"]

Count = Annotated[int, Field(ge=0)]
RecordId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$")]
Nats = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Hardware = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){1,3}$")]


class _Open(BaseModel):
    """A record of another room: known fields are checked, others stay."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class _Device(Strict):
    name: Hardware
    memory_bytes: Count


class _Hardware(Strict):
    """What computed. Nothing else may stand here: a host name or serial number would be published with the weights."""

    cpu: Hardware
    cpus: Count
    memory_bytes: Count
    devices: Annotated[list[_Device], Field(max_length=4096)]
    cuda: Version | None = None
    driver: Version | None = None


class _Energy(_Open):
    kwh: Amount
    co2e_kg: Amount | None = None


class _TotalEnergy(_Energy):
    estimated: Literal[True]
    segments: Annotated[int, Field(ge=1)]
    segments_unmeasured: Count


class _Segment(Strict):
    """One start of the run; a killed one left nothing but its beginning."""

    start: Annotated[int, Field(ge=1)]
    started: Instant
    ended: Instant | None
    status: Literal["completed", "halted", "failed", "killed"]
    cause: Annotated[str, StringConstraints(max_length=200)] | None
    from_step: Count | None
    to_step: Count | None
    seconds: Amount | None
    device: Hardware
    environment: Digest
    energy: _Energy | None


class RunRecord(_Open):
    """`run.json`."""

    format: Literal["coop.run/v1"]
    run: Slug
    coop: Digest
    plan: Digest
    proposal: Digest | None
    status: Literal["completed", "halted", "failed"]
    unreleasable: str | None
    """Why this run must not be released, if so: a withdrawal in a run whose plan says finish-unreleased."""
    started: Instant
    ended: Instant
    trained_records: Count
    trained_root: Digest
    outputs: list[File]
    hardware: _Hardware
    environment: Digest
    """Of environment.json: every installed package."""
    segments: Annotated[list[_Segment], Field(min_length=1)]
    energy: _TotalEnergy | None
    evidence: list[File]


class _LogSize(Strict):
    size: Count
    root: Digest


class Manifest(_Open):
    """`data/manifest.json`."""

    format: Literal["coop.build/v1"]
    coop: Digest
    log: _LogSize
    at: Instant
    use: Use
    records: Count
    root: Digest
    splits: dict[Literal["train", "heldout"], Count]
    languages: dict[Language, dict[Literal["train", "heldout", "members"], Count]]
    stages: dict[str, dict[str, int]] = Field(default_factory=dict)
    files: list[File]


class _Outcome(_Open):
    items: Count
    clusters: Count
    tokens: Count
    base: Nats | None
    tuned: Nats | None
    difference: Nats | None
    low: Nats | None
    high: Nats | None
    verdict: Literal["PASS", "FAIL", "INSUFFICIENT"]
    improved: bool


class _Sample(Strict):
    language: Language
    prompt: str
    base: str
    tuned: str


class _Skipped(Strict):
    item: RecordId
    reason: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


class EvaluationReport(_Open):
    """`eval/report.json`."""

    format: Literal["coop.evaluation/v1"]
    run: Slug
    plan: Digest
    build: Digest
    weights: list[File]
    results: Digest
    policy: EvaluationPolicy
    languages: dict[Language, _Outcome]
    overall: _Outcome
    worse: list[Language]
    unproven: list[Language]
    passed: bool
    skipped: list[_Skipped]
    generations: list[_Sample]
    languages_without_prompt: list[Language]
    tasks: dict[Slug, _Task] = Field(default_factory=dict)
    blocking: list[dict[str, Any]] = Field(default_factory=list)
    waivable: bool = True


class _Task(_Open):
    """What a task came to; every figure in it is recomputed from its items by `judge_again`."""

    kind: str
    tier: Literal["required", "supporting", "advisory"]
    languages: dict[Language, dict[str, Any]]
    overall: dict[str, Any]
    verdict: Literal["PASS", "FAIL", "INSUFFICIENT"]
    missing: bool
    items: File | None


class Entry(File):
    """One file of a release: path, size, digest and what it is."""

    role: Role

    @model_validator(mode="after")
    def _known(self) -> Entry:
        rule = rule_of(self.path)
        if rule is None:
            raise ValueError(f"no release holds a file {self.path[:200]}")
        if self.role != rule.role:
            raise ValueError(f"{self.path} is of role {rule.role}")
        if self.size > rule.most:
            raise ValueError(f"{self.path} has at most {rule.most:,} bytes")
        return self


class ReleaseDocument(Strict):
    """`release.json`: the document members vote on."""

    format: Literal["coop.release/v2"]
    coop: Digest
    name: Slug
    run: Slug
    plan: Digest
    run_proposal: Digest
    build: Digest
    record: Digest
    report: Digest
    licence: Literal["Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"]
    created: Instant
    supersedes: Annotated[list[Digest], Field(min_length=1, max_length=64)] | None = None
    """Earlier releases of the cooperative that this one takes the place of, sorted; absent if there are none."""
    files: Annotated[list[Entry], Field(min_length=1, max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _whole(self) -> ReleaseDocument:
        paths = [entry.path for entry in self.files]
        if wrong := odd_paths(paths) + wrong_selection(paths, self.name):
            raise ValueError("files: " + "; ".join(wrong[:5]))
        if self.supersedes is not None and self.supersedes != sorted(set(self.supersedes)):
            raise ValueError("supersedes is sorted, each digest once")
        return self


M = TypeVar("M", bound=BaseModel)


def read(model: type[M], data: bytes, *, source: str) -> tuple[M, Any]:
    """Parse canonical JSON bytes into a record; return it with the plain document.

    Raises:
        CanonicalError, BadInput: not canonical, or a field that is missing or malformed.
    """
    document = loads(data, floats=True, source=source)
    try:
        return model.model_validate_json(data), document
    except ValidationError as error:
        raise explain_validation(error, model, source) from error
