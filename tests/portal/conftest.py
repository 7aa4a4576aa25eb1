"""A village with a portal: founders with keys in files, and bylaws that name the signing site."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy.engine import URL
from starlette.types import ASGIApp

from commonweights.commands.portal import open_service
from governance_hooks.bylaws import PasskeyOrigin
from governance_hooks.sshsig import PrivateKey
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.service import Service
from portal.settings import Settings
from portal.signing.enrolling import draft_of
from portal.signing.submitting import submit_signature
from tests.portal.people import MAIN, SIGNING, Device, Person, shared
from tests.village import found

if TYPE_CHECKING:
    from tests.portal.phone import Phone
    from tests.portal.stage import Stage


def named(settings: Settings) -> dict[str, object]:
    """The signing site as bylaws name it."""
    return PasskeyOrigin(origin=settings.signing_origin, rp_id=settings.rp_id, valid_from="2026-01-01T00:00:00Z").model_dump()


@dataclass
class Portal:
    """A running portal and the people of its village."""

    root: Path
    service: Service
    app: ASGIApp
    keys: dict[str, PrivateKey]
    operator: PrivateKey

    @property
    def members(self) -> list[str]:
        return sorted(self.keys)

    def stranger(self) -> Person:
        return Person(self.app, self.service)

    def founder(self, number: int = 0) -> Person:
        """A founder, signed in, their account theirs; without the pages for that, which tests of joining and signing in walk through."""
        member = self.members[number]
        person = Person(self.app, self.service, self.keys[member])
        account = person.begin(f"founder{number}@village.example")
        if self.service.private.accounts.find(member=member) is None:
            self.service.private.accounts.bind(account, member)
        return person

    def joined(self, mail: str = "new@example.org") -> tuple[Person, str]:
        """Somebody who joined with a passkey; two founders agreed. Without the pages for that, too."""
        person, member = self.stranger(), "m-" + secrets.token_hex(8)
        self.service.private.accounts.ask(person.begin(mail), member)
        person.device = Device()
        with self.service.view.reading() as register:
            asked = draft_of(self.service, register, "join", member, person.device.public.line)
        for key in (person.device, *(self.keys[one] for one in self.members[:2])):
            drafted = self.service.private.drafts.find(asked.id)
            assert drafted is not None
            submit_signature(self.service, drafted, key.sign(drafted.body))
        return person, member


@pytest.fixture(scope="session", autouse=True)
def loop() -> Iterator[None]:
    """One event loop for the requests of every person."""
    with start_blocking_portal() as started:
        shared["loop"] = started
        yield
        del shared["loop"]


@pytest.fixture
def make_portal(tmp_path: Path) -> Iterator[Callable[..., Portal]]:

    with ExitStack() as stack:

        def make(settings: Settings = Settings(MAIN, SIGNING), log: URL | None = None, **changes: object) -> Portal:  # noqa: B008
            root = tmp_path / "village"
            keys, operator = found(root, log=log, passkey_origins=[named(settings)], **changes)
            service = stack.enter_context(open_service(root, settings))
            service.limits = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
            return Portal(root, service, make_app(service), keys, operator)

        yield make


@pytest.fixture
def portal(make_portal: Callable[..., Portal]) -> Portal:
    return make_portal()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find groups in this process, which saves the import of pandas and scikit-learn for each map."""
    import json

    from portal.opinion import drawing
    from portal.opinion.groups import find, parse

    monkeypatch.setattr(drawing, "_apart", lambda rows: json.loads(json.dumps(find(parse(rows)), allow_nan=False)))


@pytest.fixture
def phone(make_portal: Callable[..., Portal], tmp_path: Path) -> Iterator[Phone]:
    """A browser in front of a portal of its own."""
    from tests.portal.chromium import browser, serving
    from tests.portal.phone import Phone
    from tests.ports import free_port

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        yield Phone(portal, context)


@contextmanager
def opened_portal(root: Path) -> Iterator[Portal]:
    """Found a village and open its portal."""
    settings = Settings(MAIN, SIGNING)
    keys, operator = found(root, passkey_origins=[named(settings)])
    with open_service(root, settings) as service:
        service.limits = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        yield Portal(root, service, make_app(service), keys, operator)


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal for all tests that only look, or are refused: none leaves anything that another one would see."""
    with opened_portal(tmp_path_factory.mktemp("still") / "village") as made:
        yield made


@dataclass(frozen=True)
class Published:
    """The folder of a village that made a model and released it; nobody opens it, tests open copies."""

    root: Path
    keys: dict[str, PrivateKey]
    operator: PrivateKey


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Made once: it takes longer than most tests with it."""
    from tests.model_card.conftest import Finished
    from tests.portal.test_public import build

    root = tmp_path_factory.mktemp("published") / "village"
    return Published(root, *build(root, Finished.publish))


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """The villages of `showcase`, for tests that look at every page of them."""
    from tests.portal.showcase import villages

    with villages(tmp_path_factory.mktemp("stages")) as opened:
        yield opened
