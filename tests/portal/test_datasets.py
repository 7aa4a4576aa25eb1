"""Datasets for everybody: counted by language, few people left untold, and texts shown only with leave, while it lasts."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from commonweights.building import make_build
from commonweights.commands.contribute import open_store
from commonweights.commands.portal import open_service
from commonweights.notice import EARLIER
from commonweights.workspace import open_workspace
from data_pipeline.manifest import read_build
from data_pipeline.record import Draft
from governance_hooks.canonical import dumps, sha256
from governance_hooks.code import installed_code
from governance_hooks.consent import Consent, shows
from governance_hooks.consent_record import record
from governance_hooks.consent_words import in_words
from governance_hooks.inventory import inventory, inventory_digest
from governance_hooks.plan import Base, BuildRef, EvaluationPolicy, Mix, Plan, Policies
from governance_hooks.plan import Limits as RunLimits
from governance_hooks.sshsig import PrivateKey
from governance_hooks.training import Training
from portal.api.site import PREFIX
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.settings import Settings
from tests.portal.conftest import Portal, named
from tests.portal.people import MAIN, SIGNING
from tests.portal.test_giving import allow
from tests.portal.test_voting import say
from tests.village import CONSENT, USE, Village, found, tokens_of

EVERYBODY = {"publish": "samples"}
SCRIPT = "<script>alert(1)</script>"


def texts(member: str, language: str, count: int = 8) -> list[Draft]:
    """Texts that are not near copies of each other, and would run in a page that took them for HTML."""
    words = [hashlib.sha256(f"{member} {language} {n}".encode()).hexdigest() for n in range(count)]
    return [Draft(f"{SCRIPT} {language} {member[-1]} q {word[:32]}?", f"\"'><b>{word[32:]}", language, licence="CC-BY-4.0") for word in words]


@dataclass
class Shelf:
    """A portal whose village made a dataset, and voted for training on it or not."""

    portal: Portal
    digest: str
    proposal: str

    @property
    def path(self) -> str:
        return f"/datasets/{self.digest}"

    def withdraw(self, number: int) -> None:
        member = self.portal.members[number]
        say(self.portal, "coop.withdrawal/v1", {"consent": None}, member, self.portal.keys[member])


def fill(
    root: Path,
    leave: Sequence[dict[str, Any]],
    *,
    carried: bool = True,
    drafts: Callable[[str, str], list[Draft]] = texts,
    settings: Sequence[Settings] = (Settings(MAIN, SIGNING),),
) -> tuple[dict[str, PrivateKey], PrivateKey, str, str]:
    """Found a village in which each member gives Swahili, the first Spanish too, with the leave given for each, and have it make and vote on a dataset.

    Returns:
        the members' keys, the operator's, the digest of the dataset's manifest, and the vote.
    """
    keys, operator = found(root, founders=len(leave), passkey_origins=[named(one) for one in settings])
    with open_workspace(root) as space:
        village = Village(root, space.coop, keys, operator)
        with open_store(space) as store:
            for member, changes in zip(village.members, leave, strict=True):
                village.say("coop.consent/v1", CONSENT | changes, member)
                for language in ("swa", "spa") if member == village.members[0] else ("swa",):
                    batch = store.add_batch(member, drafts(member, language))
                    store.seal(batch.batch, village.say("coop.contribution/v1", batch.payload(), member).id)
        build = read_build(make_build(space, "voices", USE, heldout_permille=300, jobs=1))
        (root / "base").mkdir()
        (root / "base" / "model.safetensors").write_bytes(b"x")
        files = inventory(root / "base")
        plan = Plan(
            coop=space.coop.register.coop,
            name="first-run",
            use=USE,
            base=Base(name="example/base", licence="Apache-2.0", digest=inventory_digest(files), files=files),  # type: ignore[arg-type]
            build=BuildRef(manifest=build.digest, root=build.manifest["root"], records=build.manifest["records"], languages=build.manifest["languages"]),
            code=installed_code(),
            tokens=tokens_of(build.manifest["languages"]),
            mix=Mix(),
            training=Training(),
            evaluation=EvaluationPolicy(),
            limits=RunLimits(max_starts=2, max_devices=2, max_minutes=30),
            policies=Policies(),
        )
        data = dumps(plan.model_dump())
        (root / "plans").mkdir(exist_ok=True)
        (root / "plans" / "first-run.json").write_bytes(data)
        proposal = village.propose("run", sha256(data)).id
        if carried:
            village.carry(proposal)
    return keys, operator, build.digest, proposal


@contextmanager
def shelf(root: Path, leave: Sequence[dict[str, Any]], **how: Any) -> Iterator[Shelf]:
    """Open the portal of such a village."""
    keys, operator, digest, proposal = fill(root, leave, **how)
    with open_service(root, Settings(MAIN, SIGNING)) as service:
        service.limits = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        yield Shelf(Portal(root, service, make_app(service), keys, operator), digest, proposal)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """One for all tests that only look."""
    with shelf(tmp_path_factory.mktemp("still") / "village", [EVERYBODY] * 6) as made:
        yield made


@pytest.fixture
def voices(tmp_path: Path) -> Iterator[Shelf]:
    with shelf(tmp_path / "village", [EVERYBODY] * 6) as made:
        yield made


def shown(page: str) -> list[str]:
    """The texts on a page, as their authors wrote them."""
    return re.findall(r'<div class="said strong" dir="auto">(.*?)</div>', page, re.S)


# What is told


def test_everybody_sees_what_is_in_it_who_voted_for_it_and_how_to_check_it(still: Shelf) -> None:
    stranger = still.portal.stranger()
    listed = stranger.get("/datasets")
    assert listed.links(still.path)
    assert {"/languages/swa", "/languages/spa"} <= set(listed.links("/languages/"))
    page = stranger.get(still.path)
    manifest = json.loads(stranger.client.get(f"{still.path}/manifest.json").content)
    swahili = manifest["languages"]["swa"]
    assert swahili["members"] == 6
    assert re.search(rf"Swahili {swahili['train']} {swahili['heldout']} 6 ", page.words)
    assert re.search(r"Spanish \d+ \d+ fewer than 5", page.words)
    assert page.links(f"/proposals/{still.proposal}")
    assert "non-commercial research" in page.words
    assert "CC-BY-4.0" in page.words
    assert f"one member alone {manifest['records']}" in page.words
    assert hashlib.sha256(stranger.client.get(f"{still.path}/manifest.json").content).hexdigest() in page.words
    described = stranger.client.get(f"{still.path}/croissant.json")
    assert described.headers["content-type"] == "application/ld+json"
    assert described.json()["coop:build"]["coop:manifest"] == still.digest
    assert "fewer than 5 contributors" in described.text


def test_few_people_are_counted_nowhere(still: Shelf) -> None:
    client = still.portal.stranger().client
    for path in (f"{PREFIX}/datasets/{still.digest}", f"{PREFIX}/languages/spa"):
        assert '"contributors":null' in client.get(path).text, path
    assert client.get(f"{PREFIX}/languages/spa").json()["givers"] is None
    told = client.get(f"{PREFIX}/languages/swa").json()
    assert (told["name"], told["givers"], told["datasets"][0]["contributors"]) == ("Swahili", 6, 6)
    assert "They are from fewer than 5 members." in still.portal.stranger().get("/languages/spa").words
    assert not re.search(r"m-[0-9a-f]{16}", still.portal.stranger().get("/languages/swa").text)
    assert not re.search(r"m-[0-9a-f]{16}", still.portal.stranger().get(still.path).text)


def test_a_dataset_nobody_voted_for_is_not_shown(tmp_path: Path) -> None:
    with shelf(tmp_path / "village", [EVERYBODY] * 6, carried=False) as made:
        client = made.portal.stranger().client
        for path in (made.path, f"{made.path}/manifest.json", f"{made.path}/croissant.json", "/languages/swa", f"{PREFIX}/datasets/{made.digest}"):
            assert client.get(path).status_code == 404, path
        assert client.get(f"{PREFIX}/datasets").json()["datasets"] == []
        assert "None yet" in made.portal.stranger().get("/datasets").words


def test_a_manifest_that_was_changed_on_the_server_is_not_handed_out(voices: Shelf) -> None:
    file = voices.portal.root / "builds" / "voices" / "manifest.json"
    file.write_bytes(file.read_bytes().replace(b'"duplicate"', b'"duplicats"').replace(b'"at":"2', b'"at":"3'))
    stranger = voices.portal.stranger()
    assert stranger.get(f"{voices.path}/manifest.json").status == 404
    assert "This server does not know what is in it" in stranger.get(voices.path).words
    assert stranger.get("/languages/swa").status == 404


@pytest.mark.parametrize(
    "path", ["/datasets/%2e%2e", "/datasets/voices", "/languages/swahili", "/languages/zzz", "/languages/%3Cscript%3E", "/datasets/sha256:" + "0" * 64]
)
def test_there_is_nothing_under_other_names(still: Shelf, path: str) -> None:
    page = still.portal.stranger().get(path)
    assert page.status in (404, 422)
    assert SCRIPT not in page.text


# Texts


def test_texts_are_shown_with_leave_one_of_a_member_and_as_text(still: Shelf) -> None:
    page = still.portal.stranger().get("/languages/swa")
    found = shown(page.text)
    assert len(found) == 6
    assert len({re.search(r"swa (\d) q", one)[1] for one in found}) == 6  # type: ignore[index]
    assert SCRIPT not in page.text
    assert "&lt;script&gt;" in page.text
    assert not shown(still.portal.stranger().get("/languages/spa").text)  # one member's


def test_what_is_held_out_is_shown_to_nobody(still: Shelf) -> None:
    rows = [json.loads(line) for line in (still.portal.root / "builds/voices/ledger.jsonl").read_bytes().splitlines()]
    store = still.portal.service.house.contributions()
    held = {one.inputs for one in store.some([row["record"] for row in rows if row["split"] == "heldout"])}
    assert held
    words = still.portal.stranger().get("/languages/swa").words
    assert not any(one in words for one in held)


def test_a_withdrawn_text_is_gone_at_once_even_for_who_has_the_page(voices: Shelf) -> None:
    client = voices.portal.stranger().client
    first = client.get("/languages/swa")
    assert first.headers["cache-control"] == "public, no-cache"
    assert len(shown(first.text)) == 6
    voices.withdraw(5)
    again = client.get("/languages/swa", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 200
    found = shown(again.text)
    assert len(found) == 5
    assert not any("swa 6 q" in one for one in found)
    voices.withdraw(4)  # four are left: too few for any to be shown
    assert shown(client.get("/languages/swa").text) == []
    assert "None can be shown" in client.get("/languages/swa").text


def test_an_erased_text_is_gone_at_once(voices: Shelf) -> None:
    page = voices.portal.stranger().get("/languages/swa")
    store = voices.portal.service.house.contributions()
    for member in voices.portal.members[:2]:
        store.erase([one.record for one in store.records(member=member)])
    assert len(shown(page.text)) == 6
    assert shown(voices.portal.stranger().get("/languages/swa").text) == []


def test_a_text_that_is_not_the_datasets_is_not_shown(voices: Shelf) -> None:
    """Somebody with the server's disk changes texts in the store: the ledger's digest of each says so."""
    with sqlite3.connect(voices.portal.root / "contributions.sqlite") as connection:
        assert connection.execute("UPDATE records SET targets = 'Buy this!'").rowcount > 20
    assert shown(voices.portal.stranger().get("/languages/swa").text) == []


@pytest.mark.parametrize(
    "leave",
    [
        {},
        {"publish": None},
        EVERYBODY | {"scope": {"languages": ["spa"], "batches": None}},
        EVERYBODY | {"scope": {"languages": None, "batches": ["sha256:" + "0" * 64]}},
    ],
    ids=["never said", "said no", "another language", "another batch"],
)
def test_without_leave_no_text_is_shown(tmp_path: Path, leave: dict[str, Any]) -> None:
    covered = leave if "scope" not in leave else CONSENT | {}  # a narrow consent lets nobody train either: a wide one without leave stands beside it
    with shelf(tmp_path / "village", [covered] * 6) as made:
        if "scope" in leave:
            for member in made.portal.members:
                say(made.portal, "coop.consent/v1", CONSENT | leave, member, made.portal.keys[member])
        page = made.portal.stranger().get("/languages/swa")
        assert page.status == 200
        assert shown(page.text) == []
        assert "None can be shown" in page.words


def test_leave_ends_when_it_says_so() -> None:
    given = Consent.model_validate(CONSENT | EVERYBODY | {"expires": "2026-12-01T00:00:00Z"})
    assert shows(given, language="swa", batch="b", at="2026-11-30T23:59:59Z")
    assert not shows(given, language="swa", batch="b", at="2026-12-01T00:00:00Z")
    once = Consent.model_validate(CONSENT | EVERYBODY | {"occurrences": 1})
    assert not shows(once, language="swa", batch="b", at="2026-11-30T23:59:59Z")


def test_leave_is_given_on_the_consent_page_after_its_words_were_shown(portal: Portal) -> None:
    person, member = portal.joined()
    page = person.get("/consent/give?purpose=dpv:NonCommercialResearch")
    assert "What you also show to everybody" in page.words
    allow(person)
    allow(person, publish="true")
    with portal.service.view.reading() as register:
        without, given = register.grants[member]
        entries = list(portal.service.view.log.entries())
        described = record(register, given, entries, at="2026-12-01T00:00:00Z")["dpv:hasProcess"][0]
    house = portal.service.house
    assert (without.consent.publish, without.consent.notice) == (None, sha256(house.notice.encode()))
    assert (given.consent.publish, given.consent.notice) == ("samples", sha256((house.notice + house.notice_publish).encode()))
    assert b'"publish"' not in entries[without.given]  # what was signed before stays as it was, to the byte
    assert any("What everybody may read" in line for line in in_words(given.consent))
    assert not any("everybody may read" in line for line in in_words(without.consent))
    assert "dpv:MakeAvailable" in described["dpv:hasProcessing"]
    assert "coop:Everybody" in [one["@id"] for one in described["dpv:hasRecipient"]]
    entry = portal.stranger().get(f"/log/entries/{given.given}").words
    assert "What the member was shown before signing" in entry
    assert " ".join((house.notice + house.notice_publish).split()) in entry


def test_an_entry_of_the_log_shows_the_earlier_words_that_a_consent_was_given_to(portal: Portal) -> None:
    founder = portal.members[0]
    for notice in (sha256(EARLIER[0].encode()), sha256(b"words of our own")):
        say(portal, "coop.consent/v1", CONSENT | {"notice": notice}, founder, portal.keys[founder])
    with portal.service.view.reading() as register:
        size = register.size
    earlier, unknown = (portal.stranger().get(f"/log/entries/{at}").words for at in (size - 2, size - 1))
    assert " ".join(EARLIER[0].split()) in earlier
    assert "shown before signing" not in unknown
    portal.service.house.keep_text(b"words of our own")
    assert "shown before signing words of our own" in portal.stranger().get(f"/log/entries/{size - 1}").words


# Pages


def test_the_pages_are_small_and_asked_for_again_cheaply(still: Shelf) -> None:
    client = still.portal.stranger().client
    for path in ("/datasets", still.path, "/languages/swa", f"{still.path}/manifest.json", f"{still.path}/croissant.json", "/api"):
        first = client.get(path)
        assert first.status_code == 200, path
        assert client.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304, path
        needed = [first.content, *(client.get(one).content for one in re.findall(r'(?:href|src)="(/static/[^"]+)"', first.text))]
        assert sum(len(gzip.compress(one)) for one in needed) < 50_000, path


def test_a_language_has_the_name_the_reader_knows(still: Shelf) -> None:
    stranger = still.portal.stranger()
    for language, name in {"en": "Swahili", "es": "suajili", "fr": "swahili", "ar": "السواحلية", "sw": "Kiswahili", "hi": "स्वाहिली"}.items():
        page = stranger.get(f"/languages/swa?lang={language}")
        assert f"<h1>{name} " in page.text


def test_a_member_is_led_to_their_own_texts(voices: Shelf) -> None:
    member = voices.portal.founder(0)
    assert member.get("/languages/swa").links("/mine/where")
    assert member.client.get("/languages/swa").headers["cache-control"] == "no-store"
    assert voices.portal.stranger().get(voices.path).links("/signin?next=/mine/where")


def test_the_page_for_programs_says_what_the_description_says(still: Shelf) -> None:
    client = still.portal.stranger().client
    page, document = client.get("/api").text, client.get(f"{PREFIX}/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {PREFIX}{path}</code>" in page
