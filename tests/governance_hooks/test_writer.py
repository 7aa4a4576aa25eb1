"""Group commit: many threads submit, each gets its own answer, and a commit is all or nothing."""

import random
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

import pytest

from governance_hooks import writer as rules
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.statement import Statement, parse
from governance_hooks.writer import Writer
from tests.postgres import BOTH
from tests.village import CONSENT, Village


def good(village: Village, count: int) -> list[bytes]:
    return [village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(count)]


def bad(village: Village, count: int) -> list[bytes]:
    """Well formed, but signed by somebody else."""
    stranger = village.keys[village.members[0]]
    return [village.entry("coop.consent/v1", CONSENT, village.members[1 + i % 4], stranger) for i in range(count)]


def checkpoints(village: Village) -> list[int]:
    return [size for size, _ in village.coop.log.checkpoints()]


@BOTH
def test_eight_threads_each_get_their_own_answer_and_bad_entries_harm_nobody(village: Village) -> None:
    work = []
    for thread in range(8):
        entries = [(data, True) for data in good(village, 12)] + [(data, False) for data in [*bad(village, 6), b"{}", b"\xff" * 70_000]]
        random.Random(thread).shuffle(entries)
        work.append(entries)

    def submit(entries: list[tuple[bytes, bool]]) -> list[tuple[bytes, bool, object]]:
        answers: list[tuple[bytes, bool, object]] = []
        for data, allowed in entries:
            try:
                answers.append((data, allowed, writer.append(data)))
            except CoopError as error:
                answers.append((data, allowed, error))
        return answers

    with Cooperative.open(village.root) as coop, Writer(coop) as writer, ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(submit, work))
    in_log = list(village.coop.log.entries(1))
    for thread in answered:
        assert all(isinstance(answer, Statement) == allowed for _, allowed, answer in thread)
        assert all(answer.entry == data for data, _, answer in thread if isinstance(answer, Statement))
        mine = [data for data, allowed, _ in thread if allowed]
        assert [data for data in in_log if data in mine] == mine  # a thread's entries stand in its order
    assert len(in_log) == 8 * 12
    village.coop.refresh()
    village.coop.proof().replay(village.coop.pin)


@BOTH
def test_what_waits_while_another_process_writes_goes_in_under_one_checkpoint(village: Village) -> None:
    first, *rest = good(village, 40)
    with Log.open(village.coop.paths.log) as other, Cooperative.open(village.root) as coop, Writer(coop) as writer:
        with other.exclusive():
            futures = [writer.submit(first)]
            while writer._waiting:  # until it is taken, and waits for the write lock
                threading.Event().wait(0.001)
            futures += [writer.submit(data) for data in rest]
            assert not any(future.done() for future in futures)
        assert [future.result().entry for future in futures] == [first, *rest]
    assert checkpoints(village) == [1, 2, 41]


FAULT = {
    "sqlite": ["CREATE TRIGGER fault BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END"],
    "postgresql": [
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is gone'; END $$",
        "CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON entry INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()",
    ],
}
MENDED = {"sqlite": "DROP TRIGGER fault", "postgresql": "DROP TRIGGER fault ON entry"}


@BOTH
def test_a_commit_that_fails_fails_everybody_in_it_and_applies_nothing(village: Village) -> None:
    """The fault comes after the entries were inserted; on PostgreSQL in the commit itself."""
    entries, refused = good(village, 10), bad(village, 1)[0]
    with Log.open(village.coop.paths.log) as other, Cooperative.open(village.root) as coop, Writer(coop) as writer:
        kind = other._database.dialect.name
        with other._database.writing() as cursor:
            for sql in FAULT[kind]:
                cursor.execute(sql)
        futures = [writer.submit(data) for data in [*entries[:5], refused, *entries[5:]]]
        wait(futures)
        for future in futures:
            assert isinstance(future.exception(), CoopError)
        assert sum("the disk is gone" in str(future.exception()) for future in futures) >= 10
        assert village.coop.log.size == 1
        with other._database.writing() as cursor:
            cursor.execute(MENDED[kind])
        assert [writer.append(data).entry for data in entries] == entries
        with pytest.raises(Refused):
            writer.append(refused)
    assert list(village.coop.log.entries(1)) == entries
    village.coop.proof().replay(village.coop.pin)


def test_closing_appends_what_was_submitted_and_refuses_more(village: Village) -> None:
    with Cooperative.open(village.root) as coop:
        with Writer(coop) as writer:
            futures = [writer.submit(data) for data in good(village, 50)]
        assert all(future.done() and future.exception() is None for future in futures)
        with pytest.raises(CoopError, match="closed: nothing was appended"):
            writer.submit(good(village, 1)[0])
        writer.close()
    assert village.coop.log.size == 51


def test_whoever_takes_back_an_entry_in_time_takes_it_back(village: Village) -> None:
    first, second, third = good(village, 3)
    with Log.open(village.coop.paths.log) as other, Cooperative.open(village.root) as coop, Writer(coop) as writer:
        with other.exclusive():
            taken = writer.submit(first)
            while writer._waiting:
                threading.Event().wait(0.001)
            back, kept = writer.submit(second), writer.submit(third)
            assert back.cancel()
            assert not taken.cancel()
        assert kept.result().entry == third
        with pytest.raises(CancelledError):
            back.result()
    assert list(village.coop.log.entries(1)) == [first, third]


def test_a_full_queue_makes_submitters_wait_not_memory_grow(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "WAITING", 2)
    entries, futures = good(village, 8), list[Future[Statement]]()
    with Log.open(village.coop.paths.log) as other, Cooperative.open(village.root) as coop, Writer(coop) as writer:
        eager = threading.Thread(target=lambda: futures.extend(map(writer.submit, entries)))
        with other.exclusive():
            eager.start()
            eager.join(0.3)
            assert eager.is_alive()
            assert len(writer._waiting) == 2
        eager.join()
        assert [future.result().entry for future in futures] == entries


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_ends_the_writer_and_leaves_nobody_waiting(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = good(village, 3)
    with Log.open(village.coop.paths.log) as other, Cooperative.open(village.root) as coop, Writer(coop) as writer:
        monkeypatch.setattr(coop, "_admit", lambda statement: {}[statement.id])
        with other.exclusive():
            futures = [writer.submit(data) for data in entries]
        for future in futures:
            with pytest.raises(CoopError, match="not known whether"):
                future.result()
        with pytest.raises(CoopError, match="closed"):
            writer.submit(entries[0])
    assert village.coop.log.size == 1


def test_a_second_statement_with_the_same_body_is_refused_within_one_group(village: Village) -> None:
    data = good(village, 1)[0]
    assert [refusal is None for refusal in village.coop.append_each([parse(data), parse(data)])] == [True, False]
    assert village.coop.log.size == village.coop.register.size == 2
