"""The auditor of secret polls on an archive made by belenios-tool 3.3.0; every attack is an archive with honest digests, as its operator could write it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.errors import Refused
from governance_hooks.report import Report, Status
from governance_hooks.secret.archive import Archive, member, read_archive, read_ballot
from governance_hooks.secret.auditor import audit_secret, check_ballot, counts_of
from governance_hooks.secret.ceremony import poll_payload
from governance_hooks.secret.tool import Tool
from governance_hooks.state.polls import SecretPoll
from tests.secret_poll import RECORDED, events, open_poll, settings, write
from tests.village import Village

DATA = (RECORDED / "election.bel").read_bytes()
SPARE = {name: text.encode().strip() for name, text in json.loads((RECORDED / "spare.json").read_text()).items()}
Part = tuple[str, bytes | None, list[bytes]]


def parts() -> list[Part]:
    return events(read_archive(DATA))


def anchor(village: Village, data: bytes) -> SecretPoll:
    """Open the archive's poll and give it the archive's events, past the rules of the log: the auditor must not lean on them."""
    archive = read_archive(data)
    payload = poll_payload(settings(village, uuid=archive.uuid), archive)
    poll = village.coop.register.secret_polls[open_poll(village, payload).id]
    poll.events = [(event.kind, f"sha256:{event.digest}") for event in archive.events]
    return poll


def audited(village: Village, data: bytes) -> Report:
    return audit_secret(data, village.coop.register, None)


def failed(report: Report, name: str) -> str:
    """Return why the step called `name` failed."""
    step = next(step for step in report.steps if step.name == name)
    assert step.status is Status.FAIL, report.text()
    return step.why


def test_the_honest_archive_passes_all_but_the_tools_own_proofs_where_there_is_no_tool(village10: Village) -> None:
    anchor(village10, DATA)
    report = audited(village10, DATA)
    assert [step.status.value for step in report.steps] == ["PASS"] * 8 + ["UNKNOWN"], report.text()
    assert not report.passed
    assert report.exit_code == 2
    assert counts_of(read_archive(DATA)) == [3, 2, 1]


@pytest.mark.belenios
def test_the_recorded_archive_passes_with_the_tool(village10: Village) -> None:
    anchor(village10, DATA)
    report = audit_secret(DATA, village10.coop.register, Tool.find())
    assert report.passed, report.text()


def test_putting_an_archive_together_again_gives_the_same_events(village10: Village) -> None:
    assert [event.digest for event in read_archive(write(parts())).events] == [event.digest for event in read_archive(DATA).events]


def test_an_older_ballot_put_back_after_a_changed_vote_is_refused(village10: Village) -> None:
    made = parts()
    respelled = json.dumps(json.loads(made[1][1] or b"")).encode()
    for ballot in (made[1][1], respelled):  # the same bytes, and the same ballot in other bytes
        replayed = write([*made[:8], ("Ballot", ballot, []), *made[8:]])
        anchor(village10, replayed)
        assert "takes a changed vote back" in failed(audited(village10, replayed), "ballots")
        village10.coop.register.secret_polls.clear()


def test_an_archive_cut_short_is_refused_because_the_log_anchors_more(village10: Village) -> None:
    whole = anchor(village10, DATA).events
    made = parts()
    for length in range(1, len(made)):
        report = audited(village10, write(made[:length]))
        assert f"the log anchors {len(whole)} events, it has {length}" in failed(report, "anchored in the log")


def test_a_dropped_exchanged_or_unanchored_event_is_refused(village10: Village) -> None:
    poll = anchor(village10, DATA)
    made = parts()
    assert "event 3 is not the one the log anchors" in failed(audited(village10, write(made[:3] + made[4:])), "anchored in the log")
    swapped = write([made[0], made[2], made[1], *made[3:]])
    assert "event 1 is not the one the log anchors" in failed(audited(village10, swapped), "anchored in the log")
    poll.events = poll.events[:-1]
    assert "1 events at its end are not anchored" in failed(audited(village10, DATA), "anchored in the log")


def test_a_ballot_of_a_credential_nobody_was_given_is_refused(village10: Village) -> None:
    made = parts()
    stuffed = write([*made[:8], ("Ballot", SPARE["stranger"], []), *made[8:]])
    anchor(village10, stuffed)
    assert "not among the poll's credentials" in failed(audited(village10, stuffed), "ballots")
    with pytest.raises(Refused, match="not among"):
        check_ballot(read_archive(DATA), read_ballot(SPARE["stranger"]))


def test_a_count_of_other_than_one_ballot_a_credential_is_refused(village10: Village) -> None:
    made = parts()
    tally = next(i for i, part in enumerate(made) if part[0] == "EncryptedTally")
    for old, new in ((b'"num_tallied":6', b'"num_tallied":7'), (b'"total_weight":6', b'"total_weight":9')):
        changed = write([*made[:tally], ("EncryptedTally", (made[tally][1] or b"").replace(old, new), made[tally][2]), *made[tally + 1 :]])
        anchor(village10, changed)
        assert "6 credentials voted" in failed(audited(village10, changed), "count")
        village10.coop.register.secret_polls.clear()
    dropped = write(made[:4] + made[5:])  # a voter's only ballot left out before the count
    anchor(village10, dropped)
    assert "5 credentials voted, and 6 ballots" in failed(audited(village10, dropped), "count")


def test_a_changed_result_is_refused(village10: Village) -> None:
    made = parts()
    for result in (b'{"result":[[4,2,1]]}', b'{"result":[[6,0]]}', b'{"result":[[3,2,1],[6,0,0]]}', b'{"result":[[8,-2,0]]}', b'{"result":[["6",0,0]]}'):
        changed = write([*made[:-1], ("Result", result, [])])
        anchor(village10, changed)
        assert "does not add up" in failed(audited(village10, changed), "result")
        village10.coop.register.secret_polls.clear()


def test_a_result_other_than_the_registrars_stated_is_refused(village10: Village) -> None:
    poll = anchor(village10, DATA)
    poll.counts, poll.archive = (2, 3, 1), sha256(DATA)
    assert "registrars stated [2, 3, 1]" in failed(audited(village10, DATA), "result")
    poll.counts, poll.archive = (3, 2, 1), sha256(b"another archive")
    assert "of another archive" in failed(audited(village10, DATA), "result")
    poll.archive = sha256(DATA)
    assert "as registrars stated" in audited(village10, DATA).text()


def test_too_few_or_repeated_trustees_are_refused(village10: Village) -> None:
    made = parts()
    one, two = (i for i, part in enumerate(made) if part[0] == "PartialDecryption")
    for changed in ([*made[:two], *made[two + 1 :]], [*made[:two], made[one], *made[two + 1 :]]):
        data = write(changed)
        anchor(village10, data)
        assert "2 distinct ones are needed" in failed(audited(village10, data), "result")
        village10.coop.register.secret_polls.clear()


def changed_setup(key: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return the archive with one file of its setup changed."""
    made, archive = parts(), read_archive(DATA)
    value = json.loads(made[0][1] or b"")
    files = {name: archive.data[digest] for name, digest in value.items()}
    files[key] = change(files[key])
    payload = json.dumps({name: sha256(data).removeprefix("sha256:") for name, data in files.items()}, separators=(",", ":")).encode()
    return write([("Setup", payload, list(files.values())), *made[1:]])


def with_setup(village: Village, data: bytes) -> None:
    """Anchor a changed archive under the poll of the honest one: what an operator gains who gets the log to agree on the events."""
    poll = anchor(village, DATA)
    poll.events = [(event.kind, f"sha256:{event.digest}") for event in read_archive(data).events]
    poll.credentials = f"sha256:{read_archive(data).setup['credentials']}"
    poll.election = f"sha256:{read_archive(data).setup['election']}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda keys: [f"{keys[0]},5", *keys[1:]], "a weight or a name"),
        (lambda keys: [f"{keys[0]},,m-0000000000000001", *keys[1:]], "a weight or a name"),
        (lambda keys: sorted([*keys, "0" * 64]), "11 credentials"),
        (lambda keys: sorted([*keys[:-1], keys[0]]), "9 distinct"),
        (lambda keys: keys[::-1], "not sorted"),
    ],
)
def test_credentials_with_weights_names_doubles_or_beyond_the_roll_are_refused(village10: Village, change: Callable[[list[str]], list[str]], why: str) -> None:
    data = changed_setup("credentials", lambda old: json.dumps(change(json.loads(old)), separators=(",", ":")).encode())
    with_setup(village10, data)
    assert why in failed(audited(village10, data), "credentials")


@pytest.mark.parametrize(
    ("key", "old", "new", "why"),
    [
        ("trustees", b'"threshold":2,"certs"', b'"threshold":1,"certs"', "somebody else could decrypt"),
        ("trustees", b'[["Pedersen"', b'[["Single",{}],["Pedersen"', "not one threshold key"),
        ("election", b'"blank":false', b'"blank":true', "exactly one answer"),
        ("election", b'"max":1', b'"max":3', "exactly one answer"),
        ("election", b'"yes","no","abstain"', b'"yes","no"', "exactly one answer"),
        ("election", b'"group":"Ed25519"', b'"group":"BELENIOS-2048"', "group we know"),
    ],
)
def test_an_election_of_another_form_or_key_is_refused(village10: Village, key: str, old: bytes, new: bytes, why: str) -> None:
    assert old in read_archive(DATA).data[read_archive(DATA).setup[key]]
    data = changed_setup(key, lambda data: data.replace(old, new))
    with_setup(village10, data)
    assert why in failed(audited(village10, data), "election")


def test_an_archive_of_no_poll_in_the_log_is_refused(village10: Village) -> None:
    assert "no secret poll in this log" in failed(audited(village10, DATA), "anchored in the log")


def test_trustees_do_not_decrypt_for_few_voters(village10: Village) -> None:
    made = parts()
    before = write(made[:-3])
    poll = anchor(village10, before)
    assert [step.status.value for step in audit_secret(before, village10.coop.register, None, counted=False).steps] == ["PASS"] * 7 + ["UNKNOWN"]
    poll.minimum_ballots = 7
    report = audit_secret(before, village10.coop.register, None, counted=False)
    assert "tells who voted what" in failed(report, "count")


def test_any_changed_byte_of_an_archive_is_noticed(village10: Village) -> None:
    anchor(village10, DATA)
    for place in range(0, len(DATA), 509):
        flipped = DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1 :]
        assert any(step.status is Status.FAIL for step in audited(village10, flipped).steps), place


def test_archives_of_other_forms_are_refused() -> None:
    first = DATA.index(b".data.json")
    name = DATA[first - 64 : first + 10].decode()
    head = member("BELENIOS", b'{"version":1,"timestamp":"1"}', 1)
    for data, why in (
        (b"", "no event"),
        (head, "no event"),
        (DATA + b"\0" * 512, "header is not the tool's"),
        (DATA[:-1], "cut off"),
        (head + member(name, b"{}", 1), "not named by its own digest"),
        (member("BELENIOS", b'{"version":2}', 1), "version we do not know"),
        (DATA.replace(b"0000644", b"0000600", 1), "header is not the tool's"),
        (b"BELENIOS" * 200, "header is not the tool's"),
    ):
        with pytest.raises(Refused, match=why):
            read_archive(data)
    with pytest.raises(Refused, match="duplicate key"):
        read_ballot(b'{"credential":"a","credential":"b"}')
    with pytest.raises(Refused, match="in hex"):
        read_ballot((parts()[1][1] or b"").replace(b'"alpha":"', b'"alpha":"0x', 1))
    with pytest.raises(Refused, match="not JSON"):
        read_ballot(b"[" * 100_000)


def test_a_ballot_is_the_same_ballot_in_whatever_bytes() -> None:
    ballot = parts()[1][1] or b""
    assert read_ballot(json.dumps(json.loads(ballot), indent=1).encode()) == read_ballot(ballot)
    assert isinstance(read_archive(DATA), Archive)
