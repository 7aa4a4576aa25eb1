"""Consultations of statements on the command line: proposed from a file, answered in short, counted, closed, and drawn as groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonweights.opinions import answers_of
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from tests.clock import standing
from tests.portal.test_opinions import planted
from tests.village import found

RULES = {"quorum_percent": 0, "approval_percent": 0, "minimum_for": 1, "minimum_period_s": 0}
KINDS = dict.fromkeys(("run", "release", "consultation"), RULES)
ASK = "question: How shall we work?\nstatements: [{}]\nmethod: opinions\n"


def test_answers_are_typed_in_short_and_what_is_not_named_is_passed_over() -> None:
    assert answers_of(["agree=1,3-4", "disagree=6"], 7) == ["agree", "pass", "agree", "agree", "pass", "disagree", "pass"]
    assert answers_of(["pass=1-2"], 2) == ["pass", "pass"]


@pytest.mark.parametrize(
    "word", ["for", "agree", "agree=", "agree=0", "agree=8", "agree=3-1", "agree=1,1", "agree=1 ,2", "agree=-1", "agree=١", "maybe=1", "agree=1-99999"]
)
def test_an_answer_that_does_not_fit_is_refused_with_what_would(word: str) -> None:
    with pytest.raises(BadInput) as refused:
        answers_of(["disagree=2", word], 7)
    assert "from 1 to 7" in str(refused.value.allowed)
    with pytest.raises(BadInput):
        answers_of(["agree=2", "disagree=1-3"], 7)


def test_statements_are_proposed_answered_counted_and_closed(coop, tmp_path: Path) -> None:
    root = tmp_path / "village"
    found(root, kinds=KINDS)
    (tmp_path / "ask.yaml").write_text(ASK.format('Runs are announced, Reviewers are paid, "\\e[31mred"'))
    with standing() as wait:
        asked = coop("-C", root, "propose", "consultation", tmp_path / "ask.yaml", "--period", "8", "--key", root / "members/1")
        assert (asked.code, "agree=1,4-6 disagree=2" in asked.out) == (0, True), asked.err
        for number, words in enumerate((["agree=1,2"], ["agree=1", "disagree=2-3"], ["disagree=1"]), start=1):
            assert coop("-C", root, "vote", _newest(root), *words, "--key", root / f"members/{number}").code == 0
        wrong = coop("-C", root, "vote", _newest(root), "for", "--key", root / "members/4")
        assert (wrong.code, "agree=1,4-6 disagree=2" in wrong.err) == (2, True)
        shown = coop("-C", root, "tally").out
        for line in (
            "How shall we work?",
            "     1      2         1     0  Runs are announced",
            "     2      1         1     1  Reviewers are paid",
            "3 of 5 answered",
        ):
            assert line in shown
        assert "\x1b" not in shown
        drawn = coop("-C", root, "--json", "tally", "--groups").json
        assert drawn["opinions"][2] == {"agree": 0, "disagree": 1, "passed": 2}
        assert drawn["map"]["state"] == "few-statements"
        wait(10)
        assert coop("-C", root, "close").code == 0
        assert "answered" in coop("-C", root, "tally").out
        assert coop("-C", root, "audit").code == 0


def _newest(root: Path) -> str:
    with Cooperative.open(root, read_only=True) as coop:
        return list(coop.register.proposals)[-1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("question: a\noptions: [b, c]\nmethod: opinions\n", "statements (a list)"),
        ("question: a\nstatements: [b, c]\nmethod: ranked\n", "statements (a list)"),
        ("question: a\nstatements: [b]\nmethod: opinions\n", "2 to 64"),
        ("question: a\nstatements: [b, b]\nmethod: opinions\n", "twice"),
        ("question: a\nstatements: [" + ", ".join(f"s{number}" for number in range(65)) + "]\nmethod: opinions\n", "2 to 64"),
        ("1: a\n2: b\n", "statements (a list)"),
    ],
)
def test_a_file_that_asks_otherwise_is_refused(coop, tmp_path: Path, text: str, why: str) -> None:
    found(tmp_path / "village")
    (tmp_path / "ask.yaml").write_text(text)
    refused = coop("-C", tmp_path / "village", "propose", "consultation", tmp_path / "ask.yaml", "--key", tmp_path / "village/members/1")
    assert (refused.code, why in refused.err) == (2, True), refused.err


def test_groups_are_printed_and_in_the_json_without_anybodys_place(coop, tmp_path: Path) -> None:
    root = tmp_path / "village"
    keys, _ = found(root, 24)
    (tmp_path / "ask.yaml").write_text(ASK.format(", ".join(f"Statement {number}" for number in range(1, 9))))
    assert coop("-C", root, "propose", "consultation", tmp_path / "ask.yaml", "--key", root / "members/1").code == 0
    proposal, (said, _) = _newest(root), planted(24, 8, 2)
    with Cooperative.open(root) as open_:
        for (member, key), answers in zip(sorted(keys.items()), said.values(), strict=True):
            open_.state("coop.opinions/v1", {"proposal": proposal, "answers": answers, "sequence": 1, "reason": None}, key=key, author=member)
    shown = coop("-C", root, "tally", proposal, "--groups").out
    for part in (
        "opinion map of 24 members: groups stand out",
        "group A, 12 members",
        "group B, 12 members",
        "what divides the groups",
        "a map describes; it decides nothing",
    ):
        assert part in shown, shown
    value = coop("-C", root, "--json", "tally", proposal, "--groups").json["map"]
    assert [group["members"] for group in value["groups"]] == [12, 12]
    assert not any(member in str(value) for member in keys)
    refused = coop("-C", root, "tally", proposal, "--methods")
    assert (refused.code, "ranked" in refused.err) == (2, True)
