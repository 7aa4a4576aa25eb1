"""What one link of a verification finds and hands to the links after it: the folder, the log, the records."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from governance_hooks.canonical import sha256
from governance_hooks.ledger import LedgerRow, parse_ledger
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.report import StepUnknown
from governance_hooks.sentence import Sentence
from governance_hooks.state.runs import Run
from governance_hooks.witness.policy import Witnessed
from model_card.bundle import Bundle, records_of
from model_card.derived import Facts
from model_card.layout import RELEASE, Role
from model_card.records import CardRecords
from model_card.schemas import ReleaseDocument
from model_card.votes import votes_of

__all__ = ["AGAIN", "DISTRUST", "Evidence", "Question"]

AGAIN, DISTRUST = Sentence("download the release again, whole"), Sentence("do not use these files")


class Question:
    """What the reader asks: which cooperative, and as of when.

    Args:
        pin: digest of the founding statement the reader expects.
        now: RFC 3339 UTC at which freshness and halts are looked at; None looks at neither.
        max_age_s: with `now`, how old the checkpoint may be, seconds.
        site: folder of the cooperative's download site, whose freshness metadata is newer than the bundle.
        remember: folder in which what was seen of a site is kept.
    """

    def __init__(self, pin: str | None, now: str | None, max_age_s: int, site: Path | None = None, remember: Path | None = None) -> None:
        self.pin, self.now, self.max_age_s, self.site, self.remember = pin, now, max_age_s, site, remember


class Evidence:
    """The folder as read, and what links 2, 3 and 5 have made of the proof in it."""

    def __init__(self, bundle: Bundle, asked: Question) -> None:
        self.bundle, self.asked = bundle, asked
        self.proof: Proof | None = None
        self.replayed: Register | None = None
        self.witnessed: Witnessed | None = None
        self.run_was_voted = False
        self.published: int | None = None
        """Log position at which the release went out, once link 4 has found it."""
        self.standing = "unknown"
        """What link 14 found: current, superseded, withdrawn, halted or stale."""

    def get(self, path: str) -> bytes:
        """Return the bytes of a file; raise StepUnknown if it is not there."""
        if path not in self.bundle.data:
            raise StepUnknown(Sentence("{files} is missing", files=path), todo=AGAIN)
        return self.bundle.data[path]

    @property
    def release(self) -> ReleaseDocument:
        """release.json; StepUnknown or BadInput if there is none that can be read."""
        self.get(RELEASE)
        if self.bundle.malformed is not None:
            raise self.bundle.malformed
        assert self.bundle.release is not None
        return self.bundle.release

    @property
    def digest(self) -> str:
        """The digest members voted on."""
        return sha256(self.get(RELEASE))

    @property
    def register(self) -> Register:
        """The replayed log; StepUnknown before it holds."""
        if self.replayed is None:
            raise StepUnknown(Sentence("needs a log that holds (links 2 and 3)"))
        return self.replayed

    @property
    def run(self) -> Run:
        """The run as the log knows it."""
        return self.register.run(self.release.run)

    @cached_property
    def rows(self) -> list[LedgerRow]:
        """The ledger's rows."""
        return parse_ledger(self.get("data/ledger.jsonl"), source="data/ledger.jsonl")[0]

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every record of the release by path: what a card is rendered from."""
        for path in ("plan.json", "run.json", "data/manifest.json", "eval/report.json"):
            self.get(path)
        return records_of(self.bundle.data)

    @cached_property
    def plain(self) -> CardRecords:
        """The records without the log's part."""
        return CardRecords.of(self.release.name, self.release.coop, self.files)

    @cached_property
    def records(self) -> CardRecords:
        """The records with the votes, counted from the log."""
        votes = votes_of(self.register, run=self.release.run, consents={consent for row in self.rows for consent in row.consents}, files=self.files)
        return CardRecords.of(self.release.name, self.release.coop, self.files, votes)

    def facts(self, *roles: Role) -> Facts:
        """Return what the checks of weights need; raise StepUnknown if a file of one of the roles is not there."""
        release, bundle = self.release, self.bundle
        listed = {entry.path for entry in release.files}
        absent = [entry.path for entry in release.files if entry.role in roles and entry.path not in bundle.digests]
        if absent:
            raise StepUnknown(Sentence("{files} is missing", files=", ".join(absent[:3])), todo=AGAIN)
        found = {path: (bundle.sizes[path], digest) for path, digest in bundle.digests.items() if path in listed}
        return Facts(bundle.folder, (release.name, release.run, release.plan), self.plain.plan, bundle.data, found)

    def require_run_vote(self) -> None:
        """Raise StepUnknown without it: recomputing what no members' vote stands behind would only let a stranger's files keep this machine busy."""
        if not self.run_was_voted:
            raise StepUnknown(Sentence("needs the run vote (link 5)"))
