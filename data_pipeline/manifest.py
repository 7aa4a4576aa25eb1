"""The manifest of a build: what it was made from, under which rules, and the digest of every file beside it.

The SHA-256 of its canonical bytes is the identity of the build, the one a plan names and members vote on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from governance_hooks.canonical import loads, sha256
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.fields import Digest, Language
from governance_hooks.ledger import LedgerRow, parse_ledger
from governance_hooks.plan import explain_validation

__all__ = ["BATCHES", "EXCLUDED", "FORMAT", "LEDGER", "MANIFEST", "RECORDS", "REVIEWS", "Build", "Manifest", "read_build", "read_file", "read_ledger"]

FORMAT: Final = "coop.build/v1"
MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.jsonl"
RECORDS: Final = "records.parquet"
EXCLUDED: Final = "excluded.jsonl"
BATCHES: Final = "batches.jsonl"
REVIEWS: Final = "reviews.jsonl"

Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Log(_Strict):
    """The log position at which consents were looked up."""

    size: Count
    root: Digest


class Splits(_Strict):
    """Rows on each side."""

    train: Count
    heldout: Count


class LanguageCounts(Splits):
    """Rows and distinct authors of one language."""

    members: Annotated[int, Field(gt=0)]


class File(_Strict):
    """A file of the build by name, bytes and digest."""

    path: Literal["batches.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl", "excluded.jsonl"]
    size: Count
    sha256: Digest


class Manifest(_Strict):
    """All fields of manifest.json; an unknown one is refused."""

    format: Literal["coop.build/v1"] = FORMAT
    coop: Digest
    log: Log
    at: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    """The time for which consents were judged (RFC 3339 UTC)."""
    use: Use
    rules: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/v[1-9][0-9]*$")]]
    """Rules in the order they ran."""
    stages: dict[str, dict[str, int]]
    """The quality stages that ran, with all their parameters (data_pipeline.stages)."""
    parameters: dict[str, int]
    suites: dict[str, Digest]
    """Evaluation suites the rows were kept clear of, by name."""
    records: Annotated[int, Field(gt=0)]
    root: Digest
    splits: Splits
    languages: dict[Language, LanguageCounts]
    licences: dict[str, Annotated[int, Field(gt=0)]]
    marks: dict[str, Annotated[int, Field(gt=0)]]
    """What stages noticed without leaving a row out -> rows."""
    excluded: dict[str, Annotated[int, Field(gt=0)]]
    files: Annotated[list[File], Field(min_length=5, max_length=5)]


@dataclass(frozen=True, slots=True)
class Build:
    """A build folder whose manifest was read once; the bytes behind `digest` and `manifest` are the same."""

    folder: Path
    manifest: dict[str, Any]
    digest: str
    """SHA-256 of manifest.json; the identity of the build."""

    @property
    def ledger(self) -> Path:
        """The public ledger."""
        return self.folder / LEDGER

    @property
    def records(self) -> Path:
        """The Parquet file that holds the text; private."""
        return self.folder / RECORDS

    @property
    def reviews(self) -> Path:
        """The signed ratings of its rows."""
        return self.folder / REVIEWS

    @property
    def excluded(self) -> Path:
        """Why each other stored record is not in the build; private."""
        return self.folder / EXCLUDED


def read_build(folder: Path) -> Build:
    """Read the manifest of a build strictly; the files beside it are checked by `verify_build` and by the readers.

    Raises:
        BadInput: no manifest, bytes that are not canonical, an unknown or wrong field.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", allowed="a dataset folder", next="coop build") from error
    document = loads(data, source=str(path))
    try:
        Manifest.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, Manifest, str(path)) from error
    return Build(folder, document, sha256(data))


def read_file(build: Build, name: str) -> bytes:
    """Return the bytes of one file of the build if they have the digest the manifest names, else raise CoopError."""
    path = build.folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CoopError(f"{path} cannot be read: {error.strerror}", next="build it again") from error
    expected = next((entry["sha256"] for entry in build.manifest["files"] if entry["path"] == name), None)
    if sha256(data) != expected:
        raise CoopError(f"{path} is not the file the manifest names", value=sha256(data), allowed=str(expected), next="build it again")
    return data


def read_ledger(build: Build) -> list[LedgerRow]:
    """Return the ledger after checking its digest, its Merkle root and its number of lines against the manifest."""
    rows, root = parse_ledger(read_file(build, LEDGER), source=str(build.ledger))
    if root != build.manifest["root"]:
        raise CoopError(f"{build.ledger}: the Merkle root is not the manifest's", value=root, allowed=build.manifest["root"])
    if len(rows) != build.manifest["records"]:
        raise CoopError(f"{build.ledger}: the manifest counts other texts", value=len(rows), allowed=str(build.manifest["records"]))
    return rows
