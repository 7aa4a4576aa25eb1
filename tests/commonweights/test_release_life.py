"""A release from its vote to its withdrawal, as a stranger with a copy sees it: exit codes of `coop verify`, with and without the site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from governance_hooks.cooperative import Cooperative
from model_card.attestations import path_of
from tests.commonweights.test_release_standing import NAME, Home
from tests.model_card.attested import STEWARDS, made
from tests.village import RULES, found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "village"
    at_once = RULES.model_copy(update={"minimum_period_s": 0}).model_dump()
    keys, operator = found(root, founders=6, stewards=STEWARDS, stewards_required=2, kinds={"run": at_once, "release": at_once})
    with Cooperative.open(root) as coop:
        case = made(root, coop, keys, operator)
    (root / "releases").mkdir()
    shutil.move(root / "bundle", root / "releases" / NAME)
    return Home(root, case.release)


def test_a_stranger_sees_what_became_of_a_release(coop, home: Home, tmp_path: Path) -> None:
    pytest.importorskip("tuf")
    bundle = home.root / "releases" / NAME

    def release(*words: str | Path, code: int = 0) -> None:
        done = coop("-C", home.root, "--json", "release", *map(str, words))
        assert done.code == code, done.err or done.out

    def verify(folder: Path, *words: str | Path, code: int) -> dict[str, tuple[str, str]]:
        done = coop("--json", "verify", folder, *map(str, words))
        assert done.code == code, done.err or done.out
        return {step["name"]: (step["status"], step["checked"] + step["why"]) for step in json.loads(done.out)["steps"]}

    release("attest", NAME, "--key", home.key(2))
    release("publish", NAME, code=1)  # it is out, and one signature is missing
    assert "signed by 1 of 2 stewards" in verify(bundle, code=1)["attestations signed by stewards"][1]
    release("attest", NAME, "--key", home.key(4))
    assert "each signed by 2 or more of 3 stewards" in verify(bundle, code=0)["attestations signed by stewards"][1]
    copy = shutil.copytree(bundle, tmp_path / "downloaded")

    for number in (2, 3):
        release("root", "--key", home.key(number))
    site = tmp_path / "site"
    release("site", site)
    verify(site / "releases" / NAME, "--now", "--site", site, code=0)
    verify(copy, "--now", "--site", site, code=0)

    release("withdraw", NAME, "--reason", "privacy", "--key", home.key(2), "--with", home.key(3))
    old_site = shutil.copytree(site, tmp_path / "old-site")
    release("site", site)
    assert "WITHDRAWN by the stewards" in verify(site / "releases" / NAME, code=3)["status and freshness"][1]
    verify(copy, code=0)  # its log ends before: only who asks the site, or the cooperative, can know
    assert "WITHDRAWN" in verify(copy, "--now", "--site", site, code=3)["status and freshness"][1]
    assert "rolled back" in verify(copy, "--now", "--site", old_site, code=1)["status and freshness"][1]

    (copy / path_of("vote")).unlink()
    verify(copy, code=2)
