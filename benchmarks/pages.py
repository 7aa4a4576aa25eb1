"""What a page costs in processor time, beside a bare Starlette "hello" in the same run: no server, no sockets, the application called as a server calls it.

python benchmarks/pages.py [--rounds 15] [--profile PAGE]

Every round asks for "hello" and for each page, eight requests at a time, so that a busy machine slows all alike; medians of the rounds are
reported, and the least. The vote is one of 500 members, who all voted, in a log of 1,500 entries; the release is the tests' own. Ballots are
really signed, and durable when they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electorate import MEMBERS, Bench
from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

import fastapi.dependencies.utils
import fastapi.routing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from commonweights.commands.portal import open_service
from governance_hooks.cooperative import Cooperative
from portal import visit
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.settings import Settings
from portal.store.private import PrivateStore
from tests.model_card.conftest import Finished
from tests.portal.test_public import build

HERE = Settings("http://127.0.0.1:8123", "http://localhost:8123")
ENTRIES, VOTES, OPEN_S = 1000, 3, 7 * 86_400
AT_ONCE = 8
"""Requests under way at a time."""
EACH = 40
"""Requests for a page in a round."""


@dataclass(frozen=True)
class Page:
    """What is asked for."""

    app: ASGIApp
    path: str
    cookie: str = ""
    forms: Iterator[str] | None = None
    """What to hand in, each once."""

    async def ask(self) -> bytes:
        """Ask for it once, as a browser does that takes compressed pages; return what came."""
        data = next(self.forms).encode() if self.forms else b""
        headers = [("host", "127.0.0.1:8123"), ("accept-encoding", "gzip"), ("accept-language", "en"), ("cookie", self.cookie)]
        if data:
            headers += [("content-type", "application/x-www-form-urlencoded"), ("content-length", str(len(data))), ("sec-fetch-site", "same-origin")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST" if data else "GET",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers if value],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8123),
        }
        waiting, answer = [{"type": "http.request", "body": data, "more_body": False}], list[Message]()

        async def receive() -> Message:
            return waiting.pop() if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answer.append(message)

        await self.app(scope, receive, send)
        assert answer[0]["status"] in (200, 303), answer
        return b"".join(message.get("body", b"") for message in answer[1:])


async def _at_once(page: Page, count: int) -> None:
    """Ask so often, some requests at a time."""

    async def one_after_the_other() -> None:
        for _ in range(count // AT_ONCE):
            await page.ask()

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


async def cpu_ms(page: Page, count: int = EACH) -> float:
    """Return the processor time of the whole process for one request, ms."""
    began = time.process_time()
    await _at_once(page, count)
    return (time.process_time() - began) / count * 1e3


@contextmanager
def served(root: Path) -> Iterator[ASGIApp]:
    """Open a portal whose limits nobody reaches."""
    with open_service(root, HERE) as service:
        service.limits = Limits({name: type(rate)(10**9, 1) for name, rate in RATES.items()})
        yield make_app(service)


def electorate(root: Path, work: Path) -> tuple[str, str, Path]:
    """Make a village of many members; return a vote that all took part in, a signed-in member's cookie, and ballots for other votes."""
    scribe = Bench(root)
    scribe.fill(ENTRIES)
    scribe.done()
    scribe = Bench.of(root)
    members = sorted(scribe.keys)
    votes = [scribe.propose(b"open %d" % number, OPEN_S, number) for number in range(VOTES)]
    looked_at = scribe.propose(b"looked at", OPEN_S, VOTES)
    for member in members:
        scribe.ballot(member, looked_at, 1)
    scribe.done()
    (root / "private").mkdir(exist_ok=True)
    with PrivateStore(root / "private" / "portal.sqlite") as private:
        session, account, _ = private.sessions.sign_in(private.sessions.make_link("bench@example.org", "en", "/"), None)
        private.accounts.bind(account.account, members[-1])
    return looked_at, f"coop-session={session}", scribe.forms(work / "ballots", members, votes)


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@contextmanager
def opened(work: Path) -> Iterator[dict[str, Page]]:
    """Yield what is asked for, by name."""
    os.environ["XDG_STATE_HOME"] = str(work / "state")
    made = electorate(work / "village", work)
    build(work / "library", Finished.publish)
    with ExitStack() as stack:
        village, library = (stack.enter_context(served(work / name)) for name in ("village", "library"))
        with Cooperative.open(work / "library", read_only=True) as coop:
            [release] = coop.register.releases
        gc.collect()
        gc.freeze()  # as `coop portal` does
        yield pages_of(village, library, made, release)


def pages_of(village: ASGIApp, library: ASGIApp, made: tuple[str, str, Path], release: str) -> dict[str, Page]:
    """Return what is asked for, by name."""
    vote, cookie, ballots = made
    return {
        "hello": Page(Starlette(routes=[Route("/", hello)]), "/"),
        "vote": Page(village, f"/proposals/{vote}"),
        "vote_member": Page(village, f"/proposals/{vote}", cookie),
        "front": Page(village, "/"),
        "front_member": Page(village, "/", cookie),
        "log": Page(village, "/log"),
        "consent_member": Page(village, "/consent", cookie),
        "release": Page(library, f"/releases/{release}"),
        "post_ballot": Page(village, "/statements", forms=iter(ballots.read_text().splitlines())),
    }


async def measure(pages: dict[str, Page], rounds: int) -> dict[str, Any]:
    """Measure by turns."""
    taken: dict[str, list[float]] = {name: [] for name in pages}
    sizes = {name: len(await page.ask()) for name, page in pages.items()}
    for page in pages.values():  # templates and statements to the database are compiled at the first request
        await _at_once(page, EACH)
    for _ in range(rounds):
        for name, page in pages.items():
            gc.collect()
            taken[name].append(await cpu_ms(page, 20 * EACH if name == "hello" else EACH))
    return {
        name: {
            "cpu_ms_median": round(statistics.median(found), 3),
            "cpu_ms_least": round(min(found), 3),
            "ratio_to_hello_median": round(statistics.median(ours / bare for ours, bare in zip(found, taken["hello"], strict=True)), 1),
            "bytes_sent": sizes[name],
        }
        for name, found in taken.items()
    }


async def profiled(page: Page) -> None:
    """Print where the time of one page goes."""
    await _at_once(page, EACH)

    async def here(function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    for module in (visit, fastapi.routing, fastapi.dependencies.utils):  # so that one thread does all of it
        module.run_in_threadpool = here  # type: ignore[attr-defined]
    with cProfile.Profile() as watch:
        await _at_once(page, 5 * EACH)
    pstats.Stats(watch).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    asked.add_argument("--profile", metavar="PAGE", help="print where the time of one page goes, and measure nothing")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="pages-bench-") as name, opened(Path(name)) as pages:
        if given.profile:
            asyncio.run(profiled(pages[given.profile]))
        else:
            results = {"cores": os.cpu_count(), "load_average_at_start": round(os.getloadavg()[0], 1), "members": MEMBERS, "rounds": given.rounds}
            results["pages"] = asyncio.run(measure(pages, given.rounds))
            results["load_average_at_end"] = round(os.getloadavg()[0], 1)
            publish("pages", ["starlette", "fastapi", "jinja2", "babel", "SQLAlchemy", "PyNaCl", "cryptography"], results)
