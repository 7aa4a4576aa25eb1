"""Data licences to outsiders by the command line: request, vote, price, delivery, a stranger's check, withdrawal, money to share out."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.report import Status
from governance_hooks.sshsig import generate_key
from governance_hooks.stake.delivery import check_delivery
from governance_hooks.stake.request import requester_commitment
from tests.clock import standing
from tests.commonweights.test_payout import BYLAWS

PEOPLE = ("anna", "bela", "caro", "dora", "emil", "fina", "gabi")
OUTSIDE = ("--outsider", "dpv:NonProfitOrganisation", "--outside-form", "extract", "--outside-form", "aggregate")
LATER = "2090-01-01T00:00:00Z"


def texts(person: str, language: str, count: int = 6) -> str:
    draw = random.Random(person)
    words = ["".join(draw.choices("abdegiklmnorstuz", k=7)) for _ in range(60)]
    rows = [
        {"inputs": " ".join(draw.choices(words, k=8)) + "?", "targets": " ".join(draw.choices(words, k=9)), "language_code": language, "licence": "CC-BY-4.0"}
        for _ in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / "people" / name for name in PEOPLE}
    for path in made.values():
        generate_key(path)
    return made


@pytest.fixture
def shop(coop, people: dict[str, Path], tmp_path: Path) -> Path:
    """Seven members: five and fina gave Spanish texts, gabi Basque ones; all but fina let non-profits have them. A build of all."""
    (tmp_path / "bylaws.yaml").write_text(BYLAWS)
    home = tmp_path / "shop"
    founders = [word for name in PEOPLE for word in ("--founder", people[name])]
    assert coop("init", home, "--name", "shop", "--bylaws", tmp_path / "bylaws.yaml", *founders).code == 0
    for name in PEOPLE:
        file = tmp_path / f"{name}.jsonl"
        file.write_text(texts(name, "eus" if name == "gabi" else "spa"), encoding="utf-8")
        assert coop("-C", home, "contribute", file, "--key", people[name]).code == 0
        done = coop("-C", home, "consent", "give", "--yes", *(() if name == "fina" else OUTSIDE), "--key", people[name])
        assert done.code == 0, done.err
    built = coop("-C", home, "--json", "build", "make", "voices")
    assert built.json["records"] == 42, built.out + built.err
    return home


@pytest.fixture
def ask(coop, shop: Path) -> Callable[..., Any]:
    def make(name: str, *more: str, form: str = "extract", until: str = LATER, purpose: str = "dpv:NonCommercialResearch") -> Any:
        words = ["--who", "A library", "--recipient", "dpv:NonProfitOrganisation", "--purpose", purpose, "--licence", "Apache-2.0", "--build", "voices"]
        return coop("-C", shop, "--json", "access", "request", name, *words, "--form", form, "--until", until, *more)

    return make


@pytest.fixture
def vote(coop, shop: Path, people: dict[str, Path]) -> Callable[[str], str]:
    def run(name: str) -> str:
        # Three of seven are no quorum of half: four vote.
        from tests.commonweights import pipeline

        with standing():
            opened = coop("-C", shop, "--json", "propose", "access", shop / "access" / name / "request.json", "--key", people["anna"])
            assert opened.code == 0, opened.err
            for person in PEOPLE[:4]:
                assert coop("-C", shop, "vote", opened.json["proposal"], "for", "--key", people[person]).code == 0
        while pipeline.now() < opened.json["closes"]:
            pipeline.time.sleep(0.1)
        assert coop("-C", shop, "close", opened.json["proposal"]).code == 0
        return str(opened.json["proposal"])

    return run


def why(done: Any) -> str:
    """Return why the first step that did not pass did not."""
    steps = [step for step in done.json["steps"] if step["status"] != "PASS"]
    return f"{steps[0]['name']}: {steps[0]['why']}" if steps else ""


def test_a_request_is_voted_paid_delivered_checked_by_a_stranger_and_withdrawn_from(
    coop, shop: Path, ask, vote, people: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask("corpus", "--price", "500.00", "EUR")
    assert made.code == 0, made.err
    private = loads((shop / "private/access/corpus.json").read_bytes())
    request = loads(Path(made.json["request"]).read_bytes())
    assert request["requester"] == requester_commitment("A library", private["salt"])
    assert "library" not in Path(made.json["request"]).read_text()
    assert ask("corpus").code == 2  # the name is taken

    def blocked() -> str:
        done = coop("-C", shop, "--json", "access", "deliver", "corpus")
        assert done.code == 1, done.out
        assert not (shop / "deliveries/corpus/proof.jsonl.gz").exists()
        return why(done)

    assert "members never voted on exactly this" in blocked()
    assert coop("-C", shop, "access", "pay", "corpus").code == 2
    vote("corpus")
    assert blocked() == "price is booked: the price of 500.00 EUR is not booked"
    assert coop("-C", shop, "access", "pay", "corpus").code == 0
    assert coop("-C", shop, "access", "pay", "corpus").code == 1  # once
    assert coop("-C", shop, "access", "deliver", "corpus", "--check").code == 0
    done = coop("-C", shop, "access", "deliver", "corpus")
    assert done.code == 0, done.err
    folder = shop / "deliveries/corpus"
    rows = [loads(line) for line in (folder / "ledger.jsonl").read_bytes().splitlines()]
    assert len(rows) == 30  # five members; fina did not consent to it, and gabi is alone in her language
    assert {row["language"] for row in rows} == {"spa"}
    assert len((folder / "records.jsonl").read_bytes().splitlines()) == 30

    stranger = tmp_path / "stranger"
    shutil.copytree(folder, stranger)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    pin = coop("-C", shop, "--json", "status").json["coop"]
    checked = coop("--json", "access", "check", stranger, "--pin", pin)
    assert (checked.code, [step["status"] for step in checked.json["steps"]]) == (0, ["PASS"] * 11), checked.out
    assert coop("access", "check", stranger, "--pin", "sha256:" + "0" * 64).code == 1
    again = coop("-C", shop, "--json", "access", "deliver", "corpus")
    assert (again.code, "delivered" in why(again)) == (1, True)
    waiting = coop("-C", shop, "--json", "access", "list").json["requests"]
    assert (waiting[0]["records"], waiting[0]["price"]) == (30, "500.00 EUR")

    nothing = coop("-C", shop, "access", "withdrawn", "corpus")
    assert "nothing of it has been withdrawn" in nothing.out
    assert coop("-C", shop, "consent", "withdraw", "--key", people["bela"]).code == 0
    listed = coop("-C", shop, "--json", "access", "withdrawn", "corpus")
    assert listed.json["records"] == 6
    told = coop("--json", "access", "check", folder)
    assert (told.code, why(told)) == (1, "nothing is withdrawn: 6 texts are withdrawn")
    path = Path(listed.json["deletions"])
    forged = path.read_bytes().replace(b'"position":', b'"position":1', 1)
    path.write_bytes(forged)
    assert coop("access", "check", folder).code == 1

    # what came in is shared out like any other income
    (tmp_path / "rule.yaml").write_text("name: plain\ncurrency: EUR\nparts: {reserve: 20, common_fund: 10, guilds: 0, patronage: 70}\n")
    ruled = coop("-C", shop, "--json", "payout", "rule", tmp_path / "rule.yaml").json["rule"]
    with standing():
        opened = coop("-C", shop, "--json", "propose", "payout", ruled, "--key", people["anna"]).json
        for person in PEOPLE[:4]:
            assert coop("-C", shop, "vote", opened["proposal"], "for", "--key", people[person]).code == 0
    from tests.commonweights import pipeline

    while pipeline.now() < opened["closes"]:
        pipeline.time.sleep(0.1)
    assert coop("-C", shop, "close", opened["proposal"]).code == 0
    paid = coop("-C", shop, "--json", "payout", "make", "plain", "--build", "voices")
    assert paid.code == 0, paid.err
    assert paid.json["allocation"]["reserve"] == 10_000
    assert sum(one["paid"] for one in paid.json["allocation"]["members"].values()) == 35_000
    assert coop("-C", shop, "payout", "check", "plain").code == 0


def test_every_changed_missing_or_added_file_of_a_delivery_is_found(coop, shop: Path, ask, vote, tmp_path: Path) -> None:
    assert ask("corpus").code == 0
    vote("corpus")
    done = coop("-C", shop, "access", "deliver", "corpus")
    assert done.code == 0, done.err
    folder = shop / "deliveries/corpus"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 9
    for name in files:
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(bytes(data))
        assert coop("access", "check", copy).code in (1, 2), name
        (copy / name).unlink()
        assert coop("access", "check", copy).code == 2, name
        shutil.rmtree(copy)
    (folder / "extra.txt").write_text("x")
    assert why(coop("--json", "access", "check", folder)) == "files are those listed: the folder holds what is not listed: extra.txt"
    (folder / "extra.txt").unlink()

    # one who lists the changed files anew is caught by the log
    records = folder / "records.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    first = loads(lines[0][:-1])
    records.write_bytes(dumps(first | {"targets": "something nobody wrote"}) + b"\n" + b"".join(lines[1:]))
    manifest = loads((folder / "delivery.json").read_bytes())
    for listed in manifest["files"]:
        if listed["path"] == "records.jsonl":
            listed |= {"size": records.stat().st_size, "sha256": sha256(records.read_bytes())}
    (folder / "delivery.json").write_bytes(dumps(manifest))
    done = coop("--json", "access", "check", folder)
    assert why(done) == "delivery is logged: the log names another delivery for this request"
    steps = {step["name"]: step["status"] for step in done.json["steps"]}
    assert (steps["content matches"], steps["files are those listed"]) == ("FAIL", "PASS")


def test_where_there_is_no_delivery_nothing_passes(coop, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("{}")
    cases = {"empty": "an empty folder", "other": "a folder without it", "other/file": "a file", "none": "no such folder"}
    for name, said in cases.items():
        done = coop("--json", "access", "check", tmp_path / name)
        assert (done.code, done.json["what"]) == (2, f"nothing was checked: there is no delivery in {tmp_path / name}")
        assert (done.json["value"], "delivery.json" in done.json["allowed"], "coop access check" in done.json["next"]) == (repr(said), True, True)
        report = check_delivery(tmp_path / name, pin=None, now=LATER)
        assert (report.exit_code, {step.status for step in report.steps}) == (2, {Status.UNKNOWN}), report.text()
    (tmp_path / "other" / "delivery.json").write_text("{}")
    done = coop("--json", "access", "check", tmp_path / "other")
    assert (done.code, "PASS" in done.out) == (1, False), done.out


def test_what_nobody_consents_to_or_whose_time_is_over_is_not_delivered(coop, shop: Path, ask, vote, people: dict[str, Path]) -> None:
    for name, change, words in (
        ("profit", {"purpose": "dpv:CommercialResearch"}, "no language has 5 members who consent to this"),
        ("late", {"until": "2026-01-01T00:00:00Z"}, "its time was over"),
    ):
        assert ask(name, **change).code == 0
        vote(name)
        done = coop("-C", shop, "--json", "access", "deliver", name)
        assert (done.code, words in why(done)) == (1, True), done.out
    assert ask("basque", "--language", "eus").code == 0
    vote("basque")
    assert "no language has 5 members" in why(coop("-C", shop, "--json", "access", "deliver", "basque"))  # gabi alone
    assert ask("spanish").code == 0
    vote("spanish")
    assert coop("-C", shop, "consent", "withdraw", "--key", people["emil"]).code == 0
    assert "no language has 5 members" in why(coop("-C", shop, "--json", "access", "deliver", "spanish"))  # four are left
    for done in (ask("bad", form="aggregate"), ask("bad", "--query", "records-by-language"), ask("bad", "--price", "1.5", "EUR"), ask("../bad")):
        assert done.code == 2


def test_answers_are_rounded_limited_and_never_tell_what_one_member_changed(coop, shop: Path, ask, vote, people: dict[str, Path]) -> None:
    def answered(name: str) -> Any:
        assert ask(name, "--query", "records-by-language", form="aggregate").code == 0
        vote(name)
        return coop("-C", shop, "--json", "access", "deliver", name)

    assert answered("one").code == 0
    folder = shop / "deliveries/one"
    assert loads((folder / "answer.json").read_bytes())["counts"] == {"spa": 30}
    assert not (folder / "records.jsonl").exists()
    assert coop("access", "check", folder).code == 0
    assert answered("two").code == 0  # nothing has changed, so it tells nothing new
    assert coop("-C", shop, "consent", "give", "--yes", *OUTSIDE, "--key", people["fina"]).code == 0
    told = answered("three")
    assert (told.code, why(told)) == (1, "it tells little beside others: beside answer one this one would tell what 1 member(s) of spa gave")
    assert coop("-C", shop, "consent", "withdraw", "--key", people["fina"]).code == 0
    assert answered("four").code == 0
    assert answered("five").code == 0
    spent = answered("six")
    assert (spent.code, "4 answers were counted over this dataset in a year" in why(spent)) == (1, True)


def test_a_delivery_cut_off_before_its_proof_is_finished_by_the_same_command(coop, shop: Path, ask, vote) -> None:
    assert ask("corpus").code == 0
    vote("corpus")
    assert coop("-C", shop, "access", "deliver", "corpus").code == 0
    (shop / "deliveries/corpus/proof.jsonl.gz").unlink()
    assert coop("access", "check", shop / "deliveries/corpus").code == 2
    assert coop("-C", shop, "access", "deliver", "corpus").code == 0
    assert coop("access", "check", shop / "deliveries/corpus").code == 0


def test_members_can_halt_an_approved_access(coop, shop: Path, ask, vote, people: dict[str, Path]) -> None:
    assert ask("corpus").code == 0
    proposal = vote("corpus")
    halted = coop("-C", shop, "halt", proposal, "--hours", "1", "--key", people["caro"])
    assert halted.code == 0, halted.err
    done = coop("-C", shop, "--json", "access", "deliver", "corpus")
    assert (done.code, "halted by the oversight body" in why(done)) == (1, True)
