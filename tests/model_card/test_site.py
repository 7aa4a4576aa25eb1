"""The download site: what it shows and signs, what a TUF client and `freshness` make of it, and what is refused."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import Recall
from governance_hooks.proof import read_proof
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sshsig import KeyElsewhere, PrivateKey, generate_key
from governance_hooks.statement import now, shift
from model_card.attestations import attest
from model_card.promise import PROMISE
from model_card.site.freshness import Freshness, freshness
from model_card.site.make import Made, make_site
from model_card.site.metadata import draft_root, root_files, sign_root
from tests.model_card.attested import STEWARDS, made, read
from tests.model_card.conftest import RUN
from tests.village import Village, found

pytest.importorskip("tuf")
DAY = 86_400
ONE = "village-lm"


@dataclass
class Place:
    """A village with a release that is out, its bundles, and where its site is made."""

    village: Village
    bundles: dict[str, Path]
    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def out(self) -> Path:
        return self.root / "site"

    @property
    def register(self) -> Register:
        return self.village.coop.register

    @property
    def release(self) -> str:
        return self.digest(ONE)

    def digest(self, name: str) -> str:
        return sha256((self.bundles[name] / "release.json").read_bytes())

    def key(self, number: int) -> PrivateKey:
        return self.village.keys[STEWARDS[number]]

    def sign(self, *keys: PrivateKey, at: str | None = None) -> Any:
        drafts = [sign_root(self.state, self.register, key, at or now()) for key in keys or (self.key(0), self.key(1))]
        return drafts[-1]

    def make(self, *, at: str | None = None, valid_s: int = 7 * DAY, **options: Any) -> Made:
        return make_site(self.village.coop, self.bundles, self.out, self.state, self.village.coop.proof(), at=at or now(), valid_s=valid_s, **options)

    def fresh(self, name: str = ONE, *, register: Register | None = None, remember: Path | None = None, site: Path | None = None) -> Freshness:
        return freshness(site or self.out, self.digest(name), register or self.register, now=now(), remember=remember)


def publish(village: Village, bundle: Path, *supersedes: str) -> None:
    release = sha256((bundle / "release.json").read_bytes())
    proposal = village.propose("release", release, supersedes=sorted(supersedes)).id
    village.carry(proposal)
    village.say("coop.release/v1", {"run": RUN, "release": release, "proposal": proposal}, "operator")


@pytest.fixture(scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles of one run; the first is voted, attested and out."""
    root = tmp_path_factory.mktemp("site") / "village"
    keys, operator = found(root, founders=6, stewards=STEWARDS, stewards_required=2)
    with Cooperative.open(root) as coop:
        case = made(root, coop, keys, operator)
        case.finished.assemble(root / "two", name="village-lm-2")
        village = case.village
        proposal = next(one.id for one in coop.register.proposals.values() if one.kind == "release")
        village.say("coop.release/v1", {"run": RUN, "release": case.release, "proposal": proposal}, "operator")
        files, digests = read(root / "bundle")
        for number in (0, 1):
            for path, data in attest(files, digests, coop.register, case.release, case.key(number)).items():
                (root / "bundle" / path).parent.mkdir(exist_ok=True)
                (root / "bundle" / path).write_bytes(data)
                files[path] = data
    _KEYS.update(keys)
    _KEYS["operator"] = operator
    return root


_KEYS: dict[str, PrivateKey] = {}


@pytest.fixture
def place(_place: Path, tmp_path: Path) -> Iterator[Place]:
    root = shutil.copytree(_place, tmp_path / "village")
    with Cooperative.open(root) as coop:
        village = Village(root, coop, {name: key for name, key in _KEYS.items() if name != "operator"}, _KEYS["operator"])
        village.clock = coop.register.operator_clock
        yield Place(village, {ONE: root / "bundle", "village-lm-2": root / "two"}, tmp_path)


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


def test_freshness_is_read_from_the_site_and_trusted_by_the_log(place: Place) -> None:
    place.sign()
    made = place.make()
    found = place.fresh()
    assert (found.status, found.stale, found.expires, found.log_size) == ("current", False, made.until, place.register.size)
    assert place.fresh(site=place.out / "metadata") == found
    assert "current, by the site's signed metadata" in found.line


def test_a_superseded_release_says_so_to_whoever_holds_an_old_bundle(place: Place) -> None:
    place.sign()
    old = place.village.coop.proof().fold()
    publish(place.village, place.bundles["village-lm-2"], place.release)
    place.make()
    found = place.fresh(register=old)
    assert (found.status, found.by) == ("superseded", place.digest("village-lm-2"))
    assert place.fresh("village-lm-2").status == "current"
    page = (place.out / f"{ONE}.html").read_text()
    assert 'Use <a href="village-lm-2.html">' in page
    assert "Superseded" in page


def test_a_withdrawn_release_says_so_and_why(place: Place) -> None:
    place.sign()
    old = place.village.coop.proof().fold()
    place.village.decide(Recall(release=place.release, reason="privacy", ratifies=None))
    place.make()
    found = place.fresh(register=old)
    assert (found.status, found.reason) == ("withdrawn", "privacy")
    assert "because of privacy" in (place.out / f"{ONE}.html").read_text()


def test_a_site_older_than_the_log_in_the_bundle_does_not_call_a_withdrawn_release_current(place: Place) -> None:
    place.sign()
    place.make()
    place.village.decide(Recall(release=place.release, reason="defect", ratifies=None))
    assert place.fresh().status == "withdrawn"


def test_a_site_whose_time_is_over_is_stale(place: Place) -> None:
    early = shift(now(), -8 * DAY)
    place.sign(at=early)
    place.make(at=early, valid_s=7 * DAY)
    found = place.fresh()
    assert (found.stale, found.status) == (True, "current")
    assert "out of date" in found.line


def test_a_site_that_was_rolled_back_is_found_out_by_who_remembers(place: Place) -> None:
    place.sign()
    place.make()
    before = shutil.copytree(place.out, place.root / "before")
    place.village.decide(Recall(release=place.release, reason="safety", ratifies=None))
    place.make()
    remember = place.root / "remembered"
    assert place.fresh(remember=remember).status == "withdrawn"
    with pytest.raises(StepFailed, match="rolled back"):
        place.fresh(site=before, remember=remember)
    assert place.fresh(site=before).status == "withdrawn"  # by the log, which is longer


def test_a_root_that_too_few_stewards_signed_is_not_in_force(place: Place) -> None:
    draft = place.sign(place.key(0))
    assert not draft.complete
    with pytest.raises(BadInput, match="not signed yet"):
        place.make()
    assert place.sign(place.key(0)).complete is False, "one steward twice is one"
    assert place.sign(place.key(2)).complete
    assert draft_root(place.state, place.register, now()) is None


def test_nobody_but_a_steward_signs_the_root(place: Place) -> None:
    for key in (place.village.operator, place.village.keys[place.village.members[0]], generate_key(place.root / "stranger")):
        with pytest.raises(Refused, match="may not sign the root"):
            sign_root(place.state, place.register, key, now())
    with pytest.raises(BadInput, match="FIDO key or passkey"):
        sign_root(place.state, place.register, KeyElsewhere(place.key(0).public), now())


def test_a_site_under_a_root_of_the_operator_s_own_is_refused(place: Place) -> None:
    """The operator holds the online keys, and makes a root with a key of its own in place of the stewards'."""
    from tuf.api.metadata import Metadata, Root

    from model_card.site.metadata import Signing, read_root

    place.sign()
    place.make()
    path = root_files(place.state / "metadata")[0]
    forged: Metadata[Root] = read_root(path)
    own = Signing(place.village.operator)
    for keyid in list(forged.signed.roles["root"].keyids):
        forged.signed.revoke_key(keyid, "root")
    forged.signed.add_key(own.public_key, "root")
    forged.signed.roles["root"].threshold = 1
    forged.sign(own)
    forged.to_file(str(place.out / "metadata/1.root.json"))
    with pytest.raises(StepFailed, match="not the stewards'"):
        place.fresh()


def test_two_keys_of_one_steward_make_no_root_of_two(place: Place) -> None:
    from model_card.site.metadata import Signing, read_root

    place.sign()
    place.make()
    second = generate_key(place.root / "second")
    place.village.say("coop.key/v1", {"action": "add", "key": second.public.line}, STEWARDS[0], place.key(0), second)
    forged = read_root(root_files(place.state / "metadata")[0])
    for keyid in list(forged.signed.roles["root"].keyids):
        forged.signed.revoke_key(keyid, "root")
    forged.signatures.clear()
    for key in (place.key(0), second):
        forged.signed.add_key(Signing(key).public_key, "root")
    for key in (place.key(0), second):
        forged.sign(Signing(key), append=True)
    forged.to_file(str(place.out / "metadata/1.root.json"))
    with pytest.raises(StepFailed, match="1 of 2 stewards"):
        place.fresh()


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.root.json"])
def test_a_changed_byte_in_the_metadata_is_refused(place: Place, name: str) -> None:
    place.sign()
    place.make()
    path = place.out / "metadata" / name
    path.write_text(path.read_text().replace('"version": 1', '"version": 2', 1))
    with pytest.raises((StepFailed, StepUnknown)):
        place.fresh()


def test_stewards_change_and_the_root_rotates_by_the_old_and_the_new(place: Place) -> None:
    place.sign()
    place.make()
    remember = place.root / "remembered"
    old = place.village.coop.proof().fold()
    place.fresh(remember=remember)
    newcomer = place.village.members[0]
    place.village.decide(place.village.amendment(stewards=[STEWARDS[2], newcomer]))
    assert draft_root(place.state, place.register, now()) is not None
    assert not place.sign(place.key(2), place.village.keys[newcomer]).complete, "the stewards before have not agreed"
    assert place.sign(place.key(1)).complete
    assert [path.name for path in root_files(place.state / "metadata")] == ["1.root.json", "2.root.json"]
    place.make()
    assert place.fresh(remember=remember).status == "current"
    assert place.fresh(register=old).status == "current", "a bundle from before finds its way from the root its log knows"
    with pytest.raises(Refused, match="may not sign"):
        sign_root(place.state, place.register, place.key(0), shift(now(), 300 * DAY))


def test_a_root_is_renewed_before_it_ends(place: Place) -> None:
    place.sign()
    assert draft_root(place.state, place.register, shift(now(), 270 * DAY)) is None
    renewed = draft_root(place.state, place.register, shift(now(), 280 * DAY))
    assert renewed is not None
    assert renewed.made.signed.version == 2


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


def test_nothing_is_written_while_no_root_is_in_force(place: Place) -> None:
    with pytest.raises(BadInput, match="not signed yet"):
        place.make()
    assert not place.out.exists()


def test_a_first_attempt_that_was_cut_off_is_gone_on_with(place: Place) -> None:
    place.sign()
    place.make()
    for path in (*place.out.glob("*.html"), place.out / "releases.json", place.out / "metadata/timestamp.json"):
        path.unlink()
    assert place.make().releases[0].name == ONE
    assert place.fresh().status == "current"


def test_what_the_site_does_not_know_could_not_be_checked(place: Place) -> None:
    place.sign()
    place.make()
    with pytest.raises(StepUnknown, match="does not know this release"):
        place.fresh("village-lm-2")
    with pytest.raises(StepUnknown, match="holds no metadata"):
        place.fresh(site=place.root)
    (place.out / "metadata/1.targets.json").unlink()
    with pytest.raises(StepUnknown, match="not whole"):
        place.fresh()


def test_without_stewards_the_operator_s_key_is_the_root(tmp_path: Path) -> None:
    keys, operator = found(tmp_path / "village", founders=6)
    with Cooperative.open(tmp_path / "village") as coop:
        case = made(tmp_path / "village", coop, keys, operator)
        proposal = next(one.id for one in coop.register.proposals.values() if one.kind == "release")
        case.village.say("coop.release/v1", {"run": RUN, "release": case.release, "proposal": proposal}, "operator")
        place = Place(case.village, {ONE: tmp_path / "village/bundle"}, tmp_path)
        assert place.sign(operator).complete
        place.make()
        assert place.fresh().status == "current"
        assert "the bylaws name no stewards" in (place.out / f"{ONE}.html").read_text()


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


def test_tuf_s_own_client_downloads_release_json_by_the_site_s_metadata(place: Place) -> None:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import Updater
    from tuf.ngclient.fetcher import FetcherInterface

    place.sign()
    place.make()

    class Disk(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            path = Path(url.removeprefix("file:"))
            if not path.is_file():
                raise DownloadHTTPError(path.name, 404)
            yield path.read_bytes()

    kept = place.root / "client"
    kept.mkdir()
    bootstrap = (place.out / "metadata/1.root.json").read_bytes()
    updater = Updater(str(kept), f"file:{place.out}/metadata/", str(kept), f"file:{place.out}/targets/", fetcher=Disk(), bootstrap=bootstrap)
    target = updater.get_targetinfo(f"releases/{place.release[7:]}.json")
    assert target is not None
    assert sha256(Path(updater.download_target(target)).read_bytes()) == place.release
    assert target.unrecognized_fields["custom"]["status"] == "current"
