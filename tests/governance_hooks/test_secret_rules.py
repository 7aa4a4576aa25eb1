"""Rules of secret polls in the log: each has a test in which it blocks, and none of them can approve anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.secret.tool import Tool
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from tests.secret_poll import open_poll
from tests.village import Approved, Village


def payload(village: Village, **changes: Any) -> dict[str, Any]:
    m, roll = village.members, village.coop.register.active()
    value = {
        "subject": sha256(b"who shall speak for us"),
        "election": sha256(b"election"),
        "credentials": sha256(b"credentials"),
        "setup": sha256(b"setup"),
        "options": 3,
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "credential_authority": m[3],
        "trustees": [{"member": m[i], "certificate": digest(i)} for i in range(3)],
        "threshold": 2,
        "minimum_ballots": 5,
        "closes": shift(village.clock, 60),
    }
    return value | changes


def event(village: Village, poll: str, kind: str, /, **changes: Any) -> None:
    sequence = len(village.coop.register.secret_polls[poll].events)
    village.say("coop.secret-event/v1", {"poll": poll, "event": kind, "sequence": sequence, "digest": digest([kind, sequence])} | changes, "operator")


def counted(village: Village) -> str:
    """A poll whose events are all anchored."""
    poll = open_poll(village, payload(village)).id
    for _ in range(5):
        event(village, poll, "Ballot")
    village.wait(60)
    for kind in ("EndBallots", "EncryptedTally", "PartialDecryption", "PartialDecryption", "Result"):
        event(village, poll, kind)
    return poll


def test_a_poll_is_signed_by_operator_authority_and_every_trustee_and_by_nobody_else(village10: Village) -> None:
    village, m = village10, village10.members
    keys = [village.keys[one] for one in m[:4]]
    with pytest.raises(Refused, match="operator too"):
        open_poll(village, payload(village), *keys)
    for missing in range(4):
        with pytest.raises(Refused, match=f"missing: {m[missing]}"):
            open_poll(village, payload(village), village.operator, *keys[:missing], *keys[missing + 1 :])
    with pytest.raises(Refused, match="no part in it"):
        open_poll(village, payload(village), village.operator, *keys, village.keys[m[5]])
    with pytest.raises(Refused, match="the author"):
        village.say("coop.secret-poll/v1", payload(village), m[5], village.operator, *keys)
    assert open_poll(village, payload(village)).id in village.coop.register.secret_polls


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"minimum_ballots": 4}, "more ballots"),
        ({"minimum_ballots": 11}, "cannot ask for more"),
        ({"threshold": 4}, "more than half of the trustees"),
        ({"closes": "2020-01-01T00:00:00Z"}, "close before it opens"),
        ({"roll": {"root": sha256(b"others"), "members": 10}}, "roll is that of its log position"),
    ],
)
def test_a_poll_with_terms_that_hide_nobody_or_of_another_roll_is_refused(village10: Village, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        open_poll(village10, payload(village10, **changes))


def test_a_small_roll_gets_no_secret_poll(village: Village) -> None:
    with pytest.raises(Refused, match="needs more members on its roll"):
        open_poll(village, payload(village))


def test_authority_and_trustees_are_distinct_and_in_good_standing(village10: Village) -> None:
    village, m = village10, village10.members
    with pytest.raises(Refused, match="credential authority is a trustee"):
        open_poll(village, payload(village, credential_authority=m[0]), village.operator, *(village.keys[one] for one in m[:3]))
    twice = [{"member": m[0], "certificate": digest(i)} for i in range(2)]
    with pytest.raises(Refused, match="distinct members"):
        open_poll(village, payload(village, trustees=twice), village.operator, village.keys[m[0]], village.keys[m[3]])
    one = [{"member": m[i], "certificate": digest(0)} for i in range(2)]
    with pytest.raises(Refused, match="certificates of their own"):
        open_poll(village, payload(village, trustees=one))
    village.say("coop.leave/v1", {}, m[2])
    with pytest.raises(Refused, match="no part in it"):
        open_poll(village, payload(village))


def test_two_groups_of_trustees_always_have_one_in_common(village10: Village) -> None:
    four = [{"member": village10.members[i], "certificate": digest(i)} for i in (0, 1, 2, 4)]
    with pytest.raises(Refused, match="more than half of the trustees"):
        open_poll(village10, payload(village10, trustees=four))
    assert open_poll(village10, payload(village10, trustees=four, threshold=3)).id


def test_one_election_is_one_poll(village10: Village) -> None:
    open_poll(village10, payload(village10))
    village10.wait(1)
    for changes in ({}, {"setup": sha256(b"another")}, {"election": sha256(b"another")}):
        with pytest.raises(Refused, match="a poll in the log already"):
            open_poll(village10, payload(village10, **changes))


def test_events_are_anchored_by_the_operator_in_order_in_time_and_once(village10: Village) -> None:
    village = village10
    poll = open_poll(village, payload(village)).id
    with pytest.raises(Refused, match="the operator's to state"):
        village.say("coop.secret-event/v1", {"poll": poll, "event": "Ballot", "sequence": 1, "digest": digest(1)}, village.members[0])
    for kind in ("EncryptedTally", "PartialDecryption", "Result"):
        with pytest.raises(Refused, match="out of order"):
            event(village, poll, kind)
    with pytest.raises(Refused, match="still open"):
        event(village, poll, "EndBallots")
    with pytest.raises(Refused, match="one by one"):
        event(village, poll, "Ballot", sequence=2)
    with pytest.raises(Refused, match="no such secret poll"):
        event(village, poll, "Ballot", poll=sha256(b"another"))
    event(village, poll, "Ballot")
    with pytest.raises(Refused, match="anchored already"):
        event(village, poll, "Ballot", digest=digest(["Ballot", 1]))
    village.wait(61)
    with pytest.raises(Refused, match="this poll is closed"):
        event(village, poll, "Ballot")
    event(village, poll, "EndBallots")
    with pytest.raises(Refused, match="came after the end"):
        event(village, poll, "Ballot")
    with pytest.raises(Refused, match="too few ballots"):
        event(village, poll, "EncryptedTally")


def test_a_result_needs_enough_trustees_and_is_the_end(village10: Village) -> None:
    village = village10
    poll = open_poll(village, payload(village)).id
    for _ in range(5):
        event(village, poll, "Ballot")
    village.wait(60)
    for kind in ("EndBallots", "EncryptedTally", "PartialDecryption"):
        event(village, poll, kind)
    with pytest.raises(Refused, match="too few trustees"):
        event(village, poll, "Result")
    event(village, poll, "PartialDecryption")
    event(village, poll, "Result")
    for kind in ("PartialDecryption", "Result", "EndBallots"):
        with pytest.raises(Refused, match="out of order"):
            event(village, poll, kind)


def test_the_result_is_stated_by_registrars_once_and_only_of_a_counted_poll(village10: Village) -> None:
    village, m = village10, village10.members
    poll = open_poll(village, payload(village)).id
    result = {"poll": poll, "counts": [3, 2, 0], "archive": sha256(b"archive")}
    both = village.keys[m[0]], village.keys[m[1]]
    with pytest.raises(Refused, match="not counted yet"):
        village.say("coop.secret-result/v1", result, m[0], *both)
    village.coop.register.secret_polls.clear()
    poll = counted(village)
    result["poll"] = poll
    with pytest.raises(Refused, match="too few registrars"):
        village.say("coop.secret-result/v1", result, m[0])
    with pytest.raises(Refused, match="no registrar"):
        village.say("coop.secret-result/v1", result, m[0], village.keys[m[0]], village.keys[m[5]])
    with pytest.raises(Refused, match="no registrar"):
        village.say("coop.secret-result/v1", result, "operator")
    for counts, why in (([3, 2], "one count an answer"), ([2, 2, 0], "do not fit the roll"), ([9, 1, 1], "do not fit the roll")):
        with pytest.raises(Refused, match=why):
            village.say("coop.secret-result/v1", result | {"counts": counts}, m[0], *both)
    village.say("coop.secret-result/v1", result, m[0], *both)
    assert village.coop.register.secret_polls[poll].counts == (3, 2, 0)
    village.wait(1)
    with pytest.raises(Refused, match="has its result already"):
        village.say("coop.secret-result/v1", result, m[0], *both)


def test_a_secret_result_opens_no_gate(village10: Village) -> None:
    village, m = village10, village10.members
    approved = Approved(village)
    subject = sha256(approved.plan_bytes)
    poll = open_poll(village, payload(village, subject=subject)).id
    village.wait(60)
    village.coop.register.secret_polls[poll].events = [("Result", sha256(b"result"))]
    village.say("coop.secret-result/v1", {"poll": poll, "counts": [10, 0, 0], "archive": sha256(b"archive")}, m[0], village.keys[m[0]], village.keys[m[1]])
    with pytest.raises(Refused, match="no such proposal"):
        village.say("coop.run-start/v1", {"run": "run-9", "plan": subject, "proposal": poll, "start": 1}, "operator")
    with pytest.raises(Refused, match="no such proposal"):
        village.say("coop.release/v1", {"run": "run-9", "release": subject, "proposal": poll}, "operator")
    assert poll not in village.coop.register.proposals


@pytest.mark.parametrize(("says", "why"), [("2.0 (2.0+20221212)", "too old"), ("3.2.9", "too old"), ("hello", "too old"), ("", "too old")])
def test_a_tool_that_counts_what_it_should_refuse_is_refused_with_the_way_to_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    program = tmp_path / "belenios-tool"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("BELENIOS_TOOL", str(program))
    with pytest.raises(BadInput, match=why) as error:
        Tool.find()
    assert "sh .ci/belenios" in (error.value.next or "")
    program.write_text("#!/bin/sh\necho '3.3.0 (3.3.0+20260702) [debug]'\n")
    assert Tool.find().version == "3.3.0"


def test_a_machine_without_the_tool_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BELENIOS_TOOL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="not on this machine") as error:
        Tool.find()
    assert "apt-get install" in (error.value.next or "")
