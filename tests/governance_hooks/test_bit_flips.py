"""One bit changed anywhere in what is stored or handed on is found, in words: never a traceback, and never a pass."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from governance_hooks.audit import audit, audit_tiles
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.memory import Memory
from governance_hooks.merkle import Frontier, leaf_hash
from governance_hooks.motions import Suspend
from governance_hooks.proof import read_proof
from governance_hooks.report import Report
from governance_hooks.statement import parse, shift
from governance_hooks.tiles import TileCheck, export
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
