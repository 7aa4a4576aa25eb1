"""The servers of the portal's benchmark, each in a process of its own, and wrk in front of them: the portal, a bare "hello", bare durable inserts."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from commonweights.commands.portal import open_service, serve
from portal.limits import RATES, Limits
from portal.settings import Settings

ROOT = Path(__file__).parent.parent


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
        command = [sys.executable, __file__, *arguments, "--port", str(self.port)]
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


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("kind")
    asked.add_argument("place")
    asked.add_argument("--port", type=int)
    given = asked.parse_args()
    if given.kind == "portal":
        main_server(given.place, given.port)
    else:
        peer_server(given.kind, given.place, given.port)
