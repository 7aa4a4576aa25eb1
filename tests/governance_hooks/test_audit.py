"""The audit of a log: what it finds, and that it keeps neither entries nor roots."""

import gc
import random
import sqlite3
from pathlib import Path

import pytest

from governance_hooks.audit import Scope, audit, audit_tiles
from governance_hooks.canonical import dumps, loads
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.errors import BadInput, Refused
from governance_hooks.export import export
from governance_hooks.memory import Memory
from governance_hooks.register import Register
from governance_hooks.report import Report
from governance_hooks.statement import shift
from governance_hooks.vouching import MANY, workers
from tests.attacks.forge import history, rewritten
from tests.postgres import BOTH, Database
from tests.village import CONSENT, Village


def fill(village: Village, size: int) -> None:
    """Grow the log to `size` entries: one by one up to a handful, the rest under one checkpoint."""
    while village.coop.log.size < min(size, 4):
        village.consent(village.members[0])
    rest = range(village.coop.log.size, size)
    village.coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in rest])


@BOTH
@pytest.mark.parametrize("size", [1, 2, 255, 256, 257])
def test_an_honest_log_passes(village: Village, size: int) -> None:
    fill(village, size)
    report = audit(village.root)
    assert report.passed, report.text()
    assert report.steps[0].checked.startswith(f"{size} entries")


@BOTH
def test_a_rewritten_tile_is_named_even_where_no_root_needs_it(village: Village, database: Database) -> None:
    fill(village, 257)
    with database.raw("village/log.sqlite" if database.server is None else "village") as raw:
        raw.execute("UPDATE tile SET hashes = ? WHERE level = 0 AND number = 0", (bytes(8192),))
    report = audit(village.root)
    assert [step.status.value for step in report.steps] == ["PASS", "FAIL", "PASS", "PASS"]
    assert "tile/0/000 does not match" in report.steps[1].why


def test_a_missing_tile_is_named(village: Village) -> None:
    fill(village, 257)
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("DELETE FROM tile WHERE level = 1")
    assert "stored tree does not match" in audit(village.root).steps[1].why


def rewrite(village: Village, position: int, data: bytes) -> None:
    """Put other bytes at a position, past the rules."""
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER IF EXISTS entry_UPDATE")
        raw.execute("UPDATE entry SET data = ? WHERE position = ?", (data, position))


def entry_at(village: Village, position: int) -> bytes:
    return next(village.coop.log.entries(position, position + 1))


def with_other_signature(village: Village, position: int) -> bytes:
    """The entry with the signature of its neighbour: well-formed, signed by the right key, over other bytes."""
    value, other = (loads(entry_at(village, at)) for at in (position, position + 5))
    return dumps(value | {"signatures": other["signatures"]})


def tables(village: Village, **scope: int) -> list[dict[str, object]]:
    reports: list[Report] = [audit(village.root, scope=Scope(jobs=jobs, **scope)) for jobs in (1, 2)]
    assert reports[0].as_dict() == reports[1].as_dict()
    return [step.as_dict() for step in reports[0].steps]


def test_many_processes_say_what_one_says(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance_hooks.vouching.WORTH_IT", 8)
    monkeypatch.setattr("governance_hooks.vouching.CHUNK", 16)
    fill(village, 300)
    assert all(step["status"] == "PASS" for step in tables(village))
    good = entry_at(village, 290)
    rewrite(village, 290, with_other_signature(village, 290))
    assert "entry 290: signature does not verify" in str(tables(village)[0]["why"])
    rewrite(village, 290, good[:-1])
    assert "entry 290" in str(tables(village)[0]["why"])
    rewrite(village, 290, entry_at(village, 3))
    assert "entry 290: this statement is in the log already" in str(tables(village)[0]["why"])
    rewrite(village, 290, good)
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        key = NoteKey.load(village.coop.paths.log_key)
        raw.execute("DROP TRIGGER IF EXISTS entry_UPDATE")
        raw.execute("UPDATE entry SET note = ? WHERE position = 2", (sign_checkpoint(key, 3, bytes(32), 1),))
    assert "checkpoint of 3 entries is not a prefix" in str(tables(village)[2]["why"])


def one_by_one(village: Village) -> str:
    """What is wrong with the entries, found the plain way: each parsed, checked and folded before the next is looked at."""
    register = Register()
    for position, data in enumerate(village.coop.log.entries()):
        try:
            register.apply(data)
        except Refused as error:
            return f"entry {position}: {error.what}"
        except BadInput as error:  # says the entry's number itself
            return error.what
    return ""


def test_reading_ahead_says_what_checking_one_after_the_other_says(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are read in chunks and their signatures checked together; whatever is changed, the first fault is named in the same words."""
    monkeypatch.setattr("governance_hooks.vouching.CHUNK", 8)
    village.propose("run", "sha256:" + "1" * 64)
    fill(village, 30)
    draw = random.Random(7)
    whole = list(village.coop.log.entries())
    said = set()
    for _ in range(120):
        position = draw.randrange(1, 30)
        changed = bytearray(whole[position])
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        rewrite(village, position, bytes(changed))
        expected = one_by_one(village)
        assert audit(village.root).steps[0].why.partition(" (got ")[0] == expected.partition(" (got ")[0]
        assert expected.startswith(f"entry {position}: ")
        said.add(expected.partition(": ")[2])
        rewrite(village, position, whole[position])
    assert len(said) > 10  # changes of many kinds were made
    assert audit(village.root).passed


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_of_two_faults_is_named_whatever_their_kind(village: Village, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    monkeypatch.setattr("governance_hooks.vouching.WORTH_IT", 2)
    fill(village, 30)
    good = {position: entry_at(village, position) for position in (10, 12)}
    faults = {
        "signature does not verify": lambda at: with_other_signature(village, at),
        "not JSON": lambda at: good[at][:-1],
        "in the log already": lambda at: entry_at(village, 4),
        "does not have exactly the fields": lambda at: dumps(loads(good[at]) | {"body": {}}),
    }
    for first in faults:
        for second in faults:
            rewrite(village, 12, faults[second](12))
            rewrite(village, 10, faults[first](10))
            why = audit(village.root, scope=Scope(jobs=jobs)).steps[0].why
            assert why.partition(" (got ")[0] == one_by_one(village)
            assert why.startswith("entry 10: ")
            assert first in why
            for position, data in good.items():
                rewrite(village, position, data)


def test_what_nobody_vouches_for_is_checked_in_full(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(village, 20)
    monkeypatch.setattr("governance_hooks.vouching.all_hold", lambda batch: [False] * len(batch))
    assert audit(village.root).passed
    rewrite(village, 14, with_other_signature(village, 14))
    assert "entry 14: signature does not verify" in audit(village.root).steps[0].why


def test_many_processes_are_asked_only_about_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance_hooks.vouching.cores", lambda: 8)
    assert [workers(0, items) for items in (0, MANY - 1, MANY, 10 * MANY)] == [1, 1, 8, 8]
    assert workers(3, 10) == 3


def test_the_collector_is_left_as_it_was(village: Village) -> None:
    fill(village, 20)
    assert audit(village.root).passed
    assert gc.isenabled()
    gc.disable()
    try:
        assert audit(village.root).passed
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_checkpoint_signed_by_another_key_is_named_by_many_processes_too(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance_hooks.vouching.WORTH_IT", 2)
    fill(village, 6)
    stranger = NoteKey.generate("village.example/log", village.root / "stranger.key")
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER IF EXISTS entry_UPDATE")
        raw.execute("UPDATE entry SET note = ? WHERE position = 1", (sign_checkpoint(stranger, 2, village.coop.log.root(2), 1),))
    assert "not signed by the log's key" in str(tables(village)[2]["why"])


def test_since_skips_what_this_machine_checked_and_says_so(village: Village, tmp_path: Path) -> None:
    fill(village, 20)
    memory = Memory(village.coop.pin, tmp_path / "memory")
    with pytest.raises(BadInput, match="not checked so many"):
        audit(village.root, memory=memory, scope=Scope(since=10))
    assert audit(village.root, memory=memory).passed
    fill(village, 30)
    report = audit(village.root, memory=memory, scope=Scope(since=20))
    assert report.passed, report.text()
    assert "signatures hold from entry 20 on, those before were checked here earlier" in report.steps[0].checked
    assert "below 20 entries not looked at again" in report.steps[2].checked
    with pytest.raises(BadInput, match="not checked so many"):
        audit(village.root, memory=memory, scope=Scope(since=31))


@pytest.mark.parametrize("position", [5, 19, 25])
def test_since_misses_no_changed_entry(village: Village, tmp_path: Path, position: int) -> None:
    """Before SINCE the bytes are compared by the remembered root, from there on each signature is checked."""
    fill(village, 20)
    memory = Memory(village.coop.pin, tmp_path / "memory")
    assert audit(village.root, memory=memory).passed
    known = memory.load()
    fill(village, 31)
    rewrite(village, position, with_other_signature(village, position))
    report = audit(village.root, memory=memory, scope=Scope(since=20))
    assert report.steps[0].status.value == "FAIL"
    expected = "not those this machine checked before" if position < 20 else f"entry {position}: signature does not verify"
    assert expected in report.steps[0].why
    assert memory.load() == known


def test_since_serves_an_export_too(village: Village) -> None:
    fill(village, 20)
    export(village.coop.log, village.root / "out")
    assert audit_tiles(village.root / "out", village.coop.pin, remember=True).passed
    report = audit_tiles(village.root / "out", village.coop.pin, remember=True, scope=Scope(jobs=2, since=20))
    assert report.passed, report.text()
    assert "from entry 20 on" in report.steps[0].checked


def test_an_entry_dated_after_the_checkpoint_over_it_is_found(village: Village, tmp_path: Path) -> None:
    """A proof of such a log would be refused, so the audit must not pass it."""
    for late_s, passed in ((300, True), (301, False)):
        entry = village.entry("coop.consent/v1", CONSENT, village.members[0], issued=shift(village.clock, late_s))
        report = audit(rewritten(village, [*history(village), entry], tmp_path / str(late_s)))
        assert report.passed is passed, report.text()
        assert passed or "after the checkpoint that covers it" in report.text()
