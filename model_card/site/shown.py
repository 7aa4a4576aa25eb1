"""A release as the download site shows it: what its records, its vote and the log say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance_hooks.canonical import loads, sha256
from governance_hooks.register import Register
from governance_hooks.standing import ReleaseStatus, status_of
from governance_hooks.state.proposals import Proposal
from model_card.attestations import path_of, signed_by
from model_card.attestations.signers import Signers
from model_card.attestations.statements import NAMES
from model_card.site.torrent import Torrent

__all__ = ["FEW", "Shown", "shown"]

FEW = 5
"""Counts of people below this are not shown to the public."""


@dataclass(frozen=True)
class Shown:
    """What is shown of one release."""

    name: str
    release: str
    document: dict[str, Any]
    """release.json."""
    plan: dict[str, Any]
    report: dict[str, Any]
    manifest: dict[str, Any]
    status: ReleaseStatus
    vote: Proposal
    published: str
    """When the log holds its release, RFC 3339."""
    signed: int
    """Stewards who have signed every attestation; 0 where there are no attestations."""
    required: int
    named: int
    withdrawn: int
    """Members who withdrew since."""
    leak_passed: bool | None = None
    """Whether the leak test members voted passed; None if they voted none."""
    waiver: str | None = None
    """The members' vote to release it although something did not pass."""
    torrent: Torrent | None = None

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files release.json lists."""
        return list(self.document["files"])

    @property
    def size(self) -> int:
        """All of them, bytes."""
        return int(sum(entry["size"] for entry in self.files))

    @property
    def pictures(self) -> list[str]:
        """The charts of its card."""
        return [entry["path"] for entry in self.files if entry["path"].startswith("card/") and entry["path"].endswith(".svg")]

    @property
    def verdicts(self) -> Counter[str]:
        """Verdicts of the held-out evaluation by language, counted."""
        return Counter(row["verdict"] for row in self.report["languages"].values())

    def as_dict(self) -> dict[str, Any]:
        """Return the row of releases.json."""
        tally = self.vote.count()
        return {
            "name": self.name,
            "release": self.release,
            "status": self.status.status,
            "by": self.status.by,
            "reason": self.status.reason,
            "since": self.status.since,
            "until": self.status.until,
            "supersedes": list(self.vote.supersedes),
            "run": self.document["run"],
            "licence": self.document["licence"],
            "base": self.plan["base"]["name"],
            "languages": sorted(self.report["languages"]),
            "published": self.published,
            "evaluation_passed": bool(self.report["passed"]),
            "leak_test_passed": self.leak_passed,
            "waiver": self.waiver,
            "vote": {"proposal": self.vote.id, "for": tally.votes_for, "against": tally.votes_against, "abstain": tally.votes_abstain, "roll": len(self.vote.roll)},
            "attested": {"stewards": self.signed, "required": self.required, "named": self.named},
            "path": f"releases/{self.name}/",
            "sums": f"releases/{self.name}.sha256",
            "page": f"{self.name}.html",
            "bytes": self.size,
            "files": len(self.files),
            "torrent": None if self.torrent is None else {"path": f"torrents/{self.name}.torrent", "infohash": self.torrent.infohash, "magnet": self.torrent.magnet},
        }  # fmt: skip

    def custom(self, log_size: int) -> dict[str, Any]:
        """Return what the signed metadata says of it."""
        status = self.status
        return {
            "status": status.status, "by": status.by, "reason": status.reason, "since": status.since, "supersedes": list(self.vote.supersedes), "name": self.name,
            "vote": self.vote.id, "log_size": log_size, "infohash": None if self.torrent is None else self.torrent.infohash,
        }  # fmt: skip


def shown(
    folder: Path, name: str, register: Register, at: str, issued: Callable[[int], str], withdrawn: int, digests: dict[str, str], torrent: Torrent | None
) -> Shown:
    """Return what is shown of the release in a folder whose files were checked.

    Args:
        folder: the release folder.
        name: its name on the site.
        register: the replayed log.
        at: RFC 3339 UTC.
        issued: gives the instant at which an entry of the log was issued.
        withdrawn: members who withdrew since.
        digests: of every file in it, by path.
        torrent: if there is one.
    """
    data = (folder / "release.json").read_bytes()
    release, document = sha256(data), loads(data, source="release.json")

    def record(path: str) -> dict[str, Any]:
        value: dict[str, Any] = loads((folder / path).read_bytes(), floats=True, source=path)
        return value

    run, signers = register.run(document["run"]), Signers.of(register, release)
    attested = {path_of(one): folder / path_of(one) for one in NAMES}
    signed = 0
    if all(path.is_file() for path in attested.values()):
        records = ["release.json", "plan.json", "run.json", "eval/report.json", "data/ledger.jsonl", "privacy/leak.json", "privacy/differential.json"]
        files = {path: (folder / path).read_bytes() for path in records if (folder / path).is_file()} | {
            one: path.read_bytes() for one, path in attested.items()
        }
        signed = len(set.intersection(*signed_by(files, digests, register, release).values()))
    return Shown(
        name=name,
        release=release,
        document=document,
        plan=record("plan.json"),
        report=record("eval/report.json"),
        manifest=record("data/manifest.json"),
        status=status_of(register, release, at=at),
        vote=register.proposal(register.releases[release]),
        published=issued(run.releases[release]),
        signed=signed,
        required=signers.required,
        named=signers.named,
        withdrawn=withdrawn,
        leak_passed=run.leak_passed,
        waiver=run.waived_before_release(),
        torrent=torrent,
    )
