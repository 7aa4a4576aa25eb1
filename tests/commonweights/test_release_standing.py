"""What comes after a release's vote on the command line: attestations by stewards, status, withdrawal, the promise, and the site."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from governance_hooks.cooperative import Cooperative
from model_card.promise import PROMISE
from tests.model_card.attested import STEWARDS, made
from tests.village import RULES, found

NAME = "village-lm"


@dataclass
class Home:
    """A cooperative's folder with a release that members approved."""

    root: Path
    release: str

    def key(self, number: int) -> Path:
        """Key file of member 1 to 6; stewards are 2, 3 and 4."""
        return self.root / "members" / str(number)


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("home") / "village"
    at_once = RULES.model_copy(update={"minimum_period_s": 0}).model_dump()  # the command line reads the real clock
    promised = {"supersede_after_withdrawals": 2, "supersede_within_s": 86_400}
    keys, operator = found(root, founders=6, stewards=STEWARDS, stewards_required=2, kinds={"run": at_once, "release": at_once}, **promised)
    with Cooperative.open(root) as coop:
        case = made(root, coop, keys, operator)
    (root / "releases").mkdir()
    shutil.move(root / "bundle", root / "releases" / NAME)
    return Home(root, case.release)


@pytest.fixture
def home(_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # each test has a copy of the log, and remembers another's as a rollback
    return Home(shutil.copytree(_home.root, tmp_path / "village"), _home.release)


@pytest.fixture
def run(coop, home: Home):
    """Run `coop release ...` in the cooperative's folder; return the JSON."""

    def call(*words: str | Path | int, code: int = 0):
        done = coop("-C", home.root, "--json", "release", *map(str, words))
        assert done.code == code, done.err or done.out
        return done.json

    return call


@pytest.fixture
def out(run, home: Home) -> Home:
    """The same once two stewards have signed and the release is out."""
    for number in (2, 3):
        run("attest", NAME, "--key", home.key(number))
    assert run("publish", NAME)["passed"] is True
    return home


def test_stewards_see_what_they_sign_and_the_second_makes_it_enough(coop, run, home: Home) -> None:
    shown = coop("-C", home.root, "release", "attest", NAME, "--show")
    assert shown.code == 0
    for words in ("provenance", "test-result", "approved: 6 for, 0 against", "consents, 0 withdrawn", "pkg:generic/village-lm@"):
        assert words in shown.out
    assert not (home.root / "releases" / NAME / "attestations").exists()
    assert run("attest", NAME, "--key", home.key(2))["enough"] is False
    assert run("attest", NAME, "--key", home.key(4))["enough"] is True
    told = run("attestations", NAME)
    assert set(map(tuple, told["signed"].values())) == {(STEWARDS[0], STEWARDS[2])}


def test_a_member_who_is_no_steward_a_public_key_and_a_harmed_bundle_sign_nothing(run, home: Home) -> None:
    assert "may not sign" in run("attest", NAME, "--key", home.key(1), code=1)["what"]
    assert "FIDO key or passkey" in run("attest", NAME, "--key", f"{home.key(2)}.pub", code=2)["what"]
    path = home.root / "releases" / NAME / "README.md"
    path.write_bytes(path.read_bytes() + b" ")
    assert run("attest", NAME, "--key", home.key(2), code=1)["steps"][0]["name"] == "files match release.json"
    assert not (home.root / "releases" / NAME / "attestations").exists()


def test_a_steward_signs_a_bundle_they_were_sent_without_the_cooperative_s_folder(
    coop, run, out: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = shutil.copytree(out.root / "releases" / NAME, tmp_path / "sent")
    monkeypatch.chdir(tmp_path)
    done = coop("--json", "release", "attest", sent, "--key", out.key(4))
    assert done.code == 0, done.err or done.out
    assert set(map(tuple, done.json["signed"].values())) == {tuple(STEWARDS)}


def test_a_withdrawal_by_two_stewards_is_seen_in_status_and_why_and_ratified_by_vote(coop, run, out: Home) -> None:
    assert run("status", NAME)["releases"][0]["status"] == "current"
    assert "too few stewards" in run("withdraw", NAME, "--reason", "safety", "--key", out.key(2), code=1)["what"]
    made = run("withdraw", NAME, "--reason", "safety", "--key", out.key(2), "--with", out.key(3))
    assert (made["status"], made["who"]) == ("withdrawn", "the stewards")
    assert run("status", out.release[7:19])["releases"][0]["reason"] == "safety"
    status = coop("-C", out.root, "status", "--key", out.key(1)).out
    assert "withdrawn: safety" in status
    assert f"coop propose recall {out.release[7:19]} --reason safety --ratifies {made['statement'][7:19]}" in status
    assert "WITHDRAWN by the stewards" in coop("-C", out.root, "why", NAME).out
    done = coop("-C", out.root, "--json", "propose", "recall", NAME, "--reason", "safety", "--ratifies", made["statement"], "--key", out.key(1))
    assert done.code == 0, done.err or done.out
    assert done.json["kind"] == "recall"


def test_a_release_that_is_not_out_and_a_successor_that_is_not_are_refused(run, home: Home) -> None:
    keys = ("--key", home.key(2), "--with", home.key(3))
    assert "no such release" in run("withdraw", NAME, "--reason", "defect", *keys, code=1)["what"]
    assert "no release, or more than one" in run("supersede", NAME, "abcdef", "--reason", "defect", *keys, code=2)["what"]


def test_withdrawals_make_a_superseding_release_due_and_name_nobody(coop, run, out: Home) -> None:
    told = coop("-C", out.root, "release", "stale")
    assert told.code == 0
    assert "none of its 6 members withdrew" in told.out
    assert PROMISE in told.out
    assert coop("-C", out.root, "consent", "withdraw", "--key", out.key(1)).code == 0
    told = coop("-C", out.root, "release", "stale")
    assert (told.code, "1 of its 6 members withdrew" in told.out, "due by" in told.out) == (0, True, True)
    assert coop("-C", out.root, "consent", "withdraw", "--key", out.key(5)).code == 0
    told = coop("-C", out.root, "release", "stale")
    assert (told.code, "a superseding release is DUE" in told.out) == (1, True)
    assert "m-0000" not in told.out
    assert "a superseding release is DUE" in coop("-C", out.root, "status").out


def test_bylaws_say_who_the_stewards_are_and_what_is_promised(coop, home: Home) -> None:
    told = coop("-C", home.root, "bylaws").out
    assert "stewards    2 of 3 sign a release's attestations, or withdraw a release for 30 days, once, unless members ratify" in told
    assert "due after 2 withdrawals or 1 day from the first withdrawal" in told
    assert "recall" in told


def test_the_site_waits_for_the_stewards_root_and_is_then_made(coop, run, out: Home, tmp_path: Path) -> None:
    pytest.importorskip("tuf")
    site = tmp_path / "public"
    assert "not signed yet" in run("site", site, code=2)["what"]
    assert "may not sign the root" in run("root", "--key", out.key(1), code=1)["what"]
    assert run("root", "--key", out.key(2)) == {"root": 1, "signed": 1, "complete": False}
    assert run("root", "--key", out.key(4))["complete"] is True
    assert run("root", "--key", out.key(2)) == {"root": None}
    assert [one["status"] for one in run("site", site, "--url", "https://example.org")["releases"]] == ["current"]
    assert "begins with https" in run("site", site, "--url", "ftp://example.org", code=2)["what"]
    run("withdraw", NAME, "--reason", "privacy", "--key", out.key(2), "--with", out.key(3))
    run("site", site)
    assert json.loads((site / "releases.json").read_bytes())["releases"][0]["status"] == "withdrawn"
