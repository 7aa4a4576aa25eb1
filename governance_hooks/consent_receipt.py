"""The member's receipt: their own consents with all that proves them, in one file they keep and can check without us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from governance_hooks import merkle
from governance_hooks.canonical import dumps, loads
from governance_hooks.checkpoint import Checkpoint, verify_checkpoint
from governance_hooks.consent import Consent
from governance_hooks.consent_record import receipt as as_json_ld
from governance_hooks.consent_words import in_words
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.fields import Strict
from governance_hooks.memory import roots_at
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.consents import Grant
from governance_hooks.statement import Statement, parse

__all__ = ["MAX_RECEIPT", "check_receipt", "make_receipt"]

MAX_RECEIPT = 16 * 1024 * 1024
"""Bytes; a longer file is no receipt."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Proven(Strict):
    """A log entry with its place and its Merkle path to the checkpoint."""

    index: Annotated[int, Field(ge=0)]
    path: Annotated[list[Hash], Field(max_length=64)]
    entry: dict[str, Any]


class Words(Strict):
    """A consent in plain words."""

    consent: str
    lines: list[str]


class Receipt(Strict):
    """The file."""

    format: Literal["coop.consent-receipt/v1"] = "coop.consent-receipt/v1"
    checkpoint: str
    """Signed note."""
    founding: Proven
    """The first entry: its digest is the cooperative, and it names the key that signs checkpoints."""
    consents: Annotated[list[Proven], Field(min_length=1, max_length=1000)]
    words: list[Words]
    record: dict[str, Any]
    """JSON-LD, for machines (ISO/IEC TS 27560)."""


def make_receipt(proof: Proof, register: Register, grants: Sequence[Grant], *, at: str) -> bytes:
    """Return the receipt of some of a member's consents under the newest checkpoint.

    Args:
        proof: the whole log under its newest checkpoint.
        register: that log, folded.
        grants: the consents, of one member.
        at: instant (RFC 3339 UTC) at which it is written.
    """
    if not grants:
        raise BadInput("there is no consent to write a receipt for", next="coop consent give")
    leaves = [merkle.leaf_hash(entry) for entry in proof.entries]

    def proven(index: int) -> Proven:
        path = merkle.inclusion_proof(index, len(leaves), lambda start, stop: merkle.root(leaves[start:stop]))
        return Proven(index=index, path=[step.hex() for step in path], entry=cast(dict[str, Any], loads(proof.entries[index])))

    made = Receipt(
        checkpoint=proof.checkpoint,
        founding=proven(0),
        consents=[proven(grant.given) for grant in grants],
        words=[Words(consent=grant.id, lines=in_words(grant.consent)) for grant in grants],
        record=as_json_ld(register, grants, proof.entries, at=at),
    )
    return dumps(made.model_dump(mode="json"))


class _Check:
    """Carries what one step finds to the steps after it."""

    def __init__(self, data: bytes, pin: str | None, proof: Proof | None) -> None:
        self.pin, self.proof = pin, proof
        if len(data) > MAX_RECEIPT:
            raise BadInput("this file is too long for a receipt", value=len(data), allowed=f"{MAX_RECEIPT} bytes")
        try:
            loads(data, source="receipt")
            self.receipt = Receipt.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(
                f"this file is no consent receipt: {'.'.join(map(str, first['loc']))}: {first['msg']}", allowed="what coop consent receipt writes"
            ) from error
        self.start: Register | None = None
        self.checkpoint: Checkpoint | None = None
        self.statements: list[Statement] = []

    # (1) The founding statement is signed by its founders, and is the cooperative's you expect.
    def founding(self) -> str:
        founding, start = parse(dumps(self.receipt.founding.entry), source="founding statement"), Register()
        start.admit(founding)
        if self.pin is not None and founding.id != self.pin:
            raise StepFailed(f"the receipt is of another cooperative: {founding.id}", todo="ask who gave you this file")
        self.start = start
        return f"{start.name}, {'the pinned one' if self.pin else f'not pinned: compare this fingerprint, {founding.id}'}"

    # (2) The checkpoint is signed by that cooperative's log key, and covers the founding statement.
    def signed_checkpoint(self) -> str:
        if self.start is None:
            raise StepUnknown("needs the founding statement")
        self.checkpoint = verify_checkpoint(self.receipt.checkpoint, self.start.log_key)
        self._require_included(self.receipt.founding, "the founding statement")
        if self.receipt.founding.index != 0:
            raise StepFailed("the founding statement is not the first entry")
        return f"over {self.checkpoint.size} entries"

    # (3) Every consent is whole, signed by one key, and for this cooperative.
    def signatures(self) -> str:
        if self.start is None:
            raise StepUnknown("needs the founding statement")
        found = [parse(dumps(one.entry), source=f"consent at entry {one.index}") for one in self.receipt.consents]
        for statement in found:
            if statement.type != "coop.consent/v1" or statement.coop != self.start.coop or len(statement.signers) != 1 or statement.author != found[0].author:
                raise StepFailed("an entry of this receipt is no consent of this member to this cooperative", todo="ask who gave you this file")
        self.statements = found
        keys = sorted({PublicKey.from_raw(raw).fingerprint for statement in found for raw in statement.signers})
        return f"{len(found)} consent(s) of {found[0].author}, signed with {', '.join(keys)}: compare with ssh-keygen -lf YOUR_KEY"

    # (4) Every consent lies in the log under that checkpoint.
    def inclusion(self) -> str:
        for one in self.receipt.consents:
            self._require_included(one, f"the consent at entry {one.index}")
        return "at entries " + ", ".join(str(one.index) for one in self.receipt.consents)

    # (5) The plain words are what those consents say.
    def words(self) -> str:
        if not self.statements:
            raise StepUnknown("needs the consents")
        expected = [(statement.id, in_words(cast(Consent, statement.payload))) for statement in self.statements]
        if [(one.consent, one.lines) for one in self.receipt.words] != expected:
            raise StepFailed("the plain words of this receipt are not what was signed", todo="believe the statement, not the words")
        return f"{sum(len(lines) for _, lines in expected)} lines follow from the statements"

    # (6) The log you have now extends the receipt's, and says whether the consents still stand.
    def standing(self) -> str:
        assert self.proof is not None
        if self.checkpoint is None or not self.statements:
            raise StepUnknown("needs the consents and the checkpoint")
        register = self.proof.replay(self.pin or (self.start.coop if self.start else None)).register
        size = self.checkpoint.size
        if len(self.proof.entries) < size or roots_at(self.proof.entries, [size])[size] != self.checkpoint.root:
            raise StepFailed("the log shown now does not go on from the receipt's: it was rolled back or forked", todo="keep both files: they prove it")
        said = []
        for statement in self.statements:
            grant = register.grant(statement.id, statement.author)
            if grant is None:
                raise StepFailed(f"the log does not hold consent {statement.id[:19]} as {statement.author}'s", todo="ask the cooperative")
            said.append(f"{grant.id[:19]} " + ("still stands" if grant.withdrawn is None else f"ended at entry {grant.withdrawn}"))
        return "; ".join(said)

    def _require_included(self, one: Proven, name: str) -> None:
        if self.checkpoint is None:
            raise StepUnknown("needs a signed checkpoint")
        path = [bytes.fromhex(step) for step in one.path]
        if not merkle.verify_inclusion(merkle.leaf_hash(dumps(one.entry)), one.index, self.checkpoint.size, path, self.checkpoint.root):
            raise StepFailed(f"{name} is not proven to be in the log", todo="ask the cooperative for a new receipt, and keep this one")


def check_receipt(data: bytes, *, pin: str | None = None, proof: Proof | None = None) -> Report:
    """Check a receipt offline and return the table.

    Args:
        data: the receipt file.
        pin: digest of the founding statement you expect; None takes the one in the receipt, which the first line says.
        proof: a newer log, to see whether the consents still stand; without it that is not looked at.

    Raises:
        BadInput: the file is no receipt.
    """
    try:
        check = _Check(data, pin, proof)
    except CoopError as error:
        raise BadInput(error.what, value=error.value, allowed=error.allowed, next=error.next) from error
    checklist = Checklist("Consent receipt")
    checklist.run("cooperative", check.founding)
    checklist.run("signed checkpoint", check.signed_checkpoint)
    checklist.run("signed by the member", check.signatures)
    checklist.run("in the log", check.inclusion)
    checklist.run("plain words", check.words)
    if proof is not None:
        checklist.run("still stands", check.standing)
    return checklist.report()
