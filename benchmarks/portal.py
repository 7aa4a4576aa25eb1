"""The portal under load, beside a bare Starlette "hello" and bare durable inserts in the same run: pages, ballots, and logs of different lengths.

python benchmarks/portal.py [--entries 1000 10000 100000 1000000] [--seconds 4] [--cache FOLDER]     needs wrk, and PostgreSQL's initdb for its rows

Every ballot is really signed and sent once; every one that was acknowledged is looked for in the log afterwards. Server, wrk and database
share the machine's cores, so rates are floors; processor time per request is what can be carried elsewhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from electorate import MEMBERS, Bench
from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

from portal_log import acknowledged, base, counted, opened, size_of
from portal_servers import ROOT, running, wrk
from sqlalchemy.engine import make_url

from governance_hooks.cooperative import Cooperative
from tests.postgres import Server, programs


def killed(root: Path, ballots: Path, work: Path) -> dict[str, Any]:
    """SIGKILL while 200 connections send ballots."""
    acks, before = work / "acks-kill", size_of(root)
    with running("portal", str(root)) as server:
        environment = os.environ | {"BALLOTS": str(ballots), "ACKS": str(acks)}
        command = ["wrk", "-t1", "-c200", "-d60s", "-s", str(ROOT / "benchmarks" / "portal.lua"), f"http://127.0.0.1:{server.port}/statements"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as senders:
            until = time.monotonic() + 50
            while time.monotonic() < until and (not acks.is_file() or acks.stat().st_size < 90 * 200):  # some 200 answers
                time.sleep(0.01)
            server.stop(signal.SIGKILL)
            time.sleep(0.2)  # what was sent before is still read
            senders.terminate()
    result = counted(root, acks, before)
    assert result["acknowledged"], result
    with Cooperative.open(root, read_only=True) as coop:  # and what is there is a log
        assert all(one in coop.register.seen for one in acknowledged(acks))
    return result


def at_length(root: Path, work: Path, seconds: float, *, passkeys: bool = False) -> dict[str, Any]:
    """Measure a portal on a log of one length."""
    work.mkdir()
    files, looked_at, cookie = opened(root, work, passkeys=passkeys)
    before, acks = size_of(root), work / "acks"
    rows: dict[str, Any] = {"entries": before}
    with running("portal", str(root)) as server:
        rows |= {"start_s": round(server.start_s, 1), "start_cpu_s": round(server.cpu_s(), 1), "rss_mib": round(server.status("VmRSS"))}
        rows["peak_rss_mib"] = round(server.status("VmHWM"))
        for path, *headers in ((f"/proposals/{looked_at}",), ("/", cookie), ("/statements",)):  # templates and queries are compiled at the first request
            wrk(server, path, 1, 2, *headers)
        for connections in (16, 200):
            rows[f"get_proposal_c{connections}"] = wrk(server, f"/proposals/{looked_at}", connections, seconds)
        rows["get_home_signed_in_c16"] = wrk(server, "/", 16, seconds, cookie)
        for connections in (16, 200):
            rows[f"post_ballot_c{connections}"] = wrk(server, "/statements", connections, seconds, ballots=files[str(connections)], acks=acks)
        if passkeys:
            rows["post_passkey_ballot_c16"] = wrk(server, "/statements", 16, seconds, ballots=files["passkey"], acks=acks)
        rows["rss_after_mib"] = round(server.status("VmRSS"))
    rows["ballots"] = counted(root, acks, before)
    if passkeys:
        rows["killed_under_load"] = killed(root, files["kill"], work)
    return rows


def peers(work: Path, seconds: float, server: Server | None) -> dict[str, Any]:
    """The same connections against nothing but the framework, and nothing but a durable insert behind it."""
    work.mkdir()
    forms = work / "forms"
    forms.write_text(("x" * 1450 + "\n") * 60_000)  # as long as a ballot's form
    rows: dict[str, Any] = {}
    with running("hello", "-") as hello:
        rows |= {f"hello_c{connections}": wrk(hello, "/", connections, seconds) for connections in (16, 200)}
    places = [("sqlite", str(work / "bare.sqlite"))] + ([("postgresql", server.conninfo(server.new_database()))] if server else [])
    for kind, place in places:
        with running(kind, place) as bare:
            for connections in (16, 200):
                rows[f"insert_{kind}_c{connections}"] = wrk(bare, "/statements", connections, seconds, ballots=forms, acks=work / "none")
    return rows


def inserts(work: Path, server: Server | None, count: int = 1000) -> dict[str, float]:
    """One durable INSERT after the other by the driver alone, no server in front: rows a second."""
    import psycopg

    data, rows = b"x" * 900, dict[str, float]()
    with closing(sqlite3.connect(work / "alone.sqlite", isolation_level=None)) as raw:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            raw.execute(f"PRAGMA {pragma}")
        raw.execute("CREATE TABLE entry(position INTEGER PRIMARY KEY, data BLOB)")
        began = time.perf_counter()
        for number in range(count):
            raw.execute("INSERT INTO entry VALUES(?, ?)", (number, data))
        rows["sqlite_rows_per_s"] = round(count / (time.perf_counter() - began))
    if server:
        with psycopg.connect(server.conninfo(server.new_database()), autocommit=True) as other:
            other.execute("CREATE TABLE entry(position BIGINT PRIMARY KEY, data BYTEA NOT NULL)")
            began = time.perf_counter()
            for number in range(count):
                other.execute("INSERT INTO entry VALUES(%s, %s)", (number, data))
            rows["postgresql_rows_per_s"] = round(count / (time.perf_counter() - began))
    return rows


def ratios(rows: dict[str, Any], bare: dict[str, Any], database: str) -> dict[str, float]:
    """Throughput beside the peers', and processor time."""
    found: dict[str, float] = {}
    for connections in (16, 200):
        ours, hello, insert = rows[f"get_proposal_c{connections}"], bare[f"hello_c{connections}"], bare.get(f"insert_{database}_c{connections}")
        found[f"get_proposal_to_hello_c{connections}"] = round(ours["requests_per_s"] / hello["requests_per_s"], 3)
        if insert:
            found[f"post_ballot_to_insert_c{connections}"] = round(rows[f"post_ballot_c{connections}"]["requests_per_s"] / insert["requests_per_s"], 3)
    return found


def lengths(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the 99th percentile and the cost of a request at each length compare with those at the shortest."""
    names = [name for name in rows[0] if name.startswith(("get_", "post_ballot"))]
    return {
        name: {f"{what}_by_length": [row[name][what] for row in rows] for what in ("p99_ms", "cpu_ms_per_request")}
        | {"p99_longest_to_shortest": round(rows[-1][name]["p99_ms"] / max(0.1, rows[0][name]["p99_ms"]), 2)}
        for name in names
    }


def run(entries: list[int], seconds: float, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"cores": os.cpu_count(), "load_average_at_start": round(os.getloadavg()[0], 1), "members": MEMBERS}
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as name, ExitStack() as stack:
        work = Path(name)
        os.environ["XDG_STATE_HOME"] = str(work / "state")  # what this machine remembers of a log, which is used again here
        server = stack.enter_context(closing(Server())) if programs() else None
        results["bare"] = peers(work / "peers", seconds, server)
        results["bare_inserts_without_a_server"] = inserts(work, server)
        results["sqlite"], middle = [], sorted(entries)[len(entries) // 2 - 1 if len(entries) > 1 else 0]
        for count in sorted(entries):
            kept, took = base(count, cache)
            root = work / f"coop-{count}"
            shutil.copytree(kept, root)
            rows = at_length(root, work / f"work-{count}", seconds, passkeys=count == middle)
            results["sqlite"].append(rows | ({"made_in_s": round(took, 1)} if took else {}))
            shutil.rmtree(root)
        results["by_length"] = lengths(results["sqlite"])
        results["ratios_sqlite"] = ratios(results["sqlite"][0], results["bare"], "sqlite")
        if server:
            root = work / "coop-postgresql"
            scribe = Bench(root, log=make_url(server.url(server.new_database())))
            scribe.fill(1000)
            scribe.done()
            results["postgresql"] = at_length(root, work / "work-postgresql", seconds)
            results["ratios_postgresql"] = ratios(results["postgresql"], results["bare"], "postgresql")
    results["load_average_at_end"] = round(os.getloadavg()[0], 1)
    results["wrk"] = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split(" [")[0]
    publish("portal", ["starlette", "fastapi", "uvicorn", "jinja2", "SQLAlchemy", "psycopg", "PyNaCl", "cryptography"], results)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--entries", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    asked.add_argument("--seconds", type=float, default=4)
    asked.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonweights-portal-logs", help="where long logs are kept for the next time"
    )
    given = asked.parse_args()
    run(given.entries, given.seconds, given.cache)
