"""Verify a release folder: fourteen links from the files you downloaded back to the members' signatures, offline.

Built like sigstore-python's verifier: each link is a small numbered function with its own reason. A broken link is
FAIL (exit 1); a file that is absent or unreadable is UNKNOWN (exit 2). What cannot be checked never passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.links import MAX_AGE_S
from governance_hooks.report import Checklist, Status, StepFailed, StepSkipped, StepUnknown
from governance_hooks.sentence import Sentence
from model_card.bundle import read_bundle
from model_card.evidence import DISTRUST, Evidence, Question
from model_card.layout import RELEASE
from model_card.links import card, data, evaluation, log, standing, votes, weights
from model_card.verification import Verification

__all__ = ["AFTER_THE_VOTE", "LINKS", "examine", "link_number", "verify"]

LINKS: tuple[tuple[str, Callable[[Evidence], str]], ...] = (
    (Sentence("files match release.json"), log.files),
    (Sentence("cooperative and log"), log.log),
    (Sentence("signatures and rules"), log.statements),
    (Sentence("release vote"), votes.release_vote),
    (Sentence("run vote"), votes.run_vote),
    (Sentence("weights are the run's output"), weights.weights),
    (Sentence("data is the voted dataset"), data.data),
    (Sentence("consent in force"), data.consent),
    (Sentence("evaluation under the voted policy"), evaluation.evaluation),
    (Sentence("leak test under the voted policy"), evaluation.leak_test),
    (Sentence("merged and GGUF weights are derived"), weights.derived),
    (Sentence("card renders identically"), card.card),
    (Sentence("attestations signed by stewards"), standing.attestations),
    (Sentence("status and freshness"), standing.standing),
)
"""Name and check of each link, in order."""
AFTER_THE_VOTE = frozenset({"release vote", "attestations signed by stewards", "status and freshness"})
"""Links that can hold only once a release is out."""

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def link_number(said: str) -> int:
    """Return the number of a link from its number or the beginning of its name; raise BadInput for anything else."""
    if said.isascii() and said.isdigit() and 1 <= int(said) <= len(LINKS):
        return int(said)
    near = [number for number, (name, _) in enumerate(LINKS, 1) if name.startswith(said.lower())] if said else []
    if len(near) != 1:
        raise BadInput("no such link", value=said, allowed=", ".join(f"{number} ({name})" for number, (name, _) in enumerate(LINKS, 1)))
    return near[0]


def _guarded(check: Callable[[Evidence], str], found: Evidence, *, required: bool) -> Callable[[], str]:
    def run() -> str:
        try:
            return check(found)
        except StepSkipped as skipped:
            if required:
                raise StepUnknown(Sentence("required, and {why}", why=Sentence(skipped.why)), todo="ask the cooperative for a release that has it") from skipped
            raise
        except _MALFORMED as error:  # a record shaped so oddly that reading it breaks is a forged one, not an unknown one
            raise StepFailed(Sentence("a record is malformed: {error}", error=f"{type(error).__name__}: {error}"), todo=DISTRUST) from error

    return run


def examine(
    bundle: Path,
    *,
    pin: str | None = None,
    now: str | None = None,
    max_age_s: int = MAX_AGE_S,
    require: Collection[int] = (),
    site: Path | None = None,
    remember: Path | None = None,
    told: Callable[[int], None] | None = None,
) -> tuple[Verification, Evidence]:
    """Check all links of a release folder; return the table with its verdict (see `Verification.exit_code`), and what was found on the way.

    Args:
        bundle: release folder as downloaded; nothing is written to it.
        pin: digest of the founding statement you expect; without it the line of link 2 asks you to compare the fingerprint.
        now: RFC 3339 UTC at which halts and the age of the proof are looked at; without it neither is, so an archived release keeps its answer.
        max_age_s: with `now`: an older checkpoint cannot show that nothing changed since, seconds.
        require: numbers of links that must have something to check: what others may lack is then UNKNOWN instead of SKIP.
        site: with `now`: folder of the cooperative's download site, whose signed metadata says what is current.
        remember: folder that keeps what was seen of the site, so that a rollback is noticed.
        told: called with the bytes of large files hashed since the last call, from several threads.

    Raises:
        BadInput: there is no such folder.
    """
    found = Evidence(read_bundle(bundle, told=told), Question(pin, now, max_age_s, site, remember))
    checklist = Checklist(f"Verification of {bundle.name or bundle.resolve().name}")
    for number, (name, check) in enumerate(LINKS, 1):
        checklist.run(name, _guarded(check, found, required=number in require))
    release = found.bundle.release
    raw = found.bundle.data.get(RELEASE)
    verification = Verification(
        checklist.subject,
        tuple(checklist.steps),
        release=sha256(raw) if raw is not None else None,
        coop=release.coop if release is not None else None,
        name=release.name if release is not None else None,
        pinned=pin is not None,
        standing=found.standing if all(step.status is not Status.FAIL for step in checklist.steps) else "unknown",
    )
    return verification, found


def verify(bundle: Path, **asked: Any) -> Verification:
    """Check all links of a release folder and return the table with its verdict; arguments as of `examine`."""
    return examine(bundle, **asked)[0]
