"""Who may sign the attestations of a release: the stewards of the bylaws when it went out; the operator where there are none."""

from __future__ import annotations

from dataclasses import dataclass

from governance_hooks.ed25519 import verifies
from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.report import StepFailed
from governance_hooks.rules.recalls import stewards_now
from governance_hooks.sshsig import PrivateKey, PublicKey, Signer
from governance_hooks.statement import OPERATOR
from model_card.attestations.envelope import Envelope, to_be_signed

__all__ = ["Signers", "plain_key"]


def plain_key(key: Signer) -> PrivateKey:
    """Return a key that can sign plain bytes; raise BadInput for one that signs elsewhere, FIDO keys and passkeys among them."""
    if not isinstance(key, PrivateKey):
        raise BadInput(
            "this key cannot sign an attestation: DSSE and TUF want a bare Ed25519 signature, and a FIDO key or passkey only ever signs in its own frame",
            value=key.public.kind,
            allowed="an ssh-ed25519 key file of a steward",
            next="add such a key to your membership: coop key add",
        )
    return key


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures count for a release: raw Ed25519 keys by fingerprint with their owner, and how many owners it takes."""

    keys: dict[str, tuple[str, bytes]]
    required: int
    named: int
    """Stewards the bylaws name; with none, the operator is the only signer."""

    @classmethod
    def of(cls, register: Register, release: str | None) -> Signers:
        """Return the signers of a release: its stewards when it went out (now, before it is out, or for None), with the keys they had then or have by now."""
        held = (register.stewards.get(release) if release else None) or stewards_now(register)
        if not held.named:
            raws = [(OPERATOR, raw) for raw, owner in register.known_keys.items() if owner == OPERATOR]
            return cls({PublicKey.from_raw(raw).fingerprint: (owner, raw) for owner, raw in raws}, 1, 0)
        raws = [(one, raw) for one, then in held.keys.items() for raw in then | register.members[one].keys]
        plain = {PublicKey.from_raw(raw).fingerprint: (one, raw) for one, raw in raws if len(raw) == 32}
        return cls(plain, held.required, held.named)

    @property
    def owners(self) -> set[str]:
        """Everybody who may sign."""
        return {owner for owner, _ in self.keys.values()}

    def count(self, envelope: Envelope, source: str) -> set[str]:
        """Return who signed an envelope; every signature must be of somebody entitled, verify, and be their only one.

        Raises:
            StepFailed: a stranger, a signature that does not verify, or one owner twice.
        """
        signed, message = set[str](), to_be_signed(envelope.payload)
        for name, signature in envelope.signatures.items():
            if name not in self.keys:
                raise StepFailed(f"{source} is signed with a key that is no steward's ({name[:60]!r})", todo="do not believe the attestations")
            owner, raw = self.keys[name]
            if not verifies(raw, signature, message):
                raise StepFailed(f"{source}: the signature of {owner} does not verify", todo="do not believe the attestations")
            if owner in signed:
                raise StepFailed(f"{source} is signed twice by one steward ({owner})", todo="do not believe the attestations")
            signed.add(owner)
        return signed

    def own(self, key: Signer) -> PrivateKey:
        """Return a key file that may sign; raise BadInput or Refused for any other."""
        plain = plain_key(key)
        if plain.public.fingerprint not in self.keys:
            raise Refused(
                "this key may not sign the attestations of this release",
                value=plain.public.fingerprint,
                allowed=", ".join(sorted(self.owners)) or "nobody: no steward is in good standing with an ssh-ed25519 key",
            )
        return plain
