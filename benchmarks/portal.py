"""The portal under load, beside a bare Starlette "hello" and bare durable inserts in the same run: pages, ballots, and logs of different lengths.

python benchmarks/portal.py [--entries 1000 10000 100000 1000000] [--seconds 4] [--cache FOLDER]     needs wrk, and PostgreSQL's initdb for its rows

Every ballot is really signed and sent once; every one that was acknowledged is looked for in the log afterwards. Server, wrk and database
share the machine's cores, so rates are floors; processor time per request is what can be carried elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from electorate import MEMBERS, Bench
from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy.engine import make_url

from commonweights.commands.portal import open_service, serve
from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.log import Log
from portal.limits import RATES, Limits
from portal.settings import Settings
from portal.store.private import PrivateStore
from tests.postgres import Server, programs

ROOT = Path(__file__).parent.parent
PROPOSALS = 3
"""Open votes that the ballots of one measurement are spread over."""
OPEN_S = 7 * 86_400
MEASURED = ("16", "200", "kill", "passkey")
"""Measurements that hand in ballots, each for votes of its own."""


def base(entries: int, cache: Path) -> tuple[Path, float | None]:
    """Return a folder whose log has so many entries, made at the first time; and the seconds that took, or None."""
    folder = cache / f"log-{entries}"
    if (folder / "bench.json").is_file():
        return folder, None
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    scribe = Bench(folder)
    scribe.fill(entries)
    assert scribe.done() == entries, scribe.size
    return folder, time.perf_counter() - began


# Servers


def main_server(folder: str, port: int) -> None:
    """What `coop portal` runs, with the rate limits out of the way: one address sends all of it."""
    with open_service(Path(folder), Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"), jobs=0) as service:
        service.limits = Limits({name: type(rate)(10**9, 1) for name, rate in RATES.items()})
        serve(service, "127.0.0.1", port)


def peer_server(kind: str, place: str, port: int) -> None:
    """The peers: "hello", and one durable INSERT for each request, with nothing looked at."""
    import psycopg
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    lock, numbers = threading.Lock(), iter(range(10**9))
    if kind == "sqlite":
        raw: Any = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            raw.execute(f"PRAGMA {pragma}")
        raw.execute("CREATE TABLE entry(position INTEGER PRIMARY KEY, data BLOB)")
        sql = "INSERT INTO entry VALUES(?, ?)"
    elif kind == "postgresql":
        raw = psycopg.connect(place, autocommit=True)
        raw.execute("CREATE TABLE entry(position BIGINT PRIMARY KEY, data BYTEA NOT NULL)")
        sql = "INSERT INTO entry VALUES(%s, %s)"

    def insert(data: bytes) -> None:
        with lock:
            raw.execute(sql, (next(numbers), data))

    async def hello(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def keep(request: Request) -> PlainTextResponse:
        await run_in_threadpool(insert, await request.body())
        return PlainTextResponse("kept", 201)

    app = Starlette(routes=[Route("/", hello), Route("/statements", keep, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, server_header=False, access_log=False, limit_concurrency=1000, log_level="warning")


class Running:
    """A server in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        command = [sys.executable, __file__, "--serve", *arguments, "--port", str(self.port)]
        began = time.perf_counter()
        self.process = subprocess.Popen(command, cwd=ROOT)
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=60):
                    break
            except OSError:
                assert self.process.poll() is None, "the server did not start"
                time.sleep(0.02)
        self.start_s = time.perf_counter() - began

    def status(self, name: str) -> float:
        """A size of the process, MiB."""
        line = next(line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(60)


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    server = Running(*arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def wrk(server: Running, path: str, connections: int, seconds: float, *headers: str, ballots: Path | None = None, acks: Path | None = None) -> dict[str, Any]:
    """Ask for a page, or hand in ballots, over so many connections at once."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(ROOT / "benchmarks" / "portal.lua")]
    for header in headers:
        command += ["-H", header]
    environment = os.environ | ({"BALLOTS": str(ballots), "ACKS": str(acks)} if ballots else {})
    before = server.cpu_s()
    done = subprocess.run([*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True, env=environment)
    used = server.cpu_s() - before
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("JSON "))[5:])
    row = {
        "requests_per_s": round(told["requests"] / told["wall_us"] * 1e6),
        "median_ms": round(told["median_ms"], 1),
        "p99_ms": round(told["p99_ms"], 1),
        "worst_ms": round(told["worst_ms"], 1),
        "cpu_ms_per_request": round(used / max(1, told["requests"]) * 1e3, 3),
        "requests": told["requests"],
    }
    row |= {name: told[name] for name in ("not_2xx_or_3xx", "broken") if told[name]}
    print(f"  {path[:40]} c={connections}: {row}", file=sys.stderr, flush=True)
    return row


# What the log has afterwards


def acknowledged(acks: Path) -> list[str]:
    """The statements of the answers that said yes."""
    lines = [line.split() for line in acks.read_text().splitlines()]
    return [where.rpartition("/")[2] for status, where in lines if status == "303"]


def counted(root: Path, acks: Path, before: int) -> dict[str, Any]:
    """Look for every acknowledged ballot in the whole log."""
    said = acknowledged(acks)
    wanted, found = set(said), Counter[str]()
    with Log.open(Paths(root).log, read_only=True) as log:
        size = log.size
        for data in log.entries():
            name = sha256(data[len(b'{"body":') : data.rindex(b',"signatures":[')])
            if name in wanted:
                found[name] += 1
    result = {"acknowledged": len(said), "entries_appended": size - before, "lost": sum(found[one] == 0 for one in wanted)}
    result |= {"double": sum(count > 1 for count in found.values()), "acknowledged_twice": len(said) - len(wanted)}
    assert not result["lost"], result
    assert not result["double"], result
    assert not result["acknowledged_twice"], result
    return result


def opened(root: Path, work: Path, *, passkeys: bool = False) -> tuple[dict[str, Path], str, str]:
    """Open votes on a log, sign ballots for them; return the ballots by measurement, a vote to look at, and a signed-in member's cookie."""
    scribe = Bench.of(root)
    people = sorted(scribe.keys)
    holders = scribe.admit_passkeys() if passkeys else []
    votes = {name: [scribe.propose(f"{name} {number}".encode(), OPEN_S, by) for number in range(PROPOSALS)] for by, name in enumerate(MEASURED)}
    looked_at = scribe.propose(b"looked at", OPEN_S, len(MEASURED))
    for member in people:
        scribe.ballot(member, looked_at, 1)
    scribe.done()
    files = {name: scribe.forms(work / f"ballots-{name}", people, votes[name]) for name in ("16", "200")}
    if passkeys:
        files["kill"] = scribe.forms(work / "ballots-kill", people, votes["kill"])
        files["passkey"] = scribe.forms(work / "ballots-passkey", holders, votes["passkey"])
    (root / "private").mkdir(exist_ok=True)
    with PrivateStore(root / "private" / "portal.sqlite") as private:
        session, account, _ = private.sessions.sign_in(private.sessions.make_link("bench@example.org", "en", "/"), None)
        private.accounts.bind(account.account, people[-1])
    return files, looked_at, f"Cookie: coop-session={session}"


def killed(root: Path, ballots: Path, work: Path) -> dict[str, Any]:
    """SIGKILL while 200 connections send ballots."""
    acks, before = work / "acks-kill", _size(root)
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


def _size(root: Path) -> int:
    with Log.open(Paths(root).log, read_only=True) as log:
        return log.size


def at_length(root: Path, work: Path, seconds: float, *, passkeys: bool = False) -> dict[str, Any]:
    """Measure a portal on a log of one length."""
    work.mkdir()
    files, looked_at, cookie = opened(root, work, passkeys=passkeys)
    before, acks = _size(root), work / "acks"
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
    asked.add_argument("--serve", nargs=2, metavar=("KIND", "PLACE"), help=argparse.SUPPRESS)
    asked.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.serve and given.serve[0] == "portal":
        main_server(given.serve[1], given.port)
    elif given.serve:
        peer_server(*given.serve, given.port)
    else:
        run(given.entries, given.seconds, given.cache)
