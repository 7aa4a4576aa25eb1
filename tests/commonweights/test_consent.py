"""`coop consent` as a member types it."""

import io
import json
from pathlib import Path

import pytest

from commonweights.consent_uses import uses_of
from commonweights.notice import EARLIER, NOTICE, NOTICE_OUTSIDE, NOTICE_PUBLISH, notice_of
from commonweights.workspace import Workspace
from governance_hooks.canonical import digest, dumps, loads, sha256
from tests.village import Approved


def said(done: object) -> str:
    assert done.code == 0, done.err  # type: ignore[attr-defined]
    return done.out  # type: ignore[attr-defined, no-any-return]


def test_what_is_allowed_is_said_before_it_is_signed(coop, home: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    give = ["-C", home, "consent", "give", "--key", keys["anna"], "--occurrences", "1", "--purpose", "dpv:ResearchAndDevelopment"]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = coop(*give)
    assert refused.code == 130
    assert refused.err.startswith("stopped")
    for words in ("What taking it back cannot do", "one training run that members approve", "This includes academic research, commercial research,"):
        assert words in refused.out
    assert coop("-C", home, "--json", "consent", "show", "--key", keys["anna"]).json["consents"] == []
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert coop(*give).code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "beside 1 consent(s) of yours that stand" in coop(*give).out


def test_a_mistake_shows_before_the_question(coop, home: Path, keys: dict[str, Path]) -> None:
    done = coop("-C", home, "consent", "give", "--key", keys["anna"], "--expires", "next year")
    assert (done.code, "expires" in done.err, "What you allow" in done.out) == (2, True, False)


def test_only_a_contribution_of_ones_own_is_a_scope(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    given = said(coop("-C", home, "--json", "consent", "give", "--yes", "--key", keys["anna"]))
    done = coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--batch", json.loads(given)["statement"])
    assert (done.code, "no contribution of yours" in done.err) == (2, True)


def test_a_notice_in_a_members_own_language_is_signed_for(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "notice.yo"
    text.write_text("Ohun tí o gbà láàyè\n", encoding="utf-8")
    said(coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--notice", text, "--notice-language", "yor"))
    row = coop("-C", home, "--json", "consent", "show", "--key", keys["anna"]).json["consents"][0]
    assert (row["notice"], row["notice_language"]) == (sha256(text.read_bytes()), "yor")
    assert said(coop("-C", home, "consent", "notice", row["consent"])) == text.read_text(encoding="utf-8") + "\n"  # kept, and found again by anybody


def test_what_a_member_was_shown_is_found_by_the_digest_of_their_consent(coop, home: Path, keys: dict[str, Path]) -> None:
    """The digests of all that was ever shown stand here to the letter: a word changed in `notice` without keeping the one before fails."""
    assert sha256(NOTICE.encode()) == "sha256:d4bdc7bc7745aa4a07b6b629c6dff4a1d4c9f918c529af0c78d94f68571f9490"
    assert [sha256(one.encode()) for one in EARLIER] == [
        "sha256:74a452d1cb0adecc748e4a2ee9e18011bef52c19d90ad30435fbf1dea148daae",
        "sha256:cbc9e96109e47b2020aa174dbca266946f4bd469cd15b820934b8ba43b20a2e9",
    ]
    assert [sha256(one.encode()) for one in (NOTICE_OUTSIDE, NOTICE_PUBLISH)] == [
        "sha256:c6c2a5e9132e8d0047a158e129f5ecb252138af12ab8f7a7ab934e7fd9e23f91",
        "sha256:ff3a61df55e495b8dd353be4b48b4bf05ef6310945c3986976d08a1ac99c943d",
    ]
    for text in (NOTICE, *EARLIER):
        assert notice_of(sha256(text.encode())) == text
        assert notice_of(sha256((text + NOTICE_OUTSIDE + NOTICE_PUBLISH).encode())) == text + NOTICE_OUTSIDE + NOTICE_PUBLISH
    assert notice_of("sha256:" + "0" * 64) is None
    given = json.loads(said(coop("-C", home, "--json", "consent", "give", "--yes", "--key", keys["anna"], "--publish", "samples")))["statement"]
    assert said(coop("-C", home, "consent", "notice", given[7:19])) == NOTICE + NOTICE_PUBLISH + "\n"
    ended = json.loads(said(coop("-C", home, "--json", "consent", "withdraw", "--key", keys["anna"])))["statement"]
    done = coop("-C", home, "consent", "notice", ended)
    assert (done.code, "is no consent" in done.err) == (2, True)


def test_the_notice_is_true_on_a_page_and_on_the_command_line() -> None:
    assert [block.splitlines()[0] for block in NOTICE.split("\n\n")] == ["What you allow", "What you keep", "What taking it back cannot do"]
    assert "one click or one command" in " ".join(NOTICE.split())
    assert not any(word in NOTICE for word in ("log position", "build", "pseudonym", "weights"))


def test_show_says_what_was_done_with_it(coop, home: Path, keys: dict[str, Path]) -> None:
    said(coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--occurrences", "2"))
    before = said(coop("-C", home, "consent", "show", "--key", keys["anna"]))
    for words in ("in force, 2 of 2 run(s) left", "Nothing so far.", "What for: non-commercial research.", "To take it back: coop consent withdraw "):
        assert words in before
    said(coop("-C", home, "consent", "withdraw", "--key", keys["anna"]))
    after = said(coop("-C", home, "consent", "show", "--key", keys["anna"]))
    assert "withdrawn at entry" in after
    assert "To take it back" not in after


def test_uses_are_read_from_the_ledgers_at_hand(approved: Approved) -> None:
    village, (one, _, _, four, *_) = approved.village, approved.village.members
    space, grants = Workspace(village.coop), approved.village.coop.register.grants
    approved.start()
    assert uses_of(space, one, grants[one]).unread == ["run-1"]  # its plan is not in this folder
    space.plan("first-run").parent.mkdir()
    space.plan("first-run").write_bytes(approved.plan_bytes)
    used = uses_of(space, one, grants[one])
    assert (used.builds, used.runs, used.releases, used.unread) == ({"one": 3}, {"run-1": "running"}, [], [])
    assert used.lines() == ["3 of your texts are in dataset one.", "Run run-1 used them: running."]
    later = village.consent(one).id  # allows the same, but no build cites it
    assert [uses_of(space, one, [grant]).builds for grant in grants[one]] == [{"one": 3}, {}]
    assert grants[one][-1].id == later
    village.consent(four)
    assert uses_of(space, four, grants[four]).lines() == ["Nothing so far."]
    village.coop.register.runs["run-1"].releases[digest("release")] = village.coop.register.size
    assert uses_of(space, one, grants[one][:1]).releases == [digest("release")]


def test_receipt_and_check(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, proof = tmp_path / "receipt.json", tmp_path / "proof.json"
    assert coop("-C", home, "consent", "receipt", out, "--key", keys["anna"]).code == 2  # nothing to write yet
    said(coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]))
    said(coop("-C", home, "consent", "receipt", out, "--key", keys["anna"]))
    monkeypatch.chdir(tmp_path)
    alone = said(coop("consent", "check", out))
    assert "This receipt holds. Whether it still stands needs a newer log" in alone
    assert "What for: non-commercial research." in alone
    assert "still stands" in said(coop("-C", home, "consent", "check", out))
    monkeypatch.chdir(home)
    assert "still stands" in said(coop("consent", "check", out))
    said(coop("-C", home, "consent", "withdraw", "--key", keys["anna"]))
    said(coop("-C", home, "proof", proof))
    monkeypatch.chdir(tmp_path)
    assert "ended at entry" in said(coop("consent", "check", out, "--proof", proof))

    forged = loads(out.read_bytes())
    forged["words"][0]["lines"][0] = "Who may use it: everybody."
    out.write_bytes(dumps(forged))
    done = coop("consent", "check", out)
    assert (done.code, "everybody" in done.out) == (1, False)
    assert coop("consent", "check", out, "--pin", digest("other")).code == 1


def test_export_prints_or_writes_a_record_for_machines(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    said(coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]))
    printed = loads(said(coop("-C", home, "consent", "export", "--key", keys["anna"])).rstrip().encode())
    said(coop("-C", home, "consent", "export", "--key", keys["anna"], "--out", tmp_path / "record.jsonld"))
    written = loads((tmp_path / "record.jsonld").read_bytes())
    assert printed["@type"] == written["@type"] == "dpv:ConsentReceipt"
    assert printed["dpv:hasRecordOfActivity"] == written["dpv:hasRecordOfActivity"]


def test_a_consents_language_may_be_a_tag_but_none_that_a_code_would_widen(coop, home: Path, keys: dict[str, Path]) -> None:
    done = coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--language", "yo", "--language", "swa")
    assert done.code == 0, done.err
    [row] = coop("-C", home, "--json", "consent", "show", "--key", keys["anna"]).json["consents"]
    assert row["scope"]["languages"] == ["swa", "yor"]
    wider = coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--language", "pt-BR")
    assert (wider.code, "not by script or region" in wider.err) == (2, True)
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"], "--language", "Yoruba").code == 2
