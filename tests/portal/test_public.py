"""What everybody sees: released models with their files, and the log; and what nobody gets."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from commonweights.commands.portal import open_service
from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import NAMESPACE, PrivateKey
from model_card.release import Release, read_release
from model_card.verify import verify
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.settings import Settings
from tests.model_card.attested import STEWARDS
from tests.model_card.conftest import Finished, finish, sign_evaluation
from tests.portal.conftest import Portal, Published, named
from tests.portal.people import MAIN, SIGNING, Person
from tests.village import Village, found

SETTINGS = Settings(MAIN, SIGNING)
WEIGHTS = "adapter/adapter_model.safetensors"


@dataclass
class Library:
    """A portal whose village made a model."""

    portal: Portal
    release: Release

    @property
    def path(self) -> str:
        return f"/releases/{self.release.digest}"

    def stranger(self) -> Person:
        return self.portal.stranger()


@contextmanager
def library(root: Path, and_then: Callable[[Finished, Release], None], **bylaws: object) -> Iterator[Library]:
    with opened(root, *build(root, and_then, **bylaws)) as made:
        yield made


def build(root: Path, and_then: Callable[[Finished, Release], None], **bylaws: object) -> tuple[dict[str, PrivateKey], PrivateKey]:
    """Have a village make a model; return its keys and the operator's."""
    keys, operator = found(root, founders=6, passkey_origins=[named(SETTINGS)], **bylaws)
    with Cooperative.open(root) as coop:
        done = finish(root, coop, Village(root, coop, keys, operator))
        sign_evaluation(done)
        (root / "releases").mkdir(exist_ok=True)
        and_then(done, done.assemble(root / "releases" / "village-lm"))
    return keys, operator


@contextmanager
def opened(root: Path, keys: dict[str, PrivateKey], operator: PrivateKey) -> Iterator[Library]:
    """Open the portal of a village that made a model."""
    with open_service(root, SETTINGS) as service:
        service.limits = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        yield Library(Portal(root, service, make_app(service), keys, operator), read_release(root / "releases" / "village-lm"))


@contextmanager
def copied(published: Published, root: Path) -> Iterator[Library]:
    """Open a copy of the village that made a model, which a test may change; nothing seen of other copies is remembered, since all of them have one founding."""
    shutil.copytree(published.root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root.parent / "state"))
        with opened(root, published.keys, published.operator) as made:
            yield made


@pytest.fixture(scope="module")
def kept(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A copy for all tests that only look."""
    root = tmp_path_factory.mktemp("kept") / "village"
    shutil.copytree(published.root, root)
    with opened(root, published.keys, published.operator) as made:
        yield made


@pytest.fixture
def released(published: Published, tmp_path: Path) -> Iterator[Library]:
    with copied(published, tmp_path / "village") as made:
        yield made


def test_a_stranger_downloads_a_release_and_it_verifies(kept: Library, tmp_path: Path) -> None:
    stranger = kept.stranger()
    listed = stranger.get("/releases")
    assert "village-lm" in listed.words
    assert "in force" in listed.words
    page = stranger.get(listed.links("/releases/sha256:")[0])
    assert page.path == kept.path
    assert "In plain words" in page.words
    pin = kept.portal.service.view.pin
    assert f"coop verify village-lm --pin {pin}" in page.words
    told = stranger.get(f"{page.path}/curl.txt").text  # what curl -K reads
    for url, output in re.findall(r'url = "([^"]+)"\noutput = "([^"]+)"', told):
        answer = stranger.client.get(url)
        assert answer.status_code == 200
        (tmp_path / "down" / output).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "down" / output).write_bytes(answer.content)
    verdict = verify(tmp_path / "down" / "village-lm", pin=pin)
    assert verdict.exit_code == 0, verdict
    links = {one.partition("/files/")[2] for one in page.links("/files/")}
    assert links == {path.relative_to(tmp_path / "down/village-lm").as_posix() for path in (tmp_path / "down/village-lm").rglob("*") if path.is_file()}
    (tmp_path / "SUMS").write_text(stranger.get(f"{page.path}/SHA256SUMS").text)
    checked = subprocess.run(["sha256sum", "-c", "--quiet", str(tmp_path / "SUMS")], cwd=tmp_path / "down/village-lm", capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_file_comes_with_headers_that_keep_it_harmless_and_can_be_resumed(kept: Library) -> None:
    client = kept.stranger().client
    address = f"{kept.path}/files/{WEIGHTS}"
    whole = client.get(address)
    digest = hashlib.sha256(whole.content)
    headers = whole.headers
    assert headers["etag"] == f'"{digest.hexdigest()}"'
    assert headers["content-disposition"] == 'attachment; filename="adapter_model.safetensors"'
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(len(whole.content))
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    assert client.get(address, headers={"if-none-match": headers["etag"]}).status_code == 304
    rest = client.get(address, headers={"range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert client.get(address, headers={"range": "bytes=10-19"}).content == whole.content[10:20]
    assert client.get(address, headers={"range": "bytes=10-", "if-range": '"old"'}).status_code == 200
    assert client.get(address, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416
    head = client.head(address)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))


def test_a_changed_file_never_arrives_whole(released: Library) -> None:
    file = released.release.folder / WEIGHTS
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    client = released.stranger().client
    with pytest.raises(Exception, match="was changed on this server"):
        client.get(f"{released.path}/files/{WEIGHTS}")
    file.write_bytes(good + b"!")
    assert client.get(f"{released.path}/files/{WEIGHTS}").status_code == 503


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/%2e%2e/founding.json",
        "..%2f..%2ffounding.json",
        "/etc/passwd",
        "card",
        "card/",
        "card/%2e%2e/README.md",
        "card//README.md",
        "private/portal.sqlite",
        "README.md%00",
        "x" * 299,
    ],
)
def test_only_what_was_voted_on_is_handed_out(kept: Library, path: str) -> None:
    answer = kept.stranger().client.get(f"{kept.path}/files/{path}")
    assert answer.status_code == 404


def test_no_link_is_followed(released: Library, tmp_path: Path) -> None:
    folder = released.release.folder
    (folder / "README.md").rename(tmp_path / "README.md")
    (folder / "README.md").symlink_to(tmp_path / "README.md")
    (folder / "eval").rename(tmp_path / "eval")
    (folder / "eval").symlink_to(tmp_path / "eval")
    client = released.stranger().client
    for path in ("README.md", "eval/report.json"):
        assert client.get(f"{released.path}/files/{path}").status_code == 404
    assert client.get(f"{released.path}/files/card.json").status_code == 200


def test_another_release_json_than_the_one_voted_on_is_said_loudly(released: Library) -> None:
    stranger = released.stranger()
    assert stranger.get(released.path).status == 200
    file = released.release.folder / "release.json"
    file.write_bytes(file.read_bytes().replace(b"village-lm", b"villain-lm"))
    page = stranger.get(released.path)
    assert "not on this server" in page.words  # no folder has the digest any more
    assert not page.links("/files/")
    assert stranger.get(f"{released.path}/files/{WEIGHTS}").status == 404


def test_before_the_vote_members_read_the_records_and_nobody_gets_the_weights(tmp_path: Path) -> None:
    def ask(done: Finished, release: Release) -> None:
        done.village.propose("release", release.digest)

    with library(tmp_path / "village", ask) as made:
        stranger = made.stranger()
        assert stranger.get(made.path).status == 404
        assert stranger.get(f"{made.path}/files/card.json").status == 404
        assert "None yet" in stranger.get("/releases").words
        member = made.portal.founder(0)
        page = member.get(made.path)
        assert "Not released yet: members are voting on it." in page.words
        assert not page.links(WEIGHTS)
        assert member.get(f"{made.path}/files/card.json").status == 200
        refused = member.get(f"{made.path}/files/{WEIGHTS}")
        assert refused.status == 409
        assert "members have not released them" in refused.words
        assert WEIGHTS not in member.get(f"{made.path}/curl.txt").text


def test_a_withdrawn_release_says_so_and_keeps_its_weights(tmp_path: Path) -> None:
    def withdraw(done: Finished, release: Release) -> None:
        done.publish(release)
        payload = {"release": release.digest, "status": "withdrawn", "by": None, "reason": "safety"}
        done.village.say("coop.release-status/v1", payload, STEWARDS[0], *(done.village.keys[one] for one in STEWARDS))

    with library(tmp_path / "village", withdraw, stewards=STEWARDS, stewards_required=2) as made:
        stranger = made.stranger()
        assert "withdrawn" in stranger.get("/releases").words
        page = stranger.get(made.path)
        assert "Withdrawn: do not use it." in page.words
        assert "Reason given: it is not safe" in page.words
        assert not page.links(WEIGHTS)
        assert stranger.get(f"{made.path}/files/{WEIGHTS}").status == 409
        assert stranger.get(f"{made.path}/files/card.json").status == 200


def test_a_release_that_another_takes_the_place_of_leads_to_it(tmp_path: Path) -> None:
    newer = "sha256:" + "7" * 64

    def supersede(done: Finished, release: Release) -> None:
        done.publish(release)
        proposal = done.village.propose("release", newer, supersedes=[release.digest]).id
        done.village.carry(proposal)
        done.village.say("coop.release/v1", {"run": "run-1", "release": newer, "proposal": proposal}, "operator")

    with library(tmp_path / "village", supersede) as made:
        stranger = made.stranger()
        assert "superseded by a newer one" in stranger.get("/releases").words
        page = stranger.get(made.path)
        assert "There is a newer one." in page.words
        assert page.links(WEIGHTS)
        assert "not on this server" in stranger.get(page.links(newer)[0]).words


def test_public_pages_are_small_kept_for_a_minute_and_asked_for_again_cheaply(kept: Library) -> None:
    client = kept.stranger().client
    for path in ("/releases", kept.path, "/log", "/log/entries/0", "/log/checkpoint", f"{kept.path}/SHA256SUMS"):
        first = client.get(path)
        assert first.status_code == 200, path
        assert "set-cookie" not in first.headers
        assert first.headers["cache-control"].startswith("public")
        assert client.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304
        needed = [first.content, *(client.get(one).content for one in re.findall(r'(?:href|src)="(/static/[^"]+|/releases/[^"]+\.svg)"', first.text))]
        assert sum(len(gzip.compress(one)) for one in needed) < 50_000, path
    member = kept.portal.founder(0)
    for path in ("/releases", kept.path, "/log"):
        assert member.client.get(path).headers["cache-control"] == "no-store"


def test_a_chart_says_in_words_what_it_shows_and_runs_nothing(kept: Library) -> None:
    stranger = kept.stranger()
    page = stranger.get(kept.path)
    charts = re.findall(r'<img src="([^"]+)" alt="([^"]{20,})"', page.text)
    assert len(charts) >= 2
    picture = stranger.client.get(charts[0][0])
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "script-src" not in picture.headers["content-security-policy"]
    assert picture.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_log_is_read_page_by_page_and_every_entry_of_it_can_be_opened(kept: Library) -> None:
    stranger = kept.stranger()
    with kept.portal.service.view.reading() as register:
        size = register.size
    seen: list[int] = []
    page = stranger.get("/log")
    while True:
        seen += [int(one.rpartition("/")[2]) for one in page.links("/log/entries/")]
        older = [one for one in page.links("/log?before=") if int(one.partition("=")[2]) == seen[-1]]
        if not older:
            break
        page = stranger.get(older[0])
    assert seen == list(range(size - 1, -1, -1))
    for position in seen:
        assert stranger.get(f"/log/entries/{position}").status == 200
    assert stranger.get(f"/log/entries/{size}").status == 404
    assert stranger.get(f"/log/entries/{10**30}").status == 422
    assert stranger.get("/log?before=0").status == 422


def test_an_entry_is_found_by_number_and_by_fingerprint(kept: Library) -> None:
    stranger = kept.stranger()
    page = stranger.get("/log/find?what=3")
    assert page.path == "/log/entries/3"
    statement = re.search(r"sha256:[0-9a-f]{64}", page.text[page.text.index("Fingerprint") :])
    assert statement is not None
    assert stranger.get(f"/log/find?what={statement[0].removeprefix('sha256:')}").path == "/log/entries/3"
    assert stranger.get("/log/find?what=%3Cscript%3E").status == 422
    assert "<script>" not in stranger.get("/log/find?what=%3Cscript%3E").text


@pytest.mark.openssh
def test_the_letters_and_the_signature_on_an_entrys_page_are_what_ssh_keygen_takes(kept: Library, tmp_path: Path) -> None:
    page = kept.stranger().get("/log/entries/0")
    body, armored = re.findall(r"<pre[^>]*>(.*?)</pre>", page.text, re.S)[:2]
    value = json.loads(body.replace("&#34;", '"'))
    (tmp_path / "sig").write_text(armored)
    files = {name: kept.stranger().client.get(page.links(name)[0]).content for name in ("statement.json", "allowed_signers")}
    assert files["statement.json"].decode() == body.replace("&#34;", '"')
    (tmp_path / "allowed").write_bytes(files["allowed_signers"])
    command = ["ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "allowed"), "-I", value["author"], "-n", NAMESPACE, "-s", str(tmp_path / "sig")]
    assert subprocess.run(command, input=files["statement.json"], capture_output=True, check=False).returncode == 0


def test_what_everybody_gets_is_packed_and_what_a_member_sees_and_files_are_not(kept: Library) -> None:
    stranger, member = kept.stranger().client, kept.portal.founder(0).client
    style = re.findall(r'href="(/static/portal[^"]+)"', stranger.get("/").text)[0]
    for path in ("/log", kept.path, style):
        packed = stranger.get(path, headers={"accept-encoding": "gzip"})
        plain = stranger.get(path, headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip", path
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert member.get(style, headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip"
    for client, path in ((member, "/log"), (member, "/account"), (stranger, f"{kept.path}/files/README.md")):
        answer = client.get(path, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers, path
