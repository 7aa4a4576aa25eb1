"""`coop payout` from the rule to the money: voted, booked, counted again, bookkept, paid once; and each member's private statement."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from governance_hooks.canonical import dumps, loads, sha256
from tests.commonweights.pipeline import CONFIG, decide, prepare

BEAN_CHECK = str(Path(sys.executable).with_name("bean-check"))
"""Installed beside this Python, whatever the path is."""


BYLAWS = """
registrars: ["@1", "@2"]
registrars_required: 2
oversight: ["@3"]
halt_max_s: 3600
kinds:
  run: &quick {minimum_period_s: 0, minimum_for: 1}
  release: *quick
  payout: *quick
  access: *quick
  halt: *quick
  appeal: *quick
"""
RULE = """
name: autumn
currency: EUR
parts: {reserve: 20, common_fund: 10, guilds: 40, patronage: 30}
member_cap_percent: 60
departed: common-fund
"""


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    (tmp_path / "letter.txt").write_text("the grant")
    return tmp_path / "letter.txt"


@pytest.fixture
def earning(coop, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative whose votes take a second: a run of two guilds with shares, a rating by the third member."""
    (tmp_path / "bylaws.yaml").write_text(BYLAWS)
    founders = [word for name in ("anna", "bela", "caro") for word in ("--founder", keys[name])]
    home = tmp_path / "earning"
    assert coop("init", home, "--name", "earning", "--bylaws", tmp_path / "bylaws.yaml", *founders).code == 0
    prepare(coop, home, keys, tmp_path)
    shared = CONFIG | {"attribution": {"minimum_members": 1, "resamples": 200}}
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(shared), encoding="utf-8")
    assert coop("-C", home, "plan", tmp_path / "first.yaml", "--force").code == 0
    decide(coop, home, keys, "run", "first")
    assert coop("-C", home, "train", "first", "--base", tmp_path / "tiny", "--no-eval").code == 0
    done = coop("-C", home, "shares", "first", "--base", tmp_path / "tiny")
    assert done.code == 0, done.err
    return home


def test_an_income_becomes_whole_amounts_a_balanced_ledger_and_statements_and_is_paid_once(
    coop, earning: Path, keys: dict[str, Path], paper: Path, tmp_path: Path
) -> None:
    home = earning
    (tmp_path / "rule.yaml").write_text(RULE)
    ruled = coop("-C", home, "--json", "payout", "rule", tmp_path / "rule.yaml")
    assert ruled.code == 0, ruled.err
    lacking = coop("-C", home, "payout", "make", "autumn", "--run", "first")
    assert (lacking.code, "each once" in lacking.err) == (2, True)
    booked = coop("-C", home, "--json", "payout", "income", "1000.01", "EUR", "--source", "grant", "--paper", paper)
    assert booked.json["amount"] == 100_001
    assert coop("-C", home, "payout", "income", "1.00", "EUR", "--source", "grant", "--paper", paper).code == 1  # the same letter

    unapproved = coop("-C", home, "payout", "make", "autumn", "--run", "first")
    assert (unapproved.code, "members never voted on exactly this" in unapproved.err) == (2, True)
    decide(coop, home, keys, "payout", ruled.json["rule"])
    made = coop("-C", home, "--json", "payout", "make", "autumn", "--run", "first")
    assert made.code == 0, made.err
    allocation = made.json["allocation"]
    assert allocation["reserve"] + allocation["common_fund"] + sum(one["paid"] for one in allocation["members"].values()) == 100_001
    assert len(allocation["members"]) == 2
    folder = home / "payouts/autumn"
    checked = coop("-C", home, "payout", "check", "autumn")
    assert (checked.code, checked.out.count("PASS")) == (0, 7), checked.out

    ran = subprocess.run([BEAN_CHECK, folder / "ledger.beancount"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
    wrong = folder.joinpath("ledger.beancount").read_text().replace("Equity:Reserve  -200.00", "Equity:Reserve  -200.01")
    (tmp_path / "wrong.beancount").write_text(wrong)
    assert subprocess.run([BEAN_CHECK, tmp_path / "wrong.beancount"], capture_output=True, check=False).returncode != 0

    statements = sorted((home / "private/statements/autumn").glob("*.txt"))
    assert [path.stem for path in statements] == sorted(allocation["members"])
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in statements)
    assert "You get: " in statements[0].read_text()
    assert "you have a part in 1 payout(s)" in coop("-C", home, "status", "--key", keys["anna"]).out
    mine = coop("-C", home, "mine", "--key", keys["anna"])
    assert "payout autumn, a draft" in mine.out
    assert "Your stake" not in coop("-C", home, "mine", "--key", keys["caro"]).out

    unvoted = coop("-C", home, "payout", "pay", "autumn")
    assert (unvoted.code, "never voted on exactly this" in unvoted.err) == (2, True)
    decide(coop, home, keys, "payout", str(folder / "payout.json"))
    paid = coop("-C", home, "payout", "pay", "autumn")
    assert paid.code == 0, paid.err
    assert coop("-C", home, "payout", "pay", "autumn").code == 1
    assert coop("-C", home, "payout", "check", "autumn").code == 0
    assert "payout autumn, paid" in coop("-C", home, "mine", "--key", keys["anna"]).out
    assert coop("-C", home, "audit").code == 0
    again = coop("-C", home, "payout", "make", "autumn", "--run", "first", "--name", "again")
    assert (again.code, "each once" in again.err) == (2, True)  # no income waits
    named = coop("-C", home, "payout", "make", "autumn", "--run", "first", "--name", "again", "--income", booked.json["income"])
    assert (named.code, "shared out already" in named.err) == (2, True)


def test_every_forged_payout_is_caught_at_its_step(coop, earning: Path, keys: dict[str, Path], paper: Path, tmp_path: Path) -> None:
    home = earning
    (tmp_path / "rule.yaml").write_text(RULE)
    ruled = coop("-C", home, "--json", "payout", "rule", tmp_path / "rule.yaml").json["rule"]
    assert coop("-C", home, "payout", "income", "1000.01", "EUR", "--source", "grant", "--paper", paper).code == 0
    decide(coop, home, keys, "payout", ruled)
    assert coop("-C", home, "payout", "make", "autumn", "--run", "first").code == 0
    honest = loads((home / "payouts/autumn/payout.json").read_bytes())
    member = sorted(honest["allocation"]["members"])[0]

    def refused(step: str, words: str, change) -> None:
        forged = loads(dumps(honest))
        change(forged)
        path = tmp_path / "forged.json"
        path.write_bytes(dumps(forged))
        report = coop("-C", home, "--json", "payout", "check", path).json
        blocking = [one for one in report["steps"] if one["status"] != "PASS"]
        assert blocking[0]["name"] == step, (step, blocking)
        assert words in blocking[0]["why"], (words, blocking)

    def more(found) -> None:
        found["allocation"]["members"][member]["paid"] += 1

    def moved(found) -> None:
        found["allocation"]["members"][member]["paid"] += 100
        found["allocation"]["reserve"] -= 100

    def worked(found) -> None:
        found["work"][0]["pieces"] += 1

    def another_rule(found) -> None:
        found["rule"]["parts"] |= {"reserve": 0, "patronage": 50}

    def another_place(found) -> None:
        found["log"]["size"] -= 1

    def ahead(found) -> None:
        found["log"]["size"] += 100

    def richer(found) -> None:
        found["incomes"][0]["amount"] += 1

    def other_shares(found) -> None:
        ppm = found["shares"]["ppm"]
        first, second = sorted(ppm)
        ppm[first], ppm[second] = ppm[first] + 1, ppm[second] - 1

    def gone(found) -> None:
        found["departed"] = [member]

    def elsewhere(found) -> None:
        found["coop"] = found["rule"]["coop"] = sha256(b"another")

    refused("amounts follow", "do not follow", more)
    refused("amounts follow", "do not follow", moved)
    refused("work is counted right", "not what the dataset and the log say", worked)
    refused("work is counted right", "who has left", gone)
    refused("rule is voted", "never voted on exactly this rule", another_rule)
    refused("it stands on this log", "another log", another_place)
    refused("it stands on this log", "the log has", ahead)
    refused("income is booked", "another amount", richer)
    refused("shares are the run's", "not those of run first", other_shares)
    refused("payout is canonical", "another cooperative", elsewhere)
    refused("payout is canonical", "Extra inputs", lambda found: found.update(bonus=1))

    shares = home / "runs/first/stake/shares.json"
    kept = shares.read_bytes()
    shares.write_bytes(kept.replace(b'"share_ppm":', b'"share_ppm":9', 1))
    refused("shares are the run's", "do not hold", lambda found: None)
    shares.write_bytes(kept)
    assert coop("-C", home, "payout", "check", "autumn").code == 0


def test_a_rule_nobody_can_read_is_refused_with_its_nearest_name(coop, home: Path, tmp_path: Path) -> None:
    for text, words in (
        (RULE.replace("departed", "departd"), "did you mean 'departed'"),
        (RULE.replace("name: autumn", "nam: autumn"), "did you mean 'name'"),  # and not only that a field lacks
        (RULE.replace("currency: EUR", ""), "field currency is missing"),
        (RULE + "currency: USD\n", "stands twice"),
        (RULE.replace("reserve: 20", "reserve: 21"), "make 101 percent"),
        ("- a list", "holds no rule"),
    ):
        (tmp_path / "rule.yaml").write_text(text)
        refused = coop("-C", home, "payout", "rule", tmp_path / "rule.yaml")
        assert (refused.code, words in refused.err, "sha256:" in refused.err) == (2, True, False), refused.err


def test_what_is_not_there_is_said_and_nothing_is_logged(coop, home: Path, tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text(RULE)
    assert coop("-C", home, "payout", "rule", tmp_path / "rule.yaml").code == 0
    before = coop("--json", "-C", home, "log").out
    for words, given in (("there is no run nope", ["--run", "nope"]), ("there is no dataset nope", ["--build", "nope"]), ("name the run", [])):
        refused = coop("-C", home, "payout", "make", "autumn", *given)
        assert (refused.code, words in refused.err) == (2, True), refused.err
    assert coop("--json", "-C", home, "log").out == before
    for command in (("eval", "nope"), ("leak", "nope"), ("shares", "nope")):
        refused = coop("-C", home, *command)
        assert (refused.code, "no such run in this log" in refused.err) == (1, True), refused.err
