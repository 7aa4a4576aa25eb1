"""Threat 20: the log, which nobody can erase, gives away who somebody is or what they said.

The attacker reads everything that is public: log, proofs, exported tiles, released bundles, and tests any guess against it. Blocked: statements hold
ids, digests and numbers, never free text; members are random pseudonyms whose names are kept apart; digests of texts are salted, and who has
no salt cannot test a guess. What remains: who voted what under which pseudonym is public, and whoever knows one vote knows them all.
"""

import gzip
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.statement import body
from tests.attacks.forge import blocked
from tests.commonweights.conftest import Coop
from tests.village import CONSENT, USE, Village

REASON = "Too expensive."


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """The usual umask, under which new files are everybody's to read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_guess_of_a_voters_reason_cannot_be_tested_against_the_log(coop: Coop, home: Path, keys: dict[str, Path]) -> None:
    (home / "release.json").write_bytes(b"{}")
    proposal = coop("-C", home, "--json", "propose", "release", home, "--key", keys["anna"]).json["proposal"]
    for name in ("anna", "bela"):  # two who think the same
        done = coop("-C", home, "vote", proposal, "against", "--key", keys[name], "--reason", REASON)
        assert done.code == 0, done.err
    with Cooperative.open(home, read_only=True) as opened:
        reasons = [vote.reason for vote in opened.register.proposals[proposal].votes.values()]
        log = b"".join(opened.proof().entries)
    assert len(set(reasons)) == 2
    assert not {sha256(REASON.encode()), digest(REASON), digest({"text": REASON})} & set(reasons)
    assert REASON.encode() not in log
    kept = {sha256(path.read_bytes()): path for path in (home / "private" / "reasons").iterdir()}
    assert set(kept) == set(reasons)  # the cooperative can still show what was said
    documents = [loads(path.read_bytes()) for path in kept.values()]
    assert [document["text"] for document in documents] == [REASON, REASON]
    assert all(len(document["salt"]) == 32 for document in documents)
    assert {mode(path) for path in kept.values()} == {0o600}


def test_the_store_of_texts_and_salts_is_its_owners_alone(tmp_path: Path) -> None:
    store = pytest.importorskip("data_pipeline.store")
    with store.ContributionStore(tmp_path / "contributions.sqlite"):
        pass
    assert mode(tmp_path / "contributions.sqlite") == 0o600


def test_the_texts_of_a_build_are_its_owners_alone(tmp_path: Path) -> None:
    store = pytest.importorskip("data_pipeline.store")
    from data_pipeline.build import build
    from data_pipeline.record import Draft

    drafts = [
        Draft(inputs=f"pregunta {number}", targets=f"respuesta {number * 7 % 13}", language="spa", licence="CC-BY-4.0", record_id=f"spa-{number:03d}")
        for number in range(24)
    ]
    with store.ContributionStore(tmp_path / "contributions.sqlite") as opened:
        for member, part in (("m-one", drafts[::2]), ("m-two", drafts[1::2])):
            opened.seal(opened.add_batch(member, part).batch, digest(member))
        build(
            opened,
            tmp_path / "build",
            coop=digest("coop"),
            log_size=1,
            log_root=digest("log"),
            at="2026-11-22T13:00:00Z",
            use=USE,
            consent_for=lambda member, language, batch: digest(["consent", member]),
        )
    assert mode(tmp_path / "build" / "records.parquet") == 0o600


NAMES = ("Amina Njoroge", "amina@example.org", "+254 700 000000")


def everything_public(coop: Coop, home: Path, out: Path) -> bytes:
    """Return all bytes of the log's database, a proof and an export of it."""
    assert coop("-C", home, "proof", out / "proof").code == 0
    assert coop("-C", home, "log", "export", out / "tiles").code == 0
    files = [home / "log.sqlite", *(path for path in (out / "tiles").rglob("*") if path.is_file())]
    return b"".join([gzip.decompress((out / "proof").read_bytes()), *(path.read_bytes() for path in files)])


def test_names_texts_and_addresses_are_in_nothing_that_is_public(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("data_pipeline.store")
    rows = [{"inputs": f"{NAMES[0]} asks {n}", "targets": NAMES[1], "language_code": "spa", "licence": "CC-BY-4.0"} for n in range(3)]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert coop("-C", home, "contribute", tmp_path / "given.jsonl", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    (home / "release.json").write_bytes(b"{}")
    proposal = coop("-C", home, "--json", "propose", "release", home, "--period", "3600", "--key", keys["anna"]).json["proposal"]
    assert coop("-C", home, "vote", proposal, "against", "--key", keys["anna"], "--reason", NAMES[2]).code == 0
    public = everything_public(coop, home, tmp_path)
    for word in (*NAMES, "Amina", "anna", "example.org", "700 000000", "asks 1"):
        assert word.encode() not in public, word


def test_a_guess_of_a_contributed_text_cannot_be_tested_against_what_is_public(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("data_pipeline.store")
    answers = ("yes", "no")  # one of two: nothing is easier to guess
    (tmp_path / "given.jsonl").write_text(
        "".join(json.dumps({"inputs": f"q{n}", "targets": answers[n % 2], "language_code": "eng", "licence": "CC-BY-4.0"}) + "\n" for n in range(24))
    )
    assert coop("-C", home, "contribute", tmp_path / "given.jsonl", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "build", "make", "one", "--heldout", "400").code == 0
    ledger = [loads(line) for line in (home / "builds/one/ledger.jsonl").read_bytes().splitlines()]
    public = {row[name] for row in ledger for name in ("commitment", "content")}
    guesses = set()
    for row, answer in itertools.product(ledger, answers):
        for n, salt in itertools.product(range(24), ("", "0" * 32, row["batch"], row["record"])):
            text = {"salt": salt, "record": row["record"], "inputs": f"q{n}", "targets": answer, "language": "eng"}
            guesses |= {digest(text), digest(text | {"parents": []}), sha256(f"q{n}{answer}".encode())}
    assert len(public) == 2 * 24
    assert not public & guesses
    assert len({row["commitment"] for row in ledger}) == 24  # equal answers do not look equal


def test_no_statement_has_a_field_for_free_text(village: Village) -> None:
    member = village.members[0]
    proposal = village.propose("run", digest("x")).id
    for payload in ({"reason": NAMES[0]}, {"reason": "sha256:" + "0" * 63}, {"comment": NAMES[0]}, {"choice": NAMES[0]}):
        made = {"type": "coop.ballot/v1", "coop": village.coop.register.coop, "author": member, "issued": village.clock, "nonce": "0" * 32}
        made["payload"] = {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None} | payload  # type: ignore[assignment]
        with pytest.raises(CoopError, match=r"payload of coop\.ballot/v1"):
            village.coop.append(dumps({"body": made, "signatures": [village.keys[member].sign(dumps(made))]}))


def test_no_field_of_any_statement_takes_a_sentence() -> None:
    sentence = f"{NAMES[0]} said something"

    def open_texts(schema: object, where: str) -> list[str]:
        if isinstance(schema, list):
            return [found for one in schema for found in open_texts(one, where)]
        if not isinstance(schema, dict):
            return []
        closed = "pattern" in schema or "enum" in schema or "const" in schema
        here = [where] if schema.get("type") == "string" and not (closed and not re.search(str(schema.get("pattern", "^$")), sentence)) else []
        return here + [found for name, one in schema.items() for found in open_texts(one, f"{where}.{name}")]

    found = {place for name, model in PAYLOADS.items() for place in open_texts(model.model_json_schema(), name)}
    # Some are no sentences for another reason: keys and a checkpoint are parsed by the register, and purposes are those of a list.
    assert {place for place in found if not place.endswith((".log", "purposes.items", "witnesses.items", "draw/v1.properties.checkpoint"))} == set()
    with pytest.raises(CoopError, match=r"payload of coop\.consent/v1: purposes"):
        body("coop.consent/v1", CONSENT | {"purposes": [sentence]}, coop=digest("coop"), author="m-0000000000000001")


def test_a_member_is_a_pseudonym_that_says_nothing_about_the_key_or_the_person(village: Village) -> None:
    admission = {"member": "Amina", "key": village.operator.public.line}
    with pytest.raises(CoopError, match=r"payload of coop\.admission/v1: member"):
        village.say("coop.admission/v1", admission, village.members[0])
    assert all(re.fullmatch(r"m-[0-9a-f]{16}", member) for member in village.members)


def test_erasing_a_text_leaves_nothing_to_test_a_guess_with(tmp_path: Path) -> None:
    store = pytest.importorskip("data_pipeline.store")
    from data_pipeline.record import Draft

    with store.ContributionStore(tmp_path / "contributions.sqlite") as opened:
        batch = opened.add_batch("m-one", [Draft(inputs="q", targets="yes", language="eng", licence="CC-BY-4.0", record_id="r1")]).batch
        salt = next(record.salt for record in opened.records() if record.record == "r1")
        opened.seal(batch, digest("m-one"))
        opened.erase(["r1"])
    assert salt.encode() not in (tmp_path / "contributions.sqlite").read_bytes()


def test_what_leaks_into_a_statement_is_refused_by_every_reader(village: Village) -> None:
    made = {"type": "coop.leave/v1", "coop": village.coop.register.coop, "author": village.members[0], "issued": village.clock, "nonce": "0" * 32}
    made["payload"] = {"why": NAMES[0]}  # type: ignore[assignment]
    blocked(village, dumps({"body": made, "signatures": [village.keys[village.members[0]].sign(dumps(made))]}), "payload of coop.leave/v1: why")
