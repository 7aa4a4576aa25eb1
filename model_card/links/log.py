"""Links 1 to 3: the files are those listed, the log is the cooperative's, and every statement in it was allowed."""

from __future__ import annotations

from datetime import datetime

from governance_hooks.proof import read_proof
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sentence import Sentence
from governance_hooks.statement import CLOCK_SKEW_S
from model_card.evidence import AGAIN, Evidence
from model_card.layout import PROOF, RELEASE

__all__ = ["files", "log", "statements"]


def files(found: Evidence) -> str:
    """(1) The folder holds exactly the files release.json lists, the proof and the attestations."""
    bundle = found.bundle
    if RELEASE in bundle.data:
        _ = found.release
    if bundle.wrong:
        raise StepFailed("; ".join(bundle.wrong[:5]), todo="do not use these files; download the release again from the cooperative")
    if bundle.missing:
        raise StepUnknown(Sentence("missing: {files}", files=", ".join(bundle.missing)), todo=AGAIN)
    size = sum(bundle.sizes.values())
    return Sentence("{count} files, {bytes:,} bytes, release {digest}", count=len(found.release.files), bytes=size, digest=found.digest[:19])


def log(found: Evidence) -> str:
    """(2) The proof is of the cooperative release.json names; its checkpoint is signed and covers all its entries."""
    asked = found.asked
    found.proof = read_proof(found.get(PROOF))
    checkpoint = found.proof.verify_log(asked.pin)
    coop = found.proof.fold(1).coop
    if found.release.coop != coop:
        raise StepFailed("release.json names another cooperative than the log", todo="ask where the folder comes from")
    if asked.now is not None and checkpoint.time > int(datetime.fromisoformat(asked.now).timestamp()) + CLOCK_SKEW_S:
        raise StepFailed("the checkpoint is dated in the future", todo="set this machine's clock, or ask the cooperative about theirs")
    pinned = Sentence("the pinned cooperative") if asked.pin else Sentence("not pinned: compare this fingerprint, {coop}", coop=coop)
    return Sentence("{count} entries under a signed checkpoint; {pinned}", count=checkpoint.size, pinned=pinned)


def statements(found: Evidence) -> str:
    """(3) Every statement of the log is signed by whoever had the right, every rule held, and witnesses saw it as the bylaws require."""
    if found.proof is None:
        raise StepUnknown(Sentence("needs a proof that can be read (link 2)"))
    checkpoint = found.proof.verify_log(found.asked.pin)
    register = found.proof.fold()
    witnessed = register.bylaws.policy.check(checkpoint)
    found.replayed = register
    words = witnessed.words  # raises if fewer have cosigned than must
    found.witnessed = witnessed
    return Sentence("{count} statements replayed, {members} members; {witnesses}", count=register.size, members=len(register.members), witnesses=words)
