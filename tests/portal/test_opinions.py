"""Consultations of statements on pages: one signature for all answers, drafts that stay, counts for everybody, and a map of groups but of nobody."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from numpy.typing import NDArray

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult, subject_of
from governance_hooks.statement import now, shift
from portal.opinion import drawing
from portal.opinion.drawing import draw_answers
from portal.opinion.found import FEWEST_MEMBERS, SMALLEST_GROUP, OpinionMap
from portal.opinion.maps import Maps
from tests.clock import standing
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose, say

WORDS = {1: "agree", -1: "disagree", 0: "pass"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</legend><img src=x onerror=alert(1)>",
    "%(agree)s {{ 7 * 7 }} {% raw %}",
    "\"' onmouseover='x",
    "النص العربي <b>",
    "&lt;already&gt;",
]


def ask(portal: Portal, statements: list[str], question: str = "How shall we work?", **changes: object) -> str:
    """Open a consultation of statements."""
    for text in (question, *statements):
        portal.service.house.keep_text(text.encode())
    motion = Consult(question=sha256(question.encode()), options=[sha256(one.encode()) for one in statements], method="opinions")
    return propose(portal, "consultation", subject_of(motion), motion=motion.model_dump(mode="json"), **changes)


def planted(members: int, statements: int, camps: int, seed: int = 7, firm: float = 0.85, passed: float = 0.1) -> tuple[dict[str, list[str]], list[int]]:
    """Return answers of members who each belong to a camp and mostly say what it says, and the camps."""
    random = np.random.default_rng(seed)
    lean: NDArray[np.int64] = np.array([[1 if (at // 2 + camp) % camps == 0 else -1 for at in range(statements)] for camp in range(camps)])
    camp = [number % camps for number in range(members)]
    said = np.where(random.random((members, statements)) < firm, lean[camp], -lean[camp])
    said[random.random(said.shape) < passed] = 0
    return {f"m-{number:016x}": [WORDS[int(one)] for one in row] for number, row in enumerate(said)}, camp


def agreement(one: list[str], other: list[int]) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985), by its definition."""
    table = np.array([[sum(a == x and b == y for a, b in zip(one, other, strict=True)) for y in sorted(set(other))] for x in sorted(set(one))])

    def pairs(counts: NDArray[np.int64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns, everything = pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum())
    expected = rows * columns / everything
    return (pairs(table) - expected) / ((rows + columns) / 2 - expected)


def groups_of(found: OpinionMap, answers: dict[str, list[str]]) -> list[str]:
    return [found.cells[member][2] for member in sorted(answers)]


@pytest.mark.usefixtures("in_process")
def test_planted_groups_are_recovered_with_their_numbers_and_statements() -> None:
    answers, camps = planted(90, 24, 3)
    found = draw_answers(answers)
    assert (found.state, len(found.groups)) == ("groups", 3)
    assert agreement(groups_of(found, answers), camps) > 0.95
    assert sum(group.members for group in found.groups) == 90
    assert found.silhouette > found.by_chance > 0
    for group in found.groups:
        assert group.represented
        inside = [member for member, cell in found.cells.items() if cell[2] == group.name]
        for one in group.represented:
            here = sum(answers[member][one.statement] == one.answer for member in inside)
            elsewhere = sum(answers[member][one.statement] == one.answer for member in answers.keys() - set(inside))
            assert (one.count, one.of, one.others, one.others_of) == (here, len(inside), elsewhere, 90 - len(inside))
            # Small et al. 2021, with one made-up vote for each of two answers.
            assert one.representativeness == pytest.approx(((here + 1) / (len(inside) + 2)) / ((elsewhere + 1) / (92 - len(inside))), abs=1e-3)
            assert here / len(inside) > elsewhere / (90 - len(inside))
        for at, count in enumerate(group.counts):
            assert (count.agree, count.all) == (sum(answers[member][at] == "agree" for member in inside), len(inside))
    assert found.divisive
    for divide in found.divisive:
        assert any(2 * one.agree > one.all for one in divide.by_group)
        assert any(2 * one.disagree > one.all for one in divide.by_group)


@pytest.mark.usefixtures("in_process")
def test_what_unites_is_what_most_of_every_group_say() -> None:
    answers, _ = planted(60, 12, 2)
    for number, said in enumerate(answers.values()):
        said[0], said[1] = "agree" if number % 10 else "pass", "disagree"
    found = draw_answers(answers)
    assert {(one.statement, one.answer) for one in found.consensus} == {(0, "agree"), (1, "disagree")}
    assert {(one.count, one.of) for one in found.consensus} == {(54, 60), (60, 60)}
    assert not {one.statement for one in found.divisive} & {0, 1}


def test_the_same_answers_give_the_same_map_in_whatever_order_and_process(request: pytest.FixtureRequest) -> None:
    answers, _ = planted(45, 12, 3)
    apart = draw_answers(dict(reversed(answers.items())))
    request.getfixturevalue("in_process")
    first = draw_answers(answers)
    assert first == apart
    renamed = {f"m-{0xFFFF - int(member[2:], 16):016x}": said for member, said in answers.items()}  # another order of rows
    groups = draw_answers(renamed).groups
    assert [group.members for group in groups] == [group.members for group in first.groups]
    assert [group.counts for group in groups] == [group.counts for group in first.groups]


@pytest.mark.usefixtures("in_process")
def test_answers_by_chance_make_no_groups() -> None:
    random = np.random.default_rng(5)
    answers = {f"m-{number:016x}": [WORDS[int(one)] for one in random.integers(-1, 2, 16)] for number in range(60)}
    found = draw_answers(answers)
    assert (found.state, found.groups, found.divisive) == ("chance", (), ())
    assert 0 < found.silhouette <= found.by_chance


@pytest.mark.usefixtures("in_process")
def test_fewer_than_five_are_no_group_and_too_few_make_no_map() -> None:
    answers, _ = planted(40, 10, 1, firm=1.0, passed=0.0)
    odd = ["disagree" if one == "agree" else "agree" for one in answers["m-" + "0" * 16]]
    for number in range(SMALLEST_GROUP - 1):
        answers[f"m-{number:016x}"] = odd
    small = draw_answers(answers)
    assert (small.state, small.groups) == ("no-groups", ())
    answers["m-" + f"{SMALLEST_GROUP:016x}"] = odd
    found = draw_answers(answers)
    assert [group.members for group in found.groups] == [35, 5]
    assert draw_answers({}).state == "few-members"
    few, _ = planted(FEWEST_MEMBERS - 1, 10, 2)
    assert (draw_answers(few).state, draw_answers(few).members) == ("few-members", FEWEST_MEMBERS - 1)
    silent = {f"m-{number:016x}": ["pass"] * 10 for number in range(50)}
    assert (draw_answers(silent).state, draw_answers(silent).members) == ("few-members", 0)
    assert draw_answers(planted(30, 4, 2)[0]).state == "few-statements"


def test_a_small_group_among_thousands_is_in_the_sample_that_is_looked_at() -> None:
    from portal.opinion.groups import SAMPLE, _silhouette

    missed = np.random.default_rng(0).permutation(3000)[SAMPLE : SAMPLE + SMALLEST_GROUP]  # whom a plain draw leaves out
    labels = np.zeros(3000, dtype=np.int32)
    labels[missed] = 1
    assert _silhouette(np.c_[labels, labels].astype(np.float64), labels) == 1.0


@pytest.mark.usefixtures("in_process")
def test_everybody_the_same_is_said_so() -> None:
    found = draw_answers({f"m-{number:016x}": ["agree", "disagree", "pass"] * 4 for number in range(20)})
    assert (found.state, found.groups) == ("alike", ())
    assert {(one.statement, one.answer, one.count) for one in found.consensus} >= {(0, "agree", 20), (1, "disagree", 20)}


@pytest.mark.usefixtures("in_process")
def test_a_map_shows_nobody_and_no_place_of_fewer_than_five() -> None:
    answers, _ = planted(60, 12, 3)
    found = draw_answers(answers)
    assert not re.search("m-[0-9a-f]{16}", json.dumps(found.public()))
    assert found.public().keys().isdisjoint({"cells", "positions"})
    assert all(many >= SMALLEST_GROUP for group in found.groups for _, _, many in group.places)
    assert all(group.members >= SMALLEST_GROUP for group in found.groups)


def test_a_drawing_is_bounded_and_has_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers, _ = planted(20, 8, 2)
    assert draw_answers({f"m-{number:016x}": ["agree"] * 5 for number in range(drawing.MOST_MEMBERS + 1)}).state == "too-many"
    seen: list[dict[str, str]] = []
    real = drawing.subprocess.run

    def watched(*command: object, **settings: object) -> object:
        seen.append(settings["env"])  # type: ignore[arg-type]
        return real(*command, **settings)  # type: ignore[call-overload]

    monkeypatch.setenv("COOP_SMTP_PASSWORD", "secret")
    monkeypatch.setattr(drawing.subprocess, "run", watched)
    monkeypatch.setattr(drawing, "TIME_S", 0.01)
    assert draw_answers(answers).state == "failed"
    assert seen
    assert "COOP_SMTP_PASSWORD" not in seen[0]


def test_no_page_imports_what_draws_the_map() -> None:
    import subprocess
    import sys

    said = "import sys, portal.app, commonweights.opinions; print(sorted({'pandas', 'sklearn', 'reddwarf', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "reddwarf" not in done.stdout
    assert "sklearn" not in done.stdout


def test_maps_are_drawn_once_one_at_a_time_and_rest_between() -> None:
    drawn: list[int] = []
    at_once: list[int] = []
    lock = threading.Semaphore(1)

    def slow(answers: object) -> OpinionMap:
        at_once.append(int(lock.acquire(blocking=False)))
        time.sleep(0.1)
        lock.release()
        drawn.append(len(drawn))
        return OpinionMap("few-members", len(drawn))

    maps = Maps(draw=slow, patience_s=300, rest=1000)
    threads = [threading.Thread(target=maps.of, args=("p", 1, {})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = maps.of("p", 1, {})
    assert (drawn, at_once) == ([0], [1])
    assert first is not None
    assert maps.of("p", 2, {"m": ["agree"]}, "m") is first  # newer answers wait until this machine has rested
    assert maps.of("q", 1, {}) is not None  # a first map does not
    assert drawn == [0, 1]

    keen = Maps(draw=slow, patience_s=300, rest=0)
    keen.of("p", 1, {})
    old, new = keen.of("p", 2, {"m": ["agree"]}, "somebody else"), keen.of("p", 2, {"m": ["agree"]}, "m")
    assert old is not None
    assert new is not None
    assert (old.ballots, new.ballots) == (1, 2)  # who answered since waits for their own answer to be in it

    def broken(answers: object) -> OpinionMap:
        raise MemoryError

    failed = Maps(draw=broken, patience_s=300).of("p", 1, {})
    assert failed is not None
    assert failed.map.state == "failed"
    assert Maps(draw=slow, patience_s=0).of("p", 1, {}) is None  # who does not wait is told to look again


def test_one_signature_answers_all_statements_and_what_is_left_open_is_passed_over(portal: Portal) -> None:
    proposal = ask(portal, ["First.", "Second.", "Third."])
    person = portal.founder(1)
    page = person.post(f"/proposals/{proposal}/answer", **{"answer-0": "agree", "answer-2": "disagree"})
    for words in ("You agree: 1. First.", "You pass over: 2. Second.", "You disagree: 3. Third."):
        assert words in page.words
    assert '"answers":["agree","pass","disagree"]' in page.shown.decode()
    # Not signed yet: the page has the draft, and nobody else's page.
    again = person.get(f"/proposals/{proposal}")
    assert "These answers are drafted" in again.words
    assert checked(again.text) == {"answer-0": "agree", "answer-1": "pass", "answer-2": "disagree"}
    assert checked(portal.founder(2).get(f"/proposals/{proposal}").text) == {}
    person.paste(page)
    shown = person.get(f"/proposals/{proposal}")
    assert "agree: 1, disagree: 0, pass: 0" in shown.words
    assert "agree: 1 · disagree: 3" in shown.words  # the roll call
    assert "These answers are drafted" not in shown.words
    assert checked(shown.text)["answer-1"] == "pass"
    person.paste(person.post(f"/proposals/{proposal}/answer", **{"answer-1": "agree"}))
    with portal.service.view.reading() as register:
        vote = register.proposals[proposal].votes[portal.members[1]]
    assert (vote.sequence, vote.answers) == (2, ("pass", "agree", "pass"))
    assert "agree: 0, disagree: 0, pass: 1" in portal.stranger().get(f"/proposals/{proposal}").words


def checked(text: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="radio" name="(answer-[0-9]+)" value="(\w+)" checked>', text))


def test_answers_that_are_none_are_refused(portal: Portal) -> None:
    proposal = ask(portal, ["First.", "Second."])
    person = portal.founder(1)
    assert person.post(f"/proposals/{proposal}/answer", **{"answer-0": "maybe"}).status == 422
    empty = person.post(f"/proposals/{proposal}/answer")
    assert (empty.status, "one statement at least" in empty.words) == (422, True)
    beyond = person.post(f"/proposals/{proposal}/answer", **{"answer-0": "agree", "answer-7": "agree", "option-0": "1"})
    assert '"answers":["agree","pass"]' in beyond.shown.decode()
    assert person.post(f"/proposals/{proposal}/vote", choice="for").status in (200, 409, 422)
    with portal.service.view.reading() as register:
        assert not register.proposals[proposal].votes
    late, _ = portal.joined()
    assert late.post(f"/proposals/{proposal}/answer", **{"answer-0": "agree"}).status == 409
    assert portal.stranger().post(f"/proposals/{proposal}/answer", **{"answer-0": "agree"}).path == "/signin"


def test_statements_are_proposed_on_the_page_and_stand_as_text(portal: Portal) -> None:
    person = portal.founder(0)
    page = person.post("/propose/question", question="Which of these?", options="\n".join(HOSTILE), method="opinions")
    person.paste(page)
    with portal.service.view.reading() as register:
        (proposal,) = register.proposals
        assert register.proposals[proposal].motion.method == "opinions"  # type: ignore[union-attr]
    shown = person.get(f"/proposals/{proposal}")
    for text in HOSTILE:
        assert str(escape(text)) in shown.text
    for part in ("<script>alert", "<img src=x", "onmouseover='x", "النص العربي <b>"):
        assert part not in shown.text
    signing = person.post(f"/proposals/{proposal}/answer", **{f"answer-{number}": "agree" for number in range(6)})
    assert "<script>alert" not in signing.text
    assert "<img src=x" not in signing.text
    many = "\n".join(f"Statement {number}." for number in range(65))
    assert person.post("/propose/question", question="Too many?", options=many, method="opinions").status == 422
    assert person.post("/propose/question", question="Too many?", options="\n".join(map(str, range(21))), method="approval").status == 422


def test_the_largest_consultation_fits_one_ballot(portal: Portal) -> None:
    proposal = ask(portal, [f"Statement {number}: {'x' * 900}" for number in range(64)])
    person = portal.founder(1)
    page = person.post(f"/proposals/{proposal}/answer", **{f"answer-{number}": "disagree" for number in range(64)}, reason="because")
    receipt = person.paste(page)
    assert receipt.path.startswith("/receipts/")
    assert len(page.shown) < 4096


def answer_all(portal: Portal, proposal: str, statements: int, start: int = 0) -> dict[str, list[str]]:
    answers, _ = planted(len(portal.members), statements, 2)
    said = {member: answers[f"m-{number:016x}"] for number, member in enumerate(portal.members)}
    for member in portal.members[start:]:
        say(portal, "coop.opinions/v1", {"proposal": proposal, "answers": said[member], "sequence": 1, "reason": None}, member, portal.keys[member])
    return said


@pytest.mark.usefixtures("in_process")
def test_the_page_shows_groups_to_everybody_and_a_members_own_place_to_them_alone(make_portal: object) -> None:
    portal: Portal = make_portal(founders=24)  # type: ignore[operator]
    portal.service.maps.patience_s = 300
    statements = [f"Statement number {number}." for number in range(8)]
    proposal = ask(portal, statements)
    few = portal.stranger().get(f"/proposals/{proposal}")
    assert "Opinion map" not in few.words  # nobody answered
    answer_all(portal, proposal, 8, start=16)
    assert "A map needs 10 members with an opinion; there are 8." in portal.stranger().get(f"/proposals/{proposal}").words
    portal.service.maps.rest = 0
    for member in portal.members[:16]:
        answers, _ = planted(24, 8, 2)
        at = portal.members.index(member)
        say(portal, "coop.opinions/v1", {"proposal": proposal, "answers": answers[f"m-{at:016x}"], "sequence": 1, "reason": None}, member, portal.keys[member])
    portal.service.maps = Maps(patience_s=300)
    page = portal.stranger().get(f"/proposals/{proposal}")
    assert "Group A · 12 members" in page.words
    assert "Group B · 12 members" in page.words
    assert "You are in group" not in page.words
    assert 'class="here"' not in page.text
    assert page.text.count("<ellipse") == 2
    assert "style=" not in page.text
    mine = portal.founder(3).get(f"/proposals/{proposal}")
    assert re.search("You are in group [AB], near the star", mine.words)
    assert 'class="here"' in mine.text


def test_a_map_without_its_library_is_said_to_be_missing(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = ask(portal, ["First.", "Second."])
    answer_all(portal, proposal, 2)
    monkeypatch.setattr("portal.opinion.page.installed", lambda: False)
    page = portal.stranger().get(f"/proposals/{proposal}")
    assert "This server draws no maps" in page.words
    assert re.search("agree: [0-5], disagree: [0-5]", page.words)
    monkeypatch.setattr(drawing, "installed", lambda: False)
    with portal.service.view.reading() as register, pytest.raises(BadInput, match="red-dwarf is not installed"):
        drawing.draw(register.proposals[proposal])


def test_a_closed_consultation_is_public_with_every_count(make_portal: object) -> None:
    portal: Portal = make_portal(kinds=QUICK)  # type: ignore[operator]
    with standing() as wait:
        proposal = ask(portal, ["First.", "Second."], closes=shift(now(), 2))
        answer_all(portal, proposal, 2)
        wait(3)
        with portal.service.view.reading() as register:
            kind, payload = portal.service.house.close_payload(register.proposals[proposal])
        assert [sum(one.values()) for one in payload["opinions"]] == [5, 5]
        say(portal, kind, payload, "operator", portal.operator)
        page = portal.stranger().get(f"/proposals/{proposal}")
        assert "What members think" in page.words
        assert "A map needs 5 statements; there are 2." in page.words
        assert "Agree" not in page.words  # nothing to fill in
        assert portal.founder(1).post(f"/proposals/{proposal}/answer", **{"answer-0": "agree"}).status == 409


RULES = {"quorum_percent": 0, "approval_percent": 0, "minimum_for": 1, "minimum_period_s": 0}
QUICK = dict.fromkeys(("run", "release", "consultation"), RULES)
