"""Check a build folder from end to end, by numbered steps; the first thing that is wrong is named with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipeline.manifest import BATCHES, EXCLUDED, MANIFEST, Build, read_build, read_file, read_ledger
from data_pipeline.parquet import checked_rows
from data_pipeline.rules import check_rules
from data_pipeline.stages.stage import Rating, Suite
from governance_hooks.batches import parse_batches
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.inventory import inventory
from governance_hooks.ledger import count_languages
from governance_hooks.reviews import ShownRating, read_reviews

__all__ = ["read_exclusions", "verify_build"]


def verify_build(folder: Path, suites: Sequence[Suite] = ()) -> Build:
    """Re-check everything a build claims about itself and return it.

    Whether the consents it names were in force, and whether its ratings are signed, are checks of those who have the log.

    Args:
        folder: of the build.
        suites: the evaluation suites the manifest names; a rule that cannot be checked for want of one blocks.

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
                f"{build.ledger}: text {line.record} is not one of its batch", value=line.commitment, next="build it again, or fetch an unchanged copy"
            )
    # (5) The counts of the manifest are those of the ledger.
    sides = Counter(line.split for line in lines)
    _require_equal(build, "splits", {"train": sides["train"], "heldout": sides["heldout"]})
    _require_equal(build, "languages", count_languages(lines))
    # (6) Every row is the text its ledger line names, and keeps the rules.
    check_rules(build, checked_rows(build.records, lines), suites, _ratings(build))
    # (7) Every other stored record has a reason, and none is on both lists.
    exclusions = read_exclusions(build)
    both = {line.record for line in lines} & set(exclusions)
    if both:
        raise CoopError(f"{build.excluded}: a text is in the dataset and excluded from it", value=min(both))
    _require_equal(build, "excluded", dict(sorted(Counter(reason for reason, _ in exclusions.values()).items())))
    return build


def _ratings(build: Build) -> Iterator[Rating]:
    """Yield the ratings beside the build; whether their reviewers signed them is the check of whoever has the log."""
    for line in read_reviews(build.reviews):
        if isinstance(line, ShownRating):
            yield Rating(line.record, line.reviewer, line.score, line.at)


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
