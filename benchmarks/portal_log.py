"""A log of a given length with open votes and signed ballots for the portal's benchmark, and whether each that was acknowledged is in the log afterwards."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from electorate import Bench

sys.path.insert(0, str(Path(__file__).parent.parent))

from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Paths
from governance_hooks.log import Log
from portal.store.private import PrivateStore

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


def size_of(root: Path) -> int:
    with Log.open(Paths(root).log, read_only=True) as log:
        return log.size
