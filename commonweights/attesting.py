"""A release bundle as its stewards find it: its records, the log it stands on, and what they have signed so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace, find_folder, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.proof import read_proof
from governance_hooks.register import Register
from governance_hooks.report import Blocked, Report, StepFailed
from governance_hooks.sshsig import Signer, load_private_key
from model_card.attestations import attest, signed_by, statements_of
from model_card.attestations.statements import FOLDER
from model_card.bundle import read_bundle
from model_card.release import add_proof, read_release
from model_card.verify import verify

__all__ = ["LATER", "Attested", "find_bundle", "opened", "release_digest", "sign", "sign_where_no_stewards"]

LATER = frozenset(("release vote", "attestations signed by stewards", "status and freshness"))
"""Links of the verification that cannot hold before the stewards have signed and the release is out."""
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Attested:
    """A bundle, the register of the log beside it, and its digest."""

    folder: Path
    release: str
    register: Register
    files: dict[str, bytes]
    digests: dict[str, str]

    def signed(self) -> dict[str, set[str]]:
        """Return who has signed each attestation; raise BadInput if one of them does not hold."""
        try:
            return signed_by(self.files, self.digests, self.register, self.release)
        except StepFailed as failed:
            raise BadInput(failed.why, next=failed.todo or None) from failed

    def statements(self) -> dict[str, bytes]:
        """Return what there is to sign, by name, once every link of the bundle that can hold by now does.

        Raises:
            Blocked: a link does not hold.
            BadInput: the records do not fit together, or members did not approve the release.
        """
        report = verify(self.folder)
        odd = [step for step in report.blocking if step.name not in LATER]
        if odd:
            raise Blocked(Report(report.subject, tuple(odd)))
        try:
            return statements_of(self.files, self.digests, self.register, self.release)
        except StepFailed as failed:
            raise BadInput(failed.why, next=failed.todo or None) from failed


def find_bundle(space: Workspace, name: str) -> Path:
    """Return the folder of a release: a bundle of the cooperative by name, or any folder with a release.json."""
    for folder in (space.release(name), Path(name)):
        if (folder / "release.json").is_file():
            return folder
    raise BadInput(f"there is no release bundle {name}", next="coop release assemble RUN")


def release_digest(space: Workspace, name: str) -> str:
    """Return the digest of a release that is out: by the name of its bundle, or by the beginning of the digest."""
    register, path = space.coop.register, space.release(name) / "release.json"
    if path.is_file():
        return read_release(path.parent).digest
    found = [one for one in register.releases if one.startswith(name) or one.removeprefix("sha256:").startswith(name)]
    if len(found) != 1 or len(name) < 4:
        raise BadInput("no release, or more than one, goes by this name or digest", value=name, allowed=", ".join(register.releases) or "none is out yet")
    return found[0]


def _read(folder: Path, register: Register) -> Attested:
    bundle, made = read_bundle(folder), read_release(folder)
    kept: dict[str, bytes] = {}
    for path in sorted((folder / FOLDER).glob("*")) if (folder / FOLDER).is_dir() else ():
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LONGEST:
            raise BadInput(f"{path} is no attestation", allowed=f"regular files of {_LONGEST} bytes at most", next="remove it")
        kept[FOLDER + path.name] = path.read_bytes()
    return Attested(folder, made.digest, register, bundle.data | kept, bundle.digests)


@contextmanager
def opened(folder: Path | None, name: str, *, fresh: bool) -> Iterator[Attested]:
    """Open a bundle: of the cooperative's folder with the log there, or on its own, with the proof in it.

    Args:
        folder: the cooperative's folder, if one was given.
        name: name of a bundle, or a folder.
        fresh: put the newest proof of the cooperative's log into its own bundle first.
    """
    try:
        root = find_folder(folder)
    except BadInput:
        root = None
    own = Path(name)
    if root is None or ((own / "release.json").is_file() and not (root / "releases" / name / "release.json").is_file()):
        if not (own / "proof.jsonl.gz").is_file():
            raise BadInput(f"{name} is no release folder with a proof", next="go into the cooperative's folder, or ask the operator for the whole folder")
        yield _read(own, read_proof((own / "proof.jsonl.gz").read_bytes()).replay(None).register)
        return
    with open_workspace(root, read_only=not fresh) as space:
        bundle = find_bundle(space, name)
        if fresh:
            add_proof(bundle, witnessed_proof(space).dumps())
        yield _read(bundle, space.coop.register)


def sign(found: Attested, key: Signer) -> Attested:
    """Add a steward's signatures to the attestations of a bundle that holds; return it with them.

    Raises:
        Blocked: a link of the bundle does not hold: nothing was signed.
        BadInput, Refused: an attestation that is there does not hold, or this key may not sign.
    """
    found.statements()
    try:
        made = attest(found.files, found.digests, found.register, found.release, key)
    except StepFailed as failed:
        raise BadInput(failed.why, next=failed.todo or None) from failed
    for path, data in made.items():
        write_bytes(found.folder / path, data)
    return replace(found, files=found.files | made)


def sign_where_no_stewards(space: Workspace, bundle: Path) -> bool:
    """Have the operator sign the attestations of a bundle whose bylaws name no stewards; tell whether that was done.

    Where there are stewards the operator signs nothing: it cannot stand in for them.
    """
    if space.coop.register.bylaws.stewards or not space.coop.paths.operator_key.is_file():
        return False
    try:
        sign(_read(bundle, space.coop.register), load_private_key(space.coop.paths.operator_key))
    except CoopError:
        return False  # the verification that follows says what is wrong
    return True
