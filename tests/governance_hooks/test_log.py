import sqlite3
from pathlib import Path

import psycopg
import pytest

from governance_hooks import merkle
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from tests.postgres import BOTH, Database
from tests.village import CONSENT, Village


def note(size: int, root: bytes) -> str:
    return f"{size} {root.hex()}"


def fill(log: Log, count: int) -> list[bytes]:
    data = [b"entry %d" % i for i in range(count)]
    log.append(data, expected_size=log.size, note=note)
    return data


@BOTH
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 600])
def test_tiles_give_the_same_root_and_proofs_as_all_leaves(database: Database, count: int) -> None:
    with Log.open(database("log")) as log:
        leaves = [merkle.leaf_hash(data) for data in fill(log, count)]
        assert log.root() == merkle.root(leaves)
        for size in {1, count // 2 + 1, count}:
            assert log.root(size) == merkle.root(leaves[:size])
            for index in {0, size // 2, size - 1}:
                assert merkle.verify_inclusion(leaves[index], index, size, log.inclusion(index, size), log.root(size))
            assert merkle.verify_consistency(size, count, log.consistency(size, count), log.root(size), log.root())


@BOTH
def test_one_by_one_and_in_batches_give_the_same_tree(database: Database) -> None:
    with Log.open(database("a")) as one, Log.open(database("b")) as many:
        for data in fill(many, 300):
            one.append([data], expected_size=one.size, note=note)
        assert one.root() == many.root()


@BOTH
def test_entries_can_neither_be_changed_nor_removed(database: Database) -> None:
    with Log.open(database("log")) as log:
        fill(log, 3)
    acts = ["DELETE FROM entry", "UPDATE entry SET position = position + 9", "UPDATE entry SET note = NULL", *(["TRUNCATE entry"] if database.server else [])]
    with database.raw("log") as raw:
        for act in acts:
            with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="append-only"):
                raw.execute(act)


@BOTH
def test_a_lost_trigger_is_put_back_when_the_log_is_opened_to_write(database: Database) -> None:
    with Log.open(database("log")) as log:
        fill(log, 3)
    with database.raw("log") as raw:
        for name in ["entry_append_only ON entry"] if database.server else ["entry_UPDATE", "entry_DELETE"]:
            raw.execute(f"DROP TRIGGER {name}")
        with Log.open(database("log")), pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="append-only"):
            raw.execute("DELETE FROM entry")


@BOTH
def test_a_second_writer_is_refused_and_the_first_ones_entry_stays(database: Database) -> None:
    with Log.open(database("log")) as first, Log.open(database("log")) as second:
        first.append([b"mine"], expected_size=0, note=note)
        with pytest.raises(CoopError, match="another writer"):
            second.append([b"yours"], expected_size=0, note=note)
        assert list(second.entries()) == [b"mine"]


@BOTH
def test_two_writers_of_a_cooperative_take_turns(village: Village) -> None:
    with Cooperative.open(village.root) as other:
        village.consent(village.members[0])
        other.append(village.entry("coop.leave/v1", {}, village.members[1]))
        village.consent(village.members[2])
        other.refresh()
        assert other.register.size == village.coop.register.size == 4
        assert other.log.root() == village.coop.log.root()


@BOTH
def test_a_reader_cannot_write(village: Village) -> None:
    with Cooperative.open(village.root, read_only=True) as reader, pytest.raises(CoopError, match="cannot write the log"):
        reader.append(village.entry("coop.leave/v1", {}, village.members[1]))
    village.consent(village.members[0])  # and blocks nobody


def test_a_folder_without_a_pin_or_with_another_log_is_refused(village: Village, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="coop init"), Cooperative.open(tmp_path / "nothing"):
        pass
    (village.root / "cooperative.json").write_bytes(b'{"coop":"sha256:' + b"0" * 64 + b'","format":"coop.folder/v1","name":"village"}')
    with pytest.raises(Refused, match="another cooperative"), Cooperative.open(village.root):
        pass


@BOTH
@pytest.mark.parametrize("count", [1, 255, 256, 257, 65_535, 65_536, 65_537])
def test_the_tail_read_from_the_database_is_the_one_kept_in_memory(database: Database, count: int) -> None:
    with Log.open(database("log")) as log:
        leaves = [merkle.leaf_hash(data) for data in fill(log, count)]
        with Log.open(database("log")) as fresh:
            for writer in (log, fresh, log):
                size = writer.size
                writer.append([b"more %d" % size], expected_size=size, note=note)
                leaves.append(merkle.leaf_hash(b"more %d" % size))
        assert log.checkpoint() == note(len(leaves), merkle.root(leaves))
        assert log.root() == merkle.root(leaves)


def test_a_log_with_stored_partial_tiles_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    with Log.open(tmp_path / "log") as log:
        leaves = [merkle.leaf_hash(data) for data in fill(log, 255)]
    with sqlite3.connect(tmp_path / "log") as raw:
        raw.execute("INSERT INTO tile VALUES (0, 0, ?)", (b"".join(leaves[:200]),))
    with Log.open(tmp_path / "log") as log:
        for position in (255, 256):
            log.append([b"entry %d" % position], expected_size=position, note=note)
            leaves.append(merkle.leaf_hash(b"entry %d" % position))
            assert log.root() == merkle.root(leaves)
    with sqlite3.connect(tmp_path / "log") as raw:
        assert raw.execute("SELECT hashes FROM tile WHERE level = 0").fetchall() == [(b"".join(leaves[:256]),)]


@BOTH
def test_a_failed_append_leaves_the_tail_as_it_was(database: Database) -> None:
    def broken(size: int, root: bytes) -> str:
        raise CoopError("no key")

    with Log.open(database("log")) as log:
        leaves = [merkle.leaf_hash(data) for data in fill(log, 250)]
        with pytest.raises(CoopError, match="no key"):
            log.append([b"lost"] * 10, expected_size=250, note=broken)
        log.append([b"kept"], expected_size=250, note=note)
        assert log.root() == merkle.root([*leaves, merkle.leaf_hash(b"kept")])


@BOTH
def test_nothing_is_signed_over_an_entry_that_was_changed_in_the_database(village: Village, database: Database) -> None:
    village.consent(village.members[0])
    entry = village.entry("coop.leave/v1", {}, village.members[1])
    with database.raw("village" if database.server else "village/log.sqlite") as raw:
        raw.execute("DROP TRIGGER entry_append_only ON entry" if database.server else "DROP TRIGGER entry_UPDATE")
        raw.execute("UPDATE entry SET data = (SELECT data FROM entry WHERE position = 0) WHERE position = 1")
    with Log.open(village.coop.paths.log) as log:
        size, root = log.size, verify_checkpoint(log.checkpoint(), village.coop.register.log_key).root
        with pytest.raises(CoopError, match="do not hash to the newest checkpoint"):
            log.append([entry], expected_size=size, note=note, expected_root=root)
        assert log.size == size


@BOTH
def test_a_batch_goes_in_under_one_checkpoint_or_not_at_all(village: Village) -> None:
    one, two, three = (village.entry("coop.consent/v1", CONSENT, member) for member in village.members[:3])
    forged = village.entry("coop.leave/v1", {}, village.members[0], village.operator)
    size = village.coop.log.size
    with pytest.raises(Refused, match="entry 3 of the 3"):
        village.coop.append_all([one, two, forged])
    assert village.coop.log.size == village.coop.register.size == size
    assert village.coop.append_all([]) == []
    assert [statement.author for statement in village.coop.append_all([one, two, three])] == village.members[:3]
    assert [at for at, _ in village.coop.log.checkpoints()] == [size, size + 3]
    village.coop.proof().replay(village.coop.pin)


@BOTH
def test_a_batch_meets_another_writer_and_takes_its_turn(village: Village) -> None:
    with Cooperative.open(village.root) as other:
        village.consent(village.members[0])
        other.append_all([village.entry("coop.consent/v1", CONSENT, member) for member in village.members[1:]])
        assert other.register.size == other.log.size == 6


@pytest.mark.parametrize("name", ["a%41", "a?mode=rwc", "a#b", "a b", "ä"])
def test_a_folder_of_any_name_opens_its_own_log(tmp_path: Path, name: str) -> None:
    for folder, data in ((name, b"mine"), ("aA", b"another"), ("a", b"a third")):
        (tmp_path / folder).mkdir(exist_ok=True)
        with Log.open(tmp_path / folder / "log.sqlite") as log:
            log.append([data], expected_size=0, note=note)
    with Log.open(tmp_path / name / "log.sqlite", read_only=True) as log:
        assert list(log.entries()) == [b"mine"]
