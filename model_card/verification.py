"""The outcome of a verification: fourteen lines, one verdict, and an exit code that keeps what is timeless apart from what is newest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance_hooks.report import Report, Status, Step

__all__ = ["EXIT_CODES", "Verification"]

EXIT_CODES = {"valid": 0, "invalid": 1, "unchecked": 2, "superseded": 3, "withdrawn": 3, "halted": 3, "stale": 4}
"""Verdict -> exit code. The first three never change for the same folder; the others say how it stands by the log, or at a moment."""
_WORDS = {
    "valid": "VERIFIED: every link holds.",
    "invalid": "NOT VERIFIED.",
    "unchecked": "COULD NOT CHECK.",
    "superseded": "VALID, AND SUPERSEDED: every link holds, and a newer release takes its place.",
    "withdrawn": "VALID, AND WITHDRAWN: every link holds, and the cooperative has withdrawn the release.",
    "halted": "VALID, AND HALTED: every link holds, and the release may not be used now.",
    "stale": "VALID, AND NOT FRESH: every link holds, and the proof is too old to show that nothing has changed since.",
}


@dataclass(frozen=True, slots=True)
class Verification(Report):
    """A report with what the release is and how it stands."""

    release: str | None = None
    """Digest of release.json."""
    coop: str | None = None
    name: str | None = None
    pinned: bool = False
    standing: str = "unknown"
    """By the log: current, superseded, withdrawn; at a moment: halted, stale."""

    @property
    def valid(self) -> bool:
        """Whether every link holds, however old the folder is."""
        return bool(self.steps) and not any(step.status in (Status.FAIL, Status.UNKNOWN) for step in self.steps)

    @property
    def passed(self) -> bool:
        """Whether every link holds and there is nothing newer to know."""
        return self.valid and self.verdict == "valid"

    @property
    def verdict(self) -> str:
        """One of EXIT_CODES."""
        if any(step.status is Status.FAIL for step in self.steps):
            return "invalid"
        if not self.valid:
            return "unchecked"
        noted = any(step.status is Status.NOTE for step in self.steps)
        return self.standing if noted and self.standing in EXIT_CODES else "valid"

    @property
    def exit_code(self) -> int:
        """0 valid, 1 a link is broken, 2 something could not be checked, 3 superseded, withdrawn or halted, 4 not fresh."""
        return EXIT_CODES[self.verdict]

    @property
    def words(self) -> str:
        """The verdict as a sentence."""
        return _WORDS[self.verdict]

    @property
    def blocking(self) -> list[Step]:
        """The links that do not hold or could not be checked, and a note on the standing."""
        return [step for step in self.steps if step.status not in (Status.PASS, Status.SKIP)]

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for `--json` output (format coop.verification/v1; fields are added, never changed)."""
        return {
            "format": "coop.verification/v1",
            "subject": self.subject,
            "release": self.release,
            "coop": self.coop,
            "name": self.name,
            "pinned": self.pinned,
            "valid": self.valid,
            "standing": self.standing,
            "verdict": self.verdict,
            "passed": self.passed,
            "exit_code": self.exit_code,
            "steps": [step.as_dict() for step in self.steps],
        }
