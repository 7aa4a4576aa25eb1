"""`coop key` as a member meets it: two keys, a rotation, a lost key and its recovery."""

import subprocess
from pathlib import Path

import pytest

from governance_hooks.ssh.publickey import SK_ED25519
from governance_hooks.sshsig import load_private_key
from tests.authenticator import SecurityKey
from tests.clock import standing

BYLAWS = """
registrars: ["@1", "@2"]
registrars_required: 2
oversight: ["@1"]
recovery_required: 2
recovery_delay_s: 1
kinds: {run: {minimum_period_s: 0}, release: {minimum_period_s: 0}}
"""


@pytest.fixture
def quick(coop, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative of three in which a recovery takes a second."""
    (tmp_path / "bylaws.yaml").write_text(BYLAWS)
    founders = [word for name in ("anna", "bela", "caro") for word in ("--founder", keys[name])]
    done = coop("init", tmp_path / "quick", "--name", "quick", "--bylaws", tmp_path / "bylaws.yaml", *founders)
    assert done.code == 0, done.err
    return tmp_path / "quick"


def listed(coop, home: Path, key: Path) -> dict[str, str]:
    done = coop("-C", home, "--json", "key", "list", "--key", key)
    assert done.code == 0, done.err
    return {row["fingerprint"]: row["state"] for row in done.json["keys"]}


def test_a_key_is_added_rotated_and_revoked(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    prints = {name: load_private_key(path).public.fingerprint for name, path in keys.items()}
    assert coop("-C", home, "key", "add", keys["dora"], "--key", keys["anna"]).code == 0
    assert listed(coop, home, keys["dora"]) == {prints["anna"]: "in force", prints["dora"]: "in force"}
    done = coop("-C", home, "key", "revoke", prints["anna"], "--key", keys["dora"])
    assert done.code == 0, done.err
    again = coop("-C", home, "key", "revoke", keys["anna"], "--key", keys["dora"])
    assert (again.code, "no key of yours" in again.err) == (2, True)
    last = coop("-C", home, "key", "revoke", prints["dora"], "--key", keys["dora"])
    assert (last.code, "last key" in last.err) == (1, True)
    new = tmp_path / "new"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(new)], check=True)
    assert coop("-C", home, "key", "rotate", new, "--key", keys["dora"]).code == 0
    states = listed(coop, home, new)
    assert sorted(states.values()) == ["in force", "not in force", "not in force"]
    assert coop("-C", home, "vote", "0", "for", "--key", keys["dora"]).code != 0
    assert coop("-C", home, "audit").code == 0


def test_a_key_that_signs_elsewhere_is_added_by_a_draft(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    fido, draft = SecurityKey(SK_ED25519), tmp_path / "add.json"
    (tmp_path / "fido.pub").write_text(f"{fido.public.line} blue key\n")
    command = ["-C", home, "key", "add", tmp_path / "fido.pub", "--key", keys["anna"]]
    bare = coop(*command)
    assert (bare.code, "--draft FILE" in bare.err) == (2, True)
    assert coop(*command, "--draft", draft).code == 0
    few = coop("-C", home, "append", draft)
    assert (few.code, "of the new key" in few.err) == (1, True)
    (tmp_path / "add.json.sig").write_text(fido.sign(draft.read_bytes()))
    assert coop("-C", home, "append", draft).code == 0
    assert listed(coop, home, keys["anna"])[fido.public.fingerprint] == "in force"
    assert SK_ED25519 in coop("-C", home, "key", "list", "--key", tmp_path / "fido.pub").out
    consent = tmp_path / "consent.json"
    give = ["-C", home, "consent", "give", "--yes", "--key", tmp_path / "fido.pub"]
    here = coop(*give)
    assert (here.code, "signs elsewhere" in here.err) == (2, True)
    assert coop(*give, "--draft", consent).code == 0
    (tmp_path / "consent.json.sig").write_text(fido.sign(consent.read_bytes()))
    assert coop("-C", home, "append", consent).code == 0


def test_a_key_that_signs_elsewhere_joins(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    fido, request = SecurityKey(SK_ED25519), tmp_path / "join.json"
    (tmp_path / "fido.pub").write_text(fido.public.line + "\n")
    done = coop("-C", home, "join", "--key", tmp_path / "fido.pub", "--out", request)
    assert (done.code, "still to be signed by your key" in done.out) == (0, True)
    for name in ("anna", "bela"):
        coop("sign", request, "--yes", "--key", keys[name])
    assert coop("-C", home, "append", request).code == 1
    (tmp_path / "join.json.sig").write_text(fido.sign(request.read_bytes()))
    assert coop("-C", home, "append", request).code == 0
    assert len(coop("-C", home, "--json", "status").json["members"]) == 4


def test_a_lost_key_is_recovered_and_status_shows_it(coop, quick: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    with standing() as wait:
        member = coop("-C", quick, "--json", "status", "--key", keys["caro"]).json["you"]
        request = tmp_path / "recovery.json"
        assert coop("-C", quick, "key", "recover", member, keys["dora"], "--out", request).code == 0
        coop("sign", request, "--yes", "--key", keys["anna"])
        few = coop("-C", quick, "append", request)
        assert (few.code, "too few signed" in few.err) == (1, True)
        coop("sign", request, "--yes", "--key", keys["bela"])
        assert coop("-C", quick, "append", request).code == 0
        assert "coop log stamp" in coop("-C", quick, "status").out
        assert "coop key cancel" in coop("-C", quick, "status", "--key", keys["caro"]).out
        assert coop("-C", quick, "log", "stamp").code == 0
        shown = coop("-C", quick, "--json", "status").json["recoveries"]
        assert [row["member"] for row in shown] == [member]
        early = coop("-C", quick, "consent", "give", "--yes", "--key", keys["dora"])
        assert (early.code, "is signed by" in early.err) == (1, True)
        wait(2)
        assert coop("-C", quick, "--json", "log", "stamp").json["time"] >= shown[0]["due"]
        assert coop("-C", quick, "--json", "status").json["recoveries"] == []
        assert coop("-C", quick, "consent", "give", "--yes", "--key", keys["dora"]).code == 0
        assert coop("-C", quick, "consent", "give", "--yes", "--key", keys["caro"]).code == 1
        assert coop("-C", quick, "audit").code == 0


def test_a_member_names_guardians_and_cancels_what_they_did_not_ask_for(coop, quick: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    ids = {name: coop("-C", quick, "--json", "status", "--key", keys[name]).json["you"] for name in ("anna", "bela", "caro")}
    request = tmp_path / "recovery.json"
    assert coop("-C", quick, "key", "guardians", "--key", keys["anna"]).code == 2
    assert coop("-C", quick, "key", "guardians", ids["bela"], ids["caro"], "--key", keys["anna"]).code == 0
    assert coop("-C", quick, "key", "recover", ids["anna"], keys["dora"], "--out", request).code == 0
    for name in ("bela", "caro"):
        coop("sign", request, "--yes", "--key", keys[name])
    assert coop("-C", quick, "append", request).code == 0
    assert coop("-C", quick, "key", "cancel", "--key", keys["anna"]).code == 0
    again = coop("-C", quick, "key", "cancel", "--key", keys["anna"])
    assert (again.code, "no recovery" in again.err) == (2, True)
    assert coop("-C", quick, "key", "guardians", "--none", "--key", keys["anna"]).code == 0
    assert coop("-C", quick, "--json", "key", "list", ids["anna"]).json["guardians"] == []
