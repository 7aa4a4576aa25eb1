"""Governance: signature checks against ssh-keygen, durable appends against bare SQLite, and replay of proofs by size."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.log import Log
from governance_hooks.proof import read_proof
from governance_hooks.sshsig import NAMESPACE, generate_key, verify
from tests.village import CONSENT, Village, found


def signatures(folder: Path) -> dict[str, float]:
    key, message = generate_key(folder / "id"), b'{"type":"coop.ballot/v1"}' * 20
    armored = key.sign(message)
    (folder / "sig").write_text(armored)
    (folder / "allowed").write_text(f"m {key.public.line}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "allowed"), "-I", "m", "-n", NAMESPACE, "-s", str(folder / "sig")]
    ours = seconds(lambda: [verify(armored, message) for _ in range(500)]) / 500
    theirs = seconds(lambda: [subprocess.run(command, input=message, capture_output=True, check=True) for _ in range(20)]) / 20
    return {"ours_ms": round(ours * 1e3, 4), "ssh_keygen_process_ms": round(theirs * 1e3, 3), "ratio_to_ssh_keygen": round(ours / theirs, 4)}


def appends(folder: Path) -> dict[str, float]:
    data, count = b"x" * 900, 200

    def ours() -> None:
        path = folder / f"log-{time.monotonic_ns()}"
        with Log.open(path) as log:
            for size in range(count):
                log.append([data], expected_size=size, note=lambda n, root: root.hex())

    def bare() -> None:
        with sqlite3.connect(folder / f"bare-{time.monotonic_ns()}", isolation_level=None) as raw:
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=FULL")
            raw.execute("CREATE TABLE entry(i INTEGER PRIMARY KEY, data BLOB)")
            for i in range(count):
                raw.execute("INSERT INTO entry VALUES(?, ?)", (i, data))

    mine, theirs = seconds(ours, repeat=3) / count, seconds(bare, repeat=3) / count
    return {"durable_append_ms": round(mine * 1e3, 3), "bare_sqlite_insert_ms": round(theirs * 1e3, 3), "ratio_to_bare_sqlite": round(mine / theirs, 2)}


def replays(folder: Path) -> list[dict[str, float]]:
    keys, operator = found(folder / "village")
    rows = []
    with Cooperative.open(folder / "village") as coop:
        village = Village(folder / "village", coop, keys, operator)
        proposal = village.propose("run", sha256(b"plan")).id
        for size in (100, 1000, 4000):
            while coop.register.size < size:
                member = village.members[coop.register.size % 5]
                if coop.register.size % 2:
                    village.ballot(member, proposal, sequence=coop.register.size)
                else:
                    village.say("coop.consent/v1", CONSENT, member)
            data = coop.proof().dumps()
            took = seconds(lambda data=data: read_proof(data).replay(coop.pin), repeat=3)
            rows.append({"entries": size, "proof_bytes": len(data), "replay_s": round(took, 3), "entries_per_s": round(size / took)})
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(
            "governance",
            ["cryptography", "rfc8785", "pydantic", "SQLAlchemy"],
            {"verify_signature": signatures(folder), "append": appends(folder), "replay_proof": replays(folder)},
        )
