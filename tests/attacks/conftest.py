"""A release nobody tampered with, for the tests to harm; and the command line as a shell runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.attacks.story import Story
from tests.commonweights.conftest import coop, home, keys

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
