"""Large votes: auditing a log of ballots and checking the proof of an approval, beside nothing but the signatures in them.

Bare verification is `cryptography`'s Ed25519 verify of exactly the same signatures over exactly the same bytes, in the same
number of processes, with one key object loaded per distinct key beforehand. Each measure alternates with it, in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

from ballots import Builder, village
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance_hooks.checkpoint import NoteVerifier, _cosigned, read_body
from governance_hooks.cooperative import Paths
from governance_hooks.log import Log
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.ssh.wire import decode_base64
from governance_hooks.sshsig import NAMESPACE, claim, generate_key, verify
from governance_hooks.statement import read
from governance_hooks.tally import count
from governance_hooks.vouching import cores
from tests.village import RULES

ROOT = Path(__file__).parent.parent

Triple = tuple[bytes, bytes, bytes]


def triples(root: Path) -> list[Triple]:
    """Return point, signature and signed bytes of every signature in a log: of its entries, and of its checkpoints."""
    register, made = Register(), list[Triple]()
    with Log.open(Paths(root).log, read_only=True) as log:
        for data in log.entries():
            if not made:
                register.apply(data)
            made += [one.equation for one in read(data)[1]]
        for _, note in log.checkpoints():
            made += _of_checkpoint(note, register.log_key)
    return made


def _of_checkpoint(note: str, key: NoteVerifier) -> list[Triple]:
    signed, cosigned = (decode_base64(line.split(" ")[2]) for line in note.split("\n")[4:6])
    body = read_body(note).body
    return [(key.raw, signed[4:], body), (key.raw, cosigned[12:], _cosigned(body, int.from_bytes(cosigned[4:12])))]


def prepared(part: list[Triple]) -> list[tuple[Ed25519PublicKey, bytes, bytes]]:
    keys = {point: Ed25519PublicKey.from_public_bytes(point) for point, _, _ in part}
    return [(keys[point], signature, signed) for point, signature, signed in part]


def bare(part: list[tuple[Ed25519PublicKey, bytes, bytes]]) -> dict[str, float]:
    """Seconds of nothing but signature checks."""
    return timed(lambda: [key.verify(signature, signed) for key, signature, signed in part])


def timed(function: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


_PART: list[tuple[Ed25519PublicKey, bytes, bytes]] = []


def _load(part: list[Triple]) -> None:
    global _PART
    _PART = prepared(part)
    gc.freeze()


def _bare_part(_: int) -> dict[str, float]:
    return bare(_PART)


def bare_in_processes(listed: list[Triple], jobs: int) -> dict[str, float]:
    """Seconds of the same checks shared among processes that were started, and had their keys loaded, before."""
    pools = [ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=_load, initargs=(listed[i::jobs],)) for i in range(jobs)]
    for pool in pools:
        pool.submit(os.getpid).result()
    began = time.perf_counter()
    parts = [future.result() for future in [pool.submit(_bare_part, 0) for pool in pools]]
    wall = time.perf_counter() - began
    for pool in pools:
        pool.shutdown()
    return {"wall_s": wall, "cpu_s": sum(part["cpu_s"] for part in parts)}


AUDIT = """
import json, pathlib, resource, sys, time
if __name__ == "__main__":
    from governance_hooks.audit import Scope, audit
    wall, cpu = time.perf_counter(), time.process_time()
    assert audit(pathlib.Path(sys.argv[1]), scope=Scope(jobs=int(sys.argv[2]))).passed
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    high = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(json.dumps({"wall_s": wall, "cpu_s": cpu + children.ru_utime + children.ru_stime, "peak_rss_mib": round(int(high) / 1024, 1)}))
"""
PROOF = """
import json, pathlib, sys, time
from governance_hooks.proof import read_proof
data = pathlib.Path(sys.argv[1]).read_bytes()
began, cpu = time.perf_counter(), time.process_time()
proof = read_proof(data)
read = time.perf_counter() - began
proof.replay(sys.argv[2])
high = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
took = time.perf_counter() - began
print(json.dumps({"wall_s": took, "cpu_s": time.process_time() - cpu, "read_s": read, "peak_rss_mib": round(int(high) / 1024, 1)}))
"""


def apart(code: str, *arguments: object) -> dict[str, float]:
    """Run code in a process of its own and return the JSON it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout))


def alternate(ours: Callable[[], dict[str, float]], peer: Callable[[], dict[str, float]], rounds: int) -> dict[str, Any]:
    """Measure by turns; return medians, and the ratio of each turn's pair."""
    pairs = [(peer(), ours()) for _ in range(rounds)]
    row: dict[str, Any] = {}
    for clock in ("wall_s", "cpu_s"):
        row[f"bare_{clock}"] = round(statistics.median(one[clock] for one, _ in pairs), 3)
        row[clock] = round(statistics.median(one[clock] for _, one in pairs), 3)
        row[f"ratio_{clock.removesuffix('_s')}"] = [round(mine[clock] / theirs[clock], 3) for theirs, mine in pairs]
    return row | {key: round(value, 3) for key, value in pairs[-1][1].items() if key not in row}


def audits(root: Path, rounds: int) -> Iterator[dict[str, Any]]:

    listed = triples(root)
    once = prepared(listed)
    gc.freeze()
    size = {"signatures": len(listed), "keys": len({point for point, _, _ in listed})}
    yield {"processes": 1} | size | alternate(lambda: apart(AUDIT, root, 1), lambda: bare(once), rounds)
    if cores() > 1:
        yield {"processes": cores()} | size | alternate(lambda: apart(AUDIT, root, cores()), lambda: bare_in_processes(listed, cores()), rounds)


def approval(root: Path, rounds: int) -> dict[str, Any]:

    with Log.open(Paths(root).log, read_only=True) as log:
        proof = Proof(log.checkpoint(), tuple(log.entries()))
    data = proof.dumps()
    path = root / "proof.jsonl.gz"
    path.write_bytes(data)
    signatures = prepared(triples(root))
    gc.freeze()
    return {
        "entries": len(proof.entries),
        "signatures": len(signatures),
        "file_mb": round(len(data) / 1e6, 2),
        "entries_mb": round(sum(map(len, proof.entries)) / 1e6, 2),
        "write_s": round(seconds(proof.dumps, repeat=2), 3),
    } | alternate(lambda: apart(PROOF, path, Paths(root).pin()), lambda: bare(signatures), rounds)


def memory(root: Path, sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        builder = Builder(root / f"revotes-{size}")
        builder.revote(size)
        builder.close()
        rows.append({"entries": size} | {key: round(value, 2) for key, value in apart(AUDIT, builder.root, 1).items()})
    return rows


def tally_of(ballots: int) -> dict[str, float]:

    choices = [("for", "against", "abstain")[i % 3] for i in range(ballots)]
    return {"ballots": ballots, "count_ms": round(seconds(lambda: count(choices, ballots, RULES)) * 1e3, 3)}


def ssh_keygen(root: Path) -> dict[str, float]:
    """What one signature costs where each is a process."""
    key, message = generate_key(root / "one"), b'{"type":"coop.ballot/v1"}' * 20
    armored = key.sign(message)
    (root / "sig").write_text(armored)
    (root / "allowed").write_text(f"m {key.public.line}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(root / "allowed"), "-I", "m", "-n", NAMESPACE, "-s", str(root / "sig")]
    theirs = seconds(lambda: [subprocess.run(command, input=message, capture_output=True, check=True) for _ in range(20)]) / 20
    return {
        "ssh_keygen_process_ms": round(theirs * 1e3, 3),
        "ours_ms": round(seconds(lambda: [verify(armored, message) for _ in range(500)]) / 500 * 1e3, 4),
        "ours_without_the_arithmetic_ms": round(seconds(lambda: [claim(armored, message) for _ in range(500)]) / 500 * 1e3, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--votes", type=int, default=10, help="proposals everybody votes on, in the log that is audited")
    parser.add_argument("--lengths", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="entries of the logs whose audit's memory is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the logs are written; 1e6 entries take 0.9 GB")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        place = Path(name)
        load = round(os.getloadavg()[0], 1)
        results = {
            "members": given.members,
            "cores": cores(),
            "load_average_at_start": load,
            "audit": list(audits(village(place / "audited", given.members, given.votes), given.rounds)),
            "approval_proof": approval(village(place / "approved", given.members, 1), given.rounds),
            "memory_of_an_audit": memory(place, given.lengths),
            "tally": tally_of(given.members),
            "one_signature": ssh_keygen(place),
            "load_average_at_end": round(os.getloadavg()[0], 1),
        }
        publish("votes", ["cryptography", "rfc8785", "pydantic", "SQLAlchemy"], results)


if __name__ == "__main__":
    main()
