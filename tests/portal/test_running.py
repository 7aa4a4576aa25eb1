"""The portal as a process: it starts on a folder, loses nothing it acknowledged, and keeps its tables where it is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy.engine import make_url

from commonweights.commands.portal import open_service
from data_pipeline.record import Draft
from governance_hooks.bylaws import Rules
from governance_hooks.canonical import digest, dumps
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import body, entry, now, shift, sign
from governance_hooks.tally import roll_root
from portal.app import make_app
from portal.settings import Settings
from portal.store.accounts import mail_address
from portal.store.private import PrivateStore
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING
from tests.portal.test_voting import propose
from tests.ports import free_port
from tests.postgres import Server
from tests.village import RULES, Village, found


@contextmanager
def process(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "commonweights.cli", "-C", str(root), "portal", "--port", str(port)]
    said, until = root.with_name("said"), time.monotonic() + 300
    with said.open("wb") as out, subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stdout=out, stderr=out) as running:
        try:
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60):
                        break
                except OSError:
                    assert running.poll() is None, said.read_text()
                    assert time.monotonic() < until, said.read_text()[-3000:]
                    time.sleep(0.1)
            yield running
        finally:
            running.kill()


def post(port: int, path: str, fields: dict[str, str]) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST", path, urlencode(fields), {"content-type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("location", "")
    finally:
        connection.close()


def test_it_starts_on_a_folder_and_says_nothing_about_itself(tmp_path: Path) -> None:
    found(tmp_path / "village")
    port = free_port()
    with process(tmp_path / "village", port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"village" in answer.read()
            assert "server" not in answer.headers
        assert post(port, "/statements", {"statement": "{}", "signatures": ""})[0] == 422
    assert oct((tmp_path / "village" / "private" / "portal.sqlite").stat().st_mode & 0o777) == "0o600"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 20, 100])
def test_killed_under_load_it_has_every_ballot_it_acknowledged(tmp_path: Path, count: int) -> None:
    keys, _ = found(tmp_path / "village", founders=40, kinds={"run": Rules(minimum_period_s=3600).model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "village") as coop:
        roll = coop.register.roll("run")
        payload = {
            "kind": "run",
            "subject": digest("x"),
            "rules": coop.register.bylaws.rules("run").model_dump(),
            "roll": {"root": roll_root(roll), "members": len(roll)},
            "closes": shift(now(), 3700),
            "uses": 1,
            "motion": None,
            "draft": None,
        }
        proposal, name = coop.state("coop.proposal/v1", payload, key=keys[roll[0]], author=roll[0]).id, coop.pin
    acknowledged, port = list[str](), free_port()

    def vote(member: str) -> None:
        for sequence in range(1, 200):
            ballot = {"proposal": proposal, "choice": "for", "sequence": sequence, "reason": None}
            made = body("coop.ballot/v1", ballot, coop=name, author=member)
            try:
                status, where = post(port, "/statements", {"statement": dumps(made).decode(), "signatures": sign(made, keys[member])})
            except OSError:
                return
            if status == 303:
                acknowledged.append(where.removeprefix("/receipts/"))

    with process(tmp_path / "village", port) as running:
        people = [threading.Thread(target=vote, args=(member,)) for member in roll[:8]]
        for one in people:
            one.start()
        until = time.monotonic() + 600
        while len(acknowledged) < count and time.monotonic() < until:
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        for one in people:
            one.join()
    assert len(acknowledged) >= count
    with Cooperative.open(tmp_path / "village") as coop:
        assert all(identifier in coop.register.seen for identifier in acknowledged)
        assert len(set(acknowledged)) == len(acknowledged)


@pytest.mark.postgres
def test_the_log_the_texts_and_the_private_tables_in_postgresql(postgres: Server, make_portal: Callable[..., Portal], monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_url(postgres.url("postgres", postgres.new_schema()))
    for name in ("COOP_STORE_URL", "COOP_PORTAL_URL"):
        monkeypatch.setenv(name, postgres.url("postgres", postgres.new_schema()))
    portal = make_portal(log=log)
    person, member = portal.joined()
    proposal = propose(portal)
    founder = portal.founder(2)
    assert "In the log, for good" in founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="for")).words
    person.post("/contribute", id="0123456789abcdef", inputs="q", targets="a", language="en")
    assert person.sign(person.post("/contribute/give")).path == "/contribute/given"
    assert not (portal.root / "private" / "portal.sqlite").exists()
    assert person.post("/account/erase", mail="new@example.org").status == 200
    with portal.service.view.reading() as register:
        assert member in register.members


def test_without_the_logs_key_it_does_not_start(tmp_path: Path) -> None:
    found(tmp_path / "village")
    (tmp_path / "village" / "keys" / "log.key").unlink()
    with pytest.raises(BadInput, match="the log's key"), open_service(tmp_path / "village", Settings(MAIN, SIGNING)):
        pass


def test_what_another_process_appends_is_seen_and_folded_once(portal: Portal) -> None:
    person = portal.founder(0)
    before = portal.service.view.log.size
    with Cooperative.open(portal.root) as other:
        other.operate("coop.time/v1", {})
    folded: list[int] = []
    original = portal.service.view._fold
    portal.service.view._fold = lambda statement: (folded.append(1), original(statement))[1]  # type: ignore[method-assign]
    for _ in range(3):
        assert person.get("/").status == 200
    assert len(folded) == 1
    assert portal.service.view.register.size == before + 1


def test_a_batch_signed_before_a_crash_is_sealed_when_it_starts_again(tmp_path: Path) -> None:
    root = tmp_path / "village"
    keys, _ = found(root)
    member = sorted(keys)[0]
    with open_service(root, Settings(MAIN, SIGNING)) as service:
        batch = service.house.contributions().add_batch(member, [Draft("q", "a", "eng")])
    with Cooperative.open(root) as coop:
        statement = coop.state("coop.contribution/v1", batch.payload(), key=keys[member], author=member).id
    with open_service(root, Settings(MAIN, SIGNING)) as service:
        assert service.house.contributions().batch(batch.batch).statement == statement
        assert make_app(service) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b",
        "a@b..example",
        "a b@c.example",
        "a@b.example\nBcc: c@d.example",
        "<a@b.example>",
        "a@b@c.example",
        "x" * 70 + "@b.example",
    ],
)
def test_what_is_no_mail_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        mail_address(text)


def test_a_letter_goes_to_an_address_once_for_an_event_and_is_tried_again_later(tmp_path: Path) -> None:
    clock = ["2026-11-29T00:00:00Z"]
    with PrivateStore(tmp_path / "portal.sqlite", lambda: clock[0]) as private:
        assert private.outbox.put("closing:1", "a@example.org", "en", "reminder", {"url": "x"})
        assert not private.outbox.put("closing:1", "a@example.org", "en", "reminder", {"url": "y"})
        (letter,) = private.outbox.due()
        private.outbox.failed(letter.number, "421 busy")
        assert private.outbox.due() == []
        clock[0] = shift(clock[0], 121)
        (letter,) = private.outbox.due()
        assert letter.tries == 1
        private.outbox.sent(letter.number)
        assert private.outbox.due() == []


def test_a_session_and_a_link_end_when_their_time_is_over(tmp_path: Path) -> None:
    clock = ["2026-11-29T00:00:00Z"]
    with PrivateStore(tmp_path / "portal.sqlite", lambda: clock[0]) as private:
        late = private.sessions.make_link("a@example.org", "en", "/")
        clock[0] = shift(clock[0], 901)
        assert private.sessions.link(late) is None
        session, _, _ = private.sessions.sign_in(private.sessions.make_link("a@example.org", "en", "/"), None)
        assert private.sessions.open(session) is not None
        clock[0] = shift(clock[0], 12 * 3600)
        assert private.sessions.open(session) is None
        kept = (tmp_path / "portal.sqlite").read_bytes() + (tmp_path / "portal.sqlite-wal").read_bytes()
        assert session.encode() not in kept


def test_the_oversight_body_halts_and_nobody_else(portal: Portal) -> None:
    proposal = propose(portal)
    page = portal.founder(0).post("/stewards/halts", proposal=proposal, hours="24")
    assert "no part in this statement" in portal.founder(0).paste(page).words
    overseer = portal.founder(3)
    page = overseer.post("/stewards/halts", proposal=proposal, hours="24")
    assert "It is halted until" in page.words
    assert overseer.paste(page).path == f"/proposals/{proposal}"
    with portal.service.view.reading() as register:
        assert len(register.halts) == 1


def test_what_is_halted_and_what_could_be_stand_under_headings_of_their_own(tmp_path: Path) -> None:
    keys, operator = found(tmp_path)
    with Cooperative.open(tmp_path) as coop:
        village = Village(tmp_path, coop, keys, operator)
        old, before = (village.approve("run", digest(name)) for name in ("old", "before"))
        village.say("coop.halt/v1", {"proposal": before, "until": shift(village.clock, 60)}, village.members[3])
        village.wait(2 * 86_400)  # both approvals expire, and the halt ends
        could, now_halted = (village.approve("run", digest(name)) for name in ("could", "halted"))
        asked = village.propose("release", digest("asked")).id
        for one in (now_halted, asked):  # of an approval, and of a vote that is open
            village.say("coop.halt/v1", {"proposal": one, "until": shift(village.clock, 86_400)}, village.members[3])
    with open_service(tmp_path, Settings(MAIN, SIGNING)) as service:
        service.clock = lambda: village.clock
        portal = Portal(tmp_path, service, make_app(service), keys, operator)
        for founder, forms in ((portal.founder(0), 0), (portal.founder(3), 1)):
            page = founder.get("/stewards/halts")
            is_, can, over = re.split(r"<h2>", page.text)[1:]
            assert is_.startswith("What is halted now"), page.words
            assert (now_halted in is_, asked in is_, could in is_, before in is_, old in is_) == (True, True, False, False, False)
            assert can.startswith("Approvals that could be halted")
            assert (could in can, now_halted in can, asked in can, before in can, old in can) == (True, False, False, False, False)
            assert can.count('name="hours"') == page.text.count('name="hours"') == forms
            assert over.startswith("Halts that are over")
            assert (before in over, now_halted in over) == (True, False)


def test_a_request_signed_just_before_a_crash_makes_the_account_a_members(portal: Portal) -> None:
    """The statement is in the log, and nothing that follows from it was done."""
    person = portal.stranger()
    person.key = generate_key(portal.root / "own")
    person.sign_in("new@example.org")
    page = person.post("/join/key", line=person.key.public.line)
    person.paste(page)
    (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
    keys = [portal.keys[member] for member in portal.members[:2]]
    portal.service.writer.append(entry(drafted.value, [*drafted.signatures, *(key.sign(drafted.body) for key in keys)]))
    assert person.get("/join").words.count("You are a member") == 1
    assert "this is signed" in person.get(page.url).words.lower()
    assert person.paste(page, keys[0]).path == "/join"
    assert portal.service.private.drafts.open(kind="coop.admission/v1") == []


def test_a_ballot_that_many_threads_hand_in_at_once_is_counted_once(portal: Portal) -> None:
    proposal = propose(portal)
    founders = [portal.founder(number) for number in range(3)]
    pages = [founder.post(f"/proposals/{proposal}/vote", choice="for") for founder in founders]
    before, answers = portal.service.view.log.size, list[str]()
    threads = [
        threading.Thread(target=lambda founder=founder, page=page: answers.append(founder.paste(page).path))
        for founder, page in zip(founders, pages, strict=True)
        for _ in range(3)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with portal.service.view.reading() as register:
        assert portal.service.view.log.size == before + 3
        assert portal.service.view.tally(register.proposals[proposal]).votes_for == 3
    assert sum(path.startswith("/receipts/") for path in answers) >= 3


def test_who_drafts_without_end_keeps_the_newest(portal: Portal) -> None:
    drafts = portal.service.private.drafts
    kept = [drafts.add("coop.leave/v1", "m-" + "1" * 16, b"{}", {}).id for _ in range(130)]
    other = drafts.add("coop.leave/v1", "m-" + "2" * 16, b"{}", {}).id
    assert len(drafts.open(author="m-" + "1" * 16)) == 100
    assert drafts.find(kept[-1]) is not None
    assert drafts.find(other) is not None
