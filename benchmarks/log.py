"""The log at the size of a large cooperative: appends, proofs and group commit beside bare work in the same run.

python benchmarks/log.py [ENTRIES]     1,000,000 unless given; needs about 2 GB of disk in TMPDIR, and PostgreSQL's initdb for its rows
"""

from __future__ import annotations

import base64
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.engine import URL, make_url

from governance_hooks.audit import audit
from governance_hooks.cooperative import Cooperative
from governance_hooks.export import export
from governance_hooks.log import Log
from governance_hooks.proof import read_proof
from governance_hooks.tiles import read_export
from governance_hooks.vouching import cores
from governance_hooks.writer import Writer
from tests.postgres import Server, programs
from tests.village import CONSENT, Village, found

ROOT = Path(__file__).parent.parent
BATCH, SMALL, LARGE = 10_000, 200, 900
"""Entries of a batch; bytes of an entry: a small one, and one as long as a signed ballot."""
Insert = Callable[[int, list[bytes]], object]


def note(size: int, root: bytes) -> str:
    """A checkpoint as long as a real one."""
    return f"log.example\n{size}\n{base64.b64encode(root).decode()}\n\n".ljust(350, "x")


def once(function: Callable[[], object]) -> float:
    return seconds(function, repeat=1)


def entries(start: int, count: int, width: int) -> list[bytes]:
    return [b"%09d" % i + b"x" * (width - 9) for i in range(start, start + count)]


@contextmanager
def bare_sqlite(path: Path) -> Iterator[Insert]:
    """Nothing but INSERT, with the pragmas of the log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("CREATE TABLE entry(position INTEGER PRIMARY KEY, data BLOB)")

        def insert(start: int, batch: list[bytes]) -> None:
            if len(batch) == 1:
                raw.execute("INSERT INTO entry VALUES(?, ?)", (start, batch[0]))
                return
            raw.execute("BEGIN")
            raw.executemany("INSERT INTO entry VALUES(?, ?)", enumerate(batch, start=start))
            raw.execute("COMMIT")

        yield insert


@contextmanager
def bare_postgres(conninfo: str) -> Iterator[Insert]:
    with psycopg.connect(conninfo, autocommit=True) as raw:
        raw.execute("CREATE TABLE entry(position BIGINT PRIMARY KEY, data BYTEA NOT NULL)")

        def insert(start: int, batch: list[bytes]) -> None:
            if len(batch) == 1:
                raw.execute("INSERT INTO entry VALUES(%s, %s)", (start, batch[0]))
                return
            with raw.cursor().copy("COPY entry (position, data) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "bytea"])
                for row in enumerate(batch, start=start):
                    copy.write_row(row)

        yield insert


def appends(log: Log, insert: Insert, total: int) -> dict[str, Any]:
    """Fill both to `total` in batches, then append more batches and single entries, by turns, so that a busy disk slows both alike."""
    size, rows = 0, dict[str, Any]()

    def turn(batch: list[bytes]) -> tuple[float, float]:
        nonlocal size
        start, size = size, size + len(batch)
        return once(lambda: insert(start, batch)), once(lambda: log.append(batch, expected_size=start, note=note))

    def rates(times: list[tuple[float, float]]) -> dict[str, float]:
        bare, ours = zip(*times, strict=True)
        return {
            "bare_entries_per_s_median": round(BATCH / statistics.median(bare)),
            "entries_per_s_median": round(BATCH / statistics.median(ours)),
            "entries_per_s_overall": round(BATCH * len(ours) / sum(ours)),
            "ratio_of_sums": round(sum(ours) / sum(bare), 2),
        }

    rows[f"fill_with_{SMALL}_bytes"] = rates([turn(entries(size, BATCH, SMALL)) for _ in range(total // BATCH)])
    rows[f"then_batches_of_{LARGE}_bytes"] = rates([turn(entries(size, BATCH, LARGE)) for _ in range(5)])
    single = [turn(entries(size, 1, LARGE)) for _ in range(600)]
    bare, ours = zip(*single, strict=True)
    rows["then_one_by_one"] = {
        "bare_insert_ms_median": round(statistics.median(bare) * 1e3, 3),
        "append_ms_median": round(statistics.median(ours) * 1e3, 3),
        "ratio_of_medians": round(statistics.median(ours) / statistics.median(bare), 2),
        "ratio_of_sums": round(sum(ours) / sum(bare), 2),
    }
    return {"entries": size} | rows


def spread(times: list[float]) -> dict[str, float]:
    """Milliseconds: median, 99th percentile and worst."""
    ordered = sorted(times)
    return {
        "median_ms": round(statistics.median(ordered) * 1e3, 3),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 3),
        "worst_ms": round(ordered[-1] * 1e3, 3),
    }


def proofs(log: Log, count: int = 1000) -> dict[str, Any]:
    size, chance = log.size, random.Random(1)
    inclusion = [once(lambda i=i: log.inclusion(i, size)) for i in (chance.randrange(size) for _ in range(count))]
    consistency = [once(lambda i=i: log.consistency(i, size)) for i in (chance.randrange(1, size) for _ in range(count))]
    return {"inclusion": spread(inclusion), "consistency": spread(consistency), "root": spread([once(log.root) for _ in range(count)])}


COLD = """
import sys, time
import psycopg, sqlalchemy.dialects.postgresql.psycopg
from pathlib import Path
from governance_hooks.log import Log
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
began = time.perf_counter()
with Log.open(place, read_only=True) as log:
    opened = time.perf_counter()
    log.root()
    print(time.perf_counter() - began, time.perf_counter() - opened)
"""


def cold_root(place: Path | URL) -> dict[str, float]:
    """A fresh process and connection each time, the system's page cache warm; imports not counted."""
    where = place.render_as_string(hide_password=False) if isinstance(place, URL) else str(place)
    runs = [subprocess.run([sys.executable, "-c", COLD, where], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split() for _ in range(9)]
    whole, root = zip(*((float(a) * 1e3, float(b) * 1e3) for a, b in runs), strict=True)
    return {
        "open_and_root_ms_median": round(statistics.median(whole), 2),
        "root_ms_median": round(statistics.median(root), 2),
        "root_ms_worst": round(max(root), 2),
    }


def pymerkle(folder: Path, total: int) -> dict[str, Any] | None:
    """The same questions to pymerkle's SQLite tree, where it is installed."""
    try:
        from pymerkle import SqliteTree
    except ImportError:
        return None
    fill = once(lambda: SqliteTree(str(folder / "pymerkle")).append_entries(entries(0, total, SMALL)))
    with SqliteTree(str(folder / "pymerkle")) as tree:
        chance, cold = random.Random(1), once(tree.get_state)
        inclusion = [once(lambda i=i: tree.prove_inclusion(i, total)) for i in (chance.randrange(1, total + 1) for _ in range(200))]
        consistency = [once(lambda i=i: tree.prove_consistency(i, total)) for i in (chance.randrange(1, total) for _ in range(200))]
    return {"entries_per_s": round(total / fill), "cold_root_ms": round(cold * 1e3, 1), "inclusion": spread(inclusion), "consistency": spread(consistency)}


def group_commit(root: Path, log: URL | None, count: int = 1280) -> dict[str, Any]:
    """What members wait for: signature, rules, checkpoint, durable commit; one by one, then by 1, 8 and 64 threads of one writer."""
    keys, operator = found(root, log=log)
    with Cooperative.open(root) as coop:
        village = Village(root, coop, keys, operator)

        def made(number: int) -> list[bytes]:
            return [village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(number)]

        single = [once(lambda data=data: coop.append(data)) for data in made(count // 4)]
        whole = made(count)
        rows: dict[str, Any] = {
            "append_ms_median": round(statistics.median(single) * 1e3, 3),
            "append_per_s": round(len(single) / sum(single)),
            "append_all_per_s": round(count / once(lambda: coop.append_all(whole))),
        }
        with Writer(coop) as writer:
            for threads in (1, 8, 64):
                work, before = made(count), sum(1 for _ in coop.log.checkpoints())
                with ThreadPoolExecutor(threads) as pool:
                    began = time.perf_counter()
                    waits = list(pool.map(lambda data: once(lambda: writer.append(data)), work))
                    took = time.perf_counter() - began
                groups = sum(1 for _ in coop.log.checkpoints()) - before
                rows[f"threads_{threads}"] = {"submits_per_s": round(count / took), "entries_a_commit": round(count / groups, 1), "wait": spread(waits)}
    rows["ratio_of_64_threads_to_append"] = round(rows["threads_64"]["submits_per_s"] / rows["append_per_s"], 2)
    return rows


def exports(log: Log, folder: Path) -> dict[str, float]:
    size = log.size
    whole, idle = once(lambda: export(log, folder)), once(lambda: export(log, folder))
    log.append([b"one more"], expected_size=size, note=note)
    one = once(lambda: export(log, folder))
    check = once(read_export(folder).verify_tiles)
    return {
        "entries": size,
        "whole_s": round(whole, 3),
        "nothing_new_s": round(idle, 4),
        "one_new_entry_s": round(one, 4),
        "check_every_tile_s": round(check, 3),
    }


def audits(folder: Path, size: int = 2_000) -> dict[str, float]:
    """A signed log, against nothing but as many Ed25519 checks of messages as long as an SSHSIG blob."""
    keys, operator = found(folder / "signed")
    with Cooperative.open(folder / "signed") as coop:
        village = Village(folder / "signed", coop, keys, operator)
        coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(1, size)])
        data, pin = coop.proof().dumps(), coop.pin
    key, message = Ed25519PrivateKey.generate(), b"x" * 110
    public, signature = key.public_key(), key.sign(message)
    bare = seconds(lambda: [public.verify(signature, message) for _ in range(size)], repeat=3)
    one, replay = once(lambda: audit(folder / "signed").require()), once(lambda: read_proof(data).replay(pin))
    return {"entries": size, "bare_verification_s": round(bare, 3), "audit_to_bare": round(one / bare, 2), "replay_proof_to_bare": round(replay / bare, 2)}


def on_sqlite(folder: Path, total: int) -> dict[str, Any]:
    with Log.open(folder / "log") as log, bare_sqlite(folder / "bare") as insert:
        rows = {"append": appends(log, insert, total), "proofs": proofs(log), "cold_root": cold_root(folder / "log"), "export": exports(log, folder / "tiles")}
    size = (folder / "log").stat().st_size / 2**20
    return rows | {"log_mib": round(size), "pymerkle_sqlite": pymerkle(folder, total), "group_commit": group_commit(folder / "village", None)}


def on_postgres(folder: Path, total: int) -> dict[str, Any] | None:
    if programs() is None:
        return None
    with closing(Server()) as server:
        url = make_url(server.url(server.new_database()))
        with Log.open(url) as log, bare_postgres(server.conninfo(server.new_database())) as insert:
            rows: dict[str, Any] = {"append": appends(log, insert, total), "proofs": proofs(log), "cold_root": cold_root(url)}
            (version,) = psycopg.connect(server.conninfo("postgres")).execute("SHOW server_version").fetchone() or ("",)
        return {"server": version} | rows | {"group_commit": group_commit(folder / "village-pg", make_url(server.url(server.new_database())))}


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    machine = {"cores": cores(), "load_average_at_start": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        results = machine | {"sqlite": on_sqlite(place, count), "postgresql": on_postgres(place, count), "audit": audits(place)}
    publish("log", ["cryptography", "rfc8785", "pydantic", "SQLAlchemy", "psycopg"], results)
