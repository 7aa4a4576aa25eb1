"""The root of a site: who signs it, how it rotates and is renewed, and what a TUF client makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, Refused
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sshsig import KeyElsewhere, generate_key
from governance_hooks.statement import now, shift
from model_card.site.metadata import draft_root, root_files, sign_root
from tests.model_card.attested import STEWARDS, made
from tests.model_card.conftest import RUN
from tests.model_card.place import DAY, ONE, Place
from tests.village import found


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
