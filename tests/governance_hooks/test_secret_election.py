"""Whole secret polls with the real belenios-tool: what is counted is what was voted, and each role checks before it acts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.report import Blocked
from governance_hooks.secret.archive import read_archive
from governance_hooks.secret.auditor import audit_secret
from governance_hooks.secret.ceremony import advance, poll_payload, trustee_turn
from governance_hooks.secret.election import make_ballot
from governance_hooks.secret.tool import Tool, scratch
from tests.secret_poll import ANSWERS, Ceremony, open_poll
from tests.village import Village

pytestmark = pytest.mark.belenios


@pytest.fixture
def ceremony(village10: Village, tmp_path: Path) -> Ceremony:
    return Ceremony(village10, tmp_path / "poll", Tool.find())


def test_a_whole_election_counts_what_was_voted_with_a_changed_vote_and_one_who_stays_away(ceremony: Ceremony) -> None:
    village, register = ceremony.village, ceremony.village.coop.register
    poll = ceremony.opened()
    wanted = dict(zip(village.members[:9], ["yes", "no", "yes", "yes", "no", "abstain", "yes", "no", "yes"], strict=True))
    tracker = ceremony.box.add(ceremony.ballot(village.members[0], "no"))
    for voter, answer in wanted.items():
        last = ceremony.box.add(ceremony.ballot(voter, answer))
    village.wait(3600)
    ceremony.box.close()
    ceremony.decrypt(1, 3)
    counts = ceremony.box.count()
    assert counts == [Counter(wanted.values())[answer] for answer in ANSWERS] == [5, 3, 1]
    data = ceremony.box.data
    report = audit_secret(data, register, ceremony.tool, tracker=last)
    assert report.passed, report.text()
    assert "10 ballots of 9 credentials" in report.text()
    assert "replaced by a later one" in audit_secret(data, register, ceremony.tool, tracker=tracker).text()
    registrars = village.members[:2]
    village.say("coop.secret-result/v1", {"poll": poll, "counts": counts, "archive": sha256(data)}, registrars[0], *(village.keys[m] for m in registrars))
    assert register.secret_polls[poll].counts == (5, 3, 1)
    assert audit_secret(data, register, ceremony.tool).passed


def test_nothing_in_the_public_folder_or_the_log_tells_whose_ballot_is_whose(ceremony: Ceremony) -> None:
    ceremony.opened()
    ceremony.box.add(ceremony.ballot(ceremony.village.members[7], "yes"))
    credentials = json.loads(ceremony.folder.read("public_credentials.json"))
    assert credentials == sorted(credentials)
    archive = ceremony.folder.archive().read_bytes()
    secrets = {ceremony.credential(member).strip() for member in ceremony.village.members}
    public = b"".join(path.read_bytes() for path in ceremony.folder.root.rglob("*") if path.is_file())
    assert len(secrets) == 10
    assert not any(secret in public for secret in secrets)
    assert not any(member.encode() in archive for member in ceremony.village.members if member != ceremony.settings.credential_authority)


def test_a_ballot_is_checked_before_it_is_logged_so_nobody_can_block_the_count(ceremony: Ceremony) -> None:
    village = ceremony.village
    ceremony.opened()
    other = Ceremony(village, ceremony.root.parent / "other", ceremony.tool)
    other.opened()
    first = ceremony.ballot(village.members[0], "no")
    ceremony.box.add(first)
    ceremony.box.add(ceremony.ballot(village.members[0], "yes"))
    honest = ceremony.ballot(village.members[1], "yes")
    value = json.loads(honest)
    value["answers"][0]["overall_proof"][0]["response"] = "1" + value["answers"][0]["overall_proof"][0]["response"][1:-1]
    broken = json.dumps(value, separators=(",", ":")).encode()
    spaced = json.dumps(json.loads(first)).encode()
    before = village.coop.log.size, ceremony.box.data
    for ballot, why in (
        (first, "older ballot put over a newer"),
        (spaced, "older ballot put over a newer"),
        (other.ballot(village.members[1], "yes"), "another election"),
        (broken, "InvalidBallot"),
        (honest + b"x", "one line"),
        (b"{}\n", "lacks"),
    ):
        with pytest.raises(Refused, match=why):
            ceremony.box.add(ballot)
    assert (village.coop.log.size, ceremony.box.data) == before
    ceremony.box.add(honest)


def test_the_tool_refuses_two_answers_and_a_credential_nobody_was_given(ceremony: Ceremony) -> None:
    ceremony.opened()
    with pytest.raises(BadInput, match="no such answer"):
        ceremony.ballot(ceremony.village.members[0], "both")
    mistyped = ceremony.credential(ceremony.village.members[0]).strip()
    mistyped = mistyped[:-1] + (b"a" if mistyped[-1:] != b"a" else b"b")
    # By chance the tool's own check of the mistyped letter finds it, or the list of credentials does.
    with pytest.raises(Refused, match=r"generate-ballot refused|not among the poll's credentials"):
        make_ballot(ceremony.folder, ceremony.village.coop.register, mistyped, "yes", ceremony.tool)


def test_one_trustee_alone_cannot_decrypt_and_a_forged_decryption_never_enters(ceremony: Ceremony) -> None:
    village = ceremony.village
    ceremony.opened()
    for voter in village.members[:5]:
        ceremony.box.add(ceremony.ballot(voter, "yes"))
    with pytest.raises(Refused, match="still open"):
        ceremony.box.close()
    village.wait(3600)
    ceremony.box.close()
    ceremony.decrypt(2)
    assert ceremony.box.count() is None
    forged = ceremony.folder.read("decryption/2.json").replace(b'"owner":2', b'"owner":3')
    ceremony.folder.write("decryption/3.json", forged)
    size = village.coop.log.size
    with pytest.raises(Refused, match="one of them is wrong"):
        ceremony.box.count()
    assert village.coop.log.size == size
    ceremony.decrypt(1)
    assert ceremony.box.count() == [5, 0, 0]
    assert audit_secret(ceremony.box.data, village.coop.register, ceremony.tool).passed


def test_trustees_decrypt_neither_few_ballots_nor_an_archive_the_log_does_not_have(ceremony: Ceremony) -> None:
    village = ceremony.village
    ceremony.opened()
    for _ in range(5):
        ceremony.box.add(ceremony.ballot(village.members[0], "yes"))
    with pytest.raises(Blocked, match="no encrypted count yet"):
        ceremony.decrypt(1)
    village.wait(3600)
    ceremony.box.close()
    with pytest.raises(Blocked, match="1 voted: a count of fewer than 5"):
        ceremony.decrypt(1)
    assert not ceremony.folder.has("decryption/1.json")


def test_a_box_killed_between_log_and_archive_goes_on(ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    village = ceremony.village
    ceremony.opened()
    box = ceremony.box
    monkeypatch.setattr(box, "_keep", lambda data: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        box.add(ceremony.ballot(village.members[0], "yes"))
    assert len(box.poll.events) == 2
    assert len(ceremony.archive.events) == 1
    assert len(ceremony.box.archive.events) == 2
    monkeypatch.undo()
    box = ceremony.box
    monkeypatch.setattr(village.coop, "operate", lambda *_: (_ for _ in ()).throw(CoopError("the disk is full")))
    with pytest.raises(CoopError, match="disk is full"):
        box.add(ceremony.ballot(village.members[1], "yes"))
    monkeypatch.undo()
    assert len(ceremony.box.archive.events) == 2
    ceremony.box.add(ceremony.ballot(village.members[1], "yes"))
    assert len(ceremony.archive.events) == 3


def test_a_trustee_notices_certificates_exchanged_by_the_operator(ceremony: Ceremony, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        trustee_turn(ceremony.folder, ceremony.private(number), number, ceremony.tool)
    mine = ceremony.folder.read("certs/2.json")
    (ceremony.folder.root / "certs" / "2.json").unlink()
    trustee_turn(ceremony.folder, tmp_path / "operators-own", 2, ceremony.tool)
    assert ceremony.folder.read("certs/2.json") != mine
    advance(ceremony.folder, ceremony.tool)
    with pytest.raises(Refused, match="does not have yours"):
        trustee_turn(ceremony.folder, ceremony.private(2), 2, ceremony.tool)


def test_nobody_signs_a_poll_without_their_own_part_in_it(ceremony: Ceremony) -> None:
    ceremony.keys()
    ceremony.checked()
    payload, trustees = ceremony.payload(), ceremony.settings.trustees
    private, authority = ceremony.private(1), ceremony.root / "authority"
    for other in ({"payload": payload | {"trustees": payload["trustees"][::-1]}}, {"payload": payload | {"threshold": 3}}):
        with pytest.raises(Refused, match="not of this folder's poll"):
            ceremony.check(private, trustees[0], **other)
    for other in ({"type": "coop.ballot/v1"}, {"coop": sha256(b"another")}, {"author": trustees[0]}):
        with pytest.raises(Refused, match="not the statement of a secret poll of this cooperative"):
            ceremony.check(private, trustees[0], **other)
    (private / "certificate").write_bytes(ceremony.folder.read("certs/2.json"))
    with pytest.raises(Refused, match="not made with your certificate"):
        ceremony.check(private, trustees[0])
    (authority / "public_credentials.json").write_bytes(b"[]")
    with pytest.raises(Refused, match="other public credentials"):
        ceremony.check(authority, ceremony.settings.credential_authority)
    ceremony.folder.write("dkey/2.json", ceremony.folder.read("dkey/3.json"))
    with pytest.raises(Refused, match="decrypt-threshold refused"):  # the rehearsal: this share would not open the count
        ceremony.check(ceremony.private(2), trustees[1])
    ceremony.folder.write("poll.json", dumps((ceremony.settings.model_copy(update={"question": "Shall the co-op not do it?"})).model_dump()))
    with pytest.raises(Refused, match="asks something else"):
        ceremony.check(ceremony.private(3), trustees[2])


def test_open_poll_is_of_the_archive(ceremony: Ceremony) -> None:
    ceremony.keys()
    with pytest.raises(Refused, match="no secret poll in this log"):
        _ = ceremony.box
    open_poll(ceremony.village, ceremony.payload())
    assert ceremony.box.poll.roll == 10


def test_a_voter_does_not_encrypt_for_a_key_the_log_does_not_know(ceremony: Ceremony) -> None:
    """The operator's own election under the poll's name: same question, same identifier, another key."""
    ceremony.opened()
    credential = ceremony.credential(ceremony.village.members[0])
    forged = Ceremony(ceremony.village, ceremony.root.parent / "forged", ceremony.tool, uuid=ceremony.settings.uuid)
    forged.keys()
    ceremony.folder.archive().write_bytes(forged.folder.archive().read_bytes())
    with pytest.raises(Refused, match="no secret poll in this log has the setup"):
        make_ballot(ceremony.folder, ceremony.village.coop.register, credential, "yes", ceremony.tool)
    changed = ceremony.settings.model_copy(update={"answers": ["no", "yes", "abstain"]})
    open_poll(ceremony.village, poll_payload(forged.settings, forged.archive))
    ceremony.folder.write("poll.json", dumps(changed.model_dump()))
    with pytest.raises(Refused, match="asks something else"):
        make_ballot(ceremony.folder, ceremony.village.coop.register, credential, "yes", ceremony.tool)


def test_a_trustee_decrypts_one_count_of_a_poll(ceremony: Ceremony) -> None:
    """Two counts that differ by one ballot tell that ballot; here the operator forks the log after the fifth."""
    village = ceremony.village
    ceremony.opened()
    for voter in village.members[:5]:
        ceremony.box.add(ceremony.ballot(voter, "yes"))
    archive, register = ceremony.folder.archive(), village.coop.register
    without = archive.read_bytes()
    ceremony.box.add(ceremony.ballot(village.members[5], "no"))
    village.wait(3600)
    ceremony.box.close()
    ceremony.decrypt(1)
    ceremony.decrypt(1)
    poll = next(iter(register.secret_polls.values()))
    for kind in ("EndBallots", "EncryptedTally"):
        with scratch({archive.name: without}) as at:
            payload = ceremony.tool.output("election", "compute-encrypted-tally", folder=at) if kind == "EncryptedTally" else b""
            ceremony.tool.output("archive", "add-event", f"--type={kind}", folder=at, stdin=payload)
            without = (at / archive.name).read_bytes()
    poll.events = [(event.kind, f"sha256:{event.digest}") for event in read_archive(without).events]
    archive.write_bytes(without)
    with pytest.raises(Refused, match="another count of this poll"):
        ceremony.decrypt(1)
