"""Check a build folder from end to end, by numbered steps; the first thing that is wrong is named with its place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from data_pipeline import deduplicate, normalise, split
from data_pipeline.admit import LENGTH_RULE
from data_pipeline.manifest import BATCHES, EXCLUDED, MANIFEST, Build, read_build, read_file, read_ledger
from data_pipeline.parquet import StoredRow, checked_rows
from governance_hooks.batches import parse_batches
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.inventory import inventory
from governance_hooks.ledger import count_languages

__all__ = ["read_exclusions", "verify_build"]


def verify_build(folder: Path) -> Build:
    """Re-check everything a build claims about itself and return it.

    Whether the consents it names were in force is the gate's check, which has the log.

    Raises:
        CoopError: names file, line or row, and record.
    """
    # (1) The manifest is canonical and has only known fields.
    build = read_build(folder)
    manifest = build.manifest
    # (2) The folder holds the files of the manifest, byte for byte, and nothing else.
    found = inventory(folder, skip=[MANIFEST])
    expected = sorted(manifest["files"], key=lambda entry: str(entry["path"]))
    if found != expected:
        wrong = next(entry["path"] for entry in [*found, *expected] if entry not in found or entry not in expected)
        raise CoopError(f"{folder / wrong} is not as the manifest says", next="build it again, or fetch an unchanged copy")
    # (3) The ledger has the Merkle root, is sorted, and has one consent per author on every line.
    lines = read_ledger(build)
    # (4) Every row is one of its batch; that the batch is what its member signed is the gate's check, which has the log.
    batches = parse_batches(read_file(build, BATCHES), source=str(build.folder / BATCHES))
    if batches.keys() != {line.batch for line in lines}:
        raise CoopError(f"{build.folder / BATCHES}: not the batches of the ledger", next="build it again, or fetch an unchanged copy")
    committed = {batch: set(commitments) for batch, commitments in batches.items()}
    for line in lines:
        if line.commitment not in committed[line.batch]:
            raise CoopError(
                f"{build.ledger}: record {line.record} is not one of its batch", value=line.commitment, next="build it again, or fetch an unchanged copy"
            )
    # (5) The counts of the manifest are those of the ledger.
    sides = Counter(line.split for line in lines)
    _require_equal(build, "splits", {"train": sides["train"], "heldout": sides["heldout"]})
    _require_equal(build, "languages", count_languages(lines))
    # (6) Every row is the text its ledger line names, and keeps the rules.
    _require_rules(build, list(checked_rows(build.records, lines)))
    # (7) Every other stored record has a reason, and none is on both lists.
    exclusions = read_exclusions(build)
    both = {line.record for line in lines} & set(exclusions)
    if both:
        raise CoopError(f"{build.excluded}: a record is in the build and excluded from it", value=min(both))
    _require_equal(build, "excluded", dict(sorted(Counter(reason for reason, _ in exclusions.values()).items())))
    return build


def read_exclusions(build: Build) -> dict[str, tuple[str, str]]:
    """Return {record: (reason, detail)} of the records that are not in the build; raise CoopError for a file that is not sound."""
    lines = read_file(build, EXCLUDED).split(b"\n")
    if lines.pop() != b"":
        raise CoopError(f"{build.excluded}: the last line has no end: the file was cut")
    exclusions: dict[str, tuple[str, str]] = {}
    previous = ""
    for number, raw in enumerate(lines, start=1):
        where = f"{build.excluded}, line {number}"
        item = loads(raw, source=where)
        if not isinstance(item, dict) or sorted(item) != ["detail", "reason", "record"] or not all(isinstance(value, str) for value in item.values()):
            raise CoopError(f"{where}: not an exclusion", value=item, allowed="record, reason and detail as text")
        if item["record"] <= previous:
            raise CoopError(f"{where}: record ids are not strictly ascending", value=item["record"])
        previous = item["record"]
        exclusions[previous] = (item["reason"], item["detail"])
    return exclusions


def _require_equal(build: Build, name: str, counted: Any) -> None:
    if build.manifest[name] != counted:
        raise CoopError(f"{build.folder / MANIFEST}: {name} is not what the files hold", value=build.manifest[name], allowed=str(counted))


def _require_rules(build: Build, rows: list[StoredRow]) -> None:
    """Apply again the rules this version knows; a rule it does not know cannot be checked, so it blocks."""
    manifest = build.manifest
    known = {"every_author_consents/v1", normalise.RULE, LENGTH_RULE, deduplicate.RULE, split.RULE}
    if set(manifest["rules"]) != known:
        raise CoopError(f"{build.folder / MANIFEST}: rules this version cannot check", value=manifest["rules"], allowed=", ".join(sorted(known)))
    parameters = manifest["parameters"]
    names = {"heldout_permille", "max_characters", "unicode_major"}
    if set(parameters) != names:
        raise CoopError(f"{build.folder / MANIFEST}: unknown or missing parameters", value=sorted(parameters), allowed=", ".join(sorted(names)))
    if parameters["unicode_major"] != normalise.UNICODE_MAJOR:
        raise CoopError(
            f"{build.folder / MANIFEST}: the build used other Unicode tables",
            value=parameters["unicode_major"],
            allowed=f"{normalise.UNICODE_MAJOR} (this Python's)",
        )
    seen: dict[tuple[str, str, str], str] = {}
    for row in rows:
        record, language = row.line.record, row.line.language
        if (normalise.normalise(row.inputs), normalise.normalise(row.targets)) != (row.inputs, row.targets):
            raise CoopError(f"{build.records}: record {record} breaks the rule {normalise.RULE}")
        if len(row.inputs) + len(row.targets) > parameters["max_characters"]:
            raise CoopError(f"{build.records}: record {record} breaks the rule {LENGTH_RULE}")
        twin = seen.setdefault((language, deduplicate.folded(row.inputs), deduplicate.folded(row.targets)), record)
        if twin != record:
            raise CoopError(f"{build.records}: record {record} breaks the rule {deduplicate.RULE}: it repeats {twin}")
        if split.split_of(row.inputs, coop=manifest["coop"], heldout_permille=parameters["heldout_permille"]) != row.line.split:
            raise CoopError(f"{build.records}: record {record} breaks the rule {split.RULE}", value=row.line.split)
    _require_equal(build, "licences", dict(sorted(Counter(row.licence for row in rows).items())))
