"""What the steps of a build leave on disk for one another when they run on machines that share nothing but a folder.

    job.json ── the order of things: rules, consents, and the digest of each part's records; its own digest pins them all
    prepared-N.json, verdict-N.json, part-N.json ── what each step says of part N; beside them the rows, as Arrow files

Every file appears whole or not at all, and no step reads a file before the step that writes it is done. Nothing is pickled.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np

from data_pipeline.candidate import Exclusion
from data_pipeline.finish import Part
from data_pipeline.join import Verdict
from data_pipeline.recipe import Recipe
from data_pipeline.shard import Job, Prepared
from data_pipeline.source import PageFile
from data_pipeline.stages.stage import Evidence, Item, Suite
from governance_hooks.atomic import PREFIX, write_bytes
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.code import installed_code
from governance_hooks.errors import CoopError

__all__ = ["JOB", "Work", "described", "read_work", "versions", "write_work"]

JOB: Final = "job.json"
_LIBRARIES: Final = ("langcodes", "numpy", "phonenumbers", "py3langid", "pyarrow")

T = TypeVar("T")


def versions() -> dict[str, str]:
    """Return what the outcome of a step may depend on beside its input, our own source files first; all machines of a build must say the same."""
    found = {name: version(name) for name in _LIBRARIES}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"code": installed_code().digest, "python": python, "unicode": unicodedata.unidata_version, **found}


def described(job: Job) -> dict[str, Any]:
    """Return a job as JSON, without its folder: all that its steps know beside the records."""
    return {
        "consents": [[*claim, consent] for claim, consent in sorted(job.consents.items())],
        "coop": job.coop,
        "heldout_permille": job.heldout_permille,
        "max_characters": job.max_characters,
        "recipe": job.recipe.as_dict(),
        "suites": [[suite.name, suite.digest, [[item.item, item.text] for item in suite.items]] for suite in job.evidence.suites],
        "versions": versions(),
    }


@dataclass(frozen=True, slots=True)
class Work:
    """The work folder of a build; its files hold members' texts."""

    job: Job
    sources: tuple[PageFile, ...]
    """The records of each part."""
    digest: str
    """SHA-256 of job.json."""

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.job.folder

    def shard(self, number: int) -> Path:
        """Return where `prepare` leaves the rows of a part."""
        return self.folder / f"shard-{number:05}.arrow"

    @contextmanager
    def writing(self) -> Iterator[Job]:
        """Yield the job with a folder for its files; they get their names in the work folder when the block ends without an error."""
        with TemporaryDirectory(prefix=PREFIX, dir=self.folder) as folder:
            yield replace(self.job, folder=Path(folder))
            for path in Path(folder).iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                path.replace(self.folder / path.name)

    def say(self, kind: str, number: int, document: dict[str, Any]) -> None:
        """Write what a step says of a part."""
        write_bytes(self.folder / f"{kind}-{number:05}.json", dumps(document), mode=0o600)

    def put_prepared(self, one: Prepared) -> None:
        """Write what `prepare` found in a part."""
        batches = {batch: [positions, digests.hex()] for batch, (positions, digests) in one.commitments.items()}
        self.say("prepared", one.number, {"rows": one.rows, "records": one.records, "commitments": batches, "excluded": _rows(one.excluded)})

    def prepared(self, number: int) -> Prepared:
        """Read what `prepare` found in a part."""

        def read(said: dict[str, Any]) -> Prepared:
            batches = {batch: (positions, bytes.fromhex(digests)) for batch, (positions, digests) in said["commitments"].items()}
            return Prepared(number, self.shard(number), said["rows"], said["records"], batches, _exclusions(said["excluded"]))

        return self._read("prepared", number, read)

    def put_verdict(self, number: int, verdict: Verdict) -> None:
        """Write what the other parts decided about the rows of a part."""
        credited = {str(row): list(names) for row, names in verdict.credited.items()}
        kept = np.packbits(verdict.kept).tobytes().hex()
        self.say("verdict", number, {"rows": len(verdict.kept), "kept": kept, "excluded": _rows(verdict.excluded), "credited": credited})

    def verdict(self, number: int) -> Verdict:
        """Read what the other parts decided about the rows of a part."""

        def read(said: dict[str, Any]) -> Verdict:
            kept = np.unpackbits(np.frombuffer(bytes.fromhex(said["kept"]), dtype=np.uint8), count=said["rows"]).astype(bool)
            return Verdict(kept, _exclusions(said["excluded"]), {int(row): tuple(names) for row, names in said["credited"].items()})

        return self._read("verdict", number, read)

    def put_part(self, number: int, part: Part) -> None:
        """Write what the manifest counts of a part."""
        said = {
            "rows": part.rows,
            "owned": {author: leaves.hex() for author, leaves in part.owned.items()},
            "batches": sorted(part.batches),
            "counts": [[language, side, count] for (language, side), count in sorted(part.counts.items())],
            "members": {language: sorted(authors) for language, authors in part.members.items()},
            "licences": dict(part.licences),
            "marks": dict(part.marks),
            "reasons": dict(part.reasons),
        }
        self.say("part", number, said)

    def part(self, number: int) -> Part:
        """Read what the manifest counts of a part."""

        def read(said: dict[str, Any]) -> Part:
            return Part(
                ledger=self.folder / f"ledger-{number:05}",
                records=self.folder / f"records-{number:05}",
                excluded=self.folder / f"excluded-{number:05}",
                rows=said["rows"],
                owned={author: bytes.fromhex(leaves) for author, leaves in said["owned"].items()},
                batches=set(said["batches"]),
                counts=Counter({(language, side): count for language, side, count in said["counts"]}),
                members={language: set(authors) for language, authors in said["members"].items()},
                licences=Counter(said["licences"]),
                marks=Counter(said["marks"]),
                reasons=Counter(said["reasons"]),
            )

        return self._read("part", number, read)

    def _read(self, kind: str, number: int, read: Callable[[dict[str, Any]], T]) -> T:
        path = self.folder / f"{kind}-{number:05}.json"
        try:
            return read(loads(path.read_bytes(), source=str(path)))
        except OSError as error:
            raise CoopError(f"{path} cannot be read: {error.strerror}", next="build the dataset again") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CoopError(f"{path} is not what a step leaves: {error!r}", next="build the dataset again") from error


def write_work(job: Job, sources: Sequence[PageFile]) -> Work:
    """Write job.json into the job's folder, the last file of a work folder that is ready for its steps."""
    data = dumps({**described(job), "parts": [[source.path.name, source.sha256] for source in sources]})
    write_bytes(job.folder / JOB, data, mode=0o600)
    return Work(job, tuple(sources), sha256(data))


def read_work(folder: Path, digest: str | None = None) -> Work:
    """Read the job of a work folder.

    Raises:
        CoopError: it cannot be read, is another than `digest` says, or this machine has other versions than the one that wrote it.
    """
    path = folder / JOB
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CoopError(f"{path} cannot be read: {error.strerror}", next="build the dataset again") from error
    if digest is not None and sha256(data) != digest:
        raise CoopError(f"{path} is not the job this task was started for", value=sha256(data), allowed=digest, next="build the dataset again")
    said = loads(data, source=str(path))
    for name, here in versions().items():
        if said["versions"].get(name) != here:
            raise CoopError(f"this machine has another {name} than the dataset was begun with", value=here, allowed=str(said["versions"].get(name)))
    job = Job(
        folder=folder,
        consents={(author, language, batch): consent for author, language, batch, consent in said["consents"]},
        recipe=Recipe.parse(said["recipe"]),
        max_characters=said["max_characters"],
        coop=said["coop"],
        heldout_permille=said["heldout_permille"],
        evidence=Evidence(suites=tuple(Suite(name, of, tuple(Item(*item) for item in items)) for name, of, items in said["suites"])),
    )
    return Work(job, tuple(PageFile(folder / name, of) for name, of in said["parts"]), sha256(data))


def _rows(excluded: Sequence[Exclusion]) -> list[list[str]]:
    return [[one.record, one.reason, one.detail] for one in excluded]


def _exclusions(rows: Sequence[Sequence[str]]) -> list[Exclusion]:
    return [Exclusion(*row) for row in rows]
