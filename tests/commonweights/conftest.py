"""Runs the real command line in-process, with its real error handling."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from commonweights.cli import main
from governance_hooks.sshsig import generate_key


@dataclass
class Done:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Coop = Callable[..., Done]


@pytest.fixture
def coop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coop:
    """`coop("vote", id, "for")` runs the command as a shell would."""

    def run(*args: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["coop", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """Three people's own keys."""
    made = {}
    for name in ("anna", "bela", "caro", "dora"):
        made[name] = tmp_path / "keys" / name
        generate_key(made[name])
    return made


@pytest.fixture
def home(coop: Coop, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative of three, with a voting period of nought seconds."""
    folder = tmp_path / "home"
    founders = [word for name in ("anna", "bela", "caro") for word in ("--founder", keys[name])]
    done = coop("init", folder, "--name", "home", "--period", "0", *founders)
    assert done.code == 0, done.err
    return folder
