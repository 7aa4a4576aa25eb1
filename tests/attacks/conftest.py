"""A release nobody tampered with, for the tests to harm; a trainer; and the command line as a shell runs it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attacks.story import Story
from tests.commonweights.conftest import coop, home, keys

if TYPE_CHECKING:
    from tests.attacks.workshop import Workshop

__all__ = ["coop", "home", "keys"]


@pytest.fixture(scope="session")
def _released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    story = Story(tmp_path_factory.mktemp("released"))
    report = story.play()
    assert report.passed, report.text()  # the control of every attack here: the honest story holds
    return story.release.folder


@pytest.fixture
def bundle(_released: Path, tmp_path: Path) -> Path:
    """A copy of a released bundle in which every link holds."""
    return shutil.copytree(_released, tmp_path / "bundle")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A trainer with tiny weights, data and a plan over both."""
    pytest.importorskip("torch")
    from tests.attacks.workshop import Workshop

    return Workshop(tmp_path / "workshop")
