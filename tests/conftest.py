"""Fixtures for every room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.cooperative import Cooperative
from tests.village import Approved, Village, found


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Village]:
    """A founded cooperative of five."""
    keys, operator = found(tmp_path / "village")
    with Cooperative.open(tmp_path / "village") as coop:
        yield Village(tmp_path / "village", coop, keys, operator)


@pytest.fixture
def approved(village: Village) -> Approved:
    """A village whose members approved a run."""
    return Approved(village)
