from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_pipeline.build import build
from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.store import Batch, ContributionStore
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from tests.postgres import Database

COOP = sha256(b"founding")
USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


@pytest.fixture
def store(database: Database) -> Iterator[ContributionStore]:
    """An empty store: on SQLite, or on what a test marked `BOTH` asks for."""
    with ContributionStore(database("contributions.sqlite")) as opened:
        yield opened


@pytest.fixture
def give(store: ContributionStore) -> Give:
    """Add a batch of a member and, unless told otherwise, seal it by a made-up statement."""

    def add(member: str, *drafts: Draft, seal: bool = True, at: str = "2026-01-01T00:00:00Z") -> Batch:
        batch = store.add_batch(member, drafts, at=at)
        return store.seal(batch.batch, sha256(batch.batch.encode())) if seal else batch

    return add


@pytest.fixture
def make_build(store: ContributionStore, tmp_path: Path) -> MakeBuild:
    """Build with everybody's consent but that of the members in `without`."""
    made = 0

    def make(*, without: tuple[str, ...] = (), source: ContributionStore | None = None, **options: object) -> Build:
        nonlocal made
        made += 1
        arguments: dict[str, object] = {
            "coop": COOP,
            "log_size": 7,
            "log_root": sha256(b"log"),
            "at": "2026-11-22T13:00:00Z",
            "use": USE,
            "consent_for": lambda member, _language, _batch: None if member in without else sha256(member.encode()),
            **options,
        }
        return build(source or store, tmp_path / f"build-{made}", **arguments)  # type: ignore[arg-type] # options are checked by build itself

    return make
