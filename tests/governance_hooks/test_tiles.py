"""Static tiles, checked against an independent reader of C2SP tlog-tiles (package tlog-scales)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import tiles as oracle_tiles
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from governance_hooks import merkle
from governance_hooks.audit import audit_tiles
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.export import export
from governance_hooks.log import Log
from governance_hooks.tiles import bundle, read_export, tile_path, unbundle
from tests.postgres import BOTH, Database
from tests.village import CONSENT, Village


def signer(folder: Path):  # type: ignore[no-untyped-def]
    key = NoteKey.generate("log.example/tiles", folder / "log.key")
    return key, lambda size, root: sign_checkpoint(key, size, root, 1_800_000_000)


def grow(log: Log, size: int, note) -> None:  # type: ignore[no-untyped-def]
    start = log.size
    log.append([b"entry %d" % i for i in range(start, size)], expected_size=start, note=note)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


@given(st.integers(0, 2**50), st.integers(-1, 6), st.integers(1, 256))
def test_a_tile_lies_where_the_oracle_looks_for_it(number: int, level: int, width: int) -> None:
    theirs = "/".join(oracle_tiles.tile_path(level, number, width % 256))
    assert tile_path("entries" if level < 0 else level, number, width) == theirs


def test_the_example_of_the_specification_lies_where_it_says() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 5, 7) == "tile/entries/005.p/7"


def test_a_tree_of_70_000_has_the_tiles_the_specification_lists(tmp_path: Path) -> None:
    _, note = signer(tmp_path)
    with Log.open(tmp_path / "log") as log:
        grow(log, 70_000, note)
        done = export(log, tmp_path / "out")
    assert (done.full, done.partial) == (273 * 2 + 1, 4)
    there = {path.removeprefix("tile/") for path in files(tmp_path / "out")} - {".lock", "checkpoint"}
    assert {path for path in there if ".p/" in path} == {"0/273.p/112", "1/001.p/17", "2/000.p/1", "entries/273.p/112"}
    assert sum(path.startswith("0/") for path in there) == 274


@BOTH
@pytest.mark.parametrize("sizes", [[1], [255, 256, 257], [100, 200, 300, 600], [256], [512, 1000]])
def test_an_independent_reader_finds_the_same_log_after_each_export(tmp_path: Path, database: Database, sizes: list[int]) -> None:
    key, note = signer(tmp_path)
    out = tmp_path / "out"
    with Log.open(database("log")) as log:
        for size in sizes:
            grow(log, size, note)
            export(log, out)
            reader = TilesReader(LocalBackend(out))
            checkpoint = reader.get_checkpoint()
            checkpoint.verify(Vkey.from_string(key.verifier.text))
            assert checkpoint.size == size
            assert reader.calculate_root_hash() == checkpoint.root_hash == log.root()
            for index in {0, size // 2, size - 1}:
                assert reader.get_entry(index) == b"entry %d" % index
                reader.get_inclusion_proof(index, size).check(merkle.leaf_hash(b"entry %d" % index), log.root())
            for old in sizes[: sizes.index(size)]:
                reader.get_consistency_proof(old, size).check(log.root(old), log.root())
            ours = read_export(out)
            assert ours.verify_tiles() == log.root()
            assert list(ours.entries()) == list(log.entries())


@BOTH
def test_full_tiles_are_written_once_and_a_second_export_writes_nothing(tmp_path: Path, database: Database) -> None:
    _, note = signer(tmp_path)
    with Log.open(database("log")) as log:
        grow(log, 300, note)
        first = export(log, tmp_path / "out")
        before = files(tmp_path / "out")
        again = export(log, tmp_path / "out")
        assert first.changed
        assert not again.changed
        assert files(tmp_path / "out") == before
        grow(log, 600, note)
        export(log, tmp_path / "out")
        after = files(tmp_path / "out")
    assert after["tile/0/000"] == before["tile/0/000"]
    assert after["tile/entries/000"] == before["tile/entries/000"]


def test_a_partial_tile_stays_until_its_full_tile_is_there(tmp_path: Path) -> None:
    """C2SP: partial tiles of every published size must be served until the full tile is."""
    _, note = signer(tmp_path)
    with Log.open(tmp_path / "log") as log:
        for size in (10, 20):
            grow(log, size, note)
            export(log, tmp_path / "out")
        old = read_export(tmp_path / "out")
        assert {path.name for path in (tmp_path / "out" / "tile" / "0" / "000.p").iterdir()} == {"10", "20"}
        grow(log, 256, note)
        assert export(log, tmp_path / "out").removed == 4
        assert not (tmp_path / "out" / "tile" / "0" / "000.p").exists()
        assert old.verify_tiles() == log.root(20)  # a reader of the old checkpoint goes on from the full tile


def test_a_missing_tile_is_put_back_and_a_changed_one_is_named(tmp_path: Path) -> None:
    _, note = signer(tmp_path)
    with Log.open(tmp_path / "log") as log:
        grow(log, 300, note)
        export(log, tmp_path / "out")
        (tmp_path / "out" / "tile" / "0" / "000").unlink()
        with pytest.raises(Refused, match="tile/0/000 is missing"):
            read_export(tmp_path / "out").verify_tiles()
        assert export(log, tmp_path / "out").full == 1
        level1 = tmp_path / "out" / "tile" / "1" / "000.p" / "1"
        level1.write_bytes(bytes(32))
        with pytest.raises(CoopError, match="tiles never change"):
            export(log, tmp_path / "out")


@BOTH
def test_a_rolled_back_or_forked_log_never_replaces_an_export(tmp_path: Path, database: Database) -> None:
    _, note = signer(tmp_path)
    with Log.open(database("log")) as log:
        grow(log, 300, note)
        export(log, tmp_path / "out")
        before = files(tmp_path / "out")
    with Log.open(database("short")) as log:
        grow(log, 200, note)
        with pytest.raises(CoopError, match="rolled back"):
            export(log, tmp_path / "out")
    with Log.open(database("fork")) as log:
        log.append([b"fork %d" % i for i in range(400)], expected_size=0, note=note)
        with pytest.raises(CoopError, match="rewritten"):
            export(log, tmp_path / "out")
    assert files(tmp_path / "out") == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with Log.open(database("log")) as log, pytest.raises(BadInput, match="other files"):
        export(log, tmp_path / "full")


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries_and_a_cut_one_is_refused(entries: list[bytes]) -> None:
    data = bundle(entries)
    assert unbundle(data) == entries
    if entries:
        for cut in {1, len(entries[-1]) + 1}:
            with pytest.raises(Refused, match="cut off"):
                unbundle(data[:-cut])


def exported(village: Village) -> Path:
    village.coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(260)])
    export(village.coop.log, village.root / "out")
    return village.root / "out"


@BOTH
def test_an_export_of_a_cooperative_verifies_audits_and_turns_into_its_proof(village: Village) -> None:
    out = exported(village)
    assert read_export(out).verify(village.coop.pin).size == 261
    assert audit_tiles(out, village.coop.pin).passed
    assert read_export(out).proof().dumps() == village.coop.proof().dumps()


def test_no_changed_file_of_an_export_passes(village: Village) -> None:
    out = exported(village)
    for path in sorted(out.rglob("*")):
        if not path.is_file() or path.name == ".lock":
            continue
        good = path.read_bytes()
        for bad in (good[:-1], good + b"x", bytes([good[0] ^ 1]) + good[1:], good[:-2] + bytes([good[-2] ^ 1]) + good[-1:]):
            path.write_bytes(bad)
            with pytest.raises(CoopError):
                read_export(out).verify(village.coop.pin)
            report = audit_tiles(out, village.coop.pin)
            assert not report.passed, path
        path.write_bytes(good)
    assert audit_tiles(out, village.coop.pin).passed


def test_an_export_of_another_cooperative_is_refused_by_the_pin(village: Village) -> None:
    out = exported(village)
    with pytest.raises(Refused, match="another cooperative"):
        read_export(out).verify("sha256:" + "0" * 64)
    report = audit_tiles(out, "sha256:" + "0" * 64)
    assert "another cooperative" in report.steps[0].why
    assert "compare it with the pin" in audit_tiles(out, None).steps[0].checked
