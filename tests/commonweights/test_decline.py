"""`coop decline` as a registrar meets it: signed, for a reason, without a word about who asked."""

import json
from pathlib import Path

from governance_hooks.canonical import sha256
from governance_hooks.requests import Opening


def test_a_registrar_declines_a_request_and_another_admits_all_the_same(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    request, opening = tmp_path / "join.json", tmp_path / "join.json.declined.json"
    assert coop("-C", home, "join", "--key", keys["dora"], "--out", request).code == 0
    done = coop("-C", home, "--json", "decline", request, "--reason", "not-known", "--key", keys["anna"])
    assert done.code == 0, done.err
    shown = json.loads(coop("-C", home, "log", "show", done.json["declined"]).out)
    assert shown["body"]["payload"] == {"request": sha256(opening.read_bytes()), "about": "admission", "reason": "not-known"}
    assert Opening.parse(opening.read_bytes()).statement == sha256(request.read_bytes())
    assert "request(s) to join declined" in coop("-C", home, "status").out
    again = coop("-C", home, "decline", request, "--reason", "not-known", "--key", keys["bela"])
    assert (again.code, "declined before" in again.err) == (2, True)
    for name in ("anna", "bela"):
        coop("sign", request, "--yes", "--key", keys[name])
    assert coop("-C", home, "append", request).code == 0
    opening.unlink()
    granted = coop("-C", home, "decline", request, "--reason", "not-known", "--key", keys["anna"])
    assert (granted.code, "was granted" in granted.err) == (1, True)
    assert coop("-C", home, "audit").code == 0


def test_what_is_no_request_and_who_is_no_registrar_are_refused_and_leave_no_file(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    request, other = tmp_path / "join.json", tmp_path / "other.json"
    assert coop("-C", home, "join", "--key", keys["dora"], "--out", request).code == 0
    other.write_text(request.read_text().replace("coop.admission/v1", "coop.leave/v1"))
    refused = coop("-C", home, "decline", other, "--reason", "not-known", "--key", keys["anna"])
    assert (refused.code, "no request to join" in refused.err) == (2, True)
    assert coop("-C", home, "decline", request, "--reason", "rude", "--key", keys["anna"]).code == 2
    stranger = coop("-C", home, "decline", request, "--reason", "not-known", "--key", keys["dora"])
    assert stranger.code != 0
    assert not list(tmp_path.glob("*.declined.json"))
