from __future__ import annotations

import getpass
import json
import platform
import socket
from pathlib import Path

import pytest
import torch

from governance_hooks.canonical import loads, sha256
from train import environment


def test_every_installed_package_is_locked_and_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    digest = environment.lock_environment(tmp_path)
    data = (tmp_path / "environment.json").read_bytes()
    assert sha256(data) == digest
    document = loads(data)
    assert document["packages"]["torch"] == torch.__version__
    assert {"numpy", "pytorch-lightning", "transformers"} <= set(document["packages"])
    assert document["python"] == platform.python_version()


def test_another_version_gives_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.lock_environment(tmp_path)
    found = environment.installed_packages()
    monkeypatch.setattr(environment, "installed_packages", lambda: found | {"numpy": "0.0.1"})
    assert environment.lock_environment(tmp_path) != before


def test_nothing_in_it_tells_which_machine_or_whose(tmp_path: Path) -> None:
    environment.lock_environment(tmp_path)
    hardware = environment.hardware(torch.device("cpu"))
    assert set(hardware) == {"cpu", "cpus", "memory_bytes", "devices"}
    assert hardware["cpus"] >= 1
    assert hardware["memory_bytes"] > 2**20
    told = json.dumps(hardware) + (tmp_path / "environment.json").read_text()
    private = {socket.gethostname(), platform.node(), str(Path.home()), str(tmp_path)} | ({getpass.getuser()} - {"root"})
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/product_uuid"):
        if Path(path).is_file():
            private.add(Path(path).read_text().strip())
    assert not [text for text in private if len(text) > 3 and text in told]
