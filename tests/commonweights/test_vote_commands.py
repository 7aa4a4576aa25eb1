"""The life of a proposal as members and operator meet it on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clock import standing

BYLAWS = """
registrars: ["@1", "@2"]
registrars_required: 2
oversight: ["@3"]
halt_max_s: 3600
kinds:
  run: &quick {minimum_period_s: 0, minimum_for: 1}
  release: *quick
  bylaws: {minimum_period_s: 0, approval_percent: 67, challenge_s: 2, objections: 1}
  admission: *quick
  suspension: *quick
  halt: *quick
  appeal: *quick
  operator: *quick
  consultation: {minimum_period_s: 0, quorum_percent: 0, approval_percent: 0, minimum_for: 1}
  payout: *quick
"""
PEOPLE = ("anna", "bela", "caro")


@pytest.fixture(autouse=True)
def wait() -> Iterator[Callable[[float], None]]:
    """Votes take seconds here, of a clock that a test alone moves on."""
    with standing() as move:
        yield move


@pytest.fixture
def quick(coop, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative of three whose votes take seconds."""
    (tmp_path / "bylaws.yaml").write_text(BYLAWS)
    founders = [word for name in PEOPLE for word in ("--founder", keys[name])]
    done = coop("init", tmp_path / "quick", "--name", "quick", "--bylaws", tmp_path / "bylaws.yaml", *founders)
    assert done.code == 0, done.err
    return tmp_path / "quick"


@pytest.fixture
def propose(coop, quick: Path, keys: dict[str, Path]):
    """Open a proposal as anna and return its digest."""

    def run(*words: str | Path) -> str:
        done = coop("-C", quick, "--json", "propose", *words, "--key", keys["anna"])
        assert done.code == 0, done.err or done.out
        return str(done.json["proposal"])

    return run


@pytest.fixture
def decide(coop, quick: Path, wait, keys: dict[str, Path], propose):
    """Propose, have everybody vote for, wait, close; return the digest and the state in words."""

    def run(*words: str | Path, choice: str = "for") -> tuple[str, str]:
        proposal = propose(*words)
        for name in PEOPLE:
            assert coop("-C", quick, "vote", proposal, choice, "--key", keys[name]).code == 0
        wait(2)  # it closes a second after the bylaws' minimum, and clocks count whole seconds
        done = coop("-C", quick, "--json", "close", proposal)
        assert done.code == 0, done.err or done.out
        return proposal, done.json["state"]

    return run


def test_an_amendment_is_shown_voted_and_in_force_after_its_challenge_window(coop, quick: Path, wait, decide, tmp_path: Path) -> None:
    (tmp_path / "change.yaml").write_text("kinds: {run: {quorum_percent: 75}}\n")
    shown = coop("-C", quick, "bylaws", "--with", tmp_path / "change.yaml")
    assert shown.out == "version 2 would change:\n  kinds.run.quorum_percent: 50 -> 75\n  version: 1 -> 2\n"
    _, state = decide("bylaws", tmp_path / "change.yaml")
    assert state.startswith("approved; members can object until")
    assert "75%" not in coop("-C", quick, "bylaws").out
    wait(2)
    assert coop("-C", quick, "log", "stamp").code == 0
    words = coop("-C", quick, "bylaws").out
    assert "bylaws version 2" in words
    assert "run           75% of the roll must vote" in words
    assert coop("-C", quick, "audit").code == 0


def test_an_objection_in_the_window_undoes_an_amendment(coop, quick: Path, wait, keys: dict[str, Path], decide, tmp_path: Path) -> None:
    (tmp_path / "change.yaml").write_text("registrars_required: 1\n")
    proposal, _ = decide("bylaws", tmp_path / "change.yaml")
    done = coop("-C", quick, "object", proposal, "--reason", "one registrar is too few", "--key", keys["caro"])
    assert (done.code, "undone by 1 objections" in done.out) == (0, True), done.err
    wait(2)
    coop("-C", quick, "log", "stamp")
    assert coop("-C", quick, "--json", "bylaws").json["registrars_required"] == 2
    assert "never took effect: 1 members objected" in coop("-C", quick, "tally", proposal).out
    assert b"too few" not in (quick / "log.sqlite").read_bytes(), "reasons are in the log by digest only"


def test_an_amendment_with_a_misspelt_field_names_the_nearest(coop, quick: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "change.yaml").write_text("halt_max: 5\n")
    done = coop("-C", quick, "propose", "bylaws", tmp_path / "change.yaml", "--key", keys["anna"])
    assert (done.code, "did you mean 'halt_max_s'?" in done.err) == (2, True)


def test_a_ranked_consultation_is_answered_counted_and_closed(coop, quick: Path, wait, keys: dict[str, Path], propose, tmp_path: Path) -> None:
    (tmp_path / "ask.yaml").write_text("question: Which language next?\noptions: [Kinyarwanda, Guaraní, Yorùbá]\nmethod: ranked\n")
    proposal = propose("consultation", tmp_path / "ask.yaml")
    for name, answer in zip(PEOPLE, (("1", "2", "3"), ("2", "3", "1"), ("2", "1")), strict=True):
        assert coop("-C", quick, "vote", proposal, *answer, "--key", keys[name]).code == 0
    wrong = coop("-C", quick, "vote", proposal, "for", "--key", keys["anna"])
    assert (wrong.code, "numbers of its options" in wrong.err, "1 to 3" in wrong.err) == (2, True, True)
    wait(2)
    assert coop("-C", quick, "close", proposal).code == 0
    shown = coop("-C", quick, "tally", proposal, "--methods").out
    assert "Which language next?" in shown
    assert "  * 2     3 ranked  Guaraní" in shown
    assert "Copeland                 2" in shown
    assert coop("-C", quick, "audit").code == 0


def test_every_vote_that_is_over_is_closed_at_once_in_its_order(coop, quick: Path, wait, propose, tmp_path: Path) -> None:
    asked = []
    for number in range(2):
        (tmp_path / f"{number}.yaml").write_text(f"question: Which language next, {number}?\noptions: [Kinyarwanda, Guaraní]\nmethod: approval\n")
        asked.append(propose("consultation", tmp_path / f"{number}.yaml"))
    both = coop("-C", quick, "close", asked[0], "--due")
    assert (both.code, "one of the two" in both.err) == (2, True)
    wait(2)
    done = coop("-C", quick, "--json", "close", "--due")
    assert (done.code, [one["proposal"] for one in done.json["closed"]]) == (0, asked)
    assert coop("-C", quick, "close", "--due").out.strip() == "no open vote is over"


def test_a_halt_is_ratified_by_members_and_ended_by_an_appeal(coop, quick: Path, keys: dict[str, Path], propose, decide, tmp_path: Path) -> None:
    (tmp_path / "payout.txt").write_text("halts are of runs and releases; this one stands for a file")
    bundle = quick / "releases" / "one"
    bundle.mkdir(parents=True)
    (bundle / "release.json").write_text("{}")
    release, _ = decide("release", "one")
    halt = coop("-C", quick, "--json", "halt", release, "--hours", "1", "--key", keys["caro"]).json["halt"]
    again = coop("-C", quick, "halt", release, "--hours", "1", "--key", keys["caro"])
    assert (again.code, "only members can prolong" in again.err) == (1, True)
    assert "lapses at" in coop("-C", quick, "status", "--key", keys["anna"]).out
    decide("halt", release, "--ratifies", halt, "--days", "9")
    shown = coop("-C", quick, "--json", "tally", release).json
    halts = shown["halts"]
    assert "halted by the oversight body and the members until" in shown["state"]
    assert [(one["by"], one["ratified"], one["lifted"]) for one in halts] == [("oversight body", True, False)]
    decide("appeal", halt)
    assert coop("-C", quick, "--json", "tally", release).json["halts"][0]["lifted"] is True


def test_a_suspended_member_neither_votes_nor_proposes_and_appeals(coop, quick: Path, keys: dict[str, Path], decide, tmp_path: Path) -> None:
    caro = coop("-C", quick, "--json", "key", "list", "--key", keys["caro"]).json["member"]
    proposal, state = decide("suspension", caro, "--days", "9")
    assert state.startswith("approved, in effect since entry")
    (tmp_path / "ask.yaml").write_text("question: And now?\noptions: [a, b]\nmethod: approval\n")
    refused = coop("-C", quick, "propose", "consultation", tmp_path / "ask.yaml", "--key", keys["caro"])
    assert (refused.code, "suspended" in refused.err, f"coop propose appeal {proposal}" in refused.err) == (1, True, True)
    assert coop("-C", quick, "propose", "appeal", proposal, "--key", keys["caro"]).code == 0
    roll = coop("-C", quick, "roll", "--key", keys["caro"])
    assert (roll.code, "not on the roll" in roll.out) == (1, True)


def test_the_roll_proves_membership_and_lists_who_has_not_voted(coop, quick: Path, keys: dict[str, Path], propose, tmp_path: Path) -> None:
    (tmp_path / "payout.txt").write_text("x")
    proposal = propose("payout", tmp_path / "payout.txt")
    ids = {name: coop("-C", quick, "--json", "key", "list", "--key", keys[name]).json["member"] for name in PEOPLE}
    assert "PROVEN under root" in coop("-C", quick, "roll", proposal, "--key", keys["bela"]).out
    coop("-C", quick, "vote", proposal, "for", "--key", keys["bela"])
    assert coop("-C", quick, "roll", proposal, "--missing", "--key", keys["bela"]).out.split() == sorted((ids["anna"], ids["caro"]))


def test_drafts_have_versions_and_a_proposal_names_the_last(coop, quick: Path, keys: dict[str, Path], propose, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("anna 10\nbela 20\n")
    (tmp_path / "two.txt").write_text("anna 15\nbela 15\n")
    first = coop("-C", quick, "--json", "draft", "add", "payout", tmp_path / "one.txt", "--key", keys["anna"]).json["draft"]
    second = coop("-C", quick, "--json", "draft", "add", "payout", tmp_path / "two.txt", "--previous", first, "--key", keys["bela"]).json["draft"]
    shown = coop("-C", quick, "draft", "diff", first, second).out
    assert "-anna 10" in shown
    assert "+bela 15" in shown
    stale = coop("-C", quick, "propose", "payout", tmp_path / "two.txt", "--from-draft", first, "--key", keys["anna"])
    assert (stale.code, "the draft named is not of what is proposed" in stale.err) == (1, True)
    propose("payout", tmp_path / "two.txt", "--from-draft", second)


def test_admission_by_vote_needs_the_candidates_key_and_the_vote(coop, quick: Path, keys: dict[str, Path], decide, tmp_path: Path) -> None:
    request = tmp_path / "join.json"
    coop("-C", quick, "join", "--key", keys["dora"], "--out", request)
    alone = coop("-C", quick, "propose", "admission", request, keys["bela"], "--key", keys["anna"])
    assert (alone.code, "signed by that key too" in alone.err) == (1, True)
    decide("admission", request, keys["dora"])
    assert len(coop("-C", quick, "--json", "status", "--key", keys["dora"]).json["members"]) == 4


def test_the_exit_to_community_is_refused_while_founders_hold_every_office_and_done_with_a_member_in_them(
    coop, quick: Path, wait, keys: dict[str, Path], decide, tmp_path: Path
) -> None:
    founders = [word for name in ("bela", "caro") for word in ("--founder", keys[name])]
    early = coop("-C", quick, "exit", "--yes", "--key", keys["anna"], *founders)
    assert (early.code, "a registrar who is no founder is needed first" in early.err) == (1, True)
    request = tmp_path / "join.json"
    dora = coop("-C", quick, "--json", "join", "--key", keys["dora"], "--out", request).json["member"]
    decide("admission", request, keys["dora"])
    anna = coop("-C", quick, "--json", "key", "list", "--key", keys["anna"]).json["member"]
    (tmp_path / "change.yaml").write_text(f"registrars: [{anna}, {dora}]\noversight: [{dora}]\n")
    decide("bylaws", tmp_path / "change.yaml")
    wait(2)
    coop("-C", quick, "log", "stamp")
    some = coop("-C", quick, "exit", "--yes", "--key", keys["anna"], "--founder", keys["bela"])
    assert (some.code, "signed by every founder" in some.err) == (1, True)
    assert coop("-C", quick, "exit", "--yes", "--key", keys["anna"], *founders).code == 0
    _, state = decide("payout", tmp_path / "change.yaml")
    assert state == "rejected"  # only founders voted
    assert "only founders voted for it" in coop("-C", quick, "tally").out
    assert coop("-C", quick, "exit", "--yes", "--key", keys["anna"], *founders).code == 1
    assert coop("-C", quick, "audit").code == 0
