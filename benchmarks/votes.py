"""Votes at size: audits and approval proofs beside the bare verification of the same signatures, and memory; ratios within one run.

python benchmarks/votes.py [FOLDER] [--members 10000] [--proposals 10] [--memory-only --revotes 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance_hooks.audit import Scope, audit
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.ed25519 import verifies
from governance_hooks.log import Log
from governance_hooks.proof import read_proof
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import body, entry, parse, read, shift, sign
from governance_hooks.tally import count, roll_root
from governance_hooks.vouching import cores
from tests.village import RULES, found

Signature = tuple[bytes, bytes, bytes]
"""Raw key, signature, and the bytes that were signed."""


class Scribe:
    """Writes a signed log in large batches, past the writer's checks: the audits find out whether it is right."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.root, (self.keys, self.operator) = root, found(root, **changes)
        self.founders = sorted(self.keys)
        with Cooperative.open(root) as coop:
            self.coop, self.clock = coop.pin, shift(coop.register.operator_clock, 60)  # past the founding checkpoint
        self.log, self.key = Log.open(Paths(root).log), NoteKey.load(Paths(root).log_key)
        self.size, self.pending = self.log.size, list[bytes]()

    def put(self, kind: str, payload: dict[str, Any], author: str, *signers: PrivateKey) -> bytes:
        made = body(kind, payload, coop=self.coop, author=author, issued=self.clock)
        self.pending.append(entry(made, [sign(made, signer) for signer in signers]))
        last = self.pending[-1]
        if len(self.pending) >= 10_000:
            self.flush()
        return last

    def flush(self) -> None:
        moment = int(datetime.fromisoformat(self.clock).timestamp())
        if self.pending:
            self.log.append(self.pending, expected_size=self.size, note=lambda size, root: sign_checkpoint(self.key, size, root, moment))
        self.size, self.pending = self.size + len(self.pending), []

    def admit(self, members: int) -> None:
        first, second = self.founders[:2]
        while len(self.keys) < members:
            key, member = PrivateKey(Ed25519PrivateKey.generate()), "m-" + secrets.token_hex(8)
            self.put("coop.admission/v1", {"member": member, "key": key.public.line}, first, key, self.keys[first], self.keys[second])
            self.keys[member] = key

    def propose(self, subject: bytes, open_s: int = 60, by: int = 0) -> str:
        payload = {"kind": "run", "subject": sha256(subject), "rules": RULES.model_dump(), "uses": 1, "motion": None, "draft": None}
        roll = {"root": roll_root(self.keys), "members": len(self.keys)}
        made = self.put("coop.proposal/v1", payload | {"roll": roll, "closes": shift(self.clock, open_s)}, self.founders[by], self.keys[self.founders[by]])
        return parse(made).id

    def ballot(self, member: str, proposal: str, sequence: int, choice: str = "for") -> None:
        payload = {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}
        self.put("coop.ballot/v1", payload, member, self.keys[member])

    def decide(self, subject: bytes) -> None:
        """Open a vote, have everybody vote for, and close it."""
        proposal = self.propose(subject)
        for member in sorted(self.keys):
            self.ballot(member, proposal, 1)
        self.clock = shift(self.clock, 60)
        close = {"proposal": proposal, "votes_for": len(self.keys), "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
        self.put("coop.close/v1", close, "operator", self.operator)

    def done(self) -> int:
        self.flush()
        self.log.close()
        return self.size


def signatures_of(root: Path) -> list[Signature]:
    with Log.open(Paths(root).log, read_only=True) as log:
        return [claim.equation for data in log.entries() for claim in read(data)[1]]


def bare(part: list[Signature]) -> None:
    """The peer: nothing but `Ed25519PublicKey.verify` of `cryptography` (OpenSSL) on the very same signatures, each key loaded once."""
    keys: dict[bytes, Ed25519PublicKey] = {}
    for point, signature, signed in part:
        key = keys.get(point)
        if key is None:
            key = keys[point] = Ed25519PublicKey.from_public_bytes(point)
        key.verify(signature, signed)


def bare_libsodium(part: list[Signature]) -> None:
    """The stricter peer: the library our checks use, and nothing else."""
    for point, signature, signed in part:
        assert verifies(point, signature, signed)


def bare_in(jobs: int, parts: list[list[Signature]], peer: Callable[[list[Signature]], None] = bare) -> None:
    if jobs == 1:
        peer(parts[0])
        return
    running = [multiprocessing.get_context("fork").Process(target=peer, args=(part,)) for part in parts]
    for one in running:
        one.start()
    for one in running:
        one.join()


def once(function: Callable[[], object]) -> float:
    return seconds(function, repeat=1)


def beside_bare(signed: list[Signature], act: Callable[[], object], jobs: int, rounds: int = 3) -> dict[str, float]:
    """Measure by turns, so that a busy machine slows both alike."""
    parts, base, sodium, ours = [signed[i::jobs] for i in range(jobs)], [], [], []
    for _ in range(rounds):
        base.append(once(lambda: bare_in(jobs, parts)))
        sodium.append(once(lambda: bare_in(jobs, parts, bare_libsodium)))
        ours.append(once(act))
    ratios = [b / a for a, b in zip(base, ours, strict=True)]
    return {
        "processes": jobs,
        "signatures": len(signed),
        "bare_verification_s": round(statistics.median(base), 3),
        "ours_s": round(statistics.median(ours), 3),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_best": round(min(ratios), 2),
        "bare_libsodium_s": round(statistics.median(sodium), 3),
        "ratio_to_libsodium_median": round(statistics.median([b / a for a, b in zip(sodium, ours, strict=True)]), 2),
    }


def audits(folder: Path, members: int, proposals: int) -> dict[str, Any]:
    scribe = Scribe(folder / "ballots")
    scribe.admit(members)
    for number in range(proposals):
        scribe.decide(b"plan %d" % number)
    size, signed = scribe.done(), signatures_of(folder / "ballots")
    rows = [beside_bare(signed, lambda jobs=jobs: audit(folder / "ballots", scope=Scope(jobs=jobs)).require(), jobs) for jobs in sorted({1, cores()})]
    return {"members": members, "ballots": members * proposals, "entries": size, "audit": rows}


def proofs(folder: Path, members: int) -> dict[str, Any]:
    scribe = Scribe(folder / "approval")
    scribe.admit(members)
    scribe.decide(b"the plan")
    scribe.done()
    with Cooperative.open(folder / "approval", read_only=True) as coop:
        data, pin = coop.proof().dumps(), coop.pin
        [proposal] = coop.register.proposals.values()
        tallied = seconds(proposal.count)
    signed = signatures_of(folder / "approval")
    choices = [vote.choice for vote in proposal.votes.values()]
    return {
        "voters": members,
        "proof_mb": round(len(data) / 1e6, 2),
        "check": beside_bare(signed, lambda: read_proof(data).replay(pin), 1),
        "tally_ms": round(min(tallied, seconds(lambda: count(choices, members, RULES))) * 1e3, 2),
    }


def memory(folder: Path, size: int) -> dict[str, Any]:
    """Peak memory of an audit, in a process of its own, of a log whose folded state does not grow: five members who vote again and again."""
    scribe = Scribe(folder / f"revotes-{size}")
    proposal = scribe.propose(b"x", open_s=86_400)
    for number in range(size - scribe.size - len(scribe.pending)):
        scribe.ballot(scribe.founders[number % 5], proposal, number // 5 + 1, ("for", "against", "abstain")[number % 3])
    entries = scribe.done()
    code = (
        "import sys, pathlib; from governance_hooks.audit import audit; assert audit(pathlib.Path(sys.argv[1])).passed; "
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    began = time.perf_counter()
    command = [sys.executable, "-c", code, str(scribe.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent, env=os.environ)
    wall = time.perf_counter() - began
    megabytes = round((scribe.root / "log.sqlite").stat().st_size / 2**20)
    return {"entries": entries, "log_mib": megabytes, "peak_rss_mib": round(int(done.stdout) / 1024, 1), "audit_s": round(wall, 1)}


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", nargs="?", help="where to put the logs [default: a temporary folder]")
    asked.add_argument("--members", type=int, default=10_000)
    asked.add_argument("--proposals", type=int, default=10)
    asked.add_argument("--revotes", type=int, default=1_000_000)
    asked.add_argument("--memory-only", action="store_true", help="measure only the memory of audits, which needs no idle machine")
    given = asked.parse_args()
    libraries = ["cryptography", "PyNaCl", "rfc8785", "pydantic", "SQLAlchemy"]
    results: dict[str, Any] = {"cores": cores(), "load_average_at_start": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        place = Path(name)
        if given.memory_only:
            results["memory"] = [memory(place, size) for size in (given.revotes // 100, given.revotes // 10, given.revotes)]
            publish("votes_memory", libraries, results)
        else:
            results["proof"] = proofs(place, given.members)
            results["ballots"] = audits(place, given.members, given.proposals)
            publish("votes", libraries, results)
