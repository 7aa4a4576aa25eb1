"""The download site: what it shows, what it writes again, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.proof import read_proof
from governance_hooks.statement import now
from model_card.promise import PROMISE
from tests.model_card.place import ONE, Place, publish

pytest.importorskip("tuf")


def test_a_site_holds_only_what_is_out_with_its_newest_proof(place: Place) -> None:
    place.sign()
    made = place.make()
    assert [one.name for one in made.releases] == [ONE]
    assert not (place.out / "releases/village-lm-2").exists()
    listed = {entry["path"] for entry in json.loads((place.bundles[ONE] / "release.json").read_bytes())["files"]}
    there = {path.relative_to(place.out / "releases" / ONE).as_posix() for path in (place.out / "releases" / ONE).rglob("*") if path.is_file()}
    assert there - {f"attestations/{name}.dsse.json" for name in ("provenance", "test-result", "vote", "consent", "preregistration", "release")} == listed | {
        "release.json",
        "proof.jsonl.gz",
    }
    assert read_proof((place.out / "releases" / ONE / "proof.jsonl.gz").read_bytes()).replay(place.register.coop).register.size == place.register.size
    for line in (place.out / f"releases/{ONE}.sha256").read_text().splitlines():
        digest, _, path = line.partition("  ")
        assert "sha256:" + digest == sha256((place.out / "releases" / path).read_bytes())
    assert (place.out / "log/checkpoint").is_file()


def test_releases_json_says_what_the_log_says(place: Place) -> None:
    place.sign()
    place.make()
    value = json.loads((place.out / "releases.json").read_bytes())
    row = value["releases"][0]
    assert (value["format"], row["name"], row["release"], row["status"]) == ("coop.releases/v1", ONE, place.release, "current")
    assert (row["vote"]["for"], row["vote"]["roll"], row["attested"]) == (6, 6, {"named": 3, "required": 2, "stewards": 2})


def test_pages_are_small_run_nothing_fetch_nothing_and_name_no_member(place: Place) -> None:
    place.sign()
    place.make(address="https://example.org/models", torrents=True)
    for page in place.out.glob("*.html"):
        text = page.read_text()
        assert len(text.encode()) < 50_000
        assert "<script" not in text
        assert "default-src 'none'" in text
        assert not re.search(r'(src|href)="(?!magnet:)[a-z]+:', text), "a page links outside"
        assert not re.search(r"\bm-[0-9a-f]{16}\b", text)
        assert PROMISE.replace("'", "&#x27;") in text
    text = (place.out / f"{ONE}.html").read_text()
    assert f"coop verify {ONE} --pin {place.register.coop}" in text
    assert "attestations signed by 2 of 3 stewards (2 required)" in text
    assert "magnet:?xt=urn:btmh:1220" in text


def test_a_page_says_how_the_leak_test_came_out_and_what_members_let_pass(place: Place) -> None:
    place.sign()
    shown = place.make().releases[0]
    from model_card.site.page import release_page

    def told(**changes: Any) -> str:
        one = replace(shown, **changes)
        return release_page(one, {}, site="s", coop=place.register.coop, address=None, log_size=1, made=now(), until=now())

    assert "none was voted: how much the weights give away is not known" in told()
    assert "passed: within what members voted" in told(leak_passed=True)
    waived = told(leak_passed=False, waiver="sha256:" + "0" * 64)
    assert "the leak test: members decided by vote to release it all the same" in waived
    assert "the evaluation" not in waived
    both = told(leak_passed=False, waiver="sha256:" + "0" * 64, report=shown.report | {"passed": False})
    assert "the evaluation and the leak test: members decided" in both
    assert "members decided by vote" not in told(leak_passed=True)
    assert replace(shown, leak_passed=False, waiver="sha256:1").as_dict()["leak_test_passed"] is False


def test_hostile_names_in_records_are_text_on_a_page(place: Place) -> None:
    place.sign()
    shown = place.make().releases[0]
    from model_card.site.page import release_page

    evil = '<img src=x onerror="a()">'
    shown.plan["base"]["name"] = evil
    shown.report["languages"][evil] = next(iter(shown.report["languages"].values()))
    text = release_page(shown, {}, site=evil, coop=place.register.coop, address=evil, log_size=1, made=now(), until=now())
    assert "<img src=x" not in text
    assert text.count("&lt;img") >= 4


def test_a_site_made_again_writes_only_what_changed_and_forgets_what_is_gone(place: Place) -> None:
    place.sign()
    assert place.make().copied > 10
    assert place.make().copied == 0
    (place.out / "releases" / ONE / "planted.html").write_text("x")
    (place.out / "releases" / ONE / "plan.json").write_bytes(b"{}")
    assert place.make().copied == 1
    assert not (place.out / "releases" / ONE / "planted.html").exists()
    assert place.fresh().status == "current"
    publish(place.village, place.bundles["village-lm-2"])
    place.make(torrents=True)
    del place.bundles[ONE]
    place.make()
    assert not [path for path in place.out.rglob(f"{ONE}*") if path.name.startswith((f"{ONE}.", f"{ONE}/")) or path.name == ONE]
    assert (place.out / "village-lm-2.html").is_file()


def test_a_bundle_that_was_changed_is_not_put_on_the_site(place: Place) -> None:
    place.sign()
    (place.bundles[ONE] / "run.json").write_bytes(b"{}")
    with pytest.raises(BadInput, match=r"not the file release.json lists"):
        place.make()
    (place.bundles[ONE] / "run.json").unlink()
    (place.bundles[ONE] / "run.json").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="no regular file"):
        place.make()


@pytest.mark.parametrize("name", ["thesis.docx", "about.html", "index.html", "releases.json"])
def test_a_folder_with_other_files_is_no_site_and_keeps_them(place: Place, name: str) -> None:
    place.sign()
    place.out.mkdir()
    (place.out / name).write_bytes(b'{"coop":"another","format":"coop.releases/v1","releases":[]}')
    with pytest.raises(BadInput, match="other files than a download site of this cooperative"):
        place.make()
    assert [path.name for path in place.out.iterdir()] == [name]


def test_a_torrent_is_v2_of_what_members_voted_on_and_its_infohash_does_not_change(place: Place) -> None:
    libtorrent = pytest.importorskip("libtorrent")
    place.sign()
    first = place.make(torrents=True, address="https://example.org/").releases[0].torrent
    place.village.stamp(5)
    second = place.make(torrents=True).releases[0].torrent
    assert first is not None
    assert second is not None
    assert first.infohash == second.infohash
    info = libtorrent.torrent_info(str(place.out / f"torrents/{ONE}.torrent"))
    tree = libtorrent.bdecode(first.data)[b"info"][b"file tree"]
    assert (info.info_hashes().has_v1(), str(info.info_hashes().v2)) == (False, first.infohash)
    assert b"release.json" in tree
    assert not {b"proof.jsonl.gz", b"attestations"} & tree.keys()
    assert b"https://example.org/releases/" in first.data
    assert json.loads((place.out / "releases.json").read_bytes())["releases"][0]["torrent"]["infohash"] == first.infohash


def test_a_torrent_is_the_same_from_wherever_the_command_is_given(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("libtorrent")
    from model_card.site.torrent import make_torrent

    folder = next(iter(place.bundles.values()))
    made = make_torrent(folder, ["release.json", "plan.json"], None)
    (folder.parent / "elsewhere").mkdir()
    monkeypatch.chdir(folder.parent / "elsewhere")
    assert make_torrent(Path("..") / folder.name, ["release.json", "plan.json"], None).infohash == made.infohash
