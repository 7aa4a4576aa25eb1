"""Attestations in a release folder: each byte of each is bound, and two keys of one steward are one steward."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import generate_key
from model_card import attestations
from model_card.bundle import read_bundle
from model_card.verify import verify
from tests.model_card.conftest import Finished, finish, sign_evaluation
from tests.model_card.test_by_hand import by_hand
from tests.village import Village, found

LINK = "attestations signed by stewards"
STEWARDS = [f"m-{number:016x}" for number in (2, 3, 4)]


def sign(done: Finished, folder: Path, key: Any) -> None:
    """Have a steward sign every attestation of a release."""
    bundle, register = read_bundle(folder), done.village.coop.register
    release = next(iter(register.releases))
    (folder / "attestations").mkdir(exist_ok=True)
    for path, data in attestations.attest(bundle.data, bundle.digests, register, release, key).items():
        (folder / path).write_bytes(data)


@pytest.fixture(scope="module")
def _attested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Finished, Path]]:
    root = tmp_path_factory.mktemp("attested")
    keys, operator = found(root / "village", founders=6, stewards=STEWARDS, stewards_required=2)
    with Cooperative.open(root / "village") as coop:
        done = finish(root / "village", coop, Village(root / "village", coop, keys, operator))
        sign_evaluation(done)
        release = done.assemble(root / "bundle")
        done.publish(release)
        sign(done, release.folder, keys[STEWARDS[0]])
        yield done, release.folder


@pytest.fixture
def attested(_attested: tuple[Finished, Path], tmp_path: Path) -> tuple[Finished, Path]:
    """A release that one of three stewards has signed; two must."""
    return _attested[0], shutil.copytree(_attested[1], tmp_path / "bundle")


def test_a_release_holds_once_enough_stewards_have_signed(attested: tuple[Finished, Path]) -> None:
    done, folder = attested
    few = verify(folder)
    assert ([step.name for step in few.blocking], few.exit_code) == ([LINK], 1)
    sign(done, folder, done.village.keys[STEWARDS[1]])
    report = verify(folder, require=[13])
    assert report.exit_code == 0, report.text()
    shutil.rmtree(folder / "attestations")
    assert verify(folder).exit_code == 2


def test_no_bit_of_an_attestation_can_change_unseen(attested: tuple[Finished, Path]) -> None:
    done, folder = attested
    sign(done, folder, done.village.keys[STEWARDS[1]])
    draw, paths = random.Random(9), sorted((folder / "attestations").iterdir())
    assert len(paths) >= 3
    for path in paths:
        data = path.read_bytes()
        for position in {0, len(data) - 1, draw.randrange(len(data))}:
            path.write_bytes(data[:position] + bytes([data[position] ^ 1 << draw.randrange(8)]) + data[position + 1 :])
            report = verify(folder)
            assert [step.name for step in report.steps if step.status == "FAIL"] == [LINK], f"{path.name} byte {position}\n{report.text()}"
        path.write_bytes(data)


def test_11_two_keys_of_one_steward_are_one_steward(attested: tuple[Finished, Path]) -> None:
    done, folder = attested
    village, steward = done.village, STEWARDS[0]
    second = generate_key(folder.parent / "second")
    village.say("coop.key/v1", {"action": "add", "key": second.public.line}, steward, village.keys[steward], second)
    (folder / "proof.jsonl.gz").write_bytes(village.coop.proof().dumps())
    sign(done, folder, second)
    report = verify(folder)
    assert ([step.name for step in report.blocking], report.exit_code) == ([LINK], 1)
    assert "of 2 stewards" in report.blocking[0].why or "twice" in report.blocking[0].why


@pytest.mark.parametrize("name", ["attestations/extra.txt", "attestations/unknown.dsse.json", "attestations/Vote.dsse.json"])
def test_only_known_attestations_ride_along(attested: tuple[Finished, Path], name: str) -> None:
    done, folder = attested
    sign(done, folder, done.village.keys[STEWARDS[1]])
    (folder / name).write_bytes(b"{}")
    report = verify(folder)
    assert report.exit_code == 1
    assert name.rpartition("/")[2] in report.text()


def test_by_hand_signatures_are_checked_and_stewards_counted(attested: tuple[Finished, Path]) -> None:
    done, folder = attested
    few = by_hand(folder)
    assert (few.returncode, "too few stewards signed it" in few.stderr) == (1, True), few.stdout + few.stderr
    sign(done, folder, done.village.keys[STEWARDS[1]])
    held = by_hand(folder)
    assert held.returncode == 0, held.stdout + held.stderr
    names = sorted(path.name for path in (folder / "attestations").iterdir())
    assert re.findall(r"^13 (\S+) is signed by 2 of 3 ", held.stdout, re.MULTILINE) == names
    path = folder / "attestations" / names[-1]
    envelope = json.loads(path.read_bytes())
    said = base64.b64decode(envelope["payload"])
    for change, words in (
        ({"payload": base64.b64encode(said + b" ").decode()}, "a signature does not hold"),
        ({"signatures": [envelope["signatures"][0]] * 2}, "too few stewards signed it"),
        ({"signatures": [one | {"keyid": "SHA256:stranger"} for one in envelope["signatures"]]}, "no steward"),
        ({"signatures": [one | {"sig": envelope["signatures"][0]["sig"]} for one in envelope["signatures"]]}, "a signature does not hold"),
    ):
        path.write_bytes(dumps(envelope | change))
        forged = by_hand(folder)
        assert (forged.returncode, words in forged.stderr) == (1, True), forged.stdout + forged.stderr
