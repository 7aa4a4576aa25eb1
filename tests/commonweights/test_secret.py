"""`coop secret`: a whole secret poll by the command line, every role with its own key and its own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import governance_hooks.cooperative
from governance_hooks.statement import now, shift
from tests.village import found

pytestmark = pytest.mark.belenios


class Roles:
    """Ten members: 1 to 3 are trustees, 4 makes the credentials, 1 and 2 are registrars."""

    def __init__(self, coop: Any, tmp_path: Path) -> None:
        self.coop, self.tmp, self.root, self.folder = coop, tmp_path, tmp_path / "coop", tmp_path / "poll"
        keys, _ = found(self.root, founders=10)
        self.members = sorted(keys)

    def run(self, *arguments: object, code: int = 0) -> Any:
        done = self.coop("-C", self.root, "--json", *arguments)
        assert done.code == code, done.out + done.err
        return done.json

    def secret(self, verb: str, *arguments: object, code: int = 0) -> Any:
        return self.run("secret", verb, self.folder, *arguments, code=code)

    def trustees(self, *numbers: int) -> list[Any]:
        return [self.secret("trustee", "--private", self.tmp / f"t{number}", "--key", self.root / "members" / str(number)) for number in numbers]

    def authority(self) -> Any:
        return self.secret("credentials", "--private", self.tmp / "authority", "--key", self.root / "members" / "4")


def test_a_poll_from_set_up_to_a_result_that_registrars_sign(coop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = Roles(coop, tmp_path)
    m = roles.members
    motion = tmp_path / "motion.txt"
    motion.write_text("Shall Bela speak for us?")
    roles.secret("setup", code=2)
    roles.secret("setup", "--question", "Shall Bela speak for us?", code=2)
    words = ["--question", "Shall Bela speak for us?", "--subject", motion, "--threshold", 2, "--authority", m[3], "--period", 600]
    waiting = roles.secret("setup", *words, *(word for one in m[:3] for word in ("--trustee", one)))
    assert waiting["waiting"] == "certs of trustee 1, 2, 3"
    for kind in ("certs", "polynomials", "voutput"):
        assert [done["wrote"] for done in roles.trustees(1, 2, 3)] == [f"{kind}/{number}.json" for number in (1, 2, 3)]
        waiting = roles.secret("setup")
    assert "public_credentials.json" in waiting["waiting"]
    assert roles.authority()["wrote"] == "public_credentials.json"
    assert roles.secret("setup")["waiting"].endswith("1 of 5 are there")
    roles.trustees(1, 2, 3)
    roles.authority()
    poll = roles.secret("setup")["poll"]
    assert roles.secret("setup")["poll"] == poll

    out = tmp_path / "ballot.json"
    for voter, answer in zip(m, ["yes", "no", "yes", "yes", "abstain"], strict=False):
        made = roles.secret("ballot", "--credential", tmp_path / "authority" / f"{voter}.credential", "--choice", answer, "--out", out)
        assert roles.secret("add", out)["tracker"] == made["tracker"]
    assert "older ballot" in roles.secret("add", out, code=1)["what"]
    assert "still open" in roles.secret("close", code=1)["what"]
    assert roles.trustees(1)[0]["wrote"] is None

    later = shift(now(), 700)
    monkeypatch.setattr(governance_hooks.cooperative, "now", lambda: later)
    assert roles.secret("close") == {"ballots": 5, "threshold": 2}
    assert roles.secret("tally") == {"counts": None, "missing": [1, 2, 3]}
    assert [done["wrote"] for done in roles.trustees(1, 3)] == ["decryption/1.json", "decryption/3.json"]
    assert roles.secret("tally")["counts"] == {"yes": 3, "no": 1, "abstain": 1}
    draft = roles.folder / "result-statement.json"
    for number in ("1", "2"):
        roles.run("sign", draft, "--yes", "--key", roles.root / "members" / number)
    roles.run("append", draft)

    (archive,) = roles.folder.glob("*.bel")
    report = roles.run("secret", "audit", archive, "--tracker", made["tracker"])
    assert report["passed"]
    assert [step["name"] for step in report["steps"]][-1] == "your ballot"
    roles.run("proof", tmp_path / "proof.json")
    assert roles.run("secret", "audit", archive, "--proof", tmp_path / "proof.json")["passed"]
    archive.write_bytes(archive.read_bytes()[:-512])
    assert not roles.run("secret", "audit", archive, code=1)["passed"]
    assert roles.run("audit")["passed"]
