import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.checkpoint import NoteKey, NoteVerifier, sign_checkpoint, verify_checkpoint
from governance_hooks.errors import CoopError, Refused
from governance_hooks.proof import Proof, read_proof
from tests.village import Village


def test_a_proof_survives_its_file_and_replays_to_the_same_state(village: Village) -> None:
    proposal = village.approve("run", sha256(b"plan"))
    proof = read_proof(village.coop.proof().dumps())
    replay = proof.replay(village.coop.pin)
    assert replay.register.proposals[proposal].tally == village.coop.register.proposals[proposal].tally
    assert replay.checkpoint.root == village.coop.log.root()


def test_no_flipped_byte_of_a_proof_passes(village: Village) -> None:
    village.consent(village.members[0])
    data = village.coop.proof().dumps()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(CoopError):
            read_proof(bytes(changed)).replay(village.coop.pin)


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


def test_files_of_another_format_are_refused(village: Village) -> None:
    value = loads(village.coop.proof().dumps())
    for changed in (value | {"format": "coop.proof/v9"}, value | {"extra": 1}, value | {"entries": {}}, [], value | {"entries": []}):
        with pytest.raises(CoopError):
            read_proof(dumps(changed)).replay(None)


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
