"""A small release that members approved, in a village with stewards, for the tests of what comes after the vote."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.register import Register
from governance_hooks.report import StepFailed
from governance_hooks.sshsig import PrivateKey
from model_card.attestations import attest, check_attestations, path_of
from tests.model_card.conftest import Finished, finish, sign_evaluation
from tests.village import Village

__all__ = ["SHA", "STEWARDS", "Case", "made", "read"]

STEWARDS = [f"m-{i:016x}" for i in (2, 3, 4)]
SHA = "0" * 64


@dataclass
class Case:
    """A release that members approved, its files, and the log as it is then."""

    village: Village
    finished: Finished
    files: dict[str, bytes]
    digests: dict[str, str]
    release: str
    register: Register

    def key(self, number: int) -> PrivateKey:
        return self.village.keys[STEWARDS[number]]

    def signed(self, *numbers: int) -> Case:
        """Return the case with the attestations these stewards have signed."""
        files = dict(self.files)
        for number in numbers:
            files |= attest(files, self.digests, self.register, self.release, self.key(number))
        return replace(self, files=files)

    def check(self) -> str:
        return check_attestations(self.files, self.digests, self.register, self.release)

    def fails(self, why: str, kind: type[Exception] = StepFailed) -> None:
        with pytest.raises(kind, match=why):
            self.check()

    def edited(self, name: str, change: Any) -> Case:
        """Return the case with one envelope as `change` leaves its JSON."""
        value = json.loads(self.files[path_of(name)])
        change(value)
        return replace(self, files=self.files | {path_of(name): dumps(value)})


def read(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files, {path: sha256(data) for path, data in files.items()}


def made(root: Path, coop: Cooperative, keys: Any, operator: PrivateKey) -> Case:
    village = Village(root, coop, keys, operator)
    done = finish(root, coop, village)
    sign_evaluation(done)
    release = done.assemble(root / "bundle")
    village.approve("release", release.digest)
    return Case(village, done, *read(release.folder), release.digest, coop.proof().fold())
