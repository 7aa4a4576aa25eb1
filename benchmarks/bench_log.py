"""The log: appends against bare SQLite, audits against bare signature checks, exports; ratios within one run."""

from __future__ import annotations

import base64
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.audit import Scope, audit
from governance_hooks.cooperative import Cooperative
from governance_hooks.log import Log
from governance_hooks.memory import Memory
from governance_hooks.proof import read_proof
from governance_hooks.tiles import export, read_export
from governance_hooks.vouching import cores
from tests.village import CONSENT, Village, found

BATCH = 10_000


def note(size: int, root: bytes) -> str:
    """A checkpoint as long as a real one."""
    return f"log.example\n{size}\n{base64.b64encode(root).decode()}\n\n".ljust(350, "x")


def bare_sqlite(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE entry(position INTEGER PRIMARY KEY, data BLOB)")
    return raw


def once(function: Callable[[], object]) -> float:
    return seconds(function, repeat=1)


def single_appends(folder: Path, count: int = 600) -> dict[str, float]:
    """One entry of 900 bytes a transaction, by turns, so that a busy disk slows both alike."""
    data, bare, ours = b"x" * 900, [], []
    raw = bare_sqlite(folder / "bare-single")
    with Log.open(folder / "log-single") as log:
        for i in range(count):
            bare.append(once(lambda i=i: raw.execute("INSERT INTO entry VALUES(?, ?)", (i, data))))
            ours.append(once(lambda i=i: log.append([data], expected_size=i, note=note)))
    raw.close()
    return {
        "entries": count,
        "bare_insert_ms_median": round(statistics.median(bare) * 1e3, 3),
        "append_ms_median": round(statistics.median(ours) * 1e3, 3),
        "ratio_of_medians": round(statistics.median(ours) / statistics.median(bare), 2),
        "ratio_of_sums": round(sum(ours) / sum(bare), 2),
    }


def batched_appends(folder: Path, width: int, rounds: int = 5) -> dict[str, float]:
    batch = [b"%09d" % i + b"x" * (width - 9) for i in range(BATCH)]
    raw, bare, ours = bare_sqlite(folder / f"bare-{width}"), [], []

    def insert(start: int) -> None:
        raw.execute("BEGIN")
        raw.executemany("INSERT INTO entry VALUES(?, ?)", list(enumerate(batch, start=start)))
        raw.execute("COMMIT")

    with Log.open(folder / f"log-{width}") as log:
        for i in range(rounds):
            bare.append(once(lambda i=i: insert(i * BATCH)))
            ours.append(once(lambda i=i: log.append(batch, expected_size=i * BATCH, note=note)))
    raw.close()
    return {
        "entry_bytes": width,
        "bare_entries_per_s_median": round(BATCH / statistics.median(bare)),
        "entries_per_s_median": round(BATCH / statistics.median(ours)),
        "entries_per_s_worst": round(BATCH / max(ours)),
        "ratio_of_medians": round(statistics.median(ours) / statistics.median(bare), 2),
    }


def exports(folder: Path) -> dict[str, float]:
    with Log.open(folder / "log-900") as log:
        size = log.size
        whole = once(lambda: export(log, folder / "tiles"))
        idle = once(lambda: export(log, folder / "tiles"))
        log.append([b"one more"], expected_size=size, note=note)
        one = once(lambda: export(log, folder / "tiles"))
    check = once(read_export(folder / "tiles").verify_tiles)
    return {
        "entries": size,
        "whole_s": round(whole, 3),
        "nothing_new_s": round(idle, 4),
        "one_new_entry_s": round(one, 4),
        "check_every_tile_s": round(check, 3),
    }


def signed_log(root: Path, size: int) -> Village:
    keys, operator = found(root)
    with Cooperative.open(root) as coop:
        village = Village(root, coop, keys, operator)
        for start in range(1, size, 1000):
            coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(start, min(start + 1000, size))])
    return village


def bare_verification(count: int) -> float:
    """Seconds of nothing but `count` Ed25519 checks of a message as long as an SSHSIG blob."""
    key, message = Ed25519PrivateKey.generate(), b"x" * 110
    public, signature = key.public_key(), key.sign(message)
    return seconds(lambda: [public.verify(signature, message) for _ in range(count)], repeat=3)


def peak_rss_mib(root: Path) -> float:
    code = "import sys, pathlib; from governance_hooks.audit import audit; assert audit(pathlib.Path(sys.argv[1])).passed; print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent, env=os.environ)
    return round(int(done.stdout) / 1024, 1)


def audits(folder: Path, sizes: tuple[int, ...] = (2_000, 20_000)) -> list[dict[str, float]]:
    rows = []
    for size in sizes:
        root = folder / f"village-{size}"
        village = signed_log(root, size)
        memory = Memory(village.coop.pin, folder / "memory")
        bare = bare_verification(size)
        one = once(lambda root=root, memory=memory: audit(root, memory=memory).require())
        many = once(lambda root=root: audit(root, scope=Scope(jobs=cores())).require())
        since = once(lambda root=root, memory=memory, size=size: audit(root, memory=memory, scope=Scope(since=size)).require())
        with Cooperative.open(root, read_only=True) as coop:
            data, pin = coop.proof().dumps(), coop.pin
        replay = once(lambda data=data, pin=pin: read_proof(data).replay(pin))
        rows.append(
            {
                "entries": size,
                "bare_verification_s": round(bare, 3),
                "audit_one_process_s": round(one, 3),
                "audit_all_cores_s": round(many, 3),
                "audit_since_the_newest_s": round(since, 3),
                "replay_proof_s": round(replay, 3),
                "ratio_one_process_to_bare": round(one / bare, 2),
                "ratio_all_cores_to_bare": round(many / bare, 2),
                "ratio_all_cores_to_one_process": round(many / one, 2),
                "ratio_since_to_one_process": round(since / one, 2),
                "peak_rss_mib": peak_rss_mib(root),
                "log_mib": round((root / "log.sqlite").stat().st_size / 2**20, 1),
            }
        )
    return rows


def cooperative_appends(folder: Path, count: int = 100) -> dict[str, float]:
    """What a member waits for: check, fold, sign the checkpoint, durable append."""
    keys, operator = found(folder / "single")
    with Cooperative.open(folder / "single") as coop:
        village = Village(folder / "single", coop, keys, operator)
        entries = [village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in range(2 * count)]
        single = statistics.median(once(lambda entry=entry: coop.append(entry)) for entry in entries[:count])
        batch = once(lambda: coop.append_all(entries[count:]))
    return {"append_ms_median": round(single * 1e3, 3), "append_all_of_100_ms_an_entry": round(batch / count * 1e3, 3)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        place = Path(name)
        results: dict[str, Any] = {
            "cores": cores(),
            "load_average_at_start": round(os.getloadavg()[0], 1),
            "append_one": single_appends(place),
            "append_batch_of_10000": [batched_appends(place, width) for width in (200, 900)],
            "cooperative_append": cooperative_appends(place),
            "export": exports(place),
            "audit": audits(place),
        }
        publish("log", ["cryptography", "rfc8785", "pydantic", "SQLAlchemy"], results)
