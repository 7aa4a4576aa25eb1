"""A village with a portal: founders with keys in files, and bylaws that name the signing site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import URL
from starlette.types import ASGIApp

from commonweights.commands.portal import open_service
from governance_hooks.bylaws import PasskeyOrigin
from governance_hooks.sshsig import PrivateKey
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.service import Service
from portal.settings import Settings
from tests.portal.people import MAIN, SIGNING, Person
from tests.village import found

if TYPE_CHECKING:
    from tests.portal.showcase import Stage


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
        """A founder, signed in, their account theirs."""
        member = self.members[number]
        person = Person(self.app, self.service, self.keys[member])
        person.sign_in(f"founder{number}@village.example")
        if self.service.private.accounts.find(member=member) is None:
            person.prove()
        return person

    def joined(self, mail: str = "new@example.org") -> tuple[Person, str]:
        """Somebody who joined with a passkey; two founders agreed."""
        person = self.stranger()
        person.sign_in(mail)
        person.touch(person.make_passkey(person.post("/join/passkey")))
        account = self.service.private.accounts.find(mail=mail)
        assert account is not None
        assert account.asks_as is not None
        for number in (0, 1):
            registrar = self.founder(number)
            registrar.sign(registrar.get(registrar.get("/stewards/admissions").links(f"as={self.members[number]}")[0]))
        return person, account.asks_as


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


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """The village in which everything has happened and the one in which nothing has, for tests that look at every page of them."""
    from tests.portal.showcase import both

    with both(tmp_path_factory.mktemp("stages")) as opened:
        yield opened
