"""The command line as a user meets it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from commonweights.cli import _COMMANDS
from commonweights.cli import coop as group
from tests.clock import standing

HEAVY = ("torch", "transformers", "pytorch_lightning", "pyarrow", "numpy", "sqlalchemy", "pydantic", "cryptography", "rich", "yaml")


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys; from commonweights.cli import coop; coop(['--help'], standalone_mode=False); print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout[-200:]


EXPLAIN = """
import json, os, sys
import cryptography.hazmat.primitives.asymmetric.ed25519, pydantic, rich.progress, sqlalchemy, yaml
said, names = {}, sys.argv[1:]
for name in names:
    out, into = os.pipe()
    if not os.fork():
        os.dup2(into, 1)
        os.dup2(into, 2)
        from commonweights.cli import coop
        coop([name, "--help"], standalone_mode=False)
        sys.stdout.flush()
        os._exit("torch" in sys.modules)
    os.close(into)
    with os.fdopen(out) as told:
        text = told.read()
    said[name] = os.waitstatus_to_exitcode(os.wait()[1]), text
print(json.dumps(said))
"""
"""Each command in a process of its own, with none of our modules loaded before; other people's are, once, since they take most of a start."""


@pytest.fixture(scope="module")
def explained() -> dict[str, tuple[int, str]]:
    done = subprocess.run([sys.executable, "-c", EXPLAIN, *_COMMANDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself_without_torch(name: str, explained: dict[str, tuple[int, str]]) -> None:
    code, said = explained[name]
    assert code == 0, said
    assert len(said.split("\n")[2].strip()) > 20


def test_the_listed_help_is_that_of_each_command() -> None:
    text = CliRunner().invoke(group, ["--help"]).output
    for name, (_, line) in _COMMANDS.items():
        assert name in text
        assert line.endswith(".")


def test_a_mistyped_command_gets_the_nearest_name(coop) -> None:
    done = coop("statsu")
    assert done.code == 2
    assert "did you mean 'status'?" in done.err


def test_outside_a_cooperative_the_next_command_is_named(coop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = coop("status")
    assert done.code == 2
    assert "coop demo" in done.err
    assert "Traceback" not in done.err


def test_errors_are_json_where_asked(coop, tmp_path: Path) -> None:
    done = coop("-C", tmp_path, "status", "--json")
    assert done.code == 2
    assert done.json["error"] == "BadInput"
    assert "coop init" in done.json["next"]


def test_the_folder_is_found_from_below(coop, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(home / "deep" / "er")
    assert coop("--json", "status").json["name"] == "home"


def test_a_vote_from_opening_to_close(coop, home: Path, keys: dict[str, Path]) -> None:
    plan = home / "bundle"
    plan.mkdir()
    (plan / "release.json").write_bytes(b"{}")
    with standing() as wait:
        opened = coop("-C", home, "--json", "propose", "release", plan, "--period", "8", "--key", keys["anna"])
        assert opened.code == 0, opened.err
        proposal = opened.json["proposal"][7:19]
        assert f"vote on the release {proposal}" in coop("-C", home, "status", "--key", keys["bela"]).out
        assert coop("-C", home, "vote", proposal, "for", "--key", keys["anna"]).code == 0
        assert coop("-C", home, "vote", proposal, "against", "--key", keys["bela"], "--reason", "not yet").code == 0
        early = coop("-C", home, "close", proposal)
        assert (early.code, "still open" in early.err) == (1, True)
        assert coop("-C", home, "vote", proposal, "for", "--key", keys["bela"]).code == 0  # changed her mind
        wait(9)
        closed = coop("-C", home, "close", proposal)
        assert "approved: 2 for, 0 against" in closed.out
        late = coop("-C", home, "vote", proposal, "against", "--key", keys["caro"])
        assert (late.code, "closed" in late.err) == (1, True)
        assert coop("-C", home, "--json", "tally").json["outcome"] == "approved"
        assert coop("-C", home, "audit").code == 0


def test_a_strangers_and_the_operators_key_cannot_vote(coop, home: Path, keys: dict[str, Path]) -> None:
    (home / "release.json").write_bytes(b"{}")
    proposal = coop("-C", home, "--json", "propose", "release", home, "--key", keys["anna"]).json["proposal"]
    for key in (keys["dora"], home / "keys" / "operator"):
        done = coop("-C", home, "vote", proposal, "for", "--key", key)
        assert done.code == 1
        assert "belongs to no member" in done.err


def test_joining_takes_two_registrars_and_works_with_ssh_keygen(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    request = tmp_path / "join.json"
    assert coop("-C", home, "join", "--key", keys["dora"], "--out", request).code == 0
    coop("-C", home, "sign", request, "--yes", "--key", keys["anna"])
    few = coop("-C", home, "append", request)
    assert (few.code, "too few registrars" in few.err) == (1, True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "coop-statement@v1", "-f", str(keys["bela"]), str(request)], check=True, capture_output=True)
    assert coop("-C", home, "append", request).code == 0
    assert len(coop("-C", home, "--json", "status").json["members"]) == 4


def test_a_draft_is_signed_elsewhere_and_appended(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    draft = tmp_path / "consent.json"
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--draft", draft).code == 0
    assert coop("-C", home, "sign", draft, "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "append", draft).code == 0
    shown = coop("-C", home, "--json", "consent", "show", "--key", keys["anna"]).json
    assert [row["withdrawn"] for row in shown["consents"]] == [None]
    assert coop("-C", home, "consent", "withdraw", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "--json", "consent", "show", "--key", keys["anna"]).json["consents"][0]["withdrawn"] is not None


def test_founding_waits_for_those_who_sign_elsewhere(coop, keys: dict[str, Path], tmp_path: Path) -> None:
    command = ["init", tmp_path / "slow", "--name", "slow", "--founder", keys["anna"], "--founder", f"{keys['bela']}.pub"]
    first = coop(*command)
    assert (first.code, "still needs the signatures" in first.out) == (0, True)
    again = coop(*command)
    assert (again.code, "by every founder" in again.err) == (1, True)
    coop("sign", tmp_path / "slow" / "founding.json", "--yes", "--key", keys["bela"])
    assert coop(*command).code == 0
    assert coop("-C", tmp_path / "slow", "audit").code == 0
    assert "is a cooperative already" in coop(*command).err


def test_a_receipt_proves_its_ballot(coop, home: Path, keys: dict[str, Path]) -> None:
    statement = coop("-C", home, "--json", "consent", "give", "--yes", "--key", keys["anna"]).json["statement"]
    proof = coop("-C", home, "--json", "log", "prove", statement).json
    assert proof["holds"]
    assert proof["index"] == 1
    shown = coop("-C", home, "log", "show", statement[7:19])
    assert json.loads(shown.out)["body"]["type"] == "coop.consent/v1"


def test_an_audit_names_a_tampered_log(coop, home: Path, keys: dict[str, Path]) -> None:
    import sqlite3

    coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"])
    with sqlite3.connect(home / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER entry_UPDATE")
        raw.execute("UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'Apache-2.0', 'Apache-9.0') AS BLOB) WHERE position = 1")
    done = coop("-C", home, "audit")
    assert done.code == 1
    assert "entry 1:" in done.out
    assert "does NOT hold" in done.out


def test_an_audit_names_a_lost_checkpoint(coop, home: Path, keys: dict[str, Path]) -> None:
    import sqlite3

    coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"])
    with sqlite3.connect(home / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER IF EXISTS entry_UPDATE")
        raw.execute("UPDATE entry SET note = NULL WHERE position = 1")
    assert "does not cover the newest entry" in coop("-C", home, "audit").out


def test_no_name_of_a_member_is_in_the_log(coop, home: Path, keys: dict[str, Path]) -> None:
    coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"])
    data = (home / "log.sqlite").read_bytes()
    for name in keys:
        assert name.encode() not in data


def test_doctor_is_content_here(coop) -> None:
    assert coop("doctor").code == 0


def test_nothing_is_signed_unseen(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    request = tmp_path / "join.json"
    coop("-C", home, "join", "--key", keys["dora"], "--out", request)
    before = sorted(tmp_path.glob("join.json*"))
    done = coop("sign", request, "--key", keys["anna"])  # nobody answers
    assert done.code == 130
    assert '"type": "coop.admission/v1"' in done.err
    assert sorted(tmp_path.glob("join.json*")) == before


def test_the_log_is_exported_as_static_files_that_audit_without_the_folder(coop, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "www"
    done = coop("-C", home, "log", "export", out)
    assert done.code == 0, done.err
    assert "1 entries (1 new); wrote 0 full and 2 partial files" in done.out
    assert "nothing to write" in coop("-C", home, "log", "export", out).out
    pin = json.loads((home / "cooperative.json").read_text())["coop"]
    assert coop("audit", "--tiles", out, "--pin", pin).code == 0
    refused = coop("audit", "--tiles", out, "--pin", "sha256:" + "0" * 64)
    assert refused.code == 1
    assert "another cooperative" in refused.out
    assert coop("-C", home, "audit", "--pin", pin).code == 2
    (out / "tile" / "entries" / "000.p" / "1").unlink()
    assert "is missing" in coop("audit", "--tiles", out, "--pin", pin).out
