from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy.engine import URL

from data_pipeline.record import Draft, commitment
from data_pipeline.store import ContributionStore, batch_root
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from tests.postgres import BOTH, PASSWORD, Database, Server

SEAL = sha256(b"statement")


def draft(text: str = "Why?", answer: str = "Because.", **changes: object) -> Draft:
    return Draft(text, answer, "eng", **changes)  # type: ignore[arg-type] # a test changes any field


@BOTH
def test_a_stored_record_is_bound_by_its_commitment_and_the_batch_root(store: ContributionStore) -> None:
    batch = store.add_batch("ana", [draft("a"), draft("b"), Draft("c", "d", "spa")])
    stored = sorted(store.records(), key=lambda record: "abc".index(record.inputs))
    assert all(record.commitment == commitment(record.salt, record.record, record) for record in stored)
    assert batch.root == batch_root([record.commitment for record in stored])
    assert batch.payload() == {"records": 3, "root": batch.root, "languages": {"eng": 2, "spa": 1}}
    assert len({record.salt for record in stored}) == 3


@BOTH
def test_earlier_turns_and_the_language_tag_are_kept_and_bound_by_the_commitment(store: ContributionStore) -> None:
    turns = (("Hola", "¡Hola!"), ("¿Y tú?", "Bien."))
    store.add_batch("ana", [Draft("q", "a", "spa", history=turns, tag="es-MX")])
    [stored] = store.records()
    assert (stored.history, stored.tag) == (turns, "es-MX")
    for changed in ({"history": turns[:1]}, {"history": ()}, {"tag": ""}, {"tag": "es-AR"}, {"parents": ("x",)}):
        assert commitment(stored.salt, stored.record, replace(stored, **changed)) != stored.commitment


@BOTH
def test_arabic_text_with_marks_and_closed_isolates_is_taken(store: ContributionStore) -> None:
    store.add_batch("ana", [Draft("\u200fما معنى \u2066COVID-19\u2069 ؟", "\u202bنعم\u202c", "arb")])
    assert len(store.records()) == 1


@BOTH
def test_the_same_text_of_two_members_makes_two_records_with_unlike_commitments(store: ContributionStore) -> None:
    store.add_batch("ana", [draft()])
    store.add_batch("ben", [draft()])
    first, second = store.records()
    assert first.record != second.record
    assert first.commitment != second.commitment


@BOTH
def test_adding_the_same_drafts_again_before_the_seal_returns_the_same_batch(store: ContributionStore) -> None:
    drafts = [draft("a", record_id="r1"), draft("b")]
    batch = store.add_batch("ana", drafts)
    assert store.add_batch("ana", drafts) == batch
    assert store.add_batch("ana", drafts[1:]) != batch
    assert len(store.records()) == 3


@BOTH
def test_adding_sealed_drafts_again_is_refused_if_they_have_ids(store: ContributionStore) -> None:
    drafts = [draft("a", record_id="r1", line=4)]
    store.seal(store.add_batch("ana", drafts).batch, SEAL)
    with pytest.raises(BadInput, match="line 4: this record id is already in the store"):
        store.add_batch("ana", drafts)


KILLED = """
import os, signal, sys
from sqlalchemy import event
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
store = ContributionStore(sys.argv[1])
if sys.argv[2] == "before":
    event.listen(store.engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
store.add_batch("ana", [Draft(f"q{n}", "a", "eng") for n in range(2000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


@BOTH
@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_9_around_the_commit_leaves_all_or_nothing_and_the_rerun_one_batch(database: Database, moment: str) -> None:
    place = database("contributions.sqlite")
    done = subprocess.run([sys.executable, "-c", KILLED, place.render_as_string() if isinstance(place, URL) else str(place), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    with ContributionStore(place) as store:
        assert len(store.records()) == (0 if moment == "before" else 2000)
        store.add_batch("ana", [Draft(f"q{n}", "a", "eng") for n in range(2000)])
        assert len(store.batches()) == 1
        assert len(store.records()) == 2000


@BOTH
def test_authors_of_an_edit_are_all_authors_of_its_ancestry(store: ContributionStore) -> None:
    store.add_batch("ana", [draft("a", record_id="a")])
    store.add_batch("ben", [draft("b", record_id="b", parents=("a",))])
    store.add_batch("cleo", [draft("d", record_id="d", parents=("c",)), draft("c", record_id="c", parents=("b",))])
    assert {record.record: record.authors for record in store.records()} == {
        "a": ("ana",),
        "b": ("ana", "ben"),
        "c": ("ana", "ben", "cleo"),
        "d": ("ana", "ben", "cleo"),
    }


@BOTH
def test_a_chain_of_edits_may_be_longer_than_the_recursion_limit(store: ContributionStore) -> None:
    chain = [draft(str(n), record_id=f"r{n}", parents=(f"r{n + 1}",) if n < 3000 else ()) for n in range(3001)]
    assert store.add_batch("ana", chain).records == 3001


@BOTH
@pytest.mark.parametrize(
    ("drafts", "why"),
    [
        ([], "without texts"),
        ([draft(record_id="r", line=1), draft(record_id="r", line=2)], "line 2: duplicate record id"),
        ([draft(parents=("nobody",), line=3)], "line 3: unknown parent"),
        ([draft(record_id="r", parents=("r",))], "its own ancestor"),
        ([draft(record_id="r", parents=("s",)), draft(record_id="s", parents=("t",)), draft(record_id="t", parents=("r",))], "its own ancestor"),
        ([draft(), draft("")], "draft 2: inputs is empty"),
        ([draft("x\ud800")], "lone surrogate"),
        ([draft("x\0")], "NUL"),
        ([draft("x\x1b[2J")], "control character"),
        ([draft("x" * 100_001)], "too long"),
        ([draft("é" * 50_001)], "too long"),
        ([Draft("a", "b", "en")], "unknown language"),
        ([draft(record_id="a b")], "not an identifier"),
        ([draft(record_id="r\n")], "not an identifier"),
        ([draft(licence="my own words")], "SPDX"),
        ([draft(annotation_type="synthetic")], "annotation_type"),
        ([draft(user_id="x\n")], "user_id"),
        ([draft(written_at="yesterday")], "written_at"),
        ([draft(history=(("q", ""),))], "history, turn 1, answer is empty"),
        ([draft(history=(("q", "a"), ("x\0", "a")))], "history, turn 2, prompt holds NUL"),
        ([draft(history=(("q", "a"),) * 65)], "too many turns"),
        ([draft(history=(("q" * 90_000, "a"),) * 5)], "history is too long"),
        ([draft(tag="hi-Latn")], "does not agree"),
        ([draft(tag="en-latn")], "not canonical"),
        ([draft(tag="eng")], "not canonical"),
        ([draft(tag="en-x-anna")], "unknown language tag"),
        ([draft("\u202eabc")], "direction override"),
        ([draft("\u2067abc\n\u2069")], "direction control without its partner"),
        ([draft("\u2066\u202aabc\u2069\u202c")], "direction control without its partner"),
        ([draft("abc\u202c")], "direction control without its partner"),
    ],
)
def test_drafts_no_record_may_hold_are_refused_and_nothing_is_stored(store: ContributionStore, drafts: list[Draft], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        store.add_batch("ana", drafts)
    assert store.records() == []
    assert store.batches() == []


@BOTH
def test_a_member_id_that_could_hold_personal_data_is_refused(store: ContributionStore) -> None:
    with pytest.raises(BadInput, match="not a member id"):
        store.add_batch("ana@example.org", [draft()])


@BOTH
def test_two_parents_that_share_an_ancestor_are_no_cycle(store: ContributionStore) -> None:
    store.add_batch(
        "ana",
        [
            draft("4", record_id="4", parents=("2", "3")),
            draft("2", record_id="2", parents=("1",)),
            draft("3", record_id="3", parents=("1",)),
            draft("1", record_id="1"),
        ],
    )
    assert len(store.records()) == 4


@BOTH
def test_sealing_links_one_statement_to_one_batch_for_good(store: ContributionStore) -> None:
    first, second = store.add_batch("ana", [draft("a")]), store.add_batch("ana", [draft("b")])
    assert [batch.batch for batch in store.unsealed()] == [first.batch, second.batch]
    assert store.seal(first.batch, SEAL).statement == SEAL
    assert store.seal(first.batch, SEAL).statement == SEAL
    assert [batch.batch for batch in store.unsealed()] == [second.batch]
    assert {record.statement for record in store.records(batch=first.batch)} == {SEAL}
    with pytest.raises(CoopError, match="sealed by another statement"):
        store.seal(first.batch, sha256(b"other"))
    with pytest.raises(CoopError, match="already seals batch"):
        store.seal(second.batch, SEAL)
    with pytest.raises(BadInput, match="no such batch"):
        store.seal("nobody", sha256(b"other"))
    with pytest.raises(BadInput, match="not the digest"):
        store.seal(second.batch, "sha256:xyz")


def test_erased_text_is_in_no_file_of_the_store_and_the_row_stays(store: ContributionStore, tmp_path: Path) -> None:
    secrets = ["Mein Geheimnis", "x-ray " * 4000]
    store.add_batch(
        "ana",
        [draft(secrets[0], secrets[1], record_id="gone", user_id="ana-at-home", history=(("Vorher gefragt", "ok"),)), draft("kept text", record_id="kept")],
    )
    salt = store.record("gone").salt

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))

    assert b"Mein Geheimnis" in on_disk()
    assert store.erase(["gone"], at="2026-02-01T00:00:00Z") == 1
    assert store.erase(["gone"]) == 0
    stone = store.record("gone")
    assert (stone.inputs, stone.targets, stone.history, stone.salt, stone.user_id, stone.erased_at) == ("", "", (), "", None, "2026-02-01T00:00:00Z")
    assert stone.commitment
    for trace in (b"Vorher", b"Geheimnis", b"x-ray", salt.encode(), b"ana-at-home"):
        assert trace not in on_disk()
    assert store.record("kept").inputs == "kept text"


@BOTH
def test_erasing_also_forgets_the_digest_that_would_confirm_a_guess(store: ContributionStore) -> None:
    batch = store.add_batch("ana", [draft()])
    store.erase([store.records()[0].record])
    assert store.add_batch("ana", [draft()]).batch != batch.batch


@BOTH
def test_erasing_unknown_records_erases_nothing(store: ContributionStore) -> None:
    store.add_batch("ana", [draft(record_id="r")])
    with pytest.raises(BadInput, match="1 texts are not in the store"):
        store.erase(["r", "nobody"])
    assert store.record("r").inputs == "Why?"


@BOTH
def test_nothing_can_build_on_erased_text(store: ContributionStore) -> None:
    store.add_batch("ana", [draft(record_id="r")])
    store.erase(["r"])
    with pytest.raises(BadInput, match="was erased"):
        store.add_batch("ben", [draft("new", parents=("r",))])


@BOTH
def test_two_openers_of_one_store_both_write(database: Database) -> None:
    with ContributionStore(database("s")) as one, ContributionStore(database("s")) as two:
        one.add_batch("ana", [draft("a")])
        two.add_batch("ben", [draft("b")])
        assert len(one.records()) == len(two.records()) == 2


def test_the_settings_that_make_an_acknowledged_write_durable_are_on(store: ContributionStore) -> None:
    with store.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")]
    assert found == ["wal", 2, 1, 1]


def test_a_file_that_is_no_store_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to have a header " * 20)
    with pytest.raises(CoopError, match="text"):
        ContributionStore(tmp_path / "text")
    with pytest.raises(BadInput, match="does not exist"):
        ContributionStore(tmp_path / "missing" / "s.sqlite")
    with pytest.raises(BadInput, match="cannot keep a contribution store"):
        ContributionStore("nosuch://host/db")


@BOTH
def test_a_store_of_another_version_is_refused(database: Database) -> None:
    ContributionStore(database("s")).close()
    with database.raw("s") as raw:
        raw.execute("UPDATE store SET format = 'coop.contributions/v9'")
    with pytest.raises(BadInput, match="another version"):
        ContributionStore(database("s"))


@BOTH
def test_unknown_records_and_batches_are_refused(store: ContributionStore) -> None:
    with pytest.raises(BadInput, match="no such text"):
        store.record("nobody")
    with pytest.raises(BadInput, match="no such batch"):
        store.batch("nobody")


FULL = """
import resource, sys
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.errors import CoopError
store = ContributionStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.add_batch("ana", [Draft("q" * 5000 + str(n), "a", "eng") for n in range(500)])
except CoopError as error:
    print(error)
    sys.exit(3)
"""


def test_a_full_disk_while_adding_names_the_store_and_leaves_it_usable(tmp_path: Path) -> None:
    path = tmp_path / "contributions.sqlite"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert f"cannot write the contribution store {path}" in done.stdout
    with ContributionStore(path) as store:
        assert store.batches() == []
        assert store.add_batch("ana", [draft()]).records == 1


@BOTH
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_ranges_split_the_store_and_pages_give_each_record_once_in_the_order_of_ids(store: ContributionStore, count: int) -> None:
    store.add_batch("ana", [draft(str(n), record_id=f"{'rRZa9'[n % 5]}{n}", parents=("zz",) if n == 4 else ()) for n in range(23)] + [draft(record_id="zz")])
    store.add_batch("ben", [draft("b", history=(("q", "a"),), tag="en-GB")])
    found = store.ranges(count)
    assert (found[0][0], found[-1][1], len(found) <= count) == ("", None, True)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert [record for low, high in found for page in store.pages(low, high, 4) for record in page] == store.records()
    assert [len(page) for page in store.pages(size=10)] == [10, 10, 5]


@BOTH
def test_an_empty_store_has_one_range_and_no_page(store: ContributionStore) -> None:
    assert store.ranges(7) == [("", None)]
    assert list(store.pages()) == []


@BOTH
def test_pages_show_one_moment_whatever_is_written_meanwhile(store: ContributionStore) -> None:
    store.add_batch("ana", [draft(str(n), record_id=f"r{n}") for n in range(6)])
    reading = store.pages(size=2)
    first = next(reading)
    store.add_batch("ben", [draft("new", record_id="r55")])
    assert [record.record for page in (first, *reading) for record in page] == [f"r{n}" for n in range(6)]
    assert len(next(iter(store.pages()))) == 7


@pytest.mark.postgres
def test_on_postgresql_erased_text_is_in_no_file_of_the_tables(postgres: Server) -> None:
    with ContributionStore(postgres.url("postgres", postgres.new_schema())) as store:
        store.add_batch("ana", [draft("Mein Geheimnis", "Nobody shall know", record_id="gone"), draft("kept text")])
        store.erase(["gone"])
        with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        on_disk = b"".join(path.read_bytes() for path in (postgres.folder / "data" / "base").rglob("*") if path.is_file())
        assert b"kept text" in on_disk
        assert b"Geheimnis" not in on_disk


@pytest.mark.postgres
def test_a_password_is_never_shown(postgres: Server) -> None:
    url = f"postgresql://guarded:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres.port}/nowhere"
    with pytest.raises(CoopError, match=r"cannot read the contribution store postgresql://guarded@127\.0\.0\.1") as caught:
        ContributionStore(url)
    assert PASSWORD not in str(caught.value)
    assert quote(PASSWORD, safe="") not in str(caught.value)
    with pytest.raises(BadInput, match="URL of the contribution store's database cannot be read") as caught:
        ContributionStore("postgresql://me:hunter2@[::1/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_a_server_that_restarts_between_two_acts_loses_nothing(postgres: Server) -> None:
    with ContributionStore(postgres.url("postgres", postgres.new_schema())) as store:
        store.add_batch("ana", [draft("a")])
        postgres.stop("immediate")
        with pytest.raises(CoopError, match="cannot write the contribution store"):
            store.add_batch("ana", [draft("b")])
        postgres.start()
        store.add_batch("ana", [draft("b")])
        assert sorted(record.inputs for record in store.records()) == ["a", "b"]


@pytest.mark.postgres
def test_a_writer_waits_for_another_and_then_says_so(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_pipeline.database.WAIT_S", 0.2)
    schema = postgres.new_schema()
    with ContributionStore(postgres.url("postgres", schema)) as store, psycopg.connect(postgres.conninfo("postgres", schema)) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({0x73746F72})")
        with pytest.raises(CoopError, match="lock timeout"):
            store.add_batch("ana", [draft()])
        other.rollback()
        assert store.add_batch("ana", [draft()]).records == 1


@pytest.mark.postgres
def test_a_server_that_does_not_write_to_disk_before_it_answers_keeps_no_store(postgres: Server) -> None:
    schema = postgres.new_schema()
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as owner:
        try:
            owner.execute("ALTER SYSTEM SET fsync = off")
            owner.execute("SELECT pg_reload_conf()")
            while owner.execute("SHOW fsync").fetchone() != ("off",):
                pass
            with pytest.raises(BadInput, match="fsync"):
                ContributionStore(postgres.url("postgres", schema))
        finally:
            owner.execute("ALTER SYSTEM RESET fsync")
            owner.execute("SELECT pg_reload_conf()")
            while owner.execute("SHOW fsync").fetchone() != ("on",):
                pass
