import gzip
import hashlib
import zlib

import pytest

from governance_hooks import proof as proof_file
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.checkpoint import NoteKey, NoteVerifier, sign_checkpoint, verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.proof import Proof, read_proof
from tests.village import Village


def test_a_proof_survives_its_file_and_replays_to_the_same_state(village: Village) -> None:
    proposal = village.approve("run", sha256(b"plan"))
    proof = read_proof(village.coop.proof().dumps())
    replay = proof.replay(village.coop.pin)
    assert replay.register.proposals[proposal].tally == village.coop.register.proposals[proposal].tally
    assert replay.checkpoint.root == village.coop.log.root()


def test_no_flipped_bit_of_a_proof_passes(village: Village) -> None:
    """Also those that gzip does not see: times and names in its header, bits after the last block."""
    village.consent(village.members[0])
    data = village.coop.proof().dumps()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(Refused, match="bytes were changed"):
                read_proof(bytes(changed))
    with pytest.raises(Refused, match="bytes were changed"):
        read_proof(data + b"\0")


def test_gunzip_reads_a_proof(village: Village) -> None:
    proof = village.coop.proof()
    lines = gzip.decompress(proof.dumps()).split(b"\n")
    assert lines[1:] == [*proof.entries, b""]
    assert loads(lines[0]) == {"checkpoint": proof.checkpoint, "format": "coop.proof/v2"}


def pack(text: bytes, *, after: bytes = b"") -> bytes:
    """A proof file of any text, as a forger makes it: header and digest fit."""
    rest = gzip.compress(text, mtime=0)[10:] + after
    return proof_file._HEAD + hashlib.sha256(rest).digest() + rest


def test_no_other_text_is_a_proof(village: Village) -> None:
    village.consent(village.members[0])
    proof = village.coop.proof()
    text = gzip.decompress(proof.dumps())
    assert read_proof(pack(text)) == proof
    first, *entries = text.splitlines(keepends=True)
    for changed in (
        b"",
        b"\n" + text,
        text[:-1],
        text + b"\n",
        text + b" ",
        first + b"\n" + entries[0],
        first.replace(b"proof/v2", b"proof/v1") + entries[0],
        first.replace(b'{"c', b'{ "c') + entries[0],
        first.replace(b'"format"', b'"a":1,"format"') + entries[0],
        b'{"checkpoint":1,"format":"coop.proof/v2"}\n' + entries[0],
        b"[]\n" + entries[0],
        first + entries[0][:100] + b"\n",
        first + b"x" * 65_536 + b"\n",
    ):
        with pytest.raises(Refused):
            read_proof(pack(changed))


def test_a_proof_that_is_cut_off_or_goes_on_is_refused(village: Village) -> None:
    text = gzip.decompress(village.coop.proof().dumps())
    for after in (b"x", gzip.compress(text)):
        with pytest.raises(Refused, match="goes on after its end"):
            read_proof(pack(text, after=after))
    rest = gzip.compress(text)[10:]
    for cut in (rest[:-1], rest[:-9], rest[: len(rest) // 2], b""):
        with pytest.raises(Refused, match="cut off"):
            read_proof(proof_file._HEAD + hashlib.sha256(cut).digest() + cut)
    wrong = rest[:-8] + bytes(8)
    with pytest.raises(Refused, match="incorrect data check"):
        read_proof(proof_file._HEAD + hashlib.sha256(wrong).digest() + wrong)


def test_a_bomb_is_refused_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pack(dumps({"checkpoint": "", "format": proof_file.FORMAT}) + b"\n" + (b"x" * 60_000 + b"\n") * 2_000)
    unpacked = 0

    class Counting:
        def __init__(self, inner: "zlib._Decompress") -> None:
            self.inner = inner

        def decompress(self, part: bytes, most: int) -> bytes:
            nonlocal unpacked
            text = self.inner.decompress(part, most)
            unpacked += len(text)
            return text

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    made = zlib.decompressobj
    monkeypatch.setattr(proof_file.zlib, "decompressobj", lambda bits: Counting(made(bits)))
    with pytest.raises(Refused, match="unpacks to more than a proof of its size can"):
        read_proof(bomb)
    assert unpacked <= max(proof_file.FLOOR, proof_file.RATIO * len(bomb)) + (1 << 16)


def test_a_log_that_packs_too_well_is_stored_and_read_all_the_same(village: Village) -> None:
    entries = (b"x" * 60_000,) * 100
    proof = Proof(village.coop.log.checkpoint(), entries)
    assert len(proof.dumps()) > 6_000_000
    assert read_proof(proof.dumps()) == proof


def test_leaving_out_a_ballot_is_seen(village: Village) -> None:
    village.approve("run", sha256(b"plan"))
    proof = village.coop.proof()
    for position in range(1, len(proof.entries)):
        rest = proof.entries[:position] + proof.entries[position + 1 :]
        with pytest.raises(Refused, match="another number of entries"):
            Proof(proof.checkpoint, rest).verify_log(village.coop.pin)
        doubled = (*rest, rest[-1])
        with pytest.raises(Refused, match="do not hash to the checkpoint"):
            Proof(proof.checkpoint, doubled).verify_log(village.coop.pin)


def test_an_operator_who_signs_an_unlawful_entry_into_the_log_is_named(village: Village) -> None:
    """The operator holds the log key, so it can sign any tree; replay still names what the rules forbid."""
    proposal = village.propose("run", sha256(b"plan")).id
    forged = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, village.members[0], village.operator)
    village.coop.log.append([forged], expected_size=village.coop.log.size, note=_sign(village))
    proof = Proof(village.coop.log.checkpoint(), tuple(village.coop.log.entries()))
    proof.verify_log(village.coop.pin)
    with pytest.raises(Refused, match=r"entry 2 of the log is not allowed: .* signed by operator"):
        proof.replay(village.coop.pin)


def _sign(village: Village):  # type: ignore[no-untyped-def]
    key = NoteKey.load(village.coop.paths.log_key)
    return lambda size, root: sign_checkpoint(key, size, root, 2_000_000_000)


def test_a_proof_of_another_cooperative_is_refused_by_the_pin(village: Village) -> None:
    proof = village.coop.proof()
    with pytest.raises(Refused, match="of another cooperative"):
        proof.replay(sha256(b"ours"))
    assert proof.replay(None).register.coop == village.coop.pin


def test_files_of_another_format_are_refused() -> None:
    for data in (b"", b"{}", dumps({"checkpoint": "", "entries": [], "format": "coop.proof/v1"}), gzip.compress(b"{}"), zlib.compress(b"{}")):
        with pytest.raises(Refused, match="no proof of a version we know"):
            read_proof(data)


def test_a_proof_of_no_entries_is_refused(village: Village) -> None:
    with pytest.raises(Refused, match="holds no entries"):
        read_proof(Proof(village.coop.log.checkpoint(), ()).dumps()).replay(None)


def test_a_checkpoint_is_the_logs_own_and_nobody_elses(village: Village, tmp_path: object) -> None:
    register, note = village.coop.register, village.coop.log.checkpoint()
    other = NoteKey.generate("village.example/log", village.root / "other.key")
    with pytest.raises(Refused, match="not signed by the log's key"):
        verify_checkpoint(sign_checkpoint(other, 1, bytes(32), 1), register.log_key)
    stranger = NoteKey.generate("elsewhere.example/log", village.root / "stranger.key")
    with pytest.raises(Refused, match="another log"):
        verify_checkpoint(sign_checkpoint(stranger, 1, bytes(32), 1), register.log_key)
    for position in range(len(note)):
        changed = note[:position] + ("x" if note[position] != "x" else "y") + note[position + 1 :]
        with pytest.raises(Refused):
            verify_checkpoint(changed, register.log_key)
    with pytest.raises(Refused):
        verify_checkpoint(note + note.split("\n")[-2] + "\n", register.log_key)


def test_a_verifier_key_is_read_back_and_a_changed_one_refused(village: Village) -> None:
    text = village.coop.register.log_key.text
    assert NoteVerifier.parse(text) == village.coop.register.log_key
    for changed in (text.replace("village", "hamlet"), text[:-4] + "AAAA", "name+00+", ""):
        with pytest.raises(Refused):
            NoteVerifier.parse(changed)
