"""Attestations checked: every statement is rendered again from the bundle's records and the log, and its signatures are counted."""

from __future__ import annotations

from collections.abc import Mapping

from governance_hooks.errors import CoopError
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sentence import Sentence
from governance_hooks.sshsig import Signer
from model_card.attestations.envelope import Envelope, to_be_signed
from model_card.attestations.signers import Signers
from model_card.attestations.statements import FOLDER, NAMES, path_of, statements_of

__all__ = ["attest", "check_attestations", "signed_by"]


def check_attestations(files: Mapping[str, bytes], digests: Mapping[str, str], register: Register, release: str) -> str:
    """Check the attestations of a release and return what was found, in words.

    Args:
        files: bytes of every file of the bundle but its weights, by path, attestations among them.
        digests: digest of every file of the bundle.
        register: the log, replayed.
        release: digest of release.json.

    Raises:
        StepFailed: an unknown file, a statement that differs from what the records say, a signature of somebody who may not sign or who signed
            twice, or too few.
        StepUnknown: the bylaws name stewards, and an attestation is not there.
    """
    signers, present = Signers.of(register, release), sorted(path for path in files if path.startswith(FOLDER))
    strange = sorted(set(present) - set(map(path_of, NAMES)))
    if strange:
        raise StepFailed(f"{strange[0]} is no attestation we know", todo="do not use these files")
    if not signers.named and not present:
        return Sentence("NO attestations: the bylaws name no stewards, so nobody but the operator vouches beside the votes")
    missing = [name for name in NAMES if path_of(name) not in files]
    if missing:
        raise StepUnknown(
            Sentence("not attested: {names}", names=", ".join(missing)),
            todo=Sentence("ask the stewards: {command}; or download the release again, whole", command="coop release attest"),
        )
    counts = _counted(files, statements_of(files, digests, register, release), signers)
    least = min(map(len, counts.values()))
    if least < signers.required:
        short = next(name for name, signed in counts.items() if len(signed) == least)
        raise StepFailed(f"{path_of(short)} is signed by {least} of {signers.required} stewards that the bylaws require", todo="coop release attest")
    if not signers.named:
        return Sentence("{count} statements rendered again, signed by the OPERATOR ALONE: the bylaws name no stewards", count=len(counts))
    people = {"least": least, "stewards": signers.named, "required": signers.required}
    return Sentence(
        "{count} statements rendered again, each signed by {least} or more of {stewards} stewards ({required} required)", count=len(counts), **people
    )


def _counted(files: Mapping[str, bytes], statements: Mapping[str, bytes], signers: Signers) -> dict[str, set[str]]:
    """Return who signed each attestation there is; raise StepFailed for one that says something else than the records."""
    counts = {}
    for name, statement in statements.items():
        path = path_of(name)
        if path in files:
            try:
                envelope = Envelope.read(files[path], source=path)
            except CoopError as error:
                raise StepFailed(error.what, todo="do not believe the attestations") from error
            if envelope.payload != statement:
                raise StepFailed(f"{path} does not state what the records and the log say of this release", todo="do not believe the attestations")
            counts[name] = signers.count(envelope, path)
    return counts


def signed_by(files: Mapping[str, bytes], digests: Mapping[str, str], register: Register, release: str) -> dict[str, set[str]]:
    """Return who has signed each attestation so far, by name; nobody where there is none yet."""
    counts = _counted(files, statements_of(files, digests, register, release), Signers.of(register, release))
    return {name: counts.get(name, set()) for name in NAMES}


def attest(files: Mapping[str, bytes], digests: Mapping[str, str], register: Register, release: str, key: Signer) -> dict[str, bytes]:
    """Return the attestations of a release with the signatures of one steward added, by path; those that are there keep theirs.

    Signing again replaces the steward's own signature, also one made with another key of theirs.

    Raises:
        StepFailed, StepUnknown: an attestation that is there does not hold, or the records do not.
        Refused, BadInput: the key may not, or cannot, sign.
    """
    signers = Signers.of(register, release)
    own = signers.own(key)
    owner = signers.keys[own.public.fingerprint][0]
    statements = statements_of(files, digests, register, release)
    _counted(files, statements, signers)
    made = {}
    for name, statement in statements.items():
        path = path_of(name)
        kept = Envelope.read(files[path], source=path).signatures if path in files else {}
        others = {keyid: signature for keyid, signature in kept.items() if signers.keys[keyid][0] != owner}
        made[path] = Envelope(statement, others | {own.public.fingerprint: own.sign_plain(to_be_signed(statement))}).dumps()
    return made
