"""A build is refused for one changed byte, wherever it stands, and the message says where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_pipeline.manifest import Build, read_build
from data_pipeline.normalise import UNICODE_MAJOR
from data_pipeline.reader import rows
from data_pipeline.record import Draft, content
from data_pipeline.store import Batch
from data_pipeline.verify import verify_build
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import file_entry
from governance_hooks.ownership import OwnershipTree

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


@pytest.fixture
def made(give: Give, make_build: MakeBuild) -> Build:
    give("ana", *[Draft(f"q{n}?", f"a{n}.", "eng", record_id=f"r{n:02}") for n in range(12)])
    give("ben", Draft("no", "no", "eng", record_id="x1"), Draft("No", "NO", "eng", record_id="x2"))
    return make_build(without=("ben",))


def reseal(folder: Path, **changes: Any) -> None:
    """Rewrite the manifest so that every file digest fits again: an attacker who can hash."""
    manifest = {**loads((folder / "manifest.json").read_bytes()), **changes}
    manifest["files"] = [
        dict(file_entry(folder, folder / name)) for name in ("batches.jsonl", "excluded.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl")
    ]
    (folder / "manifest.json").write_bytes(dumps(manifest))


def edit_ledger(folder: Path, edit: Callable[[list[dict[str, Any]]], Any]) -> None:
    lines = [loads(line) for line in (folder / "ledger.jsonl").read_bytes().splitlines()]
    edit(lines)
    data = b"".join(dumps(line) + b"\n" for line in lines)
    (folder / "ledger.jsonl").write_bytes(data)
    reseal(folder, root=OwnershipTree.of_lines([line["authors"] for line in lines], data.split(b"\n")[:-1]).root)


def edit_rows(folder: Path, edit: Callable[[dict[str, list[Any]]], Any]) -> None:
    table = pq.read_table(folder / "records.parquet")
    columns = table.to_pydict()
    edit(columns)
    pq.write_table(type(table).from_pydict(columns, schema=table.schema), folder / "records.parquet")
    reseal(folder)


def verdict(folder: Path) -> str:
    try:
        return verify_build(folder).digest
    except CoopError as error:
        return str(error)


@pytest.mark.parametrize("name", ["manifest.json", "batches.jsonl", "ledger.jsonl", "records.parquet", "excluded.jsonl"])
def test_one_flipped_byte_in_any_file_is_found(made: Build, name: str) -> None:
    path = made.folder / name
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 25)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        outcome = verdict(made.folder)
        # A digit inside the manifest may still make a manifest, but that of another build.
        assert outcome != made.digest
        assert name in outcome or name == "manifest.json"
    path.write_bytes(whole)
    assert verify_build(made.folder) == made


def test_a_flip_after_the_file_was_hashed_is_caught_while_reading(made: Build) -> None:
    build = verify_build(made.folder)
    table = pq.read_table(build.records)
    columns = table.to_pydict()
    columns["targets"][5] = "planted."
    pq.write_table(type(table).from_pydict(columns, schema=table.schema), build.records)
    with pytest.raises(CoopError, match=r"row 6: text r05"):
        list(rows(build))


def test_text_swapped_between_two_records_is_caught(made: Build) -> None:
    edit_rows(made.folder, lambda columns: columns["targets"].__setitem__(slice(0, 2), columns["targets"][1::-1]))
    with pytest.raises(CoopError, match="row 1: text r00"):
        verify_build(made.folder)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("split", "other", "split of text r00"),
        ("authors", ["eve"], "authors of text r00"),
        ("language", "spa", "text r00"),
        ("salt", "0" * 32, "text r00"),
        ("inputs", None, "a field of text r00 is missing"),
        ("history", ["a", "b"], "text r00"),
        ("history", ["a"], "a field of text r00 is missing"),
        ("marks", None, "a field of text r00 is missing"),
        ("record", "r99", "not the text"),
        ("licence", "MIT", "licences"),
    ],
)
def test_every_column_of_a_row_is_compared(made: Build, name: str, value: object, why: str) -> None:
    edit_rows(made.folder, lambda columns: columns[name].__setitem__(0, value))
    with pytest.raises(CoopError, match=why):
        verify_build(made.folder)


def test_a_row_too_few_or_too_many_is_caught(made: Build, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "more")
    edit_rows(made.folder, lambda columns: [column.pop() for column in columns.values()])
    with pytest.raises(CoopError, match="fewer rows"):
        list(rows(read_build(made.folder)))
    edit_rows(tmp_path / "more", lambda columns: [column.append(column[-1]) for column in columns.values()])
    with pytest.raises(CoopError, match="row 13: more rows"):
        list(rows(read_build(tmp_path / "more")))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda lines: lines[0].update(split="heldout" if lines[0]["split"] == "train" else "train"), "splits|split of record"),
        (lambda lines: lines.reverse(), "line 2: records are sorted and distinct"),
        (lambda lines: lines.append(lines[-1]), "line 13: records are sorted and distinct"),
        (lambda lines: lines.pop(), "counts other texts"),
        (lambda lines: lines[2].update(consents=[]), "line 3: consents: not of its form"),
        (lambda lines: lines[2].update(authors=[], consents=[]), "line 3: .*authors"),
        (lambda lines: lines[2].update(note="x"), "line 3: not the fields of a ledger line"),
        (lambda lines: lines[2].update(language="English"), "line 3: language"),
    ],
)
def test_a_ledger_that_breaks_its_form_is_refused_with_the_line(made: Build, edit: Callable[[list[dict[str, Any]]], Any], why: str) -> None:
    edit_ledger(made.folder, edit)
    with pytest.raises(CoopError, match=why):
        verify_build(made.folder)


def test_a_ledger_the_root_does_not_cover_is_refused(made: Build) -> None:
    data = made.ledger.read_bytes()
    made.ledger.write_bytes(data[: data.index(b"\n") + 1])
    reseal(made.folder)
    with pytest.raises(CoopError, match="Merkle root"):
        verify_build(made.folder)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"splits": {"train": 12, "heldout": 0}}, "splits"),
        ({"languages": {"eng": {"train": 1, "heldout": 1, "members": 1}}}, "languages"),
        ({"licences": {"MIT": 12}}, "licences"),
        ({"excluded": {}}, "excluded"),
        ({"records": 11}, "counts other texts"),
        ({"rules": ["nfc_whitespace/v2"]}, "rules this version cannot check"),
        ({"parameters": {"heldout_permille": 150, "max_characters": 4000}}, "parameters"),
        ({"parameters": {"heldout_permille": 150, "max_characters": 4, "unicode_major": UNICODE_MAJOR}}, "max_characters/v1"),
        ({"parameters": {"heldout_permille": 1000, "max_characters": 4000, "unicode_major": UNICODE_MAJOR}}, "split_by_prompt/v1"),
        ({"parameters": {"heldout_permille": 150, "max_characters": 4000, "unicode_major": 3}}, "Unicode"),
        ({"note": "x"}, "unknown field note"),
        ({"format": "coop.build/v2"}, "format"),
        ({"log": {"size": 7}}, "log.root"),
    ],
)
def test_a_manifest_that_claims_something_else_is_refused(made: Build, changes: dict[str, Any], why: str) -> None:
    reseal(made.folder, **changes)
    with pytest.raises(CoopError, match=why):
        verify_build(made.folder)


def test_a_file_that_does_not_belong_or_is_missing_is_named(made: Build) -> None:
    (made.folder / "more.txt").write_text("x")
    with pytest.raises(CoopError, match=r"more\.txt"):
        verify_build(made.folder)
    (made.folder / "more.txt").unlink()
    made.excluded.unlink()
    with pytest.raises(CoopError, match=r"excluded\.jsonl"):
        verify_build(made.folder)


def test_a_link_in_place_of_a_file_is_refused(made: Build, tmp_path: Path) -> None:
    shutil.move(made.records, tmp_path / "elsewhere")
    made.records.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CoopError, match="not a regular file"):
        verify_build(made.folder)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"detail":"d","reason":"no_consent","record":"x1"}', "no end"),
        (b'{"detail":"d","reason":"no_consent","record":"x2"}\n{"detail":"d","reason":"no_consent","record":"x1"}\n', "line 2: record ids"),
        (b'{"detail":"d","reason":"no_consent"}\n', "line 1: not an exclusion"),
        (b'{"detail":"d","reason":"no_consent","record":"r00"}\n{"detail":"d","reason":"no_consent","record":"x1"}\n', "in the dataset and excluded"),
        (b"[]\n", "line 1: not an exclusion"),
    ],
)
def test_a_list_of_exclusions_that_is_not_sound_is_refused(made: Build, data: bytes, why: str) -> None:
    made.excluded.write_bytes(data)
    reseal(made.folder)
    with pytest.raises(CoopError, match=why):
        verify_build(made.folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"manifest\.json cannot be read"):
        read_build(tmp_path)


def test_a_file_that_is_no_parquet_or_has_other_columns_is_refused(made: Build) -> None:
    whole = made.records.read_bytes()
    made.records.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CoopError, match="cannot be read as Parquet"):
        list(rows(made))
    made.records.write_bytes(whole)
    pq.write_table(pq.read_table(made.records).drop_columns(["salt"]), made.records)
    with pytest.raises(CoopError, match="unknown columns"):
        list(rows(made))


@pytest.mark.parametrize(
    ("inputs", "targets", "rule"),
    [("q1? ", "a1.", "nfc_whitespace/v1"), ("x" * 4000, "y", "max_characters/v1"), ("Q0?", "A0.", "exact_dedup/v2: it repeats r00")],
)
def test_a_forged_row_that_breaks_a_rule_is_refused_though_every_digest_fits(made: Build, inputs: str, targets: str, rule: str) -> None:
    salt = pq.read_table(made.records).to_pydict()["salt"][1]
    forged = content(salt, "r01", inputs, targets, "eng")
    edit_rows(
        made.folder, lambda columns: [columns[name].__setitem__(1, value) for name, value in (("inputs", inputs), ("targets", targets), ("content", forged))]
    )
    edit_ledger(made.folder, lambda lines: lines[1].update(content=forged))
    with pytest.raises(CoopError, match=f"text r01 breaks the rule {rule}"):
        verify_build(made.folder)


def test_a_row_forged_to_the_other_side_is_refused_though_every_digest_fits(made: Build) -> None:
    def swap(splits: list[str]) -> list[str]:
        return ["train" if split == "heldout" else "heldout" for split in splits]

    edit_rows(made.folder, lambda columns: columns.update(split=swap(columns["split"])))
    edit_ledger(made.folder, lambda lines: [line.update(split=swap([line["split"]])[0]) for line in lines])
    counts = {"train": made.manifest["splits"]["heldout"], "heldout": made.manifest["splits"]["train"]}
    reseal(made.folder, splits=counts, languages={"eng": {**counts, "members": 1}})
    with pytest.raises(CoopError, match="text r00 breaks the rule split_by_prompt/v1"):
        verify_build(made.folder)
