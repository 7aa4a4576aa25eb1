"""TUF metadata of a download site: what is newest, until when that may be believed, and who may change the keys.

The root role is the stewards', k of n, with their member keys; targets, snapshot and timestamp have a key each on the operator's machine. What
is signed about a release is its release.json with its status; the weights are covered by the digests in there. Needs the extra `release` (tuf).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Key, SecretsHandler, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.sshsig import PrivateKey, PublicKey, Signer, generate_key, load_private_key
from model_card.attestations.signers import Signers, plain_key

__all__ = ["ONLINE", "Draft", "Signing", "draft_root", "publish", "read_root", "require_root", "root_files", "sign_root", "site_keys", "target_path"]

ONLINE = ("snapshot", "targets", "timestamp")
_ROOT_S, _RENEW_S = 365 * 86_400, 90 * 86_400
_DRAFT = "root.draft.json"
_KEPT = 5
"""Versions of snapshot and targets that stay, for clients that are reading an earlier one."""


def target_path(release: str) -> str:
    """Return the name of a release's target; it holds the digest, so that it can be of no other."""
    return f"releases/{release.removeprefix('sha256:')}.json"


def _tuf_key(public: PublicKey) -> SSlibKey:
    value = {"keytype": "ed25519", "keyval": {"public": public.point.hex()}, "scheme": "ed25519"}
    return SSlibKey(sha256(dumps(value)).removeprefix("sha256:"), "ed25519", "ed25519", {"public": public.point.hex()})


class Signing(TufSigner):
    """A key file of ours as TUF signs with it."""

    def __init__(self, key: PrivateKey) -> None:
        self._own, self._public = key, _tuf_key(key.public)

    @property
    def public_key(self) -> Key:
        """The public half, by TUF's key id."""
        return self._public

    def sign(self, payload: bytes) -> Signature:
        """Return the signature over canonical JSON."""
        return Signature(self._public.keyid, self._own.sign_plain(payload).hex())

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None) -> Signing:
        """Refuse: our keys are files."""
        raise NotImplementedError(priv_key_uri)


def site_keys(folder: Path) -> dict[str, PrivateKey]:
    """Return the keys of the three online roles, made at the first call; they lie with the operator's."""
    paths = {role: folder / "keys" / role for role in ONLINE}
    return {role: load_private_key(path) if path.is_file() else generate_key(path, comment=f"{role} of the download site") for role, path in paths.items()}


def root_files(metadata: Path) -> list[Path]:
    """Return the roots there are, version 1 first, without a gap."""
    found: list[Path] = []
    while (path := metadata / f"{len(found) + 1}.root.json").is_file():
        found.append(path)
    return found


def read_root(path: Path) -> Metadata[Root]:
    """Read a root; raise BadInput for anything else. Nothing in it is believed yet."""
    try:
        made = Metadata[Root].from_bytes(path.read_bytes())
    except (OSError, DeserializationError, RepositoryError, ValueError) as error:
        raise BadInput(f"{path.name} is no TUF root: {error}") from error
    if not isinstance(made.signed, Root):
        raise BadInput(f"{path.name} is no TUF root", value=made.signed.type)
    return made


def _when(at: str) -> datetime:
    return datetime.fromisoformat(at)


def _wanted(register: Register, online: Mapping[str, PublicKey], version: int, at: str) -> Root:
    """Return the root the bylaws in force ask for: one key a steward, so that the threshold counts stewards."""
    signers, keys = Signers.of(register, None), dict[str, bytes]()
    for owner, raw in sorted(signers.keys.values()):
        keys.setdefault(owner, raw)
    if not signers.named:
        keys = {"operator": register.operator}
    if len(keys) < signers.required:
        raise BadInput(
            "too few stewards have an ssh-ed25519 key to ever sign the root of the site", value=len(keys), allowed=f"{signers.required} or more",
            next="coop key add, for FIDO keys and passkeys cannot sign TUF metadata",
        )  # fmt: skip
    root = Root(version=version, expires=_when(at) + timedelta(seconds=_ROOT_S), consistent_snapshot=True)
    for raw in keys.values():
        root.add_key(_tuf_key(PublicKey.from_raw(raw)), Root.type)
    root.roles[Root.type].threshold = signers.required
    for role, public in online.items():
        root.add_key(_tuf_key(public), role)
    return root


def _shape(root: Root) -> dict[str, Any]:
    """Return what a root says but for its version and expiry."""
    return {role: (sorted(root.keys[one].keyval["public"] for one in found.keyids), found.threshold) for role, found in root.roles.items()}


@dataclass(frozen=True, slots=True)
class Draft:
    """A root that waits for signatures."""

    path: Path
    made: Metadata[Root]
    previous: Metadata[Root] | None

    @property
    def allowed(self) -> dict[str, str]:
        """Fingerprints of the keys that may sign it, by TUF key id: those of the new root and of the one it replaces."""
        found = {}
        for root in (self.made.signed, self.previous.signed if self.previous else None):
            if root is not None:
                for keyid in root.roles[Root.type].keyids:
                    found[keyid] = PublicKey.from_raw(bytes.fromhex(root.keys[keyid].keyval["public"])).fingerprint
        return found

    @property
    def complete(self) -> bool:
        """Whether enough stewards of the new root, and of the one before, have signed."""
        return bool(
            self.made.signed.get_root_verification_result(self.previous.signed if self.previous else None, self.made.signed_bytes, self.made.signatures)
        )

    @property
    def words(self) -> list[str]:
        """What is signed, line by line."""
        root = self.made.signed
        lines = [f"root {root.version} of the download site, until {root.expires:%Y-%m-%d}"]
        for role, (publics, threshold) in sorted(_shape(root).items()):
            lines.append(
                f"  {role:<10} {threshold} of {len(publics)}: " + ", ".join(PublicKey.from_raw(bytes.fromhex(one)).fingerprint[:19] for one in publics)
            )
        return [*lines, f"  signed by {len(self.made.signatures)}, {'complete' if self.complete else 'not yet enough'}"]


def draft_root(state: Path, register: Register, at: str) -> Draft | None:
    """Return the root that should be signed next; None while the one in force is what the bylaws ask for and lasts.

    Args:
        state: the site's folder with the operator: `keys/` and `metadata/`.
        register: the replayed log: its stewards are the root's.
        at: RFC 3339 UTC.
    """
    roots = root_files(state / "metadata")
    previous = read_root(roots[-1]) if roots else None
    wanted = _wanted(register, {role: key.public for role, key in site_keys(state).items()}, len(roots) + 1, at)
    if previous is not None and _shape(previous.signed) == _shape(wanted) and previous.signed.expires > _when(at) + timedelta(seconds=_RENEW_S):
        return None
    path = state / _DRAFT
    if path.is_file():
        begun = read_root(path)
        if _shape(begun.signed) == _shape(wanted) and begun.signed.version == wanted.version and begun.signed.expires > _when(at) + timedelta(seconds=_RENEW_S):
            return Draft(path, begun, previous)
    return Draft(path, Metadata(wanted), previous)


def sign_root(state: Path, register: Register, key: Signer, at: str) -> Draft | None:
    """Add a signature to the next root, and put it in force once enough have signed; return None if nothing waits for one.

    Raises:
        Refused, BadInput: the key is neither of the new root nor of the one before, or cannot sign.
    """
    draft = draft_root(state, register, at)
    if draft is None:
        return None
    signing = Signing(plain_key(key))
    if signing.public_key.keyid not in draft.allowed:
        raise Refused(
            "this key may not sign the root of the site", value=key.public.fingerprint, allowed=", ".join(sorted(draft.allowed.values()))
        )  # fmt: skip
    draft.made.sign(signing, append=True)
    data = draft.made.to_bytes(JSONSerializer(compact=False))
    if draft.complete:
        write_bytes(state / "metadata" / f"{draft.made.signed.version}.root.json", data)
        draft.path.unlink(missing_ok=True)
    else:
        write_bytes(draft.path, data)
    return draft


def require_root(state: Path, at: str) -> Root:
    """Return the root in force; raise BadInput if none is signed by enough stewards yet, or it has expired."""
    roots = root_files(state / "metadata")
    root = read_root(roots[-1]).signed if roots else None
    if root is None or root.is_expired(_when(at)):
        raise BadInput("the root of the site is not signed yet, or has expired", next="coop release root --key KEY, by as many stewards as the bylaws say")
    return root


def publish(state: Path, releases: Mapping[str, tuple[bytes, dict[str, Any]]], at: str, *, valid_s: int) -> None:
    """Write the next version of targets, snapshot and timestamp.

    Args:
        state: the site's folder with the operator.
        releases: digest -> bytes of release.json, and what is said of it: status, by, reason, since, supersedes, vote, log size.
        at: RFC 3339 UTC.
        valid_s: how long snapshot and timestamp may be believed: publish again before that is over.

    Raises:
        BadInput: no root is in force, or it has expired.
    """
    metadata, keys = state / "metadata", site_keys(state)
    root = require_root(state, at)
    for role, key in keys.items():
        if _tuf_key(key.public).keyid not in root.roles[role].keyids:
            raise BadInput(f"the root of the site names another key for {role} than the one here", next="coop release root --key KEY")
    version = _version(metadata) + 1
    short, long = (_when(at) + timedelta(seconds=span) for span in (valid_s, max(valid_s, 180 * 86_400)))
    targets = Targets(version=version, expires=long)
    for release, (data, said) in sorted(releases.items()):
        target = TargetFile.from_data(target_path(release), data, ["sha256"])
        target.unrecognized_fields = {"custom": {"release": release, **said}}
        targets.targets[target.path] = target
        folder, _, name = target.path.rpartition("/")
        write_bytes(state / "targets" / folder / f"{target.hashes['sha256']}.{name}", data)
    _write(metadata / f"{version}.targets.json", Metadata(targets), keys["targets"])
    snapshot = Snapshot(version=version, expires=short, meta={"targets.json": MetaFile(version)})
    _write(metadata / f"{version}.snapshot.json", Metadata(snapshot), keys["snapshot"])
    # Last, and in one step: whoever reads the new timestamp finds all it names.
    _write(metadata / "timestamp.json", Metadata(Timestamp(version=version, expires=short, snapshot_meta=MetaFile(version))), keys["timestamp"])
    for old in range(1, version - _KEPT + 1):
        for role in ("targets", "snapshot"):
            (metadata / f"{old}.{role}.json").unlink(missing_ok=True)


def _version(metadata: Path) -> int:
    path = metadata / "timestamp.json"
    return Metadata[Timestamp].from_bytes(path.read_bytes()).signed.version if path.is_file() else 0


def _write(path: Path, made: Metadata[Any], key: PrivateKey) -> None:
    made.sign(Signing(key))
    write_bytes(path, made.to_bytes(JSONSerializer(compact=False)))
