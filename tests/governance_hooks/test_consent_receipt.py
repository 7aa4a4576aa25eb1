"""The member's receipt: it holds offline, and nobody can change a byte of what it proves."""

import json
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.checkpoint import NoteKey, sign_checkpoint, verify_checkpoint
from governance_hooks.consent_receipt import MAX_RECEIPT, check_receipt, make_receipt
from governance_hooks.consent_words import in_words
from governance_hooks.errors import BadInput
from governance_hooks.memory import roots_at
from governance_hooks.proof import Proof
from governance_hooks.report import Report, Status
from tests.village import Village


def receipt_of(village: Village, member: str) -> bytes:
    register = village.coop.register
    return make_receipt(village.coop.proof(), register, register.grants.get(member, []), at=village.clock)


def changed(data: bytes, **parts: Any) -> bytes:
    return dumps(json.loads(data) | parts)


def whole_time(proof: Proof) -> int:
    key = proof.fold(1).log_key
    return verify_checkpoint(proof.checkpoint, key).time


def broken(report: Report, name: str, words: str) -> None:
    step = next(step for step in report.steps if step.name == name)
    assert (step.status, words in step.why) == (Status.FAIL, True), report.text()
    assert report.exit_code == 1


@pytest.fixture
def member(village: Village) -> str:
    village.consent(village.members[0])
    village.consent(village.members[1])
    village.consent(village.members[0], occurrences=1, expires="2099-12-31T00:00:00Z")
    return village.members[0]


def test_it_holds_without_the_cooperative(village: Village, member: str) -> None:
    data = receipt_of(village, member)
    report = check_receipt(data, pin=village.coop.pin)
    assert report.passed, report.text()
    assert len(report.steps) == 5
    assert "village, the pinned one" in report.text()
    assert village.keys[member].public.fingerprint in report.text()


def test_a_newer_log_says_whether_it_still_stands(village: Village, member: str) -> None:
    data = receipt_of(village, member)
    first, second = village.coop.register.grants[member]
    assert "; ".join(f"{one.id[:19]} still stands" for one in (first, second)) in check_receipt(data, proof=village.coop.proof()).text()
    village.say("coop.withdrawal/v1", {"consent": second.id}, member)
    ended = check_receipt(data, proof=village.coop.proof())
    assert ended.passed
    assert f"{first.id[:19]} still stands; {second.id[:19]} ended at entry {village.coop.register.size - 1}" in ended.text()


def test_a_log_that_dropped_the_consent_is_caught(village: Village, member: str) -> None:
    data, whole = receipt_of(village, member), village.coop.proof()
    key = NoteKey.load(village.coop.paths.log_key)
    shorter = whole.entries[:-1]
    note = sign_checkpoint(key, len(shorter), roots_at(shorter, [len(shorter)])[len(shorter)], whole_time(whole))
    broken(check_receipt(data, proof=Proof(note, shorter)), "still stands", "it was rolled back or forked")


def test_a_receipt_of_another_cooperative_is_caught_by_the_pin(village: Village, member: str) -> None:
    broken(check_receipt(receipt_of(village, member), pin=sha256(b"ours")), "cooperative", "of another cooperative")


def test_a_changed_consent_is_no_longer_signed(village: Village, member: str) -> None:
    data = receipt_of(village, member)
    consents = json.loads(data)["consents"]
    consents[0]["entry"]["body"]["payload"]["licences"] = ["CC-BY-4.0"]
    report = check_receipt(changed(data, consents=consents))
    broken(report, "signed by the member", "signature")
    broken(report, "in the log", "the consent at entry 1 is not proven to be in the log")


def test_plain_words_that_say_something_else_are_caught(village: Village, member: str) -> None:
    data = receipt_of(village, member)
    words = json.loads(data)["words"]
    words[0]["lines"][0] = "Who may use it: nobody at all."
    broken(check_receipt(changed(data, words=words)), "plain words", "are not what was signed")
    broken(check_receipt(changed(data, words=words[:1])), "plain words", "are not what was signed")


def test_another_place_or_path_proves_nothing(village: Village, member: str) -> None:
    data = receipt_of(village, member)
    for change in ({"index": 2}, {"path": []}, {"path": ["00" * 32] * 3}):
        consents = json.loads(data)["consents"]
        consents[0] |= change
        broken(check_receipt(changed(data, consents=consents)), "in the log", "is not proven to be in the log")


def test_a_checkpoint_of_another_key_is_refused(village: Village, member: str, tmp_path: Any) -> None:
    data = receipt_of(village, member)
    note = village.coop.proof().checkpoint
    forged = note.split("\n\n")[0] + "\n\n" + sign_checkpoint(NoteKey.generate("village.example/log", tmp_path / "k"), 4, b"0" * 32, 1).split("\n\n")[1]
    report = check_receipt(changed(data, checkpoint=forged))
    assert [step.status for step in report.steps[1:4:2]] == [Status.FAIL, Status.UNKNOWN]


def test_somebody_elses_consent_in_a_receipt_is_caught(village: Village, member: str) -> None:
    data, other = receipt_of(village, member), receipt_of(village, village.members[1])
    mixed = json.loads(data)["consents"] + json.loads(other)["consents"]
    broken(check_receipt(changed(data, consents=mixed)), "signed by the member", "no consent of this member")
    founding = json.loads(data)["founding"]
    broken(check_receipt(changed(data, consents=[founding])), "signed by the member", "no consent of this member")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"a":1', b"x" * 100, b" {}", b"[" * 5000])
def test_a_file_that_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        check_receipt(data)


def test_a_file_too_long_is_not_even_read() -> None:
    with pytest.raises(BadInput, match="too long for a receipt"):
        check_receipt(b"[" + b" " * MAX_RECEIPT + b"]")


def test_without_a_consent_there_is_no_receipt(village: Village) -> None:
    with pytest.raises(BadInput, match="no consent to write a receipt for"):
        receipt_of(village, village.members[3])


def test_the_words_name_every_limit_of_the_consent(village: Village) -> None:
    member = village.members[0]
    batch = village.contribute(member).id
    village.consent(
        member,
        occurrences=1,
        expires="2099-12-31T00:00:00Z",
        scope={"languages": ["ibo", "yor"], "batches": [batch]},
        purposes=["dpv:NonCommercialPurpose"],
        licences=["Apache-2.0", "CC-BY-4.0"],
        recipients=["coop:Members"],
    )
    village.consent(member)
    narrow, wide = ("\n".join(in_words(grant.consent)) for grant in village.coop.register.grants[member])
    for said in (
        "one training run",
        "until 2099-12-31T00:00:00Z",
        "only your texts in ibo and yor, and of these only the 1 batch(es)",
        "Apache-2.0 or CC-BY-4.0",
    ):
        assert said in narrow
        assert said not in wide
    assert "This includes non-commercial research." in narrow
    assert "released weights" not in narrow
    for said in ("all texts you gave and will give", "as many training runs as members approve", "until you withdraw", "released weights"):
        assert said in wide
