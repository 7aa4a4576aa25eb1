"""One bit changed anywhere in what is stored or handed on is found, in words: never a traceback, and never a pass."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from governance_hooks.audit import audit, audit_tiles
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.export import export
from governance_hooks.memory import Memory
from governance_hooks.merkle import Frontier, leaf_hash
from governance_hooks.motions import Suspend
from governance_hooks.proof import read_proof
from governance_hooks.report import Report
from governance_hooks.statement import parse, shift
from governance_hooks.tiles import TileCheck
from tests.village import CONSENT, Village

SUBJECT = sha256(b"a plan")


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def sample(data: bytes, count: int, seed: object) -> list[int]:
    """Draw bits of `data`: always the first and the last, and some between."""
    last = 8 * len(data) - 1
    return sorted({0, last, *random.Random(str(seed)).sample(range(last), min(count, last))})


def found(report: Report, where: str) -> None:
    """The audit fails or cannot tell, and says why; no check broke."""
    assert report.exit_code != 0, f"{where}: passed"
    assert "itself broke" not in report.text(), f"{where}: {report.text()}"


def refused(check: Callable[[], object], where: str) -> None:
    try:
        check()
    except CoopError:
        return
    pytest.fail(f"{where}: accepted")


@pytest.fixture
def story(village: Village) -> Village:
    """A log with a statement of most kinds; its last one is known to this machine."""
    for member in village.members[:2]:
        village.consent(member)
    village.contribute(village.members[0])
    run = village.approve("run", SUBJECT)
    village.say("coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": run, "start": 1}, "operator")
    village.say("coop.halt/v1", {"proposal": run, "until": shift(village.clock, 60)}, village.members[3])
    village.move(Suspend(member=village.members[1], until=shift(village.clock, 90 * 86_400)))
    village.join("m-" + "f" * 16)
    return village


@pytest.fixture
def rows(story: Village) -> Iterator[Callable[[str, int, bytes], None]]:
    """The writer of single cells of the log's table, past the triggers."""
    with sqlite3.connect(story.root / "log.sqlite", isolation_level=None) as raw:
        raw.execute("DROP TRIGGER entry_UPDATE")

        def write(column: str, position: int, data: bytes) -> None:
            kind = "?" if column == "data" else "CAST(? AS TEXT)"
            raw.execute(f"UPDATE entry SET {column} = {kind} WHERE position = ?", (data, position))

        yield write


def test_any_bit_of_an_entry_breaks_it(story: Village) -> None:
    entry = story.entry("coop.leave/v1", {}, story.members[0])
    for bit in range(8 * len(entry)):
        refused(lambda bit=bit: parse(flipped(entry, bit)), f"bit {bit}")  # type: ignore[misc]


def test_any_bit_of_a_checkpoint_breaks_it(story: Village) -> None:
    note, verifier = story.coop.log.checkpoint(), story.coop.register.log_key
    for bit in range(8 * len(note.encode())):
        text = flipped(note.encode(), bit).decode(errors="replace")
        refused(lambda text=text: verify_checkpoint(text, verifier), f"bit {bit}")  # type: ignore[misc]


def test_a_flipped_bit_of_a_stored_entry_is_found_by_audit_and_by_whoever_opens_the_log(story: Village, rows: Callable[..., None]) -> None:
    for position, entry in enumerate(list(story.coop.log.entries())):
        for bit in sample(entry, 8, position):
            rows("data", position, flipped(entry, bit))
            found(audit(story.root), f"entry {position}, bit {bit}")
        with pytest.raises(CoopError), Cooperative.open(story.root, read_only=True):
            pass
        rows("data", position, entry)
    assert audit(story.root).passed


def test_a_flipped_bit_of_any_stored_checkpoint_is_found(story: Village, rows: Callable[..., None]) -> None:
    for size, note in list(story.coop.log.checkpoints()):
        for bit in sample(note.encode(), 4, size):
            rows("note", size - 1, flipped(note.encode(), bit))
            found(audit(story.root), f"checkpoint {size}, bit {bit}")
        rows("note", size - 1, note.encode())
    assert audit(story.root).passed


def stored(folder: Path) -> list[bytes] | None:
    """Return the entries of a folder's log as whoever opens it gets them; None if it is refused in words."""
    try:
        with Cooperative.open(folder, read_only=True) as coop:
            return list(coop.log.entries())
    except CoopError as error:
        assert error.what, folder  # noqa: PT017
        return None


@pytest.mark.parametrize("name", ["log.sqlite", "log.sqlite-wal"])
def test_a_flipped_bit_anywhere_in_the_files_of_a_log_is_refused_in_words_or_changes_no_entry(story: Village, tmp_path: Path, name: str) -> None:
    whole, entries = tmp_path / "whole", list(story.coop.log.entries())
    if name == "log.sqlite":  # into which SQLite moves all of the write-ahead log when the last connection closes
        story.coop.log.close()
    shutil.copytree(story.root, whole)
    data = (whole / name).read_bytes()
    places = random.Random(name)
    # Half of them in the file's head: its own header, and the schema or the frames' headers.
    bits = [places.randrange(8 * len(data)) for _ in range(40)] + [places.randrange(8 * min(len(data), 4200)) for _ in range(40)]
    refusals = 0
    for bit in bits:
        folder = tmp_path / "flipped"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        (folder / name).write_bytes(flipped(data, bit))
        report, read = audit(folder), stored(folder)
        assert "itself broke" not in report.text(), f"bit {bit}: {report.text()}"
        if read is None:
            refusals += 1
            assert report.exit_code != 0, f"bit {bit}: passed"
        else:  # of a broken frame on, SQLite takes the write-ahead log for unwritten: a rollback, which `Memory` sees
            assert read == entries if name == "log.sqlite" else read == entries[: len(read)], f"bit {bit}"
    assert refusals or name != "log.sqlite"


def test_a_schema_that_is_no_text_any_more_is_refused_in_words(story: Village) -> None:
    story.coop.log.close()
    path = story.root / "log.sqlite"
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE entry", b"CREATE\xa0TABLE entry"))
    for read_only in (True, False):
        with pytest.raises(CoopError, match="malformed database schema"), Cooperative.open(story.root, read_only=read_only):
            pass
    found(audit(story.root), "schema")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("UPDATE entry SET data = CAST(data AS TEXT) WHERE position = 3", "holds no bytes"),
        ("UPDATE entry SET data = 1000000000000 WHERE position = 3", "holds no bytes"),
        ("UPDATE entry SET position = 1 << 60 WHERE position = (SELECT max(position) FROM entry)", "lacks an entry"),
        ("DELETE FROM entry WHERE position = 3", "lacks an entry"),
    ],
)
def test_a_row_of_another_type_or_place_is_refused_at_once(story: Village, damage: str, why: str) -> None:
    with sqlite3.connect(story.root / "log.sqlite", isolation_level=None) as raw:
        raw.execute("DROP TRIGGER entry_UPDATE")
        raw.execute("DROP TRIGGER entry_DELETE")
        raw.execute(damage)
    with pytest.raises(CoopError, match=why), Cooperative.open(story.root, read_only=True):
        pass
    found(audit(story.root), damage)


def compare(entries: list[bytes], tile: Callable[[int, int, int], bytes]) -> None:
    frontier, check = Frontier(), TileCheck(tile)
    for entry in entries:
        check.push(frontier.push(leaf_hash(entry)))
    check.finish()


def test_a_flipped_bit_of_a_stored_tile_is_found(village: Village) -> None:
    batch = [village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(300)]
    village.coop.append_all(batch)
    log = village.coop.log
    entries, tiles = list(log.entries()), {(0, 0): log.tile(0, 0, 256), (1, 0): log.tile(1, 0, 1)}
    for key, tile in tiles.items():
        for bit in sample(tile, 60, key):
            changed = tiles | {key: flipped(tile, bit)}

            def read(level: int, number: int, width: int, changed: dict[tuple[int, int], bytes] = changed) -> bytes:
                return changed[level, number][: 32 * width] if (level, number) in changed else log.tile(level, number, width)

            refused(lambda read=read: compare(entries, read), f"tile {key}, bit {bit}")  # type: ignore[misc]
    compare(entries, log.tile)


def test_a_flipped_bit_of_a_proof_is_found(story: Village) -> None:
    proof = story.coop.proof().dumps()
    read_proof(proof).replay(story.coop.pin)
    for bit in sample(proof, 120, "proof"):
        refused(lambda bit=bit: read_proof(flipped(proof, bit)).replay(story.coop.pin), f"bit {bit}")  # type: ignore[misc]


def test_a_flipped_bit_of_an_export_is_found(story: Village, tmp_path: Path) -> None:
    export(story.coop.log, tmp_path / "export")
    folder = shutil.copytree(tmp_path / "export", tmp_path / "copy")
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and one.stat().st_size):
        whole = path.read_bytes()
        for bit in sample(whole, 40, path.name):
            path.write_bytes(flipped(whole, bit))
            try:
                found(audit_tiles(folder, story.coop.pin), f"{path.name}, bit {bit}")
            except CoopError as error:  # not even an export any more
                assert error.what, path  # noqa: PT017
        path.write_bytes(whole)
    assert audit_tiles(folder, story.coop.pin).passed


def test_a_flipped_bit_of_what_this_machine_remembers_is_found(story: Village, tmp_path: Path) -> None:
    memory, verifier = Memory(story.coop.pin, tmp_path), story.coop.register.log_key
    proof = story.coop.proof()
    memory.remember(proof.checkpoint)
    whole = memory.path.read_bytes()
    for bit in sample(whole, 200, "memory"):
        memory.path.write_bytes(flipped(whole, bit))
        refused(lambda: memory.check_proof(proof, verifier, memory.load()), f"bit {bit}")
    memory.path.write_bytes(whole)
    memory.check_proof(proof, verifier, memory.load())


def test_checkpoints_that_come_out_of_order_are_refused_and_not_read_for_ever(story: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    log = story.coop.log
    monkeypatch.setattr(log._sql, "notes", SimpleNamespace(run=lambda cursor, *rows: SimpleNamespace(fetchall=lambda: [(5, "a"), (1, "b")])))
    with pytest.raises(CoopError, match="out of order"):
        list(log.checkpoints())


def test_a_size_of_a_cosignature_that_is_no_number_is_refused(story: Village) -> None:
    story.coop.log.keep_cosignature(1, "witness", "line")
    with sqlite3.connect(story.root / "log.sqlite", isolation_level=None) as raw:
        raw.execute("UPDATE cosignature SET size = 'one'")
    with pytest.raises(CoopError, match="no number"):
        story.coop.log.cosigned_size("witness")
