"""Links 13 and 14: the stewards signed what the records say, and how the release stands in the log."""

from __future__ import annotations

from datetime import datetime

from governance_hooks.links import check_age
from governance_hooks.report import StepFailed, StepNoted, StepSkipped, StepUnknown
from governance_hooks.sentence import Sentence
from model_card.attestations import check_attestations, status_of
from model_card.evidence import Evidence
from model_card.site.freshness import freshness

__all__ = ["attestations", "standing"]


def attestations(found: Evidence) -> str:
    """(13) Every attestation says what the records say, and as many stewards have signed as the bylaws ask for."""
    register, present = found.register, found.bundle.attestations
    if not present and not register.bylaws.stewards:
        raise StepSkipped(Sentence("no attestations, and the bylaws name no stewards"), checked=Sentence("nothing beside the log vouches for this release"))
    return check_attestations(found.bundle.data, found.bundle.digests, register, found.digest)


def standing(found: Evidence) -> str:
    """(14) The release is neither superseded nor withdrawn by the log; with a moment given, not halted at it, and the log is fresh."""
    register, asked = found.register, found.asked
    if found.published is None:
        raise StepUnknown(Sentence("needs a release that went out (link 4)"))
    said = _by_the_log(found)
    if asked.site is not None:
        said = _by_the_site(found) or said
    if asked.now is None:
        found.standing = "current"
        return Sentence("{said}; not asked whether that is still so (--now)", said=said)
    for kind, proposal in (("release", register.proposal(register.releases[found.digest])), ("run", register.proposal(found.release.run_proposal))):
        if (halt := proposal.halted(asked.now)) is not None:
            found.standing = "halted"
            raise StepNoted(f"{halt.by} halted this {kind} until {halt.until}", todo="wait, and ask the cooperative why")
    assert found.witnessed is not None  # there is no register without it
    if asked.site is not None:  # whose metadata is signed to be the newest, and link 14 has read it
        found.standing = "current"
        return said
    try:
        age = check_age(found.witnessed, asked.now, asked.max_age_s)
    except StepFailed as failed:
        if int(datetime.fromisoformat(asked.now).timestamp()) < found.witnessed.time:
            raise
        found.standing = "stale"
        raise StepNoted(failed.why, todo=f"ask for {failed.todo}") from failed
    found.standing = "current"
    return f"{said}; the log's checkpoint is {age} s old"


def _by_the_log(found: Evidence) -> str:
    """Return what the log says of the release; raise StepNoted if it is superseded or withdrawn."""
    status = status_of(found.register, found.digest, at=found.asked.now)
    if status.status != "current":
        found.standing = status.status
        raise StepNoted(
            status.line,
            todo=Sentence("use the release that took its place") if status.status == "superseded" else Sentence("do not use it any more; ask the cooperative"),
        )
    return status.line


def _by_the_site(found: Evidence) -> str:
    """Return what the site's signed metadata says; raise StepNoted if that is superseded, withdrawn or stale."""
    asked = found.asked
    assert asked.site is not None
    if asked.now is None:
        raise StepUnknown("a site says how things stand at a moment", todo="give --now too")
    fresh = freshness(asked.site, found.digest, found.register, now=asked.now, remember=asked.remember)
    found.standing = fresh.status if fresh.status != "current" else "stale" if fresh.stale else "current"
    if found.standing != "current":
        raise StepNoted(fresh.line, todo="ask the cooperative for what is current")
    return fresh.line
