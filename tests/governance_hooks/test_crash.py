"""Processes that append and export are killed at random moments: what was acknowledged stays, and nothing forks."""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from governance_hooks import merkle
from governance_hooks.audit import audit
from governance_hooks.cooperative import Cooperative
from governance_hooks.export import export
from governance_hooks.memory import Memory
from governance_hooks.statement import parse, read
from governance_hooks.tiles import bundle, read_export, unbundle
from tests.postgres import BOTH, Database
from tests.village import CONSENT, Village, found


def dice() -> random.Random:
    seed = int(os.environ.get("COOP_TEST_SEED") or secrets.randbits(32))
    print(f"COOP_TEST_SEED={seed}")
    return random.Random(seed)


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program of the tests and wait until it begins to work."""
    child = subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def lines_before_death(child: subprocess.Popen[str], lines: int, pause: float) -> list[str]:
    """Kill a child after some lines and a pause; return every line it got out."""
    assert child.stdout is not None
    out = [child.stdout.readline() for _ in range(lines)]
    time.sleep(pause)
    os.kill(child.pid, signal.SIGKILL)
    out.append(child.communicate()[0])
    return "".join(out).split("\n")[:-1]


class Watch:
    """One cooperative, what was acknowledged of it, and the checks that must hold after every crash."""

    def __init__(self, village: Village) -> None:
        self.village, self.coop = village, village.coop
        self.memory = Memory(self.coop.pin, village.root / "memory")
        self.tiles = village.root / "tiles"
        self.acknowledged = [statement.id for statement in map(parse, self.coop.log.entries())]
        self.look()

    def more(self, count: int) -> tuple[Path, list[str]]:
        """Write a bundle of entries to append; return it with their ids."""
        entries = [self.village.entry("coop.consent/v1", CONSENT, self.village.members[i % 5]) for i in range(count)]
        (self.village.root / "bundle").write_bytes(bundle(entries))
        return self.village.root / "bundle", [read(data)[0].id for data in entries]

    def look(self, given: list[str] | None = None, printed: list[str] | None = None) -> None:
        """Require that the log is what was acknowledged before, then all of `printed`, and no more than `given`, in that order."""
        with self.coop.log.exclusive():  # a server goes on for a moment with what a dead client had sent
            pass
        self.coop.refresh()  # every signature and every rule
        ids = [read(data)[0].id for data in self.coop.log.entries()]
        before, given, acks = len(self.acknowledged), given or [], [line for line in printed or [] if line.startswith("sha256:")]
        assert acks == given[: len(acks)]
        assert ids[:before] == self.acknowledged
        assert ids[before:] == given[: len(ids) - before]
        assert len(ids) - before in (len(acks), len(acks) + 1)  # the last one may be durable and its answer lost
        self.acknowledged = ids
        known, note, key = self.memory.load(), self.coop.log.checkpoint(), self.coop.register.log_key
        self.memory.check(known, note, key, self.coop.log.root)
        self.memory.remember(note)
        if (self.tiles / "checkpoint").is_file():
            seen = read_export(self.tiles)
            assert seen.verify_tiles() == self.coop.log.root(seen.size)


def kill_an_appender(watch: Watch, chance: random.Random) -> None:
    path, ids = watch.more(30)
    child = start("tests.appender", watch.village.root, path)
    watch.look(ids, lines_before_death(child, chance.randrange(25), chance.random() * 0.005))


def kill_an_exporter(watch: Watch, chance: random.Random) -> bool:
    """Return whether the export was killed before it had come to its end."""
    path, ids = watch.more(chance.choice([3, 600]))
    watch.coop.append_all(unbundle(path.read_bytes()))
    watch.acknowledged += ids
    child = start("tests.exporter", watch.village.root, watch.tiles)
    printed = lines_before_death(child, chance.randrange(4), chance.random() * 0.004)
    watch.look()
    return "done" not in printed


def crash(folder: Path, moments: int, database: Database) -> int:
    """Kill so many children; return how many exports were cut off in the middle."""
    chance, cut_off = dice(), 0
    for round_ in range(0, moments, 20):  # a new log now and then: every child reads all of it
        keys, operator = found(folder / f"village-{round_}", log=database.url(f"village-{round_}"))
        with Cooperative.open(folder / f"village-{round_}") as coop:
            watch = Watch(Village(folder / f"village-{round_}", coop, keys, operator))
            for moment in range(round_, min(round_ + 20, moments)):
                if moment % 2:
                    cut_off += kill_an_exporter(watch, chance)
                else:
                    kill_an_appender(watch, chance)
            watch.village.consent(watch.village.members[0])
            export(coop.log, watch.tiles)
            assert read_export(watch.tiles).verify(coop.pin).size == coop.register.size
            assert not list(watch.tiles.rglob(".tmp-*"))
            coop.proof().replay(coop.pin)
    return cut_off


@BOTH
def test_killed_at_ten_moments_nothing_acknowledged_is_lost_and_nothing_forks(tmp_path: Path, database: Database) -> None:
    crash(tmp_path, 10, database)


@pytest.mark.slow
def test_killed_at_two_hundred_moments_nothing_acknowledged_is_lost_and_nothing_forks(tmp_path: Path, database: Database) -> None:
    assert crash(tmp_path, 200, database) >= 10


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_when_the_server_crashes_nothing_acknowledged_is_lost_and_the_next_append_goes_on(village: Village, database: Database) -> None:
    assert database.server
    watch, chance = Watch(village), dice()
    path, ids = watch.more(500)
    child = start("tests.appender", village.root, path)
    assert child.stdout is not None
    printed = [child.stdout.readline() for _ in range(chance.randrange(5, 40))]
    try:
        database.server.stop("immediate")
        printed += child.communicate()[0].splitlines(keepends=True)
    finally:
        database.server.start()
    assert child.returncode != 0
    watch.look(ids, [line.strip() for line in printed])
    village.consent(village.members[0])


@BOTH
def test_two_processes_that_append_at_once_lose_nothing_and_agree_on_one_order(village: Village) -> None:
    watch, given, children = Watch(village), [], []
    for name in ("one", "two"):
        path, ids = watch.more(60)
        given.append(ids)
        children.append(path.rename(village.root / name))
    running = [start("tests.appender", village.root, path) for path in children]
    printed = [child.communicate()[0].split() for child in running]
    assert printed == [[*ids, "done"] for ids in given]
    village.coop.refresh()
    order = [read(data)[0].id for data in village.coop.log.entries(1)]
    assert sorted(order) == sorted(given[0] + given[1])
    for ids in given:
        assert [known for known in order if known in set(ids)] == ids
    assert len(set("".join("1" if known in set(given[0]) else "2" for known in order[40:80]))) == 2  # they did take turns
    assert [size for size, _ in village.coop.log.checkpoints()] == list(range(1, 122))
    assert village.coop.log.root() == merkle.root([merkle.leaf_hash(data) for data in village.coop.log.entries()])
    assert audit(village.root).passed


FULL = """
import resource, sys
from pathlib import Path
from governance_hooks import merkle
from governance_hooks.audit import audit
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.export import export
from governance_hooks.tiles import unbundle

def attempt(act):
    try:
        act()
        print("done")
    except CoopError as error:
        print(type(error).__name__, error.what, error.next, sep=" | ")

root = Path(sys.argv[1])
one, two = unbundle((root / "bundle").read_bytes())
with Cooperative.open(root) as coop:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # no file grows beyond a page, as on a full disk
    for act in (lambda: coop.append(one), lambda: coop.append_all([one, two]), lambda: export(coop.log, root / "tiles")):
        attempt(act)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for act in (lambda: coop.append(one), lambda: export(coop.log, root / "tiles"), lambda: coop.append(two)):
        attempt(act)
"""


def test_a_full_disk_refuses_appends_and_exports_loses_nothing_and_all_goes_on_when_there_is_space(village: Village) -> None:
    village.coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(300)])
    watch = Watch(village)
    _, ids = watch.more(2)
    export(village.coop.log, watch.tiles)
    village.coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(300)])
    watch = Watch(village)
    done = subprocess.run([sys.executable, "-c", FULL, village.root], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    *refused, one, exported, two = done.stdout.splitlines()
    assert (one, exported, two) == ("done", "done", "done")
    assert len(refused) == 3
    for line, what in zip(refused, ("cannot write the log", "cannot write the log", "cannot write"), strict=True):
        assert line.startswith("CoopError | " + what), line
        assert "free space" in line
        assert "nothing was" in line
    watch.look(ids, ids)
    assert read_export(watch.tiles).verify_tiles() == village.coop.log.root(len(watch.acknowledged) - 1)
