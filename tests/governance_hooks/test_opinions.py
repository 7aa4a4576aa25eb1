"""Consultations of statements: one word for each statement in one ballot, counted in whole numbers by everybody who replays the log."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import CoopError
from governance_hooks.motions import Consult, subject_of
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.preferences import ANSWERS, opinions
from governance_hooks.rules.closing import count_opinions
from tests.village import Village

DAY = 86_400
STATEMENTS = [sha256(bytes([number])) for number in range(3)]


def question(method: str = "opinions", statements: list[str] = STATEMENTS) -> Consult:
    return Consult(question=sha256(b"?"), options=statements, method=method)  # type: ignore[arg-type]


def said(proposal: str, *answers: str, sequence: int = 1, **changes: Any) -> dict[str, Any]:
    return {"proposal": proposal, "answers": list(answers), "sequence": sequence, "reason": None} | changes


def counts(*each: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"agree": agree, "disagree": disagree, "passed": passed} for agree, disagree, passed in each]


@pytest.fixture
def asked(village: Village) -> str:
    return village.move(question()).id


@given(st.integers(2, 6).flatmap(lambda width: st.lists(st.lists(st.sampled_from(ANSWERS), min_size=width, max_size=width), min_size=1, max_size=12)))
def test_every_word_is_counted_once_in_whatever_order_ballots_come(ballots: list[list[str]]) -> None:
    counted = opinions(ballots, len(ballots[0]))
    assert counted == opinions(ballots[::-1], len(ballots[0]))
    for at, each in enumerate(counted):
        words = Counter(ballot[at] for ballot in ballots)
        assert each == (words["agree"], words["disagree"], words["pass"])
        assert sum(each) == len(ballots)


def test_a_consultation_of_statements_goes_from_question_to_result(village: Village, asked: str) -> None:
    a, b, c, *_ = village.members
    village.say("coop.opinions/v1", said(asked, "agree", "agree", "pass"), a)
    village.say("coop.opinions/v1", said(asked, "disagree", "agree", "pass"), b)
    village.say("coop.opinions/v1", said(asked, "agree", "disagree", "disagree"), c)
    village.say("coop.opinions/v1", said(asked, "agree", "disagree", "pass", sequence=2), a)  # the last one counts
    village.wait(DAY)
    counted = {"proposal": asked, "cast": 3, "quorate": True, "winners": [], "opinions": counts((2, 1, 0), (1, 2, 0), (0, 1, 2))}
    village.say("coop.consultation-close/v1", counted, "operator")
    found = village.coop.register.proposals[asked]
    assert (found.winners, found.closed is not None) == ((), True)
    assert [one.model_dump() for one in count_opinions(found)] == counted["opinions"]
    village.refuses("vote is closed", "coop.opinions/v1", said(asked, "agree", "agree", "agree"), b)


@pytest.mark.parametrize(
    "changes",
    [
        {"opinions": counts((2, 0, 0), (0, 1, 0), (1, 0, 0))},
        {"opinions": counts((1, 0, 0), (0, 1, 0))},
        {"opinions": []},
        {"cast": 2},
        {"winners": [0]},
        {"quorate": False},
    ],
)
def test_a_close_that_counts_otherwise_is_refused(village: Village, asked: str, changes: dict[str, Any]) -> None:
    village.say("coop.opinions/v1", said(asked, "agree", "disagree", "agree"), village.members[0])
    village.wait(DAY)
    right = {"proposal": asked, "cast": 1, "quorate": True, "winners": [], "opinions": counts((1, 0, 0), (0, 1, 0), (1, 0, 0))}
    village.refuses("does not match the ballots", "coop.consultation-close/v1", right | changes, "operator")
    village.say("coop.consultation-close/v1", right, "operator")


def test_a_count_of_opinions_closes_no_consultation_of_options(village: Village) -> None:
    asked = village.move(question("approval")).id
    village.wait(DAY)
    nobody = {"proposal": asked, "cast": 0, "quorate": True, "winners": []}
    village.refuses("does not match the ballots", "coop.consultation-close/v1", nobody | {"opinions": counts((0, 0, 0))}, "operator")
    village.say("coop.consultation-close/v1", nobody, "operator")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (["agree", "agree"], "one answer for each statement"),
        (["agree"] * 4, "one answer for each statement"),
        (["agree", "agree", "perhaps"], "agree"),
        (["agree", "agree", 1], "agree"),
        (["agree", "agree", None], "agree"),
        (["pass"] * 65, "64"),
        ([], "2"),
        ("agree", "list"),
    ],
)
def test_an_answer_of_another_length_or_range_is_refused(village: Village, asked: str, answers: Any, why: str) -> None:
    with pytest.raises(CoopError) as refused:
        village.say("coop.opinions/v1", said(asked) | {"answers": answers}, village.members[0])
    assert why in f"{refused.value.what} {refused.value.value} {refused.value.allowed}"
    assert not village.coop.register.proposals[asked].votes


def test_each_kind_of_question_takes_its_own_kind_of_answer(village: Village, asked: str) -> None:
    a = village.members[0]
    village.refuses("what you think of each statement", "coop.preference/v1", {"proposal": asked, "options": [0], "sequence": 1, "reason": None}, a)
    village.refuses("not for or against", "coop.ballot/v1", {"proposal": asked, "choice": "for", "sequence": 1, "reason": None}, a)
    options = village.move(question("approval")).id
    village.refuses("asks for options, not for opinions", "coop.opinions/v1", said(options, "agree", "agree", "agree"), a)
    run = village.propose("run", sha256(b"run")).id
    village.refuses("this vote is for or against", "coop.opinions/v1", said(run, "agree", "agree", "agree"), a)


def test_the_same_statement_twice_is_no_question() -> None:
    with pytest.raises(ValueError, match="would count twice"):
        question(statements=[STATEMENTS[0], STATEMENTS[1], STATEMENTS[0]])
    assert question("ranked", [STATEMENTS[0], STATEMENTS[0]])  # as it was: old logs stay valid


def test_what_was_signed_before_there_were_opinions_keeps_its_bytes() -> None:
    motion = question("approval")
    assert dumps(motion.model_dump(mode="json")) == dumps({"kind": "consultation", "question": sha256(b"?"), "options": STATEMENTS, "method": "approval"})
    assert subject_of(motion) == sha256(dumps(motion.model_dump(mode="json")))
    closed = {"proposal": sha256(b"p"), "cast": 0, "quorate": True, "winners": []}
    assert PAYLOADS["coop.consultation-close/v1"].model_validate(closed).opinions == []  # type: ignore[attr-defined]
