"""Two cooperatives: one has a log, others watch it; over HTTP and by files, as their operators type it."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.witness.protocol import Answer, Request
from tests.commonweights.conftest import Coop

BYLAWS = """
registrars: ["@1", "@2"]
registrars_required: 2
oversight: ["@1"]
kinds: {run: {minimum_period_s: 0}, release: {minimum_period_s: 0}}
"""
NAMES = [f"sister{i}.example/witness" for i in (1, 2, 3)]


@pytest.fixture
def sisters(coop: Coop, tmp_path: Path) -> list[Path]:
    """Three witnesses, the third with a post-quantum key."""
    folders = [tmp_path / f"sister{i}" for i in (1, 2, 3)]
    for name, folder in zip(NAMES, folders, strict=True):
        kind = "ml-dsa-44" if name == NAMES[2] else "ed25519"
        assert coop("witness", "init", folder, "--name", name, "--key-type", kind).code == 0
    return folders


@pytest.fixture
def home(coop: Coop, sisters: list[Path], keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative of three whose bylaws require two of the sisters, who watch its log."""
    texts = [coop("--json", "witness", "show", folder).json["key"] for folder in sisters]
    (tmp_path / "bylaws.yaml").write_text(BYLAWS + f"witnesses: {json.dumps(texts)}\nwitnesses_required: 2\n")
    founders = [word for name in ("anna", "bela", "caro") for word in ("--founder", keys[name])]
    done = coop("init", tmp_path / "home", "--name", "home", "--bylaws", tmp_path / "bylaws.yaml", *founders)
    assert done.code == 0, done.err
    log = coop("-C", tmp_path / "home", "--json", "log", "witnesses").json["log"]
    for folder in sisters:
        done = coop("witness", "trust", folder, log)
        assert (done.code, "watching home/log" in done.out) == (0, True), done.err
    return tmp_path / "home"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run `coop witness serve` as its operator would, and stop it."""
    command = [sys.executable, "-m", "commonweights.cli", "--json", "witness", "serve", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


def by_file(coop: Coop, home: Path, sister: Path, name: str, tmp_path: Path, *old: str) -> object:
    """Carry a request to a witness and its answer back."""
    request, answer = tmp_path / "request", tmp_path / "answer"
    assert coop("-C", home, "log", "cosign", "--witness", name, "--request", request, *old).code == 0
    done = coop("witness", "cosign", sister, request, "--out", answer)
    if done.code != 0:
        return done
    return coop("-C", home, "log", "cosign", "--answer", answer)


def test_witnesses_cosign_over_http_and_the_audit_and_the_proof_say_so(
    coop: Coop, home: Path, sisters: list[Path], keys: dict[str, Path], tmp_path: Path
) -> None:
    audit = coop("-C", home, "audit")
    assert (audit.code, "0 of 3 witnesses cosigned this checkpoint, 2 must" in audit.out) == (2, True)
    assert "no gate will take it: 0 of 3" in coop("-C", home, "proof", tmp_path / "p.json").out
    assert coop("-C", home, "log", "cosign").code == 1
    with serving(sisters[0]) as first, serving(sisters[2]) as third:
        assert coop("-C", home, "log", "witnesses", "add", NAMES[0], first).code == 0
        one = coop("-C", home, "log", "cosign")
        assert (one.code, "1 of 3 witnesses" in one.out) == (1, True)
        assert coop("-C", home, "log", "witnesses", "add", NAMES[2], third).code == 0
        two = coop("-C", home, "log", "cosign")
        assert (two.code, "by 2 of 3 witnesses" in two.out) == (0, True), two.out + two.err
    assert coop("-C", home, "audit").code == 0
    assert "by 2 of 3 witnesses" in coop("-C", home, "proof", tmp_path / "p.json").out
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    with serving(sisters[0]) as first, serving(sisters[2]) as third:  # both were killed, and go on where they were
        for name, url in ((NAMES[0], first), (NAMES[2], third)):
            coop("-C", home, "log", "witnesses", "add", name, url)
        assert coop("-C", home, "log", "cosign").code == 0
    down = coop("-C", home, "log", "cosign")
    assert (down.code, "no answer" in down.out, "by 2 of 3 witnesses" in down.out) == (1, True, True)
    assert coop("-C", home, "log", "witnesses", "remove", NAMES[0]).code == 0
    assert coop("-C", home, "log", "witnesses", "remove", NAMES[0]).code == 2


def test_a_proof_for_the_gate_asks_the_witnesses_only_when_it_must(home: Path, sisters: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run and at each look of its guard: not if their word is fresh, not if the folder is only read."""
    from commonweights import witnesses
    from commonweights.workspace import open_workspace
    from governance_hooks.witness.state import Witness

    asked: list[str] = []

    def ask_all(urls: dict[str, str], bodies: dict[str, bytes]) -> dict[str, Answer]:
        asked.extend(bodies)
        return {name: Witness.open(sisters[NAMES.index(name)]).add_checkpoint(body) for name, body in bodies.items()}

    monkeypatch.setattr("governance_hooks.witness.client.ask_all", ask_all)
    for read_only in (True, False):
        with open_workspace(home, read_only=read_only) as space:
            witnesses.write_urls(space, dict.fromkeys(NAMES[:2], "http://127.0.0.1:1"))
            for _ in range(2):
                cosigned = witnesses.witnessed_proof(space).replay(None).witnessed.times
                assert (set(cosigned), asked) == ((set(), []) if read_only else (set(NAMES[:2]), NAMES[:2]))
    with open_workspace(home) as space:
        monkeypatch.setattr("commonweights.witnesses.REFRESH_S", -1000)
        witnesses.witnessed_proof(space)
        assert asked == NAMES[:2] * 2
        space.coop.operate("coop.time/v1", {})
        assert set(witnesses.witnessed_proof(space).replay(None).witnessed.times) == set(NAMES[:2])


def test_status_tells_the_operator_to_have_the_log_cosigned(coop: Coop, home: Path, sisters: list[Path], tmp_path: Path) -> None:
    assert "operator: 0 of 3 witnesses cosigned this checkpoint" in coop("-C", home, "status").out
    for number in (0, 1):
        by_file(coop, home, sisters[number], NAMES[number], tmp_path)
    assert "witnesses" not in coop("-C", home, "status").out


def test_witnesses_cosign_by_files(coop: Coop, home: Path, sisters: list[Path], keys: dict[str, Path], tmp_path: Path) -> None:
    for number in (0, 1):
        done = by_file(coop, home, sisters[number], NAMES[number], tmp_path)
        assert done.code == (1 - number), done.out + done.err  # type: ignore[attr-defined]  # enough only with the second
    assert coop("-C", home, "audit").code == 0
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "audit").code == 2
    with sqlite3.connect(home / "log.sqlite") as raw:  # the operator lost what was kept: the witness says where it stands
        raw.execute("DELETE FROM cosignature")
    refused = by_file(coop, home, sisters[0], NAMES[0], tmp_path)
    assert (refused.code, "--old 1" in refused.err) == (1, True)  # type: ignore[attr-defined]
    by_file(coop, home, sisters[0], NAMES[0], tmp_path, "--old", "1")
    assert by_file(coop, home, sisters[2], NAMES[2], tmp_path).code == 0  # type: ignore[attr-defined]
    assert coop("-C", home, "audit").code == 0


def test_an_exported_log_carries_its_cosignatures(coop: Coop, home: Path, sisters: list[Path], tmp_path: Path) -> None:
    coop("-C", home, "log", "export", tmp_path / "site")
    assert coop("audit", "--tiles", tmp_path / "site").code == 2
    for number in (0, 2):
        by_file(coop, home, sisters[number], NAMES[number], tmp_path)
    coop("-C", home, "log", "export", tmp_path / "site")
    done = coop("audit", "--tiles", tmp_path / "site")
    assert (done.code, "by 2 of 3 witnesses" in done.out) == (0, True)


def test_an_answer_about_something_else_is_refused(coop: Coop, home: Path, sisters: list[Path], tmp_path: Path) -> None:
    request, answer = tmp_path / "request", tmp_path / "answer"
    coop("-C", home, "log", "cosign", "--witness", NAMES[0], "--request", request)
    coop("witness", "cosign", sisters[0], request, "--out", answer)
    good = answer.read_text()
    for bad, words in (
        (good.replace("\n1\n", "\n2\n"), "not about a checkpoint of this log"),
        (good.split("— sister")[0], "not a signed note"),
        (good.replace("— sister", "— brother"), "no line of a witness"),
        ("nonsense", "not a signed note"),
        ("x" * 70_000, "too long"),
    ):
        answer.write_text(bad)
        done = coop("-C", home, "log", "cosign", "--answer", answer)
        assert (done.code != 0, words in done.err) == (True, True), done.err
    last = good.rstrip("\n")
    answer.write_text(last[:-10] + ("AAAA" if last[-10:-6] != "AAAA" else "BBBB") + last[-6:] + "\n")
    done = coop("-C", home, "log", "cosign", "--answer", answer)
    assert (done.code, "does not verify" in done.out) == (1, True)
    assert coop("-C", home, "--json", "log", "witnesses").json["witnesses"][0]["cosigned"] == 0


def test_options_that_do_not_go_together_are_refused(coop: Coop, home: Path, tmp_path: Path) -> None:
    for words in (["--old", "1"], ["--request", tmp_path / "r"], ["--witness", NAMES[0], "--old", "1"]):
        assert coop("-C", home, "log", "cosign", *words).code == 2
    unknown = coop("-C", home, "log", "cosign", "--witness", NAMES[0])
    assert (unknown.code, "no address is known" in unknown.err) == (2, True)
    assert coop("-C", home, "log", "witnesses", "add", "stranger.example", "http://127.0.0.1:1").code == 2
    assert coop("-C", home, "log", "witnesses", "add", NAMES[0], "file:///etc/passwd").code == 2
    assert coop("-C", home, "log", "cosign", "--witness", "stranger.example", "--request", tmp_path / "r").code == 2


def test_trust_takes_a_key_a_file_and_a_proof(coop: Coop, home: Path, tmp_path: Path) -> None:
    log = coop("-C", home, "--json", "log", "witnesses").json["log"]
    (tmp_path / "log.vkey").write_text(log + "\n")
    coop("-C", home, "proof", tmp_path / "p.json")
    for number, given in enumerate((log, tmp_path / "log.vkey", tmp_path / "p.json")):
        coop("witness", "init", tmp_path / f"w{number}", "--name", "w.example")
        done = coop("--json", "witness", "trust", tmp_path / f"w{number}", given)
        assert (done.code, done.json["log"]) == (0, log)
        assert log in coop("witness", "show", tmp_path / f"w{number}").out
    for bad in ("nonsense", "home/log+00000000+AAAA", tmp_path / "bylaws.yaml"):
        assert coop("witness", "trust", tmp_path / "w0", bad).code != 0
    assert coop("witness", "show", tmp_path / "nothing").code == 2


def test_a_fork_shown_to_a_witness_is_refused_and_its_evidence_verifies(coop: Coop, home: Path, sisters: list[Path], tmp_path: Path) -> None:
    by_file(coop, home, sisters[0], NAMES[0], tmp_path)
    key = NoteKey.load(home / "keys" / "log.key")
    (tmp_path / "forged").write_bytes(Request(1, (), sign_checkpoint(key, 1, bytes(32), 1_800_000_000)).dumps())
    done = coop("witness", "cosign", sisters[0], tmp_path / "forged", "--out", tmp_path / "answer2")
    assert (done.code, "not shown to extend" in done.err) == (1, True)
    log = key.verifier.text
    shown = coop("witness", "evidence", sisters[0] / "evidence", "--log", log)
    assert (shown.code, "FORK: the key of home/log signed 1 entries" in shown.out) == (0, True), shown.out + shown.err
    other = coop("witness", "evidence", sisters[0] / "evidence", "--log", NoteKey.generate("home/log", tmp_path / "other").verifier.text)
    assert (other.code, "about another log" in other.err) == (1, True)
    assert coop("witness", "evidence", tmp_path).code == 2
    assert "evidence" in coop("witness", "show", sisters[0]).out


def test_the_memory_of_a_member_keeps_evidence_that_verifies(
    coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(home, tmp_path / "other")
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "operators"))
    for _ in range(2):
        assert coop("-C", tmp_path / "other", "consent", "give", "--yes", "--key", keys["bela"]).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for command in (["status"], ["audit"]):
        done = coop("-C", tmp_path / "other", *command)
        assert (done.code, "the log is a fork" in done.out + done.err) == (1, True)
        evidence = tmp_path / "state" / "commonweights" / "evidence"
        shown = coop("witness", "evidence", evidence)
        assert (shown.code, "FORK" in shown.out, "as the Merkle path shows" in shown.out) == (0, True, True), shown.out
        shutil.rmtree(evidence)


def test_watch_says_when_the_witnesses_are_behind(coop: Coop, home: Path, sisters: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "STALE: 0 of 3 witnesses" in coop("-C", home, "log", "watch", "--times", "1").out
    for number in (0, 1):
        by_file(coop, home, sisters[number], NAMES[number], tmp_path)
    assert "by 2 of 3 witnesses" in coop("-C", home, "log", "watch", "--times", "1").out
    monkeypatch.setattr("governance_hooks.links.MAX_AGE_S", -1000)
    assert "STALE: checkpoint is" in coop("-C", home, "log", "watch", "--times", "1").out


def test_serve_refuses_what_it_cannot_listen_at(coop: Coop, sisters: list[Path]) -> None:
    for listen in ("nonsense", "127.0.0.1:", "127.0.0.1:99999", "203.0.113.1:1"):
        assert coop("witness", "serve", sisters[0], "--listen", listen).code == 2
    assert coop("witness", "init", sisters[0], "--name", "again.example").code == 2
    assert coop("witness", "init", sisters[0] / "x", "--name", "a b").code == 2
