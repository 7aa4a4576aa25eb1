"""Cosignatures, byte for byte: against the specification, against another implementation, and with every bit flipped."""

import base64
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tlog_scales.signing import MLDSA44CosignatureSigner, NoteSignature, PlainEd25519Signer, Vkey
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from governance_hooks.checkpoint import Checkpoint, NoteKey, NoteVerifier, read_signed, sign_checkpoint, verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.note import read_vkey, vkey
from governance_hooks.witness.cosigner import KINDS, Cosigner, CosignerKey
from governance_hooks.witness.policy import Policy

ROOT = hashlib.sha256(b"some tree").digest()
TIME = 1_800_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[NoteKey, list[CosignerKey]]:
    """A log's key, and witnesses w1 to w4, two of each type."""
    folder = tmp_path_factory.mktemp("keys")
    names = ["w1.example", "w2.example", "w3.example", "w4.example"]
    kinds = ["ed25519", "ml-dsa-44"] * 2
    made = [CosignerKey.generate(name, folder / name, kind) for name, kind in zip(names, kinds, strict=True)]
    return NoteKey.generate("log.example/x", folder / "log"), made


def policy_of(*witnesses: CosignerKey, required: int = 1) -> Policy:
    return Policy.parse([w.cosigner.text for w in witnesses], required)


def signed(log: NoteKey, *witnesses: CosignerKey, time: int = TIME) -> str:
    plain = sign_checkpoint(log, 7, ROOT, TIME)
    return plain + "".join(w.cosign(verify_checkpoint(plain, log.verifier), time) for w in witnesses)


def check(note: str, log: NoteKey, policy: Policy) -> dict[str, int]:
    return dict(policy.check(verify_checkpoint(note, log.verifier)).times)


def test_an_ed25519_cosignature_is_what_the_specification_spells_out(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    """C2SP tlog-cosignature, "Format" and "Ed25519 signed message", written out again from the text."""
    log, (witness, *_) = keys
    text = signed(log, witness)
    body, lines = text.split("\n\n")[0] + "\n", text.split("\n\n")[1].split("\n")
    dash, name, encoded = lines[2].split(" ")
    blob = base64.b64decode(encoded)
    public = witness._key.public_key().public_bytes_raw()
    assert (dash, name, lines[3:]) == ("\u2014", "w1.example", [""])
    assert blob[:4] == hashlib.sha256(b"w1.example\n\x04" + public).digest()[:4]
    assert blob[4:12] == TIME.to_bytes(8, "big")
    Ed25519PublicKey.from_public_bytes(public).verify(blob[12:], f"cosignature/v1\ntime {TIME}\n{body}".encode())
    assert body == f"log.example/x\n7\n{base64.b64encode(ROOT).decode()}\n"


def test_an_ml_dsa_cosignature_is_what_the_specification_spells_out(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    """C2SP tlog-cosignature, "ML-DSA-44 signed message": struct cosigned_message of RFC 8446 presentation language."""
    log, (_, witness, *_) = keys
    blob = base64.b64decode(signed(log, witness).split(" ")[-1])
    public = witness._key.public_key().public_bytes_raw()
    assert blob[:4] == hashlib.sha256(b"w2.example\n\x06" + public).digest()[:4]
    message = b"subtree/v1\n\0" + b"\x0aw2.example" + struct.pack(">Q", TIME) + b"\x0dlog.example/x" + struct.pack(">QQ", 0, 7) + ROOT
    MLDSA44PublicKey.from_public_bytes(public).verify(blob[12:], message)
    assert len(blob) == 4 + 8 + 2420


def test_another_implementation_verifies_our_notes(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, witnesses = keys
    text = signed(log, *witnesses)
    theirs = TheirCheckpoint.from_text(text)
    for verifier in [log.verifier.text, vkey(log.name, 4, log.verifier.raw), *(w.cosigner.text for w in witnesses)]:
        theirs.verify(Vkey.from_string(verifier))
    other = Vkey.from_string(witnesses[0].cosigner.text.replace("w1", "w9"))
    with pytest.raises(RuntimeError):
        theirs.verify(other)


def test_we_verify_the_notes_of_another_implementation() -> None:
    log, witness = PlainEd25519Signer("log.example/y", Ed25519PrivateKey.generate()), MLDSA44CosignatureSigner("their.example", bytes(range(32)))
    note = TheirCheckpoint.make_signed("log.example/y", 5, ROOT, [log, witness]).serialize()
    checkpoint, own = read_signed(note, NoteVerifier.parse(log.vkey.serialize()))
    assert (checkpoint.size, checkpoint.root, checkpoint.time) == (5, ROOT, 0)
    assert "their.example" not in own
    cosigner = Cosigner.parse(witness.vkey.serialize())
    line = next(line for line in note.split("\n") if "their.example" in line)
    assert cosigner.verify(checkpoint, line) == int.from_bytes(NoteSignature.from_line(line).payload[:8])
    with pytest.raises(Refused, match="does not verify"):
        cosigner.verify(replace(checkpoint, size=6), line)


def test_the_example_of_the_specification_parses() -> None:
    """C2SP signed-note, "Example": its vkey, and its signature over its text."""
    name, kind, raw = read_vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    assert (name, kind) == ("example.com/foo", 1)
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(line)[4:], b"This is an example message.\n")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_no_flipped_bit_of_a_note_is_accepted(keys: tuple[NoteKey, list[CosignerKey]], data: st.DataObject) -> None:
    log, witnesses = keys
    policy, note = policy_of(*witnesses), signed(log, *witnesses).encode()
    assert len(check(note.decode(), log, policy)) == 4
    bit = data.draw(st.integers(0, 8 * len(note) - 1))
    flipped = bytearray(note)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        text = bytes(flipped).decode()
    except UnicodeDecodeError:
        return  # whoever reads a note as text has refused it before
    with pytest.raises(Refused):
        check(text, log, policy)


def test_no_flipped_bit_of_an_ed25519_note_is_accepted(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    """All of them, not a sample."""
    log, (one, _, three, _) = keys
    policy, note = policy_of(one, three), signed(log, one, three).encode()
    for bit in range(8 * len(note)):
        flipped = bytearray(note)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Refused, UnicodeDecodeError)):
            check(bytes(flipped).decode(), log, policy)


def test_a_note_has_one_byte_form(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, (one, two, three, four) = keys
    policy = policy_of(one, two, three)
    good = signed(log, one, three)
    assert set(check(good, log, policy)) == {"w1.example", "w3.example"}
    own, first, third = signed(log), *(w.cosign(verify_checkpoint(signed(log), log.verifier), TIME) for w in (one, three))
    stranger = four.cosign(verify_checkpoint(signed(log), log.verifier), TIME)
    renamed = replace(one, name="w2.example").cosign(verify_checkpoint(own, log.verifier), TIME)
    for changed in (
        own + third + first,  # not sorted
        own + first + first,  # twice
        own + first + one.cosign(verify_checkpoint(own, log.verifier), TIME + 1),  # twice, at two times
        own + first + third + stranger,  # no witness of the policy
        own + first + renamed,  # the key of one under the name of another
        own + first + third + "\n",
        own + "\n" + first,
        own + first.rstrip("\n"),
        own + first.replace("— ", "—  "),
        own + first.replace("\n", "\r\n"),
        own + first.replace("w1.example", "log.example/x"),
        first + own,
        own.split("\n\n")[0] + "\n\n" + first,
        good.replace("\n\n", "\nextension\n\n"),
    ):
        with pytest.raises(Refused):
            check(changed, log, policy)


def test_a_cosignature_of_another_checkpoint_time_or_log_does_not_count(keys: tuple[NoteKey, list[CosignerKey]], tmp_path: Path) -> None:
    log, witnesses = keys
    other = NoteKey.generate("log.example/z", tmp_path / "z")
    for witness in witnesses:
        for theirs in (sign_checkpoint(log, 8, ROOT, TIME), sign_checkpoint(log, 7, bytes(32), TIME), sign_checkpoint(other, 7, ROOT, TIME)):
            key = other if theirs.startswith("log.example/z") else log
            line = witness.cosign(verify_checkpoint(theirs, key.verifier), TIME)
            with pytest.raises(Refused, match="does not verify"):
                check(signed(log) + line, log, policy_of(witness))


def test_a_time_outside_this_century_is_refused(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, (witness, *_) = keys
    for time in (0, 4_102_444_800, 2**63, 2**64 - 1):
        with pytest.raises(Refused, match="century"):
            check(signed(log, witness, time=time), log, policy_of(witness))
    with pytest.raises(Refused, match="century"):
        verify_checkpoint(sign_checkpoint(log, 7, ROOT, 0), log.verifier)


def test_more_cosignatures_than_anybody_must_read_are_refused(tmp_path: Path, keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, _ = keys
    many = [CosignerKey.generate(f"m{i:02}", tmp_path / f"{i}") for i in range(17)]
    assert len(check(signed(log, *many[:16]), log, policy_of(*many[:16]))) == 16
    with pytest.raises(Refused, match="at most 16"):
        verify_checkpoint(signed(log, *many), log.verifier)
    with pytest.raises(Refused, match="too many witnesses"):
        policy_of(*many)


def test_the_longest_note_there_can_be_is_read(tmp_path: Path, keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    many = [CosignerKey.generate(f"{i:02}" + "m" * 126, tmp_path / f"{i}", "ml-dsa-44") for i in range(16)]
    assert len(check(signed(keys[0], *many), keys[0], policy_of(*many))) == 16


def test_a_verifier_key_of_a_witness_is_read_back_and_a_changed_one_refused(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, witnesses = keys
    for witness in witnesses:
        text = witness.cosigner.text
        assert Cosigner.parse(text) == witness.cosigner
        assert Vkey.from_string(text).serialize() == text
        for position in range(0, len(text), 1 + len(text) // 97):
            changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
            with pytest.raises(Refused):
                Cosigner.parse(changed)
    small_order = vkey("w", 4, bytes(32))
    for bad in (log.verifier.text, vkey("w", 4, bytes(31)), vkey("w", 6, bytes(32)), vkey("w", 7, bytes(range(32))), small_order, "", "w+00000000+"):
        with pytest.raises(Refused):
            Cosigner.parse(bad)
    with pytest.raises(Refused):
        NoteVerifier.parse(vkey("w", 1, bytes(32)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_read_back_from_its_file(kind: str, tmp_path: Path) -> None:
    made = CosignerKey.generate("w", tmp_path / "key", kind)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert CosignerKey.load(tmp_path / "key").cosigner == made.cosigner
    checkpoint = Checkpoint("o", 1, ROOT, 1)
    made.cosigner.verify(checkpoint, CosignerKey.load(tmp_path / "key").cosign(checkpoint, TIME).rstrip("\n"))


def test_their_reader_of_lines_agrees_with_ours(keys: tuple[NoteKey, list[CosignerKey]]) -> None:
    log, witnesses = keys
    for line in signed(log, *witnesses).split("\n\n")[1].split("\n")[:-1]:
        assert NoteSignature.from_line(line).serialize() == line
