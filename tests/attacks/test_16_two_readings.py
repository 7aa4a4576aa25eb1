"""Threat 16: bytes that one reader takes for one thing, and another reader for another.

The attacker is whoever writes an entry, a plan, a proof or a manifest. Blocked: a document has one spelling, RFC 8785 (JCS), and is refused in any
other; no key stands twice, no number is a fraction or 2^53 or more where none may be; a signature is over those bytes, and a statement's id is
theirs, so that signing again makes nothing new.
"""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks import proof as proofs
from governance_hooks.audit import audit
from governance_hooks.canonical import CanonicalError, digest, dumps, loads
from governance_hooks.errors import CoopError, Refused
from governance_hooks.gate import run_gate
from governance_hooks.proof import read_proof
from governance_hooks.sshsig import PrivateKey
from tests.attacks.forge import blocked, broken, history, request_for, rewritten
from tests.village import Approved, Village

SUBJECT = digest("what is voted on")


@pytest.fixture
def proposal(village: Village) -> str:
    return village.propose("run", SUBJECT).id


def cast(village: Village, proposal: str) -> bytes:
    return village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "against", "sequence": 1, "reason": None}, village.members[1])


def raw(key: PrivateKey, made: bytes) -> bytes:
    """Return an entry over body bytes as they stand, whatever they are, validly signed by the member."""
    return b'{"body":' + made + b',"signatures":[' + dumps(key.sign(made)) + b"]}"


SPELLINGS = {
    "choice twice": lambda made: made.replace(b'"choice":"against"', b'"choice":"against","choice":"for"'),
    "choice twice, the other way": lambda made: made.replace(b'"choice":"against"', b'"choice":"for","choice":"against"'),
    "payload twice": lambda made: made[:-1] + b',"payload":{}}',
    "keys in another order": lambda made: b'{"type":' + dumps(json.loads(made)["type"]) + b"," + made[1:].replace(b',"type":"coop.ballot/v1"', b""),
    "a blank": lambda made: made.replace(b":", b": ", 1),
    "an escape": lambda made: made.replace(b"against", rb"\u0061gainst"),
    "a fraction": lambda made: made.replace(b'"sequence":1', b'"sequence":1.0'),
    "an exponent": lambda made: made.replace(b'"sequence":1', b'"sequence":1e0'),
    "minus nought": lambda made: made.replace(b'"sequence":1', b'"sequence":-0'),
    "a leading nought": lambda made: made.replace(b'"sequence":1', b'"sequence":01'),
    "2^53": lambda made: made.replace(b'"sequence":1', b'"sequence":9007199254740992'),
    "a number of a thousand digits": lambda made: made.replace(b'"sequence":1', b'"sequence":' + b"1" * 1000),
    "not a number": lambda made: made.replace(b'"sequence":1', b'"sequence":NaN'),
    "a byte order mark": lambda made: b"\xef\xbb\xbf" + made,
    "no UTF-8": lambda made: made.replace(b"against", b"against\xff"),
    "half a character": lambda made: made.replace(b"against", rb"against\ud800"),
    "nested without end": lambda made: made.replace(b'"reason":null', b'"reason":' + b"[" * 20_000 + b"]" * 20_000),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_ballot_in_another_spelling_is_no_ballot_however_it_is_signed(village: Village, proposal: str, spelling: str) -> None:
    made = cast(village, proposal)[len(b'{"body":') :].split(b',"signatures":')[0]
    other = SPELLINGS[spelling](made)
    assert other != made
    with pytest.raises(CoopError, match=r"canonical|duplicate key|not an integer|2\^53|not a number|not JSON|not Unicode"):
        village.coop.append(raw(village.keys[village.members[1]], other))
    assert village.coop.register.proposals[proposal].votes == {}
    village.coop.append(raw(village.keys[village.members[1]], made))  # the control: in its one spelling it counts


def test_a_second_choice_in_a_ballot_in_the_database_is_found_by_the_audit(village: Village, proposal: str, tmp_path: Path) -> None:
    made = cast(village, proposal)[len(b'{"body":') :].split(b',"signatures":')[0]
    twice = raw(village.keys[village.members[1]], SPELLINGS["choice twice"](made))
    report = audit(rewritten(village, [*history(village), twice], tmp_path / "twice"))
    assert report.exit_code == 1
    broken(report, "entries signed and allowed", "duplicate key")


STRANGE: dict[str, Any] = {
    "true for one": {"sequence": True},
    "a text for a number": {"sequence": "1"},
    "a choice in capitals": {"choice": "FOR"},
    "a choice that looks alike": {"choice": "\u0192or"},
    "a choice with a blank": {"choice": "for "},
    "a list of choices": {"choice": ["for"]},
    "one more field": {"weight": 100},
    "a digest in capitals": {"reason": digest("x").upper().replace("SHA256", "sha256")},
}


@pytest.mark.parametrize("name", STRANGE)
def test_no_value_is_read_as_another(village: Village, proposal: str, name: str) -> None:
    made = json.loads(cast(village, proposal))["body"]
    made["payload"] |= STRANGE[name]
    blocked(village, raw(village.keys[village.members[1]], dumps(made)), "payload of coop.ballot/v1: ")


def test_signing_the_same_statement_again_makes_no_other_statement(village: Village, proposal: str) -> None:
    entry = cast(village, proposal)
    village.coop.append(entry)
    value = json.loads(entry)
    for respelt in (value["signatures"] * 2, []):
        with pytest.raises(CoopError, match="distinct keys"):
            village.coop.append(dumps(value | {"signatures": respelt}))
    blocked(village, dumps(value), "this statement is in the log already")


@pytest.mark.parametrize("respell", ["line width", "a line more", "CRLF", "junk after it"])
def test_a_signature_has_one_spelling(village: Village, proposal: str, respell: str) -> None:
    value = json.loads(cast(village, proposal))
    armored = value["signatures"][0]
    head, *lines, tail = armored.strip().split("\n")
    blob = base64.b64decode("".join(lines))
    other = {
        "line width": "\n".join([head, base64.b64encode(blob).decode(), tail, ""]),
        "a line more": armored + "\n",
        "CRLF": armored.replace("\n", "\r\n"),
        "junk after it": "\n".join([head, base64.b64encode(blob + b"\0").decode(), tail, ""]),
    }[respell]
    assert other != armored
    with pytest.raises(CoopError):
        village.coop.append(dumps(value | {"signatures": [other]}))
    assert village.coop.register.proposals[proposal].votes == {}


PROOFS = {
    "a blank": lambda text: text.replace(b'{"checkpoint":', b'{"checkpoint": ', 1),
    "a key more": lambda text: text.replace(b',"format":', b',"extra":1,"format":', 1),
    "an entry in other bytes": lambda text: text.replace(b'{"body":', b'{ "body":', 1),
    "keys in another order": lambda text: b'{"format":"coop.proof/v2",' + text[1:].replace(b',"format":"coop.proof/v2"', b"", 1),
    "a line more": lambda text: text + b"\n",
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "no last line end": lambda text: text[:-1],
}


@pytest.mark.parametrize("trick", PROOFS)
def test_a_proof_has_one_spelling(approved: Approved, trick: str) -> None:
    text = gzip.decompress(approved.village.coop.proof().dumps())
    assert read_proof(proofs._gzip(text)).dumps() == approved.village.coop.proof().dumps()  # the control: packed as it was
    other = proofs._gzip(PROOFS[trick](text))
    with pytest.raises(CoopError):
        read_proof(other).replay(approved.village.coop.pin)
    assert run_gate(request_for(approved, proof=other)).exit_code == 1


@pytest.mark.parametrize("where", [4, 9, 12, 20, -1])
def test_a_proof_is_packed_in_one_way(approved: Approved, where: int) -> None:
    packed = bytearray(approved.village.coop.proof().dumps())
    packed[where] ^= 1  # gzip itself would not see it in its header: another time, another system, another name
    with pytest.raises(CoopError, match="this file is no proof"):
        read_proof(bytes(packed))
    with pytest.raises(CoopError, match="this file is no proof"):
        read_proof(gzip.compress(gzip.decompress(approved.village.coop.proof().dumps())))


@pytest.mark.parametrize("document", [b'{"a":1,"a":2}', b'{"b":1,"a":2}', b'{"a":1.0}', b'{"a":9007199254740992}', b'{"a":NaN}', b'{"a":1}\n', b"\xff", b"["])
def test_no_document_of_ours_is_read_in_two_ways(document: bytes) -> None:
    with pytest.raises(CanonicalError):
        loads(document)


def test_a_statement_that_is_not_what_it_says_it_is_about_is_refused(village: Village, proposal: str) -> None:
    made = json.loads(cast(village, proposal))["body"]
    for field, value in (("type", "coop.vote/v1"), ("coop", "self"), ("nonce", "0"), ("author", "M-" + village.members[1][2:])):
        with pytest.raises(Refused):
            village.coop.append(raw(village.keys[village.members[1]], dumps(made | {field: value})))
